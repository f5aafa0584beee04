import { ConfigError } from './errors.ts'
import { show } from './fields.ts'
import { assertStrategy } from './strategy.ts'
import type { Member, Strategy, Table } from './strategy.ts'

/** What rounding may add to a product that should be whole, such as 1.1 × 10. */
const ROUNDING = 1e-9

/**
 * Bounds what each member of a keyed strategy carries: none gets a key that would bring it above
 * `ceil(factor × fair share)`; the key then goes to the next in its order of preference. So one tenant or one network
 * with many clients can't crowd its server. The fair share is the member's part, by weight, of all that the usable
 * members carry and the new one; a member that isn't usable counts neither way.
 *
 * Algorithm: Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with Bounded Loads (2016); HAProxy's
 * `hash-balance-factor` and Envoy's `hash_balance_factor` mean the same. As there, keys stick less the closer the factor
 * is to 1; 1.25 to 2 are usual.
 *
 * The bound holds when a tunnel begins. When others end it may come to lie below what a member has: open tunnels are
 * not moved. Gateways that don't know each other's tunnels each keep the bound for their own.
 *
 * The answer depends on the load, so the table is not pure; `order()` and `movedShare()`, which know of no load, show
 * the strategy's own order. Costs: a pick looks at the load of every member, and then picks.
 *
 * @param strategy - a keyed one, also of your own. If it doesn't reach all members with each key, a key whose members
 *   are all at the bound is picked nobody
 * @param factor - a number above 1 and up to 1000
 * @returns a strategy whose `build` throws what that of the other throws
 * @throws ConfigError whose `field` is `strategy` or `factor`
 */
export function boundedLoad(strategy: Strategy, factor: number): Strategy {
  assertStrategy(strategy)
  if (strategy.keyed === false) {
    throw new ConfigError('strategy', `must be a keyed one; ${strategy.name} looks at no key`)
  }
  if (typeof factor !== 'number' || !(factor > 1 && factor <= 1000)) {
    throw new ConfigError('factor', `must be a number above 1 and up to 1000, not ${show(factor)}`)
  }
  return {
    name: `bounded-load(${strategy.name}, ${factor})`,
    build(members: readonly Member[], before?: Table): Table {
      const inner = before instanceof BoundedTable ? before.table : undefined
      return new BoundedTable(strategy.build(members, inner), members, factor)
    }
  }
}

class BoundedTable implements Table {
  /** The bounded strategy's own. */
  readonly table: Table
  readonly #members: readonly Member[]
  readonly #weights: readonly number[]
  readonly #weightOf: ReadonlyMap<Member, number>
  readonly #factor: number

  constructor(table: Table, members: readonly Member[], factor: number) {
    this.table = table
    this.#members = [...members]
    this.#weights = members.map(({ weight }) => weight)
    this.#weightOf = new Map(members.map(member => [member, member.weight]))
    this.#factor = factor
  }

  pick(
    key: string,
    usable: (member: Member) => boolean,
    load: (member: Member) => number
  ): Member | undefined {
    let carried = 1 // the new one
    let weights = 0
    for (let index = 0; index < this.#members.length; index++) {
      const member = this.#members[index]!
      if (!usable(member)) continue
      carried += load(member)
      weights += this.#weights[index]!
    }
    const unit = (this.#factor * carried) / weights
    const hasRoom = (member: Member): boolean =>
      usable(member) && load(member) < Math.ceil(unit * this.#weightOf.get(member)! - ROUNDING)
    return this.table.pick(key, hasRoom, load)
  }
}
