import { ConfigError } from './errors.ts'
import { Fields } from './fields.ts'
import { checkMembers } from './members.ts'
import { mix } from './mix.ts'
import { Points } from './points.ts'
import type { Member, Strategy, Table } from './strategy.ts'
import { xxh64 } from './xxh64.ts'

/** Some 1 GB of points. */
const MOST_POINTS = 160_000_000

/** Options of {@link ring}. */
export interface RingOptions {
  /**
   * Points per unit of weight, an integer of 1 to 100,000. A member's share of the keys varies by about one part in
   * the square root of its points. Default: 1500, which is 2.6 %.
   */
  readonly points?: number
}

/**
 * Consistent hashing on a ring with more points and a better hash than {@link ketama}, for those who need not equal
 * nginx: shares are three times more even, at nine times the memory. A member that joins takes keys only for itself,
 * and one that leaves gives up only its own; so it is with weights.
 *
 * Algorithm: Karger et al., Consistent Hashing and Random Trees (1997), the points and keys placed by XXH64. Of its 64
 * bits the ring uses the upper 32, as many as are needed to tell points apart. The order of the list makes no
 * difference.
 *
 * Costs: 7 to 10 kB of memory per unit of weight, so keep weights small or give fewer points. A pick is one hash and
 * a look at a point or two.
 *
 * @param options - see {@link RingOptions}; a bad one throws a {@link ConfigError} that names it
 * @returns a strategy whose `build` throws a {@link ConfigError} for ids or weights that {@link checkMembers}
 *   refuses, and for more than 160,000,000 points together. A table without members picks nobody.
 */
export function ring(options: RingOptions = {}): Strategy {
  const perWeight = new Fields(options, '', ['points']).integer('points', 1500, 1, 100_000)
  return {
    name: 'ring',
    build(members: readonly Member[], before?: Table): Table {
      checkMembers(members)
      checkPoints(members, perWeight)
      // By id, so that what members share a point is decided the same way however they are listed.
      const sorted = members.toSorted((one, other) => (one.id < other.id ? -1 : 1))
      const taken = before instanceof RingTable ? before.points : undefined
      return new RingTable(new Points(sorted, perWeight, (index, into) => place(sorted[index]!, into), taken))
    }
  }
}

class RingTable implements Table {
  readonly points: Points

  constructor(points: Points) {
    this.points = points
  }

  pick(key: string, usable: (member: Member) => boolean): Member | undefined {
    return this.points.pick(xxh64(key).high, usable)
  }
}

/** A larger weight has the points of a smaller one, and more. */
function place({ id }: Member, into: Uint32Array): void {
  const { high, low } = xxh64(id)
  for (let at = 0; at < into.length; at++) into[at] = mix(high, low, at)
}

function checkPoints(members: readonly Member[], perWeight: number): void {
  const points = members.reduce((sum, { weight }) => sum + weight * perWeight, 0)
  if (points <= MOST_POINTS) return
  throw new ConfigError(
    'members',
    `would have ${points} points together, more than 160,000,000; use smaller weights, or the option points`
  )
}
