import { RingwayError } from './errors.ts'

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
 * that two members share a point of its ring, the earlier one has it.)
 */
export interface Strategy {
  /** Shown in errors and statistics. */
  readonly name: string
  /** `false` for a strategy that looks at no key (least connections, round robin). Default: keyed. */
  readonly keyed?: false
  /** Makes the table for a set of members. Called once for a set, never for a change of health. */
  build(members: readonly Member[]): Table
}

/** What a strategy made of one set of members. Never changes. */
export interface Table {
  /**
   * The first member in this key's order of preference that is usable; `undefined` when none is. Synchronous.
   *
   * @param key - the client's key; key-free strategies ignore it
   * @param usable - whether a member may be taken now (not down, draining, full, or already tried)
   * @param load - what a member carries now: open tunnels and handshakes under way
   */
  pick(key: string, usable: (member: Member) => boolean, load: (member: Member) => number): Member | undefined
}

/**
 * All members in a key's order of preference, for displays and tests.
 *
 * @param table - of a keyed strategy
 * @param key - the client's key
 * @throws {@link RingwayError} `ERR_RINGWAY_STRATEGY` when the table picks a member that it was told not to
 */
export function order(table: Table, key: string): Member[] {
  const taken = new Set<Member>()
  for (;;) {
    const next = table.pick(
      key,
      member => !taken.has(member),
      () => 0
    )
    if (next === undefined) return [...taken]
    if (taken.has(next))
      throw new RingwayError('ERR_RINGWAY_STRATEGY', `The table picked "${next.id}", which is not usable`)
    taken.add(next)
  }
}
