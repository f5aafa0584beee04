import { isIPv4, parseAddress } from './address.ts'
import { ConfigError } from './errors.ts'
import { show } from './fields.ts'

/** A set of networks that an address may be in. */
export interface Networks {
  /**
   * Whether the address is in one of the networks. IPv4 may be plain or mapped. What is no address is in none;
   * `undefined`, which is what the peer on a Unix socket has, is in those that list `unix:`. Never throws.
   */
  has(address: string | undefined): boolean
}

interface Network {
  /** Of its first address. */
  readonly groups: readonly number[]
  /** How many bits count, of 128 for IPv4 too. */
  readonly bits: number
  readonly ipv4: boolean
}

/** The names that Express knows (`proxy-addr`), so that its lists can be taken over. */
const NAMED = new Map<unknown, readonly string[]>([
  ['loopback', ['127.0.0.0/8', '::1/128']],
  ['linklocal', ['169.254.0.0/16', 'fe80::/10']],
  ['uniquelocal', ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7']]
])

/** nginx's word for a peer on a Unix socket. */
const UNIX = 'unix:'

/** No zone: it is a name for a network, not for a part of one. No leading zeros, which may mean octal. */
const CIDR = /^([^/%]+)(?:\/(0|[1-9]\d{0,2}))?$/

/** The bits of IPv6 that stand before a mapped IPv4 address. */
const MAPPED_BITS = 96

/**
 * The networks that a list names. Each text is an address, a network such as `10.0.0.0/8` or `2001:db8::/32`, one
 * of `loopback`, `linklocal` and `uniquelocal`, or `unix:`. Networks of IPv4 hold IPv4 only, those of IPv6 IPv6
 * only: `::/0` has no IPv4 address in it.
 *
 * @param list - what the user gave
 * @param field - where it stands, for errors
 * @throws ConfigError whose `field` is the list's, when it is no array or empty, or that of the text that is none
 *   of these, such as `trust[1]`
 */
export function parseNetworks(list: unknown, field: string): Networks {
  if (!Array.isArray(list) || list.length === 0) {
    throw new ConfigError(field, `must be a list that is not empty, not ${show(list)}`)
  }
  const texts: readonly unknown[] = list
  const networks = texts.flatMap((text, index) => parseEntry(text, `${field}[${index}]`))
  const unix = texts.includes(UNIX)
  return {
    has(address) {
      if (address === undefined) return unix
      const groups = parseAddress(address)
      return groups !== undefined && networks.some(network => contains(network, groups))
    }
  }
}

/** The first address of the network that an address is in: all bits behind the first `bits` become 0. */
export function firstAddress(groups: readonly number[], bits: number): number[] {
  return groups.map((group, index) => group & groupMask(bits, index))
}

function parseEntry(text: unknown, field: string): Network[] {
  if (text === UNIX) return []
  const named = NAMED.get(text) ?? [text]
  return named.map(each => parseNetwork(each, field))
}

function parseNetwork(text: unknown, field: string): Network {
  const [, base, prefix] = (typeof text === 'string' && CIDR.exec(text)) || []
  const groups = base === undefined ? undefined : parseAddress(base)
  if (base === undefined || groups === undefined) {
    const wanted = 'an address, a network such as 10.0.0.0/8, loopback, linklocal, uniquelocal or unix:'
    throw new ConfigError(field, `must be ${wanted}, not ${show(text)}`)
  }
  const before = base.includes(':') ? 0 : MAPPED_BITS
  const bits = prefix === undefined ? 128 : before + Number(prefix)
  if (bits > 128) {
    throw new ConfigError(field, `must have a prefix of at most ${128 - before} bits, not ${show(text)}`)
  }
  const first = firstAddress(groups, bits)
  // Either the address or the prefix isn't what was meant, and trust is no place to guess.
  if (first.some((group, index) => group !== groups[index])) {
    throw new ConfigError(field, `has bits set beyond its prefix: ${show(text)}`)
  }
  // A mapped network has no bits set beyond its prefix only if that takes in the whole of `::ffff:`.
  return { groups, bits, ipv4: isIPv4(groups) }
}

function contains(network: Network, groups: readonly number[]): boolean {
  if (network.ipv4 !== isIPv4(groups)) return false
  return network.groups.every((group, index) => group === (groups[index]! & groupMask(network.bits, index)))
}

/** Those bits of a group that are among the address's first `bits`. */
function groupMask(bits: number, index: number): number {
  const kept = Math.min(Math.max(bits - index * 16, 0), 16)
  return (0xffff << (16 - kept)) & 0xffff
}
