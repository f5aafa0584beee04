import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo, Server, Socket } from 'node:net'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls, createSecureContext, TLSSocket } from 'node:tls'
import type { TcpServerOptions, UnixServerOptions } from '@ringway/balancer'
import type { Child } from './gate-child.ts'
import { child } from './gate-child.ts'
import type { Head } from './gate-peer.ts'
import { certificate, Peer } from './gate-peer.ts'
import { within } from './gate-waiting.ts'
import type { RaceHost, RaceReport } from './race-child.ts'

type Kind = 'tcp' | 'tls' | 'unix'

/** What is in front of the gateway, and what is behind it. */
export interface Transport {
  readonly name: string
  readonly front: Kind
  readonly back: Kind
}

/** What a connection is carried by. */
export const TRANSPORTS: readonly Transport[] = [
  { name: 'plain TCP', front: 'tcp', back: 'tcp' },
  { name: 'TLS in front', front: 'tls', back: 'tcp' },
  { name: 'TLS behind', front: 'tcp', back: 'tls' },
  { name: 'Unix sockets', front: 'unix', back: 'unix' }
]

/** Where a server refuses, where it has little time, where the host ends each tunnel as it opens, and all else. */
export const PATHS: { readonly [what in 'refused' | 'hasty' | 'ended' | 'usual']: string } = {
  refused: '/refused',
  hasty: '/hasty',
  ended: '/ended',
  usual: '/usual'
}

const GUARD = 30_000

/** A host with gateways in a process of its own, and the ends of all of its connections. */
export class World {
  /** All ends that are open here. */
  readonly open: Set<Socket> = new Set()
  /** Ends that take no notice of their FIN until all rounds are through. */
  readonly ignoring: Peer[] = []
  /** Connections that came to a backend for a handshake that nobody expects. */
  strays = 0
  readonly #transport: Transport
  readonly #expected = new Map<string, (met: { server: Peer; head: Head }) => void>()
  #host!: Child<number | string>
  #base: RaceReport | undefined
  #expectations = 0

  private constructor(transport: Transport) {
    this.#transport = transport
  }

  static async start(t: TestContext, transport: Transport): Promise<World> {
    const world = new World(transport)
    const folder = await mkdtemp(join(tmpdir(), 'ringway-races-'))
    t.after(async () => {
      for (const socket of world.open) socket.destroy()
      await rm(folder, { recursive: true })
    })
    const server = await world.#listen(t, join(folder, 'back'))
    const refuses = transport.back === 'unix' ? 'unix:/nowhere/socket' : '127.0.0.1:1'
    const usual = { upstream: { servers: [server] }, timeouts: { linger: 300 } }
    const options: RaceHost = {
      tls: transport.front === 'tls',
      socketPath: transport.front === 'unix' ? join(folder, 'front') : undefined,
      gateways: {
        [PATHS.usual]: usual,
        [PATHS.ended]: usual,
        [PATHS.hasty]: { ...usual, timeouts: { linger: 300, handshake: 100 } },
        [PATHS.refused]: { ...usual, upstream: { servers: [refuses] } }
      }
    }
    world.#host = await child<number | string>(t, 'race-child.js', JSON.stringify(options))
    return world
  }

  /** Connects a client. */
  async client(): Promise<Peer> {
    const at = this.#host.message
    const where = typeof at === 'string' ? { path: at } : { port: at, host: '127.0.0.1' }
    const raw = connect({ ...where, allowHalfOpen: true })
    const isTls = this.#transport.front === 'tls'
    const socket = isTls ? connectTls({ socket: raw, ca: certificate.cert, servername: 'localhost' }) : raw
    socket.allowHalfOpen = true
    const peer = this.#own(raw, socket)
    await new Promise<void>((resolve, reject) => {
      socket.once(isTls ? 'secureConnect' : 'connect', resolve).once('close', () => {
        reject(peer.error ?? new Error('closed before it was connected'))
      })
    })
    return peer
  }

