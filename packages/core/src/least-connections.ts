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
  /** How far each member's turn has come (nginx's `current_weight`). All of them together are always 0. */
  readonly #turns: Float64Array
  /** Indexes of the members that tie in the current pick. Kept, so that a pick allocates nothing. */
  readonly #tied: Uint32Array

  constructor(members: readonly Member[]) {
    this.#members = [...members]
    this.#turns = new Float64Array(members.length)
    this.#tied = new Uint32Array(members.length)
  }

  pick(
    _key: string,
    usable: (member: Member) => boolean,
    load: (member: Member) => number
  ): Member | undefined {
    let best: Member | undefined
    let bestLoad = 0
    let ties = 0
    for (let index = 0; index < this.#members.length; index++) {
      const member = this.#members[index]!
      if (!usable(member)) continue
      const carried = load(member)
      // load / weight of both, multiplied out: a division would make ties unequal by rounding.
      const difference = best === undefined ? -1 : carried * best.weight - bestLoad * member.weight
      if (difference > 0) continue
      if (difference < 0) {
        best = member
        bestLoad = carried
        ties = 0
      }
      this.#tied[ties++] = index
    }
    return ties > 1 ? this.#takeTurns(ties) : best
  }

  #takeTurns(ties: number): Member {
    let next = this.#tied[0]!
    let total = 0
    for (const index of this.#tied.subarray(0, ties)) {
      const { weight } = this.#members[index]!
      this.#turns[index]! += weight
      total += weight
      if (this.#turns[index]! > this.#turns[next]!) next = index
    }
    this.#turns[next]! -= total
    return this.#members[next]!
  }
}
