import { CRC32_START, crc32, crc32AddByte, crc32AddText, crc32AddUint32, crc32Finish } from './crc32.ts'
import { ConfigError } from './errors.ts'
import { checkMembers } from './members.ts'
import type { Member, Strategy, Table } from './strategy.ts'

/** nginx's number, taken over from Perl's Cache::Memcached::Fast (ngx_http_upstream_hash_module.c). */
const POINTS_PER_WEIGHT = 160

/** Beyond that a table takes gigabytes, and the ring's 2³² places grow crowded. It also bounds the members. */
const LARGEST_TOTAL_WEIGHT = 1_000_000

/** A point and the index of its member share one float while sorting: 32 and 20 of the 53 bits that are exact. */
const INDEXES = 2 ** 20

/**
 * Consistent hashing exactly as nginx does it for `hash KEY consistent`: the same ids and weights give each key
 * the same member. A member that joins takes keys only for itself, and one that leaves gives up only its own.
 *
 * Algorithm: ngx_http_upstream_hash_module.c of nginx. A member's id is read as nginx reads the text of a
 * `server` line, without changing case, adding a port or looking up a name. It puts 160 points per weight on a
 * ring of 2³² places; a key belongs to the first point at or after its CRC-32. Where two members share a point,
 * the earlier one in the list has it; this is the only case in which the order of the list matters.
 *
 * Where this differs from nginx, on purpose:
 * - nginx leaves the ring for round robin once a request has made more than 20 steps on it, so that its next
 *   choice depends on other requests. `pick` walks on, so that each key has one order of all members.
 * - nginx doesn't use the ring for an empty key or a single server. `pick` does; a gateway asks the upstream's
 *   key-free strategy instead when there is no key.
 * - Two `server` lines with the same text share their points in nginx and take turns. Here each id must be the
 *   only one of its kind; give the larger of their weights to one member.
 *
 * Costs: 1.3 kB of memory per unit of weight, twice that while it is built. A pick is one hash and one binary
 * search; when the first choice isn't usable, a walk along the ring.
 *
 * @returns a strategy whose `build` throws a {@link ConfigError} for ids or weights that {@link checkMembers}
 *   refuses, for two ids that nginx would place on the same points (such as `name` and `name:`), and for weights
 *   of more than 1,000,000 together. A table without members picks nobody.
 */
export function ketama(): Strategy {
  return {
    name: 'ketama',
    build(members: readonly Member[]): Table {
      const ring = buildRing(members)
      return { pick: (key, usable) => pick(ring, key, usable) }
    }
  }
}

/** What the points of a set of members come to. Never changes. */
export interface Ring {
  readonly members: readonly Member[]
  /** Ascending, each value once. */
  readonly points: Uint32Array
  /** For each point, the index of the member that has it. */
  readonly owners: Uint32Array
}

/** Places members on the ring. Throws as `build` of {@link ketama} does. */
export function buildRing(members: readonly Member[]): Ring {
  checkMembers(members)
  const placed = placeAll(members)
  // Sorting numbers instead of objects is what makes large rings quick to build. Equal points come out in the
  // order of the members, because the index is in the lower bits.
  placed.sort()

  const points = new Uint32Array(placed.length)
  const owners = new Uint32Array(placed.length)
  let count = 0
  for (const both of placed) {
    const point = Math.floor(both / INDEXES)
    if (count > 0 && points[count - 1] === point) continue // the earlier member has it
    points[count] = point
    owners[count] = both % INDEXES
    count++
  }
  return { members: [...members], points: points.subarray(0, count), owners: owners.subarray(0, count) }
}

/** The index of the first point at or after a hash; beyond the last point the ring begins again. */
export function firstPoint(ring: Ring, hash: number): number {
  const { points } = ring
  let low = 0
  let high = points.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (points[middle]! < hash) low = middle + 1
    else high = middle
  }
  return low === points.length ? 0 : low
}

function pick(ring: Ring, key: string, usable: (member: Member) => boolean): Member | undefined {
  if (ring.points.length === 0) return undefined
  const start = firstPoint(ring, crc32(key))
  const owner = ring.owners[start]!
  const member = ring.members[owner]!
  return usable(member) ? member : walkOn(ring, start, usable)
}

/** The first usable member after the one at `start`, which has been asked. Asks each other member once. */
function walkOn(ring: Ring, start: number, usable: (member: Member) => boolean): Member | undefined {
  const { members, owners } = ring
  const asked = new Uint8Array(members.length)
  asked[owners[start]!] = 1
  let left = members.length - 1
  for (let step = 1; left > 0 && step < owners.length; step++) {
    const owner = owners[(start + step) % owners.length]!
    if (asked[owner] === 1) continue
    const member = members[owner]!
    if (usable(member)) return member
    asked[owner] = 1
    left--
  }
  return undefined
}

/** All points, unsorted, each as `point * INDEXES + index of its member`. */
function placeAll(members: readonly Member[]): Float64Array {
  const weights = members.reduce((sum, { weight }) => sum + weight, 0)
  if (weights > LARGEST_TOTAL_WEIGHT) {
    throw new ConfigError('members', `must have weights of at most 1,000,000 together, but have ${weights}`)
  }
  const placed = new Float64Array(weights * POINTS_PER_WEIGHT)
  const idOf = new Map<number, string>()
  let next = 0
  for (const [index, { id, weight }] of members.entries()) {
    const base = hashServer(id)
    const twin = idOf.get(base)
    if (twin !== undefined) {
      throw new ConfigError(
        `members[${index}].id`,
        `"${id}" would have the same points on the ring as "${twin}"; give one of them another id`
      )
    }
    idOf.set(base, id)

    // Each point is made from the one before, so those of a smaller weight are the first of a larger one's.
    let point = 0
    for (let count = weight * POINTS_PER_WEIGHT; count > 0; count--) {
      point = crc32Finish(crc32AddUint32(base, point))
      placed[next++] = point * INDEXES + index
    }
  }
  return placed
}

/** The CRC-32 state after host, a zero byte and port, cut out of a server's text as nginx does it. */
function hashServer(text: string): number {
  const [host, port] = splitServer(text)
  return crc32AddText(crc32AddByte(crc32AddText(CRC32_START, host), 0), port)
}

/** `unix:` goes away in any case of its letters; the port is the digits after a last colon, or none. */
function splitServer(text: string): [host: string, port: string] {
  if (/^unix:/i.test(text)) return [text.slice('unix:'.length), '']
  const colon = text.lastIndexOf(':')
  const port = text.slice(colon + 1)
  return colon !== -1 && /^\d*$/.test(port) ? [text.slice(0, colon), port] : [text, '']
}
