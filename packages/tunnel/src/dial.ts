import type { NetConnectOpts, Socket } from 'node:net'
import { connect as connectPlain, isIP } from 'node:net'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { connect as connectTls } from 'node:tls'
import { isExhausted } from '@ringway/core/errors'
import { TunnelError } from './errors.ts'

/** TLS towards a backend. Where the same object is used again, so is the last TLS session of each place. */
export type TargetTls = Pick<ConnectionOptions, 'servername' | 'ca' | 'cert' | 'key' | 'rejectUnauthorized'>

/** Where a backend listens. */
export type Target = ({ readonly host: string; readonly port: number } | { readonly socketPath: string }) & {
  /**
   * With it the connection is TLS. The name sent (SNI) and looked for in the certificate is `servername`, by default
   * `host` unless that is an address; certificates are checked unless `rejectUnauthorized` is false.
   */
  readonly tls?: TargetTls | undefined
  /** Written as soon as TCP stands, before TLS: a PROXY header, as `proxyHeader` gives it. Default: nothing. */
  readonly proxyHeader?: Buffer | undefined
}

/** How long a wait may take, and what ends it before. */
export interface Wait {
  /** Milliseconds; 0 is no limit. */
  readonly timeout: number
  /** Ends the wait; the promise then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/** Milliseconds of silence after which the kernel asks whether the other side is still there. */
export const KEEP_ALIVE = 30_000

/**
 * Connects to a backend, TLS included. The socket has half-close, no-delay and TCP keep-alive on.
 *
 * @param target - where to
 * @param wait - the limit in milliseconds for all of it (name look-up, TCP, TLS), and a signal
 * @throws {@link TunnelError} `ERR_RINGWAY_CONNECT_FAILED`, `ERR_RINGWAY_CONNECT_TIMEOUT` or `ERR_RINGWAY_EXHAUSTED`; the
 * signal's reason
 */
export async function dial(target: Target, wait: Wait): Promise<Socket> {
  wait.signal?.throwIfAborted()
  return new Promise((resolve, reject) => {
    const where =
      'socketPath' in target ? { path: target.socketPath } : { host: target.host, port: target.port }
    const options = { ...where, allowHalfOpen: true }
    const header = target.proxyHeader
    let socket: Socket =
      target.tls && header === undefined ? dialTls(target, target.tls, options) : connectPlain(options)
    const timer = limit(wait.timeout, () => {
      const message = `${nameOf(target)} did not accept the connection within ${wait.timeout} ms`
      fail(new TunnelError('ERR_RINGWAY_CONNECT_TIMEOUT', message))
    })

    function follow(ready: 'connect' | 'secureConnect', then: () => void): void {
      socket.on('error', ignore) // for as long as the socket lives, whoever holds it
      socket.on(ready, then).on('error', refused).on('end', ended)
    }
    function leave(): void {
      socket.off('connect', introduce).off('connect', succeed).off('secureConnect', succeed)
      socket.off('error', refused).off('end', ended)
    }
    function settle(): void {
      clearTimeout(timer)
      leave()
      wait.signal?.removeEventListener('abort', abort)
    }
    function introduce(): void {
      // TLS takes the socket over once the header is with the kernel.
      socket.write(header!, target.tls ? encrypt : undefined)
      if (!target.tls) succeed()
    }
    function encrypt(error?: Error | null): void {
      if (error || socket.destroyed) return // told by its own events
      leave()
      // Node goes by the socket; the host is for the check of the certificate.
      socket = dialTls(target, target.tls!, { ...options, socket })
      follow('secureConnect', succeed)
    }
    function succeed(): void {
      settle()
      // Not options of `connect`: those would be lost on a TLS socket.
      socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE)
      resolve(socket)
    }
    function fail(reason: unknown): void {
      settle()
      socket.destroy()
      // A signal may be aborted with any reason, as `throwIfAborted` throws it.
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors
      reject(reason)
    }
    function refused(cause: Error): void {
      const message = `Connecting to ${nameOf(target)} failed: ${reasonOf(cause)}`
      const code = isExhausted(cause) ? 'ERR_RINGWAY_EXHAUSTED' : 'ERR_RINGWAY_CONNECT_FAILED'
      fail(new TunnelError(code, message, { cause }))
    }
    function ended(): void {
      refused(new Error('closed by the backend'))
    }
    function abort(): void {
      fail(wait.signal!.reason)
    }
    if (header !== undefined) follow('connect', introduce)
    else follow(target.tls ? 'secureConnect' : 'connect', succeed)
    wait.signal?.addEventListener('abort', abort)
  })
}

/** The last session of each place that was dialled with these options. */
const sessions = new WeakMap<TargetTls, Map<string, Buffer>>()

/** Takes up the last session there is: no certificates pass, and nobody computes a signature. */
function dialTls(target: Target, tls: TargetTls, options: NetConnectOpts & { socket?: Socket }): TLSSocket {
  const known = sessions.get(tls) ?? new Map<string, Buffer>()
  sessions.set(tls, known)
  const name = nameOf(target)
  const session = known.get(name)
  const socket = connectTls({ ...secure(target, tls), ...options, ...(session && { session }) })
  const forget = (): void => void known.delete(name)
  return socket
    .on('session', (latest: Buffer) => void known.set(name, latest)) // told only of servers that were checked
    .once('error', forget)
    .once('secureConnect', () => socket.off('error', forget))
}

function secure(target: Target, tls: TargetTls): ConnectionOptions {
  // Node sends no name by itself: `tls.connect` takes `host` for the check of the certificate only.
  const name = 'socketPath' in target || isIP(target.host) !== 0 ? undefined : target.host
  return {
    ...tls,
    servername: tls.servername ?? name,
    rejectUnauthorized: tls.rejectUnauthorized ?? true,
    // A tunnel is HTTP/1.1 to the backend, always: RFC 6455's upgrade does not exist in another.
    ALPNProtocols: ['http/1.1']
  }
}

/** Outside of `dial`, all of which a socket would keep as long as it lives. */
function ignore(): void {}

/** Calls `expire` after `timeout` milliseconds, or never when that is 0. */
export function limit(timeout: number, expire: () => void): NodeJS.Timeout | undefined {
  return timeout > 0 ? setTimeout(expire, timeout) : undefined
}

/** A target as people write it. */
export function nameOf(target: Target): string {
  if ('socketPath' in target) return `unix:${target.socketPath}`
  return target.host.includes(':') ? `[${target.host}]:${target.port}` : `${target.host}:${target.port}`
}

/** An error's message; that of a failed dial to several addresses is empty, its errors' are not. */
function reasonOf(error: Error): string {
  if (error instanceof AggregateError) return (error.errors as Error[]).map(each => each.message).join(', ')
  return error.message
}
