import { connect as connectTcp } from 'node:net'
import type { Socket } from 'node:net'
import { addAbortSignal } from 'node:stream'
import { connect as connectTls } from 'node:tls'

import { addressText, serverName } from '../address.ts'
import type { ServerAddress } from '../address.ts'
import type { UpstreamServer } from '../server.ts'
import type { HealthConfig } from './config.ts'

/** Where a probe goes, and how it speaks TLS there. */
export interface Place extends Pick<UpstreamServer, 'address' | 'tls'> {
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
export function probePlace(server: Place, health: Pick<HealthConfig, 'port' | 'tls'>): Place {
  const { port, tls } = health
  const onPort = (address: ServerAddress): ServerAddress =>
    port === undefined || 'socketPath' in address ? address : { host: address.host, port }
  const address = onPort(server.address)
  const written = onPort(server.written ?? server.address)
  if (tls === undefined) return { address, written, tls: server.tls }
  if (tls === false) return { address, written, tls: undefined }
  const servername = serverName(written)
  return { address, written, tls: { ...(servername === undefined ? {} : { servername }), ...tls } }
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
export function dial({ address, tls }: Place, signal: AbortSignal, protocols: string[] = []): Dialled {
  const target = 'host' in address ? { host: address.host, port: address.port } : { path: address.socketPath }
  const alpn = protocols.length === 0 ? {} : { ALPNProtocols: protocols }
  const socket = tls === undefined ? connectTcp(target) : connectTls({ ...tls, ...target, ...alpn })
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
