import { randomBytes } from 'node:crypto'
import type { Offer, RequestHead } from './admit.ts'
import { admit } from './admit.ts'
import { TunnelError } from './errors.ts'
import { tokens, valuesOf } from './fields.ts'

/** Headers that speak of one connection, which HTTP/2 has no use for (RFC 9113 section 8.2.2). */
const CONNECTION_SPECIFIC = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade'
])

/** What an extended CONNECT comes to in HTTP/1.1. */
export interface AdmittedConnect {
  /** A handshake that {@link admit} lets pass, with a `Sec-WebSocket-Key` of our own; `method` stays `CONNECT`. */
  readonly head: RequestHead
  /** What the client offered, with the same key. */
  readonly offer: Offer
}

/**
 * Reads a client's extended CONNECT strictly: RFC 8441 sections 4 and 5, and all that {@link admit} asks of a handshake.
 *
 * @param rawHeaders - names and values in turn, pseudo-headers among them, as of Node's 'stream' event
 * @returns the handshake for the backend
 * @throws {@link TunnelError} `ERR_RINGWAY_BAD_HANDSHAKE` (400) or `ERR_RINGWAY_BAD_VERSION` (426), whose message
 * names the fault in one line
 */
export function admitConnect(rawHeaders: readonly string[]): AdmittedConnect {
  const one = (name: string): string | undefined => {
    const values = valuesOf(rawHeaders, name)
    return values.length === 1 ? values[0] : undefined
  }
  if (one(':method') !== 'CONNECT') throw bad('the method must be CONNECT')
  if (one(':protocol') !== 'websocket') throw bad('the :protocol must be "websocket"')
  if (!/^https?$/.test(one(':scheme') ?? '')) throw bad('the :scheme must be "http" or "https"')
  const target = one(':path') ?? ''
  const authority = one(':authority')
  if (authority === undefined) throw bad('there must be exactly one :authority')
  if (valuesOf(rawHeaders, 'host').some(host => !isSameHost(host, authority))) {
    throw bad('a Host header must be the same as :authority')
  }
  const specific = specificHeader(rawHeaders)
  if (specific !== undefined) throw bad(`${specific} is no header of HTTP/2`)
  if (valuesOf(rawHeaders, 'content-length').length > 0) throw bad('a WebSocket handshake has no body')

  const key = randomBytes(16).toString('base64')
  const sent = plainHeaders(rawHeaders)
  const headers: string[] = []
  for (let i = 0; i < sent.length; i += 2) {
    // HTTP/2 has neither: what a client writes there is no part of any handshake.
    const isOfHandshake = /^sec-websocket-(?:key|accept)$/i.test(sent[i]!)
    if (!isOfHandshake) headers.push(sent[i]!, sent[i + 1]!)
  }
  headers.push('Sec-WebSocket-Key', key)
  const upgrade = ['Connection', 'Upgrade', 'Upgrade', 'websocket']
  const offer = admit({ method: 'GET', target, httpVersion: '1.1', rawHeaders: [...headers, ...upgrade] })
  return { head: { method: 'CONNECT', target, httpVersion: '2.0', rawHeaders: headers }, offer }
}

/**
 * A request's headers of HTTP/2 as HTTP/1.1 has them: pseudo-headers are left out, `:authority` is `Host`, and a cookie that
 * came in pieces is one again (RFC 9113 sections 8.2.3 and 8.3.1).
 *
 * @param rawHeaders - names and values in turn, pseudo-headers among them
 * @returns names and values in turn
 */
export function plainHeaders(rawHeaders: readonly string[]): string[] {
  const [authority] = valuesOf(rawHeaders, ':authority')
  const headers = authority === undefined ? [] : ['Host', authority]
  const cookies: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!
    const value = rawHeaders[i + 1]!
    if (name.startsWith(':')) continue
    if (name === 'host' && authority !== undefined && isSameHost(value, authority)) continue
    if (name === 'cookie') cookies.push(value)
    else headers.push(name, value)
  }
  if (cookies.length > 0) headers.push('cookie', cookies.join('; '))
  return headers
}

/**
 * The headers of an answer as HTTP/2 has them: without those of the handshake in HTTP/1.1 and of the connection.
 *
 * @param rawHeaders - names and values in turn
 * @returns names and values in turn
 */
export function streamHeaders(rawHeaders: readonly string[]): string[] {
  const headers: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase()
    if (CONNECTION_SPECIFIC.has(name) || name === 'sec-websocket-accept') continue
    headers.push(rawHeaders[i]!, rawHeaders[i + 1]!)
  }
  return headers
}

/** The first header that a request of HTTP/2 may not have. */
function specificHeader(rawHeaders: readonly string[]): string | undefined {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase()
    if (CONNECTION_SPECIFIC.has(name)) return name
    if (name === 'te' && tokens(rawHeaders[i + 1]!).some(token => token !== 'trailers')) return name
  }
  return undefined
}

function isSameHost(host: string, authority: string): boolean {
  return host.toLowerCase() === authority.toLowerCase()
}

function bad(fault: string): TunnelError {
  return new TunnelError('ERR_RINGWAY_BAD_HANDSHAKE', `Bad WebSocket handshake: ${fault}`)
}
