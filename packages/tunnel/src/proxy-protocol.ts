import { isIPv4, parseAddress, writeAddress } from '@ringway/core/address'

/** One end of a connection. */
export interface Endpoint {
  /** IPv4 or IPv6, without brackets. */
  readonly address: string
  /** 0 to 65535. */
  readonly port: number
}

/** Both ends of a client's connection, as a PROXY header tells them. */
export interface ConnectionEnds {
  /** The client. */
  readonly source: Endpoint
  /** What the client connected to. */
  readonly destination: Endpoint
}

/** The forms of the PROXY header: a line of text, or bytes. */
export type ProxyVersion = 'v1' | 'v2'

/** What a v1 header begins with. */
export const V1_START: Buffer = Buffer.from('PROXY ')

/** What a v2 header begins with. */
export const V2_START: Buffer = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')

/** Bytes of a v2 header before its addresses. */
export const V2_FIXED = 16

/** The bytes that say who is connected, and how. */
export const LOCAL = 0x20
export const PROXY = 0x21
export const TCP4 = 0x11
export const TCP6 = 0x21

/**
 * Writes a header of HAProxy's PROXY protocol, which goes before all else on a connection, TLS included. IPv4 inside IPv6
 * is IPv4; where the ends aren't of one family, both are told as IPv6.
 *
 * @param version - `v1` is one line of at most 107 bytes, `v2` has 16 to 52 bytes
 * @param ends - of the client's connection. Without them, or when one of them has no address or port, the header says that
 * the connection stands for itself: `UNKNOWN` in v1, `LOCAL` in v2
 * @see https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt
 */
export function proxyHeader(version: ProxyVersion, ends?: ConnectionEnds): Buffer {
  const source = groupsOf(ends?.source)
  const destination = groupsOf(ends?.destination)
  if (ends === undefined || source === undefined || destination === undefined) return local(version)
  const isFour = isIPv4(source) && isIPv4(destination)
  const ports = [ends.source.port, ends.destination.port] as const
  if (version === 'v1') {
    const texts = [source, destination].map(groups => {
      const text = writeAddress(groups)
      return isFour || text.includes(':') ? text : `::ffff:${text}`
    })
    return Buffer.from(`PROXY TCP${isFour ? 4 : 6} ${texts.join(' ')} ${ports.join(' ')}\r\n`)
  }
  const words = [...source.slice(isFour ? 6 : 0), ...destination.slice(isFour ? 6 : 0), ...ports]
  return Buffer.concat([
    V2_START,
    Buffer.from([PROXY, isFour ? TCP4 : TCP6]),
    ...[words.length * 2, ...words].map(word)
  ])
}

function local(version: ProxyVersion): Buffer {
  return version === 'v1'
    ? Buffer.from('PROXY UNKNOWN\r\n')
    : Buffer.concat([V2_START, Buffer.from([LOCAL, 0, 0, 0])])
}

function groupsOf(end: Endpoint | undefined): number[] | undefined {
  if (end === undefined || !Number.isInteger(end.port) || end.port < 0 || end.port > 65_535) return undefined
  return parseAddress(end.address)
}

function word(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff])
}
