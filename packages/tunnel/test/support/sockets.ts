import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo, Server, Socket } from 'node:net'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import type { Rest, SpliceOptions, Target } from '@ringway/tunnel'
import { dial, Splice } from '@ringway/tunnel'
import { remember } from './waiting.ts'

export type Kind = 'tcp' | 'tls' | 'unix'

/** Whether splices of plain sockets share their reads here, as they do by default: `by-streams.test.ts` says no. */
export const sharedReads: boolean = process.env['RINGWAY_TEST_STREAMS'] === undefined

function fixture(name: string): string {
  return readFileSync(new URL(`../../../test/fixtures/${name}`, import.meta.url), 'latin1')
}

/** For localhost and 127.0.0.1. */
export const certificate: { key: string; cert: string } = {
  key: fixture('localhost.key'),
  cert: fixture('localhost.crt')
}

/** Listens on a free port of 127.0.0.1, or on a socket in a folder of its own; closed behind the test. */
export async function listen(
  t: TestContext,
  server: Server,
  kind: 'tcp' | 'unix' = 'tcp'
): Promise<Target & { port: number }> {
  // Whatever a test leaves open must not keep the process.
  server.on('connection', (socket: Socket) => {
    socket.on('error', () => {})
    t.after(() => socket.destroy())
  })
  t.after(() => server.close())
  if (kind === 'unix') {
    const folder = await mkdtemp(join(tmpdir(), 'tunnel-'))
    t.after(async () => rm(folder, { recursive: true }))
    const socketPath = join(folder, 'socket')
    server.listen(socketPath)
    await once(server, 'listening')
    return { socketPath, port: 0 }
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

/** A TCP server that hands each connection to `serve`. */
export async function backend(
  t: TestContext,
  serve: (socket: Socket) => void
): Promise<Target & { port: number }> {
  return listen(t, createServer({ allowHalfOpen: true }, serve))
}

interface Leg {
  /** The end that the splice gets. */
  ours: Socket
  /** The end that the test plays. */
  peer: Socket
}

/** A client's connection, as a server accepted it. An https server's sockets don't allow half-open, an http one's do. */
export async function clientLeg(t: TestContext, kind: Kind): Promise<Leg> {
  const server = kind === 'tls' ? createTlsServer(certificate) : createServer({ allowHalfOpen: true })
  const target = await listen(t, server, kind === 'unix' ? 'unix' : 'tcp')
  const accepted = once(server, kind === 'tls' ? 'secureConnection' : 'connection')
  const where = 'socketPath' in target ? { path: target.socketPath } : target
  const options = { ...where, allowHalfOpen: true }
  const peer = kind === 'tls' ? connectTls({ ...options, ca: certificate.cert }) : connect(options)
  const [ours] = (await accepted) as [Socket]
  return own(t, { ours, peer })
}

/** A connection that was dialled to a backend. */
export async function backendLeg(t: TestContext, kind: Kind): Promise<Leg> {
  const server =
    kind === 'tls'
      ? createTlsServer({ ...certificate, allowHalfOpen: true })
      : createServer({ allowHalfOpen: true })
  const target = await listen(t, server, kind === 'unix' ? 'unix' : 'tcp')
  const accepted = once(server, kind === 'tls' ? 'secureConnection' : 'connection')
  const tls = kind === 'tls' ? { ca: certificate.cert } : undefined
  const ours = await dial({ ...target, tls }, { timeout: 20_000 })
  const [peer] = (await accepted) as [Socket]
  return own(t, { ours, peer })
}

function own(t: TestContext, leg: Leg): Leg {
  leg.peer.on('error', () => {})
  remember("the splice's", leg.ours)
  remember("the test's", leg.peer)
  t.after(() => {
    leg.peer.destroy()
    leg.ours.destroy()
  })
  return leg
}

/** A splice with somebody to play the client and somebody to play the backend. */
export interface Scene {
  client: Socket
  backend: Socket
  splice: Splice
  ours: { client: Socket; backend: Socket }
}

export interface SceneOptions extends SpliceOptions {
  client?: Kind
  backend?: Kind
  glued?: Partial<Rest>
}

export async function scene(t: TestContext, options: SceneOptions = {}): Promise<Scene> {
  const [client, behind] = await Promise.all([
    clientLeg(t, options.client ?? 'tcp'),
    backendLeg(t, options.backend ?? 'tcp')
  ])
  const splice = new Splice(client.ours, behind.ours, options.glued, { sharedReads, ...options })
  return {
    client: client.peer,
    backend: behind.peer,
    splice,
    ours: { client: client.ours, backend: behind.ours }
  }
}

/** A reset that doesn't wait for what is still to be written. */
export function rst(socket: Socket): void {
  socket.resetAndDestroy()
  if (socket.writableLength > 0) socket.destroy()
}

/** Writes as much as is taken, for as long as it is. */
export function flood(socket: Socket): void {
  const chunk = randomBytes(65_536)
  const more = (): void => {
    while (socket.writable && socket.write(chunk));
  }
  socket.on('drain', more)
  more()
}

/** Waits for 'close', however it comes. */
export async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await new Promise(resolve => socket.once('close', resolve))
}
