import { RingwayError, order } from '@ringway/core'
import type { Member, Strategy, Table } from '@ringway/core'

import type { Server } from './server.ts'

/** What places keys, and what places requests without one. */
export interface Strategies {
  readonly strategy: Strategy
  readonly keyless: Strategy
}

/** A strategy with what it made of the servers, and of the backups if there are any. */
interface Placement {
  readonly strategy: Strategy
  readonly table: Table
  readonly backups: Table | undefined
}

/**
 * The servers that take traffic, and the tables made of them. Never changes: other servers, or other weights, are another
 * set.
 */
export class ServerSet {
  readonly servers: readonly Server[]
  readonly #serverOf: ReadonlyMap<Member, Server>
  readonly #placement: Placement
  readonly #keyless: Placement

  /**
   * @param servers - each id once
   * @param strategies - what builds the tables; may throw
   * @param before - an earlier set, whose tables are taken over where a strategy can do so
   */
  constructor(servers: readonly Server[], strategies: Strategies, before?: ServerSet) {
    this.servers = servers
    const members = servers.map(({ id, weight }): Member => Object.freeze({ id, weight }))
    this.#serverOf = new Map(members.map((member, index) => [member, servers[index]!]))
    const isBackup = (member: Member): boolean => this.#serverOf.get(member)!.backup
    const place = (strategy: Strategy, earlier: Placement | undefined): Placement => {
      const backups = members.filter(isBackup)
      return {
        strategy,
        table: strategy.build(
          members.filter(member => !isBackup(member)),
          earlier?.table
        ),
        backups: backups.length === 0 ? undefined : strategy.build(backups, earlier?.backups)
      }
    }
    this.#placement = place(strategies.strategy, before && before.#placement)
    this.#keyless = place(strategies.keyless, before && before.#keyless)
  }

  /** The first usable server for a key, or for none. Throws what a strategy throws, and `ERR_RINGWAY_STRATEGY`. */
  choose(key: string | undefined, isUsable: (server: Server) => boolean): Server | undefined {
    const isKeyed = this.#placement.strategy.keyed !== false
    const { strategy, table, backups } = isKeyed && !key ? this.#keyless : this.#placement
    const usable = (member: Member): boolean => isUsable(this.#server(member, strategy))
    const load = (member: Member): number => this.#server(member, strategy).load
    const picked = table.pick(key ?? '', usable, load) ?? backups?.pick(key ?? '', usable, load)
    if (picked === undefined) return undefined
    // A strategy of the user's that ignores `usable` would send the same client to a dead server for ever.
    if (!usable(picked)) throw strategyError(strategy, `picked ${picked.id}, which is not usable now`)
    return this.#server(picked, strategy)
  }

  /** A key's order of servers, backups last. Throws `ERR_RINGWAY_STRATEGY` where the strategy looks at no key. */
  order(key: string): Server[] {
    const { strategy, table, backups } = this.#placement
    if (strategy.keyed === false)
      throw strategyError(strategy, 'looks at no key, so a key has no order of servers')
    const members = [...order(table, key), ...(backups === undefined ? [] : order(backups, key))]
    return members.map(member => this.#server(member, strategy))
  }

  #server(member: Member, strategy: Strategy): Server {
    const server = this.#serverOf.get(member)
    if (server === undefined)
      throw strategyError(strategy, 'made a member of its own; use those given to build()')
    return server
  }
}

function strategyError(strategy: Strategy, problem: string): RingwayError {
  return new RingwayError('ERR_RINGWAY_STRATEGY', `strategy ${strategy.name} ${problem}`)
}
