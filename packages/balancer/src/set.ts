import { RingwayError, order } from '@ringway/core'
import type { Member, Strategy, Table } from '@ringway/core'

import type { ServerConfig } from './server-config.ts'
import type { Server } from './server.ts'

/** What places keys, and what places requests without one. */
export interface Strategies {
  readonly strategy: Strategy
  readonly keyless: Strategy
}

/** One place among the members of a strategy, with its servers: a name's addresses share one, and take turns. */
export class Place {
  readonly member: Member
  readonly backup: boolean
  readonly servers: readonly Server[]
  #next = 0

  /**
   * @param config - of what is there
   * @param member - from an earlier set, the same as this one's would be
   * @param servers - at least one
   */
  constructor(
    { id, weight, backup }: Pick<ServerConfig, 'id' | 'weight' | 'backup'>,
    member: Member | undefined,
    servers: readonly Server[]
  ) {
    this.member = member ?? Object.freeze({ id, weight })
    this.backup = backup
    this.servers = servers
  }

  /** What its servers carry, each seen through `of`. */
  load(of: (server: Server) => number): number {
    let sum = 0
    for (const server of this.servers) sum += of(server)
    return sum
  }

  /** The usable server whose turn it is. */
  take(isUsable: (server: Server) => boolean): Server | undefined {
    const { length } = this.servers
    for (let step = 0; step < length; step++) {
      const index = (this.#next + step) % length
      const server = this.servers[index]!
      if (!isUsable(server)) continue
      this.#next = (index + 1) % length
      return server
    }
    return undefined
  }
}

/** A strategy with what it made of the members, and of the backups if there are any. */
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
  readonly #placeOf: ReadonlyMap<Member, Place>
  readonly #members: { readonly primary: readonly Member[]; readonly backup: readonly Member[] }
  readonly #placement: Placement
  readonly #keyless: Placement

  /**
   * @param places - each id once
   * @param strategies - what builds the tables; may throw
   * @param before - an earlier set, whose tables are taken over as far as they can be
   */
  constructor(places: readonly Place[], strategies: Strategies, before?: ServerSet) {
    this.servers = places.flatMap(({ servers }) => servers)
    this.#placeOf = new Map(places.map(place => [place.member, place]))
    const primary = places.filter(({ backup }) => !backup).map(({ member }) => member)
    const backup = places.filter(place => place.backup).map(({ member }) => member)
    this.#members = { primary, backup }
    this.#placement = this.#place(strategies.strategy, before, before && before.#placement)
    this.#keyless = this.#place(strategies.keyless, before, before && before.#keyless)
  }

  #place(strategy: Strategy, before: ServerSet | undefined, earlier: Placement | undefined): Placement {
    const { primary, backup } = this.#members
    const known = before && before.#members
    const build = (
      members: readonly Member[],
      old: readonly Member[] | undefined,
      table: Table | undefined
    ): Table => (table !== undefined && isSame(members, old) ? table : strategy.build(members, table))
    return {
      strategy,
      table: build(primary, known?.primary, earlier?.table),
      backups: backup.length === 0 ? undefined : build(backup, known?.backup, earlier?.backups)
    }
  }

  /** The member that stands for a server in these tables already. */
  member({ id, weight }: Pick<ServerConfig, 'id' | 'weight'>): Member | undefined {
    for (const member of this.#placeOf.keys()) if (member.id === id && member.weight === weight) return member
    return undefined
  }

  /** Whether a key has a say in who is chosen. */
  isKeyed(key: string | undefined): key is string {
    return this.#placement.strategy.keyed !== false && Boolean(key)
  }

  /**
   * The first usable server for a key, or for none. Throws what a strategy throws, and `ERR_RINGWAY_STRATEGY`.
   *
   * @param backups - whether one of those may be chosen, when no other server is usable
   */
  choose(
    key: string | undefined,
    isUsable: (server: Server) => boolean,
    backups: boolean
  ): Server | undefined {
    const placement = this.#placement.strategy.keyed !== false && !key ? this.#keyless : this.#placement
    const { strategy, table } = placement
    const usable = (member: Member): boolean => this.#at(member, strategy).servers.some(isUsable)
    // What is slow to start counts as fuller than it is, where that decides.
    const loadOf = strategy.keyed === false ? rampedLoad : plainLoad
    const load = (member: Member): number => this.#at(member, strategy).load(loadOf)
    let picked = table.pick(key ?? '', usable, load)
    if (picked === undefined && backups) picked = placement.backups?.pick(key ?? '', usable, load)
    if (picked === undefined) return undefined
    const server = this.#at(picked, strategy).take(isUsable)
    // A strategy of the user's that ignores `usable` would send the same client to a dead server for ever.
    if (server === undefined) throw strategyError(strategy, `picked ${picked.id}, which is not usable now`)
    return server
  }

  /** The id that a key belongs to when all servers are well. */
  home(key: string): string | undefined {
    return this.#placement.table.pick(
      key,
      () => true,
      () => 0
    )?.id
  }

  /** A key's order of servers, backups last. Throws `ERR_RINGWAY_STRATEGY` where the strategy looks at no key. */
  order(key: string): Server[] {
    const { strategy, table, backups } = this.#placement
    if (strategy.keyed === false)
      throw strategyError(strategy, 'looks at no key, so a key has no order of servers')
    const members = [...order(table, key), ...(backups === undefined ? [] : order(backups, key))]
    return members.flatMap(member => this.#at(member, strategy).servers)
  }

  #at(member: Member, strategy: Strategy): Place {
    const place = this.#placeOf.get(member)
    if (place === undefined)
      throw strategyError(strategy, 'made a member of its own; use those given to build()')
    return place
  }
}

function isSame(members: readonly Member[], others: readonly Member[] | undefined): boolean {
  return members.length === others?.length && members.every((member, index) => member === others[index])
}

function plainLoad(server: Server): number {
  return server.load
}

function rampedLoad(server: Server): number {
  return server.load / Math.max(server.ramp, 0.01)
}

function strategyError(strategy: Strategy, problem: string): RingwayError {
  return new RingwayError('ERR_RINGWAY_STRATEGY', `strategy ${strategy.name} ${problem}`)
}
