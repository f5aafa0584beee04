import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { RequestListener, Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

/** The key and certificate for localhost and 127.0.0.1. */
export const cert: string = fixture('server-cert.pem')
export const key: string = fixture('server-key.pem')

/** A backend on a free port of 127.0.0.1, which ends with the test. */
export async function backend(t: TestContext, answer: RequestListener): Promise<number> {
  return listen(t, createServer(answer))
}

/** The same over TLS. `names` takes the server names that clients ask for. */
export async function tlsBackend(t: TestContext, names: unknown[] = []): Promise<number> {
  const server = createTlsServer({ cert, key }, (_, res) => res.end('ok'))
  server.on('secureConnection', socket => names.push(socket.servername))
  return listen(t, server)
}

/** A path for a Unix socket, in a folder that goes with the test. */
export function socketPath(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'balancer-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return join(folder, 'socket')
}

/** A backend on a Unix socket. Nobody else can take its place while it is stopped, unlike a port's. */
export async function unixBackend(path: string, answer: RequestListener): Promise<{ stop(): Promise<void> }> {
  const server = createServer(answer).listen(path)
  await once(server, 'listening')
  return { stop: () => close(server) }
}

async function listen(t: TestContext, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => close(server))
  return (server.address() as AddressInfo).port
}

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
}

function fixture(name: string): string {
  return readFileSync(new URL(`../../../test/fixtures/${name}`, import.meta.url), 'utf8')
}
