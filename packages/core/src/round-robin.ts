import { checkMembers } from './members.ts'
import type { Member, Strategy, Table } from './strategy.ts'

/**
 * Members in turn, by their weights, spread out: of weights 5, 1 and 1 the order is a, a, b, a, c, a, a. Looks at no
 * key.
 *
 * Algorithm: nginx's smooth weighted round robin (ngx_http_upstream_round_robin.c), without its lower weights after
 * failures: a failing member isn't usable here. A member that isn't usable misses its turn and saves up none.
 *
 * @returns a strategy whose `build` throws a `ConfigError` for ids or weights that {@link checkMembers} refuses. Its
 *   tables remember whose turn it is; a table without members picks nobody.
 */
export function roundRobin(): Strategy {
  return {
    name: 'round-robin',
    keyed: false,
    build(members: readonly Member[]): Table {
      checkMembers(members)
      return new RoundRobinTable(members)
    }
  }
}

class RoundRobinTable implements Table {
  readonly #members: readonly Member[]
  /** How far each member's turn has come (nginx's `current_weight`). All of them together are always 0. */
  readonly #turns: Float64Array

  constructor(members: readonly Member[]) {
    this.#members = [...members]
    this.#turns = new Float64Array(members.length)
  }

  pick(_key: string, usable: (member: Member) => boolean): Member | undefined {
    let next = -1
    let total = 0
    for (let index = 0; index < this.#members.length; index++) {
      const member = this.#members[index]!
      if (!usable(member)) continue
      this.#turns[index]! += member.weight
      total += member.weight
      if (next === -1 || this.#turns[index]! > this.#turns[next]!) next = index
    }
    if (next === -1) return undefined
    this.#turns[next]! -= total
    return this.#members[next]
  }
}
