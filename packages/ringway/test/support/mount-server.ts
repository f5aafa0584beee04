import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { RequestListener, Server } from 'node:http'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { setTimeout } from 'node:timers/promises'

/** For localhost and 127.0.0.1. */
export const cert: string = fixture('server-cert.pem')
export const key: string = fixture('server-key.pem')

function fixture(name: string): string {
  return readFileSync(new URL(`../../../test/fixtures/${name}`, import.meta.url), 'utf8')
}

/** A server of the host, not yet listening. */
export function makeServer(tls: boolean, listener?: RequestListener): Server {
  return tls ? createTlsServer({ cert, key }, listener) : createServer(listener)
}

/** Listens on a free port of 127.0.0.1 until the test ends. */
export async function listen(t: TestContext, made: Server): Promise<number> {
  socketsOf(made)
  made.listen(0, '127.0.0.1')
  await once(made, 'listening')
  t.after(async () => stop(made))
  return (made.address() as AddressInfo).port
}

/** Closes a server with all of its connections. */
export async function stop(made: Server): Promise<void> {
  if (!made.listening) return
  const closed = once(made, 'close')
  made.close()
  for (const socket of connections.get(made) ?? []) socket.destroy()
  made.closeAllConnections()
  await closed
}

const connections = new WeakMap<Server, Set<Socket>>()

/** The connections of a server that are open, from now on. */
export function socketsOf(made: Server): Set<Socket> {
  const known = connections.get(made)
  if (known) return known
  const sockets = new Set<Socket>()
  connections.set(made, sockets)
  made.on('connection', (socket: Socket) => {
    if (sockets.has(socket)) return // given to the server anew, as a plain request
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return sockets
}

/** Waits for what has no event. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!condition()) {
    if (performance.now() > deadline) assert.fail(`waited 20 s in vain until ${what}`)
    await setTimeout(2)
  }
}

/** Waits until a server has no connection any more. */
export async function deserted(sockets: Set<Socket>): Promise<void> {
  await until(() => sockets.size === 0, 'all sockets are gone')
}

/** Waits until a number that has begun to grow has not changed for a while. */
export async function still(value: () => number): Promise<void> {
  await until(() => value() > 0, 'it begins')
  let seen = value()
  for (let same = 0; same < 20; same++) {
    await setTimeout(10)
    if (value() !== seen) same = 0
    seen = value()
  }
}
