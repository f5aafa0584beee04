import { ConfigError, RingwayError } from './errors.ts'
import { show } from './fields.ts'
import { LARGEST_TOTAL_WEIGHT } from './members.ts'
import { sampleAddresses } from './sample.ts'

/** One server as a strategy sees it. */
export interface Member {
  /** What is hashed, so what places the server on the ring: by default the server as written, as in nginx. */
  readonly id: string
  /** Its share of the keys relative to the other members: an integer of at least 1. */
  readonly weight: number
}

/**
 * Decides which member a key belongs to. The whole contract, for Ringway's own strategies and for yours.
 *
 * A keyed strategy (the default) is pure: the same members and the same key give the same answer in every
 * process, whatever the order in which the members are listed. (`ketama` keeps to nginx here: in the rare case
 * that two members share a point of its ring, the earlier one has it.) `plainHash` and `ipHash` are the exceptions:
 * nginx counts through its `server` lines there, so that each process must list the members in the same order.
 */
export interface Strategy {
  /** Shown in errors and statistics. */
  readonly name: string
  /** `false` for a strategy that looks at no key (least connections, round robin). Default: keyed. */
  readonly keyed?: false
  /**
   * Makes the table for a set of members. Called once for a set, never for a change of health.
   *
   * @param members - the set; a table picks these objects, not copies
   * @param before - a table that this strategy built for an earlier set. What is the same in both may be taken over,
   *   to save work; the table that comes of it must be the one that would have come without.
   */
  build(members: readonly Member[], before?: Table): Table
}

/** Throws a {@link ConfigError} for what can't be a strategy. Not public. */
export function assertStrategy(value: Partial<Strategy> | null | undefined): void {
  if (typeof value === 'object' && typeof value?.build === 'function' && typeof value.name === 'string')
    return
  throw new ConfigError(
    'strategy',
    `must be an object with a name and a build method, such as ketama(), not ${show(value)}`
  )
}

/** What a strategy made of one set of members. Never changes. */
export interface Table {
  /**
   * The first member in this key's order of preference that is usable; `undefined` when none is. Synchronous.
   *
   * @param key - the client's key; key-free strategies ignore it
   * @param usable - whether a member may be taken now (not down, draining, full, or already tried)
   * @param load - what a member carries now, a number of at least 0: open tunnels and handshakes under way
   * @throws RingwayError `ERR_RINGWAY_KEY`, from the keyed strategies of this package, for a key that is no text
   */
  pick(key: string, usable: (member: Member) => boolean, load: (member: Member) => number): Member | undefined
}

/**
 * All members in a key's order of preference, for displays and tests.
 *
 * @param table - of a keyed strategy
 * @param key - the client's key
 * @throws {@link RingwayError} `ERR_RINGWAY_STRATEGY` when the table picks a member that it was told not to, or more
 *   members than there can be
 */
export function order(table: Table, key: string): Member[] {
  // By id, so that a table that gives copies of its members comes to an end too.
  const taken = new Map<string, Member>()
  for (;;) {
    if (taken.size > LARGEST_TOTAL_WEIGHT) {
      throw new RingwayError('ERR_RINGWAY_STRATEGY', 'The table picks more members than a set can have')
    }
    const next = table.pick(
      key,
      ({ id }) => !taken.has(id),
      () => 0
    )
    if (next === undefined) return [...taken.values()]
    if (taken.has(next.id))
      throw new RingwayError('ERR_RINGWAY_STRATEGY', `The table picked "${next.id}", which is not usable`)
    taken.set(next.id, next)
  }
}

/**
 * The share of keys whose first choice differs between two tables, from 0 to 1: what a change of the set costs,
 * before it is made. Members are the same if their ids are.
 *
 * By default it is found out with 20,000 IPv4 addresses, always the same ones, so the result is right to a
 * percent or so. Your own clients' keys tell more if some of them have many tunnels.
 *
 * @param before - of a keyed strategy
 * @param after - of the same strategy, or of another one
 * @param keys - the keys to try. Default: 20,000 addresses
 * @returns NaN if there are no keys
 */
export function movedShare(
  before: Table,
  after: Table,
  keys: Iterable<string> = sampleAddresses(20_000)
): number {
  let count = 0
  let moved = 0
  for (const key of keys) {
    count++
    if (first(before, key)?.id !== first(after, key)?.id) moved++
  }
  return moved / count
}

function first(table: Table, key: string): Member | undefined {
  return table.pick(
    key,
    () => true,
    () => 0
  )
}
