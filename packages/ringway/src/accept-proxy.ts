import { Server, Socket } from 'node:net'
import { ConfigError } from '@ringway/core'
import { Fields } from '@ringway/core/fields'
import type { Networks } from '@ringway/core/networks'
import { parseNetworks } from '@ringway/core/networks'
import type { Endpoint } from '@ringway/tunnel'
import { ProxyHeaderParser, TunnelError } from '@ringway/tunnel'
import type { Hooked } from './dispatcher.ts'
import { replace } from './dispatcher.ts'
import type { Detach } from './gateway.ts'
import type { Log } from './options.ts'
import { checkLog } from './options.ts'

/** What {@link acceptProxy} takes. An unknown name is an error, never ignored. */
export interface AcceptProxyOptions {
  /**
   * The peers whose connections begin with a PROXY header: addresses, networks such as `10.0.0.0/8` and `2001:db8::/32`,
   * `loopback`, `linklocal`, `uniquelocal`, and `unix:` for peers on a Unix socket, as in {@link forwardedAddress}. At least
   * one; no default. Connections of all others are left alone, so that a header of theirs is what any nonsense is to the
   * server: a bad request, never believed. nginx: `set_real_ip_from`. HAProxy:
   * `tcp-request connection expect-proxy layer4 if …`.
   */
  readonly from: readonly string[]
  /**
   * Milliseconds from the connection to the end of its header. Default 5,000. nginx: `client_header_timeout`, or
   * `proxy_protocol_timeout` of the stream module. HAProxy: `timeout client`.
   */
  readonly timeout?: number
  /** Where refused connections are told, as `warn`. Default: errors to stderr, all else nowhere. */
  readonly log?: Log
}

/** The options, checked, with every default filled in. */
export interface AcceptProxy {
  readonly from: Networks
  readonly timeout: number
}

/** Under this symbol a server says that its headers are read, to all copies of this package. */
const KEY: unique symbol = Symbol.for('ringway.accept-proxy.1') as never

/** A connection has one header, also where its server is shown it a second time, or hands it to another one. */
const begun = new WeakSet<Socket>()

/**
 * Reads the PROXY header, v1 or v2, that connections of trusted peers begin with, before the server sees anything of them:
 * before TLS, too. The client that it tells is then what `remoteAddress`, `remotePort` and `remoteFamily` of the socket say to
 * all that comes after, and those of the TLS socket around it: keys, forwarding headers, logs, your app. `localAddress` stays
 * the server's own, as with nginx. With `LOCAL` and `UNKNOWN`, and what isn't TCP, the peer keeps its own address. TLVs are
 * skipped.
 *
 * A connection whose header is missing, malformed, cut off or late is destroyed, and told in one line of the log with its
 * `code`: `ERR_RINGWAY_BAD_PROXY_HEADER` or `ERR_RINGWAY_PROXY_HEADER_TIMEOUT`. One that ends without a byte is a probe, and
 * not worth a line.
 *
 * @param server - of node:net, node:tls, node:http, node:https or node:http2, listening or not
 * @param options - see each field
 * @returns undoes it, for connections made from then on; those whose header isn't complete yet are destroyed
 * @throws {@link ConfigError} `ERR_RINGWAY_CONFIG`, with the first bad option as its `field`, or `server` when its headers are
 * read already
 */
export function acceptProxy(server: Server, options: AcceptProxyOptions): Detach {
  const fields = new Fields(options, '', ['from', 'timeout', 'log'])
  const undo = readHeaders(server, checkAcceptProxy(fields), checkLog(fields))
  return Object.assign(undo, { [Symbol.dispose]: undo })
}

/** @throws ConfigError that names the first bad field */
export function checkAcceptProxy(fields: Fields): AcceptProxy {
  return {
    from: parseNetworks(fields.get('from'), fields.path('from')),
    timeout: fields.milliseconds('timeout', 5_000, 1)
  }
}

