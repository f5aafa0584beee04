import { checkMembers } from './members.ts'
import type { Member, Strategy, Table } from './strategy.ts'

/**
 * The member that carries the least for its weight: the smallest `load / weight` among the usable ones. Looks
 * at no key.
 *
 * Equal members take turns by their weights, as with nginx's `least_conn`: smooth weighted round robin
 * (ngx_http_upstream_least_conn_module.c) among those that tie. While all stay idle, members a, b and c of
 * weights 5, 1 and 1 are picked in the order a, a, b, a, c, a, a.
 *
 * @returns a strategy whose `build` throws a `ConfigError` for ids or weights that {@link checkMembers} refuses.
 *   Its tables remember whose turn it is; a table without members picks nobody.
 */
export function leastConnections(): Strategy {
  return {
    name: 'least-connections',
    keyed: false,
    build(members: readonly Member[]): Table {
      checkMembers(members)
      return new LeastConnectionsTable(members)
    }
  }
}

class LeastConnectionsTable implements Table {
  readonly #members: readonly Member[]
  readonly #weights: readonly number[]
  /** How far each member's turn has come (nginx's `current_weight`). All of them together are always 0. */
  readonly #turns: Float64Array

  constructor(members: readonly Member[]) {
    this.#members = [...members]
    this.#weights = members.map(({ weight }) => weight)
    this.#turns = new Float64Array(members.length)
  }

  pick(
    _key: string,
    usable: (member: Member) => boolean,
    load: (member: Member) => number
  ): Member | undefined {
    let best: number | undefined
    let bestLoad = 0
    /** All that carry as little as the best, once there is more than one. */
    let tied: number[] | undefined
    for (let index = 0; index < this.#members.length; index++) {
      const member = this.#members[index]!
      if (!usable(member)) continue
      const carried = load(member)
      // load / weight of both, multiplied out: a division would make ties unequal by rounding.
      const difference =
        best === undefined ? -1 : carried * this.#weights[best]! - bestLoad * this.#weights[index]!
      if (difference < 0) {
        best = index
        bestLoad = carried
        tied = undefined
      } else if (difference === 0) {
        tied ??= [best!]
        tied.push(index)
      }
    }
    if (tied !== undefined) best = this.#takeTurns(tied)
    return best === undefined ? undefined : this.#members[best]
  }

  #takeTurns(tied: readonly number[]): number {
    let next = tied[0]!
    let total = 0
    for (const index of tied) {
      this.#turns[index]! += this.#weights[index]!
      total += this.#weights[index]!
      if (this.#turns[index]! > this.#turns[next]!) next = index
    }
    this.#turns[next]! -= total
    return next
  }
}
