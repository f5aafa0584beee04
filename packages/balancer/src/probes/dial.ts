import { connect as connectTcp } from 'node:net'
import type { Socket } from 'node:net'
import { addAbortSignal } from 'node:stream'
import { connect as connectTls } from 'node:tls'

import { addressText, serverName } from '../address.ts'
import type { ServerAddress } from '../address.ts'
import type { UpstreamServer } from '../server.ts'
import type { HealthConfig } from './config.ts'

/** Where a probe goes, and how it speaks there. */
export interface Place extends Pick<UpstreamServer, 'address' | 'tls' | 'sendProxy'> {
  /** The address before it was looked up. Default: `address` */
  readonly written?: ServerAddress
}

/** A connection of a probe's own. */
export interface Dialled {
  readonly socket: Socket
  /** Fulfilled when the connection is there, with its TLS handshake done. Rejects with what prevents it. */
  readonly ready: Promise<void>
  /** Fulfilled when the socket is gone. Never rejects. */
  readonly closed: Promise<void>
  /** Destroys the socket, and waits until it is gone. */
  end(): Promise<void>
}

/** The server's own place, but for what the probes' options say otherwise. */
export function probePlace(server: Place, health: Pick<HealthConfig, 'port' | 'tls' | 'sendProxy'>): Place {
  const { port, tls } = health
  const onPort = (address: ServerAddress): ServerAddress =>
    port === undefined || 'socketPath' in address ? address : { host: address.host, port }
  const address = onPort(server.address)
  const written = onPort(server.written ?? server.address)
  // As HAProxy: what listens on another port may be another program.
  const inherited = address === server.address ? server.sendProxy : undefined
  const sendProxy = (health.sendProxy ?? inherited) || undefined
  if (tls === undefined) return { address, written, tls: server.tls, sendProxy }
  if (tls === false) return { address, written, tls: undefined, sendProxy }
  const servername = serverName(written)
  return { address, written, sendProxy, tls: { ...(servername === undefined ? {} : { servername }), ...tls } }
}

/** What stands for the place in a Host header. */
export function hostHeader({ address, written = address }: Place): string {
  return 'host' in written ? addressText(written) : 'localhost'
}

/**
 * Connects to a place. The signal ends the socket at any time, whoever uses it by then: undici forgets about a signal
 * while it connects. The socket doesn't keep the process alive: an upstream is nothing to wait for.
 *
 * @param place - where to
 * @param signal - the probe's end
 * @param protocols - offered by ALPN, where TLS is on. Default: none
 */
export function dial(place: Place, signal: AbortSignal, protocols: string[] = []): Dialled {
  const { tls } = place
  const socket = open(place, protocols)
  addAbortSignal(signal, socket).unref()
  const ready = new Promise<void>((resolve, reject) => {
    // Stays to the end: what befalls a socket after its probe is nobody's concern.
    socket.on('error', reject)
    socket.once(tls === undefined ? 'connect' : 'secureConnect', resolve)
  })
  ready.catch(() => {})
  const closed = new Promise<void>(resolve => socket.once('close', () => resolve()))
  return {
    socket,
    ready,
    closed,
    end() {
      socket.destroy()
      return closed
    }
  }
}

/** PROXY headers of a connection that stands for nobody. */
const NOBODY = {
  v1: Buffer.from('PROXY UNKNOWN\r\n'),
  v2: Buffer.from('\r\n\r\n\0\r\nQUIT\n\x20\0\0\0', 'latin1')
}

function open({ address, tls, sendProxy }: Place, protocols: string[]): Socket {
  const target = 'host' in address ? { host: address.host, port: address.port } : { path: address.socketPath }
  const secure = { ...tls, ...target, ...(protocols.length === 0 ? {} : { ALPNProtocols: protocols }) }
  if (sendProxy === undefined) return tls === undefined ? connectTcp(target) : connectTls(secure)
  const socket = connectTcp(target).unref()
  if (tls === undefined) {
    socket.write(NOBODY[sendProxy]) // waits for the connection, and what is written later waits behind it
    return socket
  }
  // TLS writes past the socket, once it hears of the connection, which is after this.
  socket.once('connect', () => socket.write(NOBODY[sendProxy])).on('error', () => {})
  return connectTls({ ...secure, socket })
}