  /** A target of its own, and the backend's end of the connection that the handshake for it comes to. */
  expect(path: string = PATHS.usual): { target: string; met: () => Promise<{ server: Peer; head: Head }> } {
    const target = `${path}/${++this.#expectations}`
    const met = new Promise<{ server: Peer; head: Head }>(resolve => this.#expected.set(target, resolve))
    return { target, met: async () => within(met, `a handshake for ${target}`) }
  }

  /** Waits until the host is as it was at first, with no end open here either. */
  async settled(): Promise<RaceReport> {
    const deadline = performance.now() + GUARD
    for (;;) {
      const report = await this.#report()
      const { active, opened, closed, ...now } = report
      const base = this.#base && pickSame(this.#base)
      const isQuiet = active === 0 && opened === closed && !/Socket|TLS|Timeout/.test(now.resources)
      if (isQuiet && (!base || JSON.stringify(now) === JSON.stringify(base))) {
        // What Node opens once and keeps is there by now.
        this.#base ??= report
        return report
      }
      if (performance.now() > deadline) assert.deepEqual({ active, rest: opened - closed, ...now }, base)
      await sleep(5)
    }
  }

  /** A plain request is answered by the app, as ever. */
  async answers(): Promise<void> {
    assert.equal(this.#host.process.exitCode, null)
    const client = await this.client()
    client.write('GET / HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n')
    assert.equal((await client.head()).status, 200)
    client.socket.end()
    await client.gone()
  }

  /** Closes the gateways and the server, and waits until the process has ended by itself. */
  async end(): Promise<void> {
    const exit = once(this.#host.process, 'exit')
    this.#host.process.send('close')
    assert.deepEqual(await within(exit, 'its exit'), [0, null])
  }

  async #report(): Promise<RaceReport> {
    const { process } = this.#host
    const answer = once(process, 'message')
    process.send('report')
    return ((await within(answer, 'a report')) as [RaceReport])[0]
  }

  async #listen(t: TestContext, socketPath: string): Promise<TcpServerOptions | UnixServerOptions> {
    const { back } = this.#transport
    const secureContext = createSecureContext(certificate)
    const server: Server = createServer({ allowHalfOpen: true }, raw => {
      const socket = back === 'tls' ? new TLSSocket(raw, { isServer: true, secureContext }) : raw
      void this.#serve(this.#own(raw, socket))
    })
    t.after(() => server.close())
    server.listen(back === 'unix' ? { path: socketPath } : { host: '127.0.0.1', port: 0 })
    await once(server, 'listening')
    if (back === 'unix') return { socketPath }
    const { port } = server.address() as AddressInfo
    return { host: '127.0.0.1', port, ...(back === 'tls' ? { tls: { ca: certificate.cert } } : {}) }
  }

  async #serve(server: Peer): Promise<void> {
    const head = await server.head().catch(() => undefined)
    if (head === undefined) return void server.socket.destroy() // left before it had said all
    const target = head.first.split(' ')[1]!
    const meet = this.#expected.get(target)
    this.#expected.delete(target)
    if (meet) return meet({ server, head })
    this.strays += 1
    server.socket.destroy()
  }

  /** @param raw - what carries the socket, or the same */
  #own(raw: Socket, socket: Socket): Peer {
    const peer = new Peer(socket)
    this.open.add(socket)
    socket.once('close', () => this.open.delete(socket))
    raw.on('error', () => {})
    if (raw !== socket) socket.once('close', () => raw.destroy())
    peer.reset = (): void => {
      // There is no RST on Unix sockets, nor behind a FIN; and where bytes wait to be written it would wait too.
      if (raw.remoteAddress === undefined || socket.writableEnded) raw.destroy()
      else raw.resetAndDestroy()
      if (socket.writableLength > 0) raw.destroy()
    }
    return peer
  }
}

function pickSame({ descriptors, resources, listeners }: RaceReport): object {
  return { descriptors, resources, listeners }
}

/** Some turns of the loop. */
export async function turns(count: number): Promise<void> {
  for (let left = Math.floor(count); left > 0; left--) await setImmediate()
}
