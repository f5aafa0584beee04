import type { RequestHead } from './admit.ts'
import { isFieldValue, isToken, namedInConnection } from './fields.ts'

/** What the backend is told of the client, in `X-Forwarded-…` headers set anew. */
export interface Forwarding {
  /** The client's address; left out when it has none (a Unix socket). */
  readonly for: string | undefined
  /** How the client spoke to us. */
  readonly proto: 'http' | 'https'
  /** The client's `Host` header. */
  readonly host: string | undefined
  /** Headers that are set in place of all others of their name, or left out where `undefined`. Default: none. */
  readonly changes?: Readonly<Record<string, string | undefined>>
}

/** Headers that speak of one hop only: RFC 9110 section 7.6.1, and those that older software sends. */
const HOP_BY_HOP = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade'
])

/** What any client can write about itself, so what no backend may believe: set anew, or not sent at all. */
function isForwarding(name: string): boolean {
  // A CGI-like backend sees no difference between `-` and `_`.
  const dashed = name.replaceAll('_', '-')
  return dashed.startsWith('x-forwarded-') || dashed === 'forwarded' || dashed === 'x-real-ip'
}

/**
 * A client's headers as a backend gets them: hop-by-hop headers and all that `Connection` names are dropped,
 * forwarding headers are set anew. `Host` and everything else stay as sent, in their order.
 *
 * @param raw - names and values in turn
 * @param forwarding - what the backend is told of the client
 * @returns names and values in turn
 */
export function requestHeaders(raw: readonly string[], forwarding: Forwarding): string[] {
  const named = namedInConnection(raw)
  const headers: string[] = []
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase()
    // 'expect' is between the client and us: Node has answered it.
    if (HOP_BY_HOP.has(name) || named.includes(name) || isForwarding(name) || name === 'expect') continue
    headers.push(raw[i]!, raw[i + 1]!)
  }
  if (forwarding.for !== undefined) headers.push('X-Forwarded-For', forwarding.for)
  headers.push('X-Forwarded-Proto', forwarding.proto)
  if (forwarding.host !== undefined) headers.push('X-Forwarded-Host', forwarding.host)
  return forwarding.changes === undefined ? headers : changed(headers, forwarding.changes)
}

/** What stays keeps its place; what is set stands where the first one of its name was, or at the end. */
function changed(raw: readonly string[], changes: Readonly<Record<string, string | undefined>>): string[] {
  const left = new Map(Object.entries(changes).map(change => [change[0].toLowerCase(), change]))
  const names = new Set(left.keys())
  const headers: string[] = []
  const set = ([name, value]: [string, string | undefined]): void => {
    if (value !== undefined) headers.push(name, value)
  }
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase()
    const change = left.get(name)
    left.delete(name)
    if (change !== undefined) set(change)
    else if (!names.has(name)) headers.push(raw[i]!, raw[i + 1]!)
  }
  for (const change of left.values()) set(change)
  return headers
}

/**
 * A backend's headers as the client gets them: without the hop-by-hop ones and those that `Connection` names.
 *
 * @param raw - names and values in turn
 * @returns names and values in turn; repeated headers (`Set-Cookie`) stay apart
 */
export function responseHeaders(raw: readonly string[]): string[] {
  const named = namedInConnection(raw)
  const headers: string[] = []
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase()
    if (!HOP_BY_HOP.has(name) && !named.includes(name)) headers.push(raw[i]!, raw[i + 1]!)
  }
  return headers
}

/**
 * The head of our own upgrade request, ready to be written as latin1.
 *
 * @param request - the client's, which {@link admit} let pass
 * @param forwarding - what the backend is told of the client
 * @throws `TypeError` when a value would break out of its line
 */
export function upgradeRequest(request: RequestHead, forwarding: Forwarding): string {
  const headers = requestHeaders(request.rawHeaders, forwarding)
  if (/[^\x21-\x7e\x80-\xff]/.test(request.target)) {
    throw new TypeError('The request target contains a forbidden character')
  }
  let head = `GET ${request.target} HTTP/1.1\r\n`
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    const value = headers[i + 1]!
    // A parser's headers are clean; those of a caller may not be.
    if (!isToken(name)) throw new TypeError(`${JSON.stringify(name)} is no header's name`)
    if (!isFieldValue(value)) throw new TypeError(`${name} contains a forbidden character`)
    // A body was refused by admit: a length of 0 says nothing.
    if (name.toLowerCase() !== 'content-length') head += `${name}: ${value}\r\n`
  }
  return `${head}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`
}
