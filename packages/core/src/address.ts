const OCTET = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`)
const ZONE = /^[\w.~:-]+$/
const MAPPED = '::ffff:'
const COLON = 0x3a
const DOT = 0x2e
const ZERO = 0x30
const NO_GROUPS: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0]

/** Eight groups of four digits and their colons, the last two as IPv4. */
const LONGEST_IPV6 = 45

/**
 * A client's address in the one form that is used as a key, whatever form it came in.
 *
 * - IPv4 is returned as it is. IPv4 inside IPv6 (`::ffff:192.0.2.7`, `::FFFF:c000:207`), which is how a
 *   dual-stack socket names an IPv4 client, becomes plain IPv4. nginx keeps the `::ffff:` there, so that the
 *   same client has another key on its dual-stack listeners.
 * - IPv6 is written as nginx writes it in `$remote_addr` (`ngx_inet6_ntop`, nearly the system's `inet_ntop`):
 *   lower case, no leading zeros, the first of the longest runs of zeros cut. The zone (`%eth0`) goes away: it is
 *   this machine's name for a network, and the client has none.
 * - Anything that isn't an address is returned unchanged. Parsing is strict: no octet with a leading zero, no
 *   short forms, one `::` at most, no brackets, no port.
 *
 * Never throws, and takes time in proportion to the text's length at most.
 *
 * @param text - an address, or anything else
 */
export function canonicalAddress(text: string): string {
  // Without a colon it is IPv4, which has one form only, or no address at all.
  if (!text.includes(':')) return text
  if (text.startsWith(MAPPED)) {
    const dotted = text.slice(MAPPED.length)
    if (IPV4.test(dotted)) return dotted
  }
  const groups = parseIPv6(text)
  return groups === undefined ? text : writeAddress(groups)
}

/** The eight groups of an address, IPv4 as its mapped form has them; `undefined` if the text is no address. */
export function parseAddress(text: string): number[] | undefined {
  return text.includes(':') ? parseIPv6(text) : parseIPv4(text)
}

/** Whether the groups are those of an IPv4 address (RFC 4291 2.5.5.2). */
export function isIPv4(groups: readonly number[]): boolean {
  const [a, b, c, d, e, f] = groups
  return f === 0xffff && a === 0 && b === 0 && c === 0 && d === 0 && e === 0
}

function parseIPv4(text: string): number[] | undefined {
  return IPV4.test(text) ? [0, 0, 0, 0, 0, 0xffff, ...groupsOf(text)] : undefined
}

/** The two groups that the octets of an IPv4 address come to. */
function groupsOf(dotted: string): [high: number, low: number] {
  const [a, b, c, d] = octetsOf(dotted) as [number, number, number, number]
  return [a * 256 + b, c * 256 + d]
}

/** The octets of what is known to be an IPv4 address. */
function octetsOf(dotted: string): number[] {
  const octets = [0]
  for (let at = 0; at < dotted.length; at++) {
    const code = dotted.charCodeAt(at)
    if (code === DOT) octets.push(0)
    else octets[octets.length - 1] = octets[octets.length - 1]! * 10 + code - ZERO
  }
  return octets
}

/**
 * The bytes of an address: 4 of IPv4, 16 of IPv6, to which IPv4 inside IPv6 belongs here; `undefined` for anything
 * else. As strict as {@link canonicalAddress}, and a zone is left out as it is there. Not public.
 */
export function addressBytes(text: string): number[] | undefined {
  if (IPV4.test(text)) return octetsOf(text)
  if (!text.includes(':')) return undefined
  return parseIPv6(text)?.flatMap(group => [group >> 8, group & 0xff])
}

/** The eight groups of an IPv6 address; `undefined` if the text isn't one (RFC 4291 2.2, RFC 4007 11). */
function parseIPv6(text: string): number[] | undefined {
  const percent = text.indexOf('%')
  if (percent !== -1 && !ZONE.test(text.slice(percent + 1))) return undefined
  const end = percent === -1 ? text.length : percent
  if (end > LONGEST_IPV6) return undefined

  const groups: number[] = []
  /** How many groups stand before the `::`. */
  let cut = text.startsWith('::') ? 0 : -1
  for (let at = cut === 0 ? 2 : 0; at < end;) {
    const start = at
    let group = 0
    for (let digit; at < end && (digit = hexDigit(text.charCodeAt(at))) !== -1; at++)
      group = group * 16 + digit
    if (text.charCodeAt(at) === DOT) {
      const dotted = text.slice(start, end)
      if (!IPV4.test(dotted)) return undefined
      groups.push(...groupsOf(dotted))
      break
    }
    if (at === start || at - start > 4) return undefined
    groups.push(group)
    if (at === end) break
    if (text.charCodeAt(at++) !== COLON || at === end) return undefined
    if (text.charCodeAt(at) !== COLON) continue
    if (cut !== -1) return undefined
    cut = groups.length
    at++
  }
  if (cut === -1) return groups.length === 8 ? groups : undefined
  if (groups.length > 7) return undefined
  return groups.toSpliced(cut, 0, ...NO_GROUPS.slice(groups.length))
}

/** The value of a hexadecimal digit's character code, or -1. */
function hexDigit(code: number): number {
  if (code >= ZERO && code <= 0x39) return code - ZERO
  const letter = code | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

/** Text of eight groups, after nginx's `ngx_inet6_ntop`, but mapped IPv4 as plain IPv4. */
export function writeAddress(groups: readonly number[]): string {
  const high = groups[6]!
  const low = groups[7]!
  const dotted = `${high >> 8}.${high & 0xff}.${low >> 8}.${low & 0xff}`
  if (isIPv4(groups)) return dotted
  const [start, length] = longestZeros(groups)
  // What has only its last 32 bits is taken for an IPv4-compatible address. The odd rule for 16 bits is nginx's.
  const compatible = length === 6 || (length === 7 && low >> 8 !== 0 && (low & 0xff) !== 1)
  if (start === 0 && compatible) return `::${dotted}`
  if (length < 2) return writeGroups(groups) // a single zero is not cut (RFC 5952 4.2.2)
  return `${writeGroups(groups.slice(0, start))}::${writeGroups(groups.slice(start + length))}`
}

function writeGroups(groups: readonly number[]): string {
  let text = ''
  for (const group of groups) text += `${text === '' ? '' : ':'}${group.toString(16)}`
  return text
}

/** Where the longest run of zero groups starts and how long it is; of equal ones the first. */
function longestZeros(groups: readonly number[]): [start: number, length: number] {
  let best: [number, number] = [0, 0]
  for (let index = 0, start = 0; index < 8; index++) {
    if (groups[index] !== 0) start = index + 1
    else if (index + 1 - start > best[1]) best = [start, index + 1 - start]
  }
  return best
}
