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
  readonly #weights: readonly number[]
  /** How far each member's turn has come (nginx's `current_weight`). All of them together are always 0. */
  readonly #turns: Float64Array

  constructor(members: readonly Member[]) {
    this.#members = [...members]
    this.#weights = members.map(({ weight }) => weight)
    this.#turns = new Float64Array(members.length)
  }

  pick(_key: string, usable: (member: Member) => boolean): Member | undefined {
    // All are asked before any turn changes, so that one that throws leaves the turns as they were.
    const usables: number[] = []
    for (let index = 0; index < this.#members.length; index++) {
      if (usable(this.#members[index]!)) usables.push(index)
    }
    let next = usables[0]
    if (next === undefined) return undefined
    let total = 0
    for (const index of usables) {
      this.#turns[index]! += this.#weights[index]!
      total += this.#weights[index]!
      if (this.#turns[index]! > this.#turns[next]!) next = index
    }
    this.#turns[next]! -= total
    return this.#members[next]
  }
}
