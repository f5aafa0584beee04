import { parseAddress, writeAddress } from './address.ts'
import { Fields } from './fields.ts'
import { TOKEN, headerText, trim } from './header-text.ts'
import { ADDRESS_OPTIONS, addressName } from './keys.ts'
import type { KeyFunction, KeySource, RemoteAddressOptions } from './keys.ts'
import { parseNetworks } from './networks.ts'
import type { Networks } from './networks.ts'

/** Whom to believe about the client's address, and how that becomes a key. */
export interface ForwardedAddressOptions extends RemoteAddressOptions {
  /**
   * The proxies that are believed: addresses, networks such as `10.0.0.0/8` and `2001:db8::/32`, `loopback`
   * (127.0.0.0/8, ::1), `linklocal` (169.254.0.0/16, fe80::/10), `uniquelocal` (10.0.0.0/8, 172.16.0.0/12,
   * 192.168.0.0/16, fc00::/7), and `unix:` for a peer on a Unix socket. IPv4 networks also hold the mapped form
   * of their addresses. At least one; no default. nginx: `set_real_ip_from`.
   */
  trust: readonly string[]
  /**
   * The header that the proxies write: `x-forwarded-for`, or `forwarded` (RFC 7239). Only this one is read: what
   * the proxies don't write is the client's to forge. Default: `x-forwarded-for`. nginx: `real_ip_header`.
   */
  header?: 'x-forwarded-for' | 'forwarded'
}

/** A list that is read from its right end. Both take time in proportion to what they are asked about. */
interface Format {
  /** Where the last entry before `end` begins. */
  startOf(text: string, end: number): number
  /** The address that an entry tells. */
  address(entry: string): string | undefined
}

const FORMATS = new Map<unknown, Format>([
  [
    'x-forwarded-for',
    { startOf: (text, end) => text.lastIndexOf(',', end - 1) + 1, address: entry => nodeAddress(trim(entry)) }
  ],
  ['forwarded', { startOf: (text, end) => startOfLast(text, end, ','), address: elementAddress }]
])

/**
 * The client's address as key, where proxies stand between: for use without a gateway that has found it out, as
 * nginx's `real_ip_recursive on`.
 *
 * Begins with the socket's peer. As long as the address in hand is trusted, it takes the next one from the right
 * end of the header; the first that isn't trusted is the client. If all are trusted, it is the leftmost. What is no
 * address (`unknown`, `_hidden`, an empty or malformed entry) ends the walk, and the address in hand stays; a peer
 * on a Unix socket has none then, and the answer is `undefined`. So what a client writes into the header is never
 * read, unless the client is trusted itself.
 *
 * Lenient where proxies are: ports may be there or not, IPv6 with or without brackets, values of `Forwarded`
 * without quotes.
 *
 * @param options - `trust` is required; defaults: `header` `x-forwarded-for`, `mapped` false, `ipv6Prefix` 128
 * @throws ConfigError whose `field` is the option that can't be used, such as `trust[1]` for a network with bits
 *   set beyond its prefix
 */
export function forwardedAddress(options: ForwardedAddressOptions): KeyFunction {
  const fields = new Fields(options, '', ['trust', 'header', ...ADDRESS_OPTIONS])
  const trusted = parseNetworks(fields.get('trust'), fields.path('trust'))
  const name = addressName(fields)
  const header = fields.text('header') ?? 'x-forwarded-for'
  const format = FORMATS.get(header)
  if (format === undefined) throw fields.mismatch('header', [...FORMATS.keys()].join(' or '))

  return source => {
    const [client] = hopsOf(source, trusted, header, format)
    return client === undefined ? undefined : name(client)
  }
}

/**
 * The way that a request has come, as trusted proxies tell it by `X-Forwarded-For`: the client's address, then those of the
 * proxies, the nearest last, as {@link forwardedAddress} finds them. Empty for a peer on a Unix socket that tells nothing.
 *
 * @param trusted - the proxies that are believed
 */
export function forwardedHops(
  source: Pick<KeySource, 'address' | 'headers'>,
  trusted: Networks
): readonly string[] {
  const header = 'x-forwarded-for'
  return hopsOf(source, trusted, header, FORMATS.get(header)!)
}

function hopsOf(
  { address, headers }: Pick<KeySource, 'address' | 'headers'>,
  trusted: Networks,
  header: string,
  format: Format
): readonly string[] {
  const hops = address === undefined ? [] : [address]
  if (!trusted.has(address)) return hops
  const text = headerText(headers, header, ',')
  let end = text.length
  while (end >= 0) {
    const start = format.startOf(text, end)
    const next = format.address(text.slice(start, end))
    if (next === undefined) break
    hops.push(next)
    if (!trusted.has(next)) break
    end = start - 1
  }
  return hops.toReversed()
}

const BRACKETS = /^\[([\da-f]*:[^\]]*)\](?::(?:\d{1,5}|_[\w.-]+))?$/i
const IPV4_PORT = /^([\d.]+):(?:\d{1,5}|_[\w.-]+)$/

/** The address of a node (RFC 7239 section 6), port or not. IPv6 without brackets has no port. */
function nodeAddress(node: string): string | undefined {
  const address = BRACKETS.exec(node)?.[1] ?? IPV4_PORT.exec(node)?.[1] ?? node
  const groups = parseAddress(address)
  return groups === undefined ? undefined : writeAddress(groups)
}

/** `name=value`; the name, and the value in or without quotes. The repeats exclude each other: linear time. */
const PAIR = new RegExp(`^(${TOKEN})=(?:"([^"\\\\]*(?:\\\\.[^"\\\\]*)*)"|([^\\s",;\\\\]*))$`)

/**
 * The address that an element of `Forwarded` gives for `for` (RFC 7239 section 4). All of it must be well-formed
 * and `for` there once: else it isn't what a proxy wrote.
 */
function elementAddress(element: string): string | undefined {
  let node: string | undefined
  let end = element.length
  while (end >= 0) {
    const start = startOfLast(element, end, ';')
    const pair = trim(element.slice(start, end))
    end = start - 1
    if (pair === '') continue // the grammar allows for it
    const match = PAIR.exec(pair)
    if (match === null) return undefined
    if (match[1]!.toLowerCase() !== 'for') continue
    if (node !== undefined) return undefined
    node = match[2]?.replaceAll(/\\(.)/g, '$1') ?? match[3]!
  }
  return node === undefined ? undefined : nodeAddress(node)
}

/**
 * Where the last part before `end` begins, with separators in quotes left alone.
 *
 * Quotes are paired from the right, so that nothing a client sent can change how the elements to its right are
 * read. A client may send `for="evil`, to which the proxy appends `, for=203.0.113.7`: from the left this is one
 * open quote, from the right it is the proxy's element and then something malformed. It is safe, since an element
 * that is well-formed reads the same from both ends. An opening quote follows a `=`; a quote within the text
 * follows an odd number of backslashes; the closing one follows an even number. A quote left open runs to the
 * beginning, as a part that {@link PAIR} then refuses.
 */
function startOfLast(text: string, end: number, separator: string): number {
  let quoted = false
  for (let index = end - 1; index >= 0; index--) {
    if (text[index] === separator && !quoted) return index + 1
    if (text[index] === '"' && !isEscaped(text, index)) quoted = !quoted
  }
  return 0
}

/** Whether an odd number of backslashes stands before. */
function isEscaped(text: string, index: number): boolean {
  let start = index
  while (text[start - 1] === '\\') start--
  return (index - start) % 2 === 1
}