/** Does what {@link acceptProxy} says, with options that are checked. */
export function readHeaders(server: Server, { from, timeout }: AcceptProxy, log: Log): () => void {
  if (!(server instanceof Server)) {
    throw new ConfigError(
      'server',
      'must be a server of node:net, node:tls, node:http, node:https or node:http2'
    )
  }
  const holder = server as Server & { [KEY]?: boolean }
  if (holder[KEY]) throw new ConfigError('server', 'has its PROXY headers read already: undo that first')
  holder[KEY] = true

  const waiting = new Map<Socket, () => void>()
  const hooked = server as unknown as Hooked
  const { emit: next } = hooked
  let isOn = true
  const restore = replace(hooked, 'emit', (event, ...args) => {
    const [socket] = args
    if (event !== 'connection' || !isOn || !(socket instanceof Socket))
      return next.call(server, event, ...args)
    if (begun.has(socket) || !from.has(socket.remoteAddress)) return next.call(server, event, ...args)
    begun.add(socket)
    const cut = takeHeader(socket, timeout, {
      taken: () => next.call(server, event, ...args),
      failed: (error, peer) => log.warn({ ...peer, code: error.code, error }, 'PROXY header refused'),
      over: () => waiting.delete(socket)
    })
    waiting.set(socket, cut)
    return true
  })
  return () => {
    if (!isOn) return
    isOn = false
    restore() // where somebody stands in front of us, ours stays behind and lets everything pass
    holder[KEY] = false
    for (const cut of waiting.values()) cut()
  }
}

/** What becomes of a header. */
interface Outcome {
  /** Whose it is is told, and the socket is as it was, but for the header. */
  taken(): void
  /** The socket is destroyed. */
  failed(error: TunnelError, peer: { address: string | undefined; port: number | undefined }): void
  /** First of all, whichever it is. */
  over(): void
}

/**
 * Takes the header off a connection.
 *
 * @returns destroys the connection, and tells nobody
 */
function takeHeader(socket: Socket, limit: number, outcome: Outcome): () => void {
  const parser = new ProxyHeaderParser()
  const peer = { address: socket.remoteAddress, port: socket.remotePort }

  const stop = (): void => {
    clearTimeout(timer)
    socket.off('readable', read).off('end', cutOff).off('close', cutOff)
    outcome.over()
  }
  const cut = (): void => {
    stop()
    socket.destroy()
  }
  const fail = (error: TunnelError): void => {
    cut()
    outcome.failed(error, peer)
  }
  const cutOff = (): void => {
    if (parser.started) fail(new TunnelError('ERR_RINGWAY_BAD_PROXY_HEADER', 'The PROXY header was cut off'))
    else cut()
  }
  const read = (): void => {
    for (;;) {
      const chunk = socket.read() as Buffer | null
      if (chunk === null) return
      let header
      try {
        header = parser.push(chunk)
      } catch (error) {
        return fail(error as TunnelError)
      }
      if (!header) continue
      stop()
      // At once, as is the event: else a FIN that is here already would be told to nobody, and its bytes lost.
      if (header.rest.length > 0) socket.unshift(header.rest)
      if (header.ends) tell(socket, header.ends.source)
      outcome.taken()
      socket.off('error', ignore) // the server's own are there now
      return
    }
  }
  const timer = setTimeout(() => {
    fail(new TunnelError('ERR_RINGWAY_PROXY_HEADER_TIMEOUT', `No whole PROXY header came within ${limit} ms`))
  }, limit)
  // Not 'data': that would leave the stream flowing, or paused in a way that the server's listeners don't undo.
  socket.on('error', ignore).on('readable', read).on('end', cutOff).on('close', cutOff)
  return cut
}

function ignore(): void {}

/** Node's own socket asks its handle, and a TLS socket asks the handle of the socket that it is around. */
interface Handled {
  readonly _handle?: { getpeername?: (out: object) => number } | null
}

/**
 * Makes a socket say whose it is. Plain sockets get properties of their own. A TLS socket, which is made later, and by Node,
 * reads the address off the handle of the plain one: undocumented, with no other way to be there in time for all.
 */
function tell(socket: Socket, { address, port }: Endpoint): void {
  const family = address.includes(':') ? 'IPv6' : 'IPv4'
  Object.defineProperties(socket, {
    remoteAddress: { value: address, configurable: true },
    remotePort: { value: port, configurable: true },
    remoteFamily: { value: family, configurable: true }
  })
  const { _handle: handle } = socket as Handled
  if (handle) handle.getpeername = out => (Object.assign(out, { address, port, family }), 0)
}
