import { ConfigError } from './errors.ts'
import { Entries, ownersFor } from './entries.ts'
import type { Owners } from './entries.ts'
import { Fields } from './fields.ts'
import { checkMembers } from './members.ts'
import { mix } from './mix.ts'
import type { Member, Strategy, Table } from './strategy.ts'
import { xxh64, xxh64High } from './xxh64.ts'

/** They take a second to place. */
const MOST_POINTS = 160_000_000

/** Options of {@link ring}. */
export interface RingOptions {
  /** Points per unit of weight, an integer of 1 to 100,000. Default: 1500. */
  readonly points?: number
  /** Places that keys can have, a power of two of 256 to 16,777,216. Default: 65,536. */
  readonly places?: number
}

/**
 * Consistent hashing on a ring with more points and a better hash than {@link ketama}, for those who need not equal
 * nginx: shares are three times more even. A member that joins takes keys only for itself, and one that leaves gives up
 * only its own; so it is with weights. The order of the list makes no difference.
 *
 * Algorithm: Karger et al., Consistent Hashing and Random Trees (1997). A key's XXH64 gives it one of 65,536 places, at
 * even distances on a ring of 2³². Points come of the XXH64 of a member's id; a place belongs to the first point at or
 * after it. So whose each place is can be written down once, and no look-up searches for points.
 *
 * When a key's member isn't usable, the places behind its own are looked at. A member whose weight is a small part of a
 * place may have none, and gets keys only then.
 *
 * A member's share varies by about the square root of 1 / its points + 1 / its places: 2.6 % and 1.2 % for one of ten
 * members, 2.6 % and 4 % for one of a hundred. Give more places to a larger set, before it is used: another number of
 * places or points is another ring.
 *
 * Costs: a byte a place for up to 256 members, two for up to 65,536. A pick is one hash and one look.
 *
 * @param options - see {@link RingOptions}; a bad one throws a {@link ConfigError} that names it
 * @returns a strategy whose `build` throws a {@link ConfigError} for ids or weights that {@link checkMembers}
 *   refuses, and for more than 160,000,000 points together. A table without members picks nobody.
 */
export function ring(options: RingOptions = {}): Strategy {
  const fields = new Fields(options, '', ['points', 'places'])
  const perWeight = fields.integer('points', 1500, 1, 100_000)
  const places = fields.integer('places', 0x1_0000, 0x100, 0x100_0000)
  const bits = Math.log2(places)
  if (!Number.isInteger(bits)) throw fields.mismatch('places', 'a power of two')
  return {
    name: 'ring',
    build(members: readonly Member[]): Table {
      checkMembers(members)
      checkPoints(members, perWeight)
      // By id, so that a point that two members share is had by the same one however they are listed.
      const sorted = members.toSorted((one, other) => (one.id < other.id ? -1 : 1))
      return new RingTable(new Entries(sorted, givePlaces(sorted, perWeight, bits)), 32 - bits)
    }
  }
}

class RingTable implements Table {
  readonly #places: Entries
  /** How far a hash of 32 bits is shifted to the right to give a place. */
  readonly #shift: number

  constructor(places: Entries, shift: number) {
    this.#places = places
    this.#shift = shift
  }

  pick(key: string, usable: (member: Member) => boolean): Member | undefined {
    return this.#places.pick(xxh64High(key) >>> this.#shift, usable)
  }
}

/** Whose each of 2 to the power of `bits` places is. A larger weight has the points of a smaller one, and more. */
function givePlaces(members: readonly Member[], perWeight: number, bits: number): Owners {
  const owners = ownersFor(members.length, 2 ** bits)
  const none = 0xffff_ffff
  /** The first point from each place on, up to the next place. */
  const points = new Uint32Array(owners.length).fill(none)
  for (const [index, { id, weight }] of members.entries()) {
    const { high, low } = xxh64(id)
    for (let number = weight * perWeight; number > 0; number--) {
      const point = mix(high, low, number)
      const place = point >>> (32 - bits)
      if (point >= points[place]!) continue
      points[place] = point
      owners[place] = index
    }
  }
  // A place without points of its own belongs to the next one's.
  let next = owners[points.findIndex(point => point !== none)] ?? 0
  for (let place = owners.length - 1; place >= 0; place--) {
    if (points[place] === none) owners[place] = next
    else next = owners[place]!
  }
  return owners
}

function checkPoints(members: readonly Member[], perWeight: number): void {
  const points = members.reduce((sum, { weight }) => sum + weight * perWeight, 0)
  if (points <= MOST_POINTS) return
  throw new ConfigError(
    'members',
    `would have ${points} points together, more than 160,000,000; use smaller weights, or the option points`
  )
}
