import { ConfigError } from './errors.ts'
import { checkMembers } from './members.ts'
import type { Member, Strategy, Table } from './strategy.ts'

/** After that many draws in vain few are usable, and they are looked for. */
const DRAWS = 8

/**
 * Two members by chance, and of these the one that carries less for its weight. Looks at no key. Nearly as even as
 * {@link leastConnections} in one gateway; better where many gateways share the servers, as they don't all run for the
 * same emptiest one. And a pick doesn't look at all members.
 *
 * Algorithm: Mitzenmacher, The Power of Two Choices in Randomized Load Balancing (1996), as nginx's
 * `random two least_conn`. A member is drawn as often as its weight says.
 *
 * @param random - gives numbers from 0 up to, but not, 1. Default: `Math.random`
 * @returns a strategy whose `build` throws a `ConfigError` for ids or weights that {@link checkMembers} refuses. A
 *   table without members picks nobody.
 */
export function randomTwo(random: () => number = Math.random): Strategy {
  if (typeof random !== 'function') throw new ConfigError('random', 'must be a function')
  return {
    name: 'random-two',
    keyed: false,
    build(members: readonly Member[]): Table {
      checkMembers(members)
      return new RandomTwoTable(members, random)
    }
  }
}

class RandomTwoTable implements Table {
  readonly #members: readonly Member[]
  readonly #weights: readonly number[]
  readonly #random: () => number
  /** For each member the weights up to and with its own. */
  readonly #sums: Float64Array

  constructor(members: readonly Member[], random: () => number) {
    this.#members = [...members]
    this.#weights = members.map(({ weight }) => weight)
    this.#random = random
    let sum = 0
    this.#sums = Float64Array.from(members, ({ weight }) => (sum += weight))
  }

  pick(
    _key: string,
    usable: (member: Member) => boolean,
    load: (member: Member) => number
  ): Member | undefined {
    const one = this.#draw(usable)
    if (one === undefined) return undefined
    const [member, weight] = [this.#members[one]!, this.#weights[one]!]
    const two = this.#draw(other => other !== member && usable(other))
    if (two === undefined) return member
    const other = this.#members[two]!
    // load / weight of both, multiplied out: a division would make ties unequal by rounding.
    return load(other) * weight < load(member) * this.#weights[two]! ? other : member
  }

  /** The index of a usable member. */
  #draw(usable: (member: Member) => boolean): number | undefined {
    for (let draw = 0; draw < DRAWS && this.#members.length > 0; draw++) {
      const index = this.#drawIndex()
      if (usable(this.#members[index]!)) return index
    }
    // Chance among the usable ones alone, by their weights.
    const left = [...this.#members.keys()].filter(index => usable(this.#members[index]!))
    let at = this.#random() * left.reduce((sum, index) => sum + this.#weights[index]!, 0)
    return left.find(index => (at -= this.#weights[index]!) < 0) ?? left.at(-1)
  }

  /** Binary search for the first sum beyond a number drawn below the total. */
  #drawIndex(): number {
    const sums = this.#sums
    const drawn = this.#random() * sums.at(-1)!
    let low = 0
    let high = sums.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if (sums[middle]! <= drawn) low = middle + 1
      else high = middle
    }
    return low
  }
}
