import { canonicalAddress, isIPv4, parseAddress, writeAddress } from './address.ts'
import { Fields } from './fields.ts'
import { firstAddress } from './networks.ts'

/** What a key function may look at. The same for HTTP/1.1 and HTTP/2, for upgrades and plain requests. */
export interface KeySource {
  /**
   * The client's address: the socket's, or the one that a trusted proxy told. `undefined` where there is none,
   * as on a Unix socket.
   */
  readonly address: string | undefined
  /** `GET` for an upgrade over HTTP/1.1. */
  readonly method: string
  /** Path and query as the client sent them, nothing decoded. */
  readonly target: string
  /**
   * Names in lower case. Node reads values as latin1: for the bytes that a client sent as UTF-8, use
   * `Buffer.from(value, 'latin1').toString()`. `header()` and `cookie()` do so.
   */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** The host's own object: Node's `IncomingMessage` or `Http2ServerRequest`, or a framework's request. */
  readonly request: unknown
}

/**
 * Names the key of a request: what must go to the same server has the same key. Keys are hashed as UTF-8,
 * byte by byte: no folding of case, no normalisation. `undefined` and the empty text mean that the request has no
 * key; it then goes to the upstream's key-free strategy. A throw or a rejection makes the gateway answer 500.
 */
export type KeyFunction = (source: KeySource) => string | undefined | Promise<string | undefined>

/** How an address becomes a key. */
export interface RemoteAddressOptions {
  /**
   * Whether an IPv4 client is named `::ffff:192.0.2.7`, as nginx names it on a dual-stack listener
   * (`listen [::]:80 ipv6only=off`). Default: false, so `192.0.2.7`, as on an IPv4 listener.
   */
  mapped?: boolean
  /**
   * How many bits of an IPv6 address count: an integer of 1 to 128. With 64 all addresses of a /64, which is what
   * one household or one machine usually has, have one key. Default: 128, the whole address, as in nginx.
   */
  ipv6Prefix?: number
}

/**
 * The client's address as key, like nginx's `hash $remote_addr consistent`, in the form of
 * {@link canonicalAddress}: one client has one key, on IPv4 and on dual-stack listeners.
 *
 * With `ipv6Prefix` the key is the first address of the client's network: `2001:db8:1:2::` for 64. IPv4 is always
 * taken whole. What is no address is the key as it is.
 *
 * @param options - defaults: `mapped` false, `ipv6Prefix` 128
 * @throws ConfigError whose `field` is the option that can't be used, or `options` for what is no object
 */
export function remoteAddress(options: RemoteAddressOptions = {}): KeyFunction {
  const name = addressName(new Fields(options, '', ADDRESS_OPTIONS))
  return ({ address }) => (address === undefined ? undefined : name(address))
}

/** The names of {@link RemoteAddressOptions}. */
export const ADDRESS_OPTIONS: readonly string[] = ['mapped', 'ipv6Prefix']

/** The key that an address has under the fields of {@link RemoteAddressOptions}. */
export function addressName(fields: Fields): (address: string) => string {
  const mapped = fields.boolean('mapped', false)
  const bits = fields.integer('ipv6Prefix', 128, 1, 128)
  if (!mapped && bits === 128) return canonicalAddress // which needn't take IPv4 apart
  return address => {
    const groups = parseAddress(address)
    if (groups === undefined) return address
    if (isIPv4(groups)) return `${mapped ? '::ffff:' : ''}${writeAddress(groups)}`
    return writeAddress(firstAddress(groups, bits))
  }
}
