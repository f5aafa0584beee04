import { checkMembers } from './members.ts'
import { fmix32 } from './mix.ts'
import type { Member, Strategy, Table } from './strategy.ts'
import { xxh64 } from './xxh64.ts'

/**
 * Rendezvous hashing (highest random weight): each member has a score for the key, and the highest usable one takes
 * it. Shares are as even as chance allows, whatever the weights; a member that joins takes keys only for itself, and
 * one that leaves gives up only its own, to all others evenly; so it is with weights.
 *
 * Algorithm: Thaler and Ravishankar, Using Name-Based Mappings to Increase Hit Rates (1998); weights as in Schindelhauer
 * and Schomaker, Weighted Distributed Hash Tables (2005), the logarithmic method. A score comes of the XXH64 of the key
 * and that of the member's id, mixed by the finalizer of MurmurHash3. The order of the list makes no difference.
 *
 * Costs: next to no memory, but a pick looks at every member. That is the quickest way for a few, and the slowest
 * for hundreds.
 *
 * @returns a strategy whose `build` throws a `ConfigError` for ids or weights that {@link checkMembers} refuses. A
 *   table without members picks nobody.
 */
export function rendezvous(): Strategy {
  return {
    name: 'rendezvous',
    build(members: readonly Member[]): Table {
      checkMembers(members)
      return new RendezvousTable(members)
    }
  }
}

class RendezvousTable implements Table {
  readonly #members: readonly Member[]
  /** The hash of each member's id, in halves. */
  readonly #high: Uint32Array
  readonly #low: Uint32Array
  /** Undefined if all weigh the same. */
  readonly #weights: readonly number[] | undefined

  constructor(members: readonly Member[]) {
    // By id, so that equal scores, should they ever be, are decided the same way however the members are listed.
    this.#members = members.toSorted((one, other) => (one.id < other.id ? -1 : 1))
    const hashes = this.#members.map(({ id }) => xxh64(id))
    this.#high = Uint32Array.from(hashes, ({ high }) => high)
    this.#low = Uint32Array.from(hashes, ({ low }) => low)
    const weights = this.#members.map(({ weight }) => weight)
    this.#weights = weights.some(weight => weight !== weights[0]) ? weights : undefined
  }

  pick(key: string, usable: (member: Member) => boolean): Member | undefined {
    const { high, low } = xxh64(key)
    let best: Member | undefined
    let bestScore = -Infinity
    for (let index = 0; index < this.#members.length; index++) {
      // Two rounds of 32 bits each, one to one in the 64 bits of key and member, of which the score takes 53.
      const first = fmix32(low ^ this.#low[index]!)
      const second = fmix32(high ^ this.#high[index]! ^ first)
      const chance = second * 0x20_0000 + (first >>> 11)
      const member = this.#members[index]!
      // Of a chance between 0 and 1, the logarithm divided by the weight; without weights the order is the same.
      const score =
        this.#weights === undefined ? chance : Math.log((chance + 0.5) / 2 ** 53) / this.#weights[index]!
      if (score > bestScore && usable(member)) {
        best = member
        bestScore = score
      }
    }
    return best
  }
}
