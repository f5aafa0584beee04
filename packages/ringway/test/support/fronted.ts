import { once } from 'node:events'
import type { Server, Socket } from 'node:net'
import { connect } from 'node:net'
import { Duplex } from 'node:stream'
import type { TestContext } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { connect as connectTls } from 'node:tls'
import { proxyHeader } from '@ringway/tunnel'
import type { AcceptProxyOptions, Detach } from '../../src/index.ts'
import { acceptProxy } from '../../src/index.ts'
import type { Hooked } from '../../src/dispatcher.ts'
import { listen } from './gate-backend.ts'
import type { Line } from './gate-host.ts'
import { recorder } from './gate-host.ts'
import { certificate, destroyAfter } from './gate-peer.ts'
import { until, within } from './gate-waiting.ts'

const four = {
  source: { address: '203.0.113.7', port: 51_000 },
  destination: { address: '192.0.2.1', port: 443 }
}
const six = {
  source: { address: '2001:db8::7', port: 51_001 },
  destination: { address: '2001:db8::1', port: 443 }
}

function withTlvs(header: Buffer, length: number): Buffer {
  const longer = Buffer.concat([header, Buffer.alloc(length, 0xee)])
  longer.writeUInt16BE(header.length - 16 + length, 14)
  return longer
}

/** Headers, and what a socket then says of its other end; undefined where it is the connection's own. */
export const HEADERS: readonly [name: string, header: Buffer, says: string | undefined][] = [
  ['v1 of IPv4', proxyHeader('v1', four), '203.0.113.7 51000 IPv4'],
  ['v1 of IPv6', proxyHeader('v1', six), '2001:db8::7 51001 IPv6'],
  ['v1 of a mapped address', Buffer.from('PROXY TCP6 ::ffff:192.0.2.9 ::1 7 443\r\n'), '192.0.2.9 7 IPv4'],
  ['v1 UNKNOWN', proxyHeader('v1'), undefined],
  ['v2 of IPv4', proxyHeader('v2', four), '203.0.113.7 51000 IPv4'],
  ['v2 of IPv6', proxyHeader('v2', six), '2001:db8::7 51001 IPv6'],
  ['v2 with TLVs', withTlvs(proxyHeader('v2', four), 40), '203.0.113.7 51000 IPv4'],
  ['v2 LOCAL', proxyHeader('v2'), undefined],
  ['v2 LOCAL with TLVs', withTlvs(proxyHeader('v2'), 30), undefined]
]

/** One that tells 203.0.113.7, port 51000. */
export const HEADER: Buffer = proxyHeader('v2', four)

/** What a socket says of its other end. */
export function whose({ remoteAddress, remotePort, remoteFamily }: Partial<Socket>): string {
  return `${remoteAddress} ${remotePort} ${remoteFamily}`
}

export interface Fronted {
  readonly port: number
  readonly lines: Line[]
  readonly undo: Detach
  /** All connections as they come from the system, by their clients' ports. */
  readonly raw: ReadonlyMap<number | undefined, Socket>
  /** Those that the server was shown. */
  readonly shown: Socket[]
}

/** A server whose PROXY headers are read; closed behind the test. */
export async function fronted(
  t: TestContext,
  server: Server,
  options: Partial<AcceptProxyOptions> = {}
): Promise<Fronted> {
  const { log, lines } = recorder()
  const shown: Socket[] = []
  server.on('connection', (socket: Socket) => shown.push(socket))
  const undo = acceptProxy(server, { from: ['loopback'], log, ...options })
  const raw = new Map<number | undefined, Socket>()
  const hooked = server as unknown as Hooked
  const { emit } = hooked
  hooked.emit = (event, ...args) => {
    if (event === 'connection') raw.set((args[0] as Socket).remotePort, args[0] as Socket)
    return emit.call(server, event, ...args)
  }
  return { port: await listen(t, server), lines, undo, raw, shown }
}

/** Connects a client that has said nothing yet; destroyed behind the test. */
export async function plainClient(t: TestContext, port: number, from?: string): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress: from ?? '127.0.0.1', allowHalfOpen: true })
  socket.setNoDelay().on('error', () => {})
  destroyAfter(t, socket)
  await once(socket, 'connect')
  return socket
}

/** Waits until the server has read so much of a client's bytes, or has destroyed its connection. */
export async function arrived({ raw }: Fronted, client: Socket, bytes: number): Promise<void> {
  const { localPort } = client
  await until(() => {
    const socket = raw.get(localPort)
    return socket !== undefined && (socket.destroyed || socket.bytesRead >= bytes)
  }, `${bytes} bytes are there`)
}

/** Starts TLS on a connection, with `prefix` in one piece with the first of its bytes. */
export async function startTls(socket: Socket, prefix: Buffer, options: object = {}): Promise<TLSSocket> {
  let before: Buffer | undefined = prefix
  const duplex = new Duplex({
    read: () => void socket.resume(),
    write: (chunk: Buffer, _, done) => {
      socket.write(before ? Buffer.concat([before, chunk]) : chunk, () => done())
      before = undefined
    },
    final: done => void socket.end(done)
  })
  socket.on('data', chunk => void duplex.push(chunk)).on('end', () => duplex.push(null))
  socket.on('close', () => duplex.destroy())
  const secure = connectTls({ socket: duplex, ca: certificate.cert, servername: 'localhost', ...options })
  secure.on('error', () => {})
  await within(once(secure, 'secureConnect'), 'TLS')
  return secure
}
