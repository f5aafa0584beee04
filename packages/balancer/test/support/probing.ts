import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'

import type {
  HealthOptions,
  ProbeReport,
  ServerAddress,
  ServerOptions,
  ServerTls,
  Upstream
} from '../../src/index.ts'
import type { Check } from '../../src/probe.ts'
import { makeCheck } from '../../src/probes/check.ts'
import { checkHealth } from '../../src/probes/config.ts'
import { cert, key } from './backend.ts'
import { happening } from './happening.ts'
import { moved, upstream } from './upstream.ts'

/** One good or one bad probe decides, and they come fast. */
export const fast = { interval: 10, timeout: 5000, rise: 1, fall: 1 } as const

/** An upstream of one server that is probed. */
export function probing(
  t: TestContext,
  server: ServerOptions | string | number,
  health: HealthOptions
): Upstream {
  const one = typeof server === 'number' ? `127.0.0.1:${server}` : server
  return upstream(t, { servers: [one], health: { ...fast, ...health } })
}

/** The last report of the first server. */
export function lastProbe(of: Upstream): ProbeReport {
  const report = of.stats().servers[0]?.probe
  assert.ok(report)
  return report
}

/** The first probe's report: it decides, which nothing tells of unless it was bad. */
export async function firstProbe(of: Upstream): Promise<ProbeReport> {
  while (of.servers[0]?.state === 'starting') await new Promise(setImmediate)
  return lastProbe(of)
}

/** What took the server out. */
export async function fault(of: Upstream): Promise<string> {
  const { reason } = await moved(of, 'server:down')
  assert.equal(reason, 'probe')
  const { ok, error } = lastProbe(of)
  assert.equal(ok, false)
  assert.ok(error !== undefined)
  return error
}

/** Nobody listens there. A port that was free a moment ago may be anybody's now. */
export const REFUSED = 1

/** A server of raw sockets, and what it sees of them. */
export interface RawServer {
  readonly port: number
  /** Those that are open now. */
  readonly open: ReadonlySet<Socket>
  /** The first that came. */
  readonly first: Promise<Socket>
  /** Until none is open. */
  none(): Promise<void>
}

/** A server that does what it likes with its sockets; over TLS when asked for. It ends with the test. */
export async function rawServer(
  t: TestContext,
  serve: (socket: Socket) => void,
  tls = false
): Promise<RawServer> {
  const open = new Set<Socket>()
  const { seen: first, happened } = happening<Socket>()
  const take = (socket: Socket): void => {
    open.add(socket)
    socket.on('error', () => {}).on('close', () => open.delete(socket))
    happened(socket)
    serve(socket)
  }
  const server = tls ? createTlsServer({ cert, key }, take) : createServer(take)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of open) socket.destroy()
  })
  const { port } = server.address() as AddressInfo
  return {
    port,
    open,
    first,
    async none() {
      while (open.size > 0) await new Promise(setImmediate)
    }
  }
}

/** One probe alone. It is abandoned by the signal, never by time. */
export function probeOnce(
  server: number | { address: ServerAddress; tls?: ServerTls; sendProxy?: 'v1' | 'v2' },
  health: HealthOptions,
  signal: AbortSignal = new AbortController().signal
): ReturnType<Check> {
  const place = typeof server === 'number' ? { address: { host: '127.0.0.1', port: server } } : server
  return makeCheck({ tls: undefined, sendProxy: undefined, ...place }, checkHealth(health, 'health'))(signal)
}

/** The sockets that this process connects from now on, over TCP or Unix sockets. Those over TLS are among them from Node 22 on. */
export function dialled(t: TestContext): Socket[] {
  const sockets: Socket[] = []
  const listener = (message: unknown): void => {
    sockets.push((message as { socket: Socket }).socket)
  }
  subscribe('net.client.socket', listener)
  t.after(() => unsubscribe('net.client.socket', listener))
  return sockets
}
