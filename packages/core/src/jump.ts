import { layOut, pickAlong } from './places.ts'
import type { Member, Strategy, Table } from './strategy.ts'
import { jumpHash, xxh64 } from './xxh64.ts'

/**
 * Jump consistent hashing, for sets that only ever grow at their end, such as numbered shards: even shares, and no
 * memory but the list.
 *
 * Algorithm: Lamping and Veach, A Fast, Minimal Memory, Consistent Hash Algorithm (2014), over the XXH64 of the key. A
 * member has as many buckets in a row as its weight.
 *
 * Limits: **members are told apart by their position in the list, not by their id.** To add one at the end, or to take
 * the last one away, moves only the keys that must move. Any other change (another order, a member or a weight in
 * the middle) renumbers all buckets behind it and moves most of their keys. A member that isn't usable but stays in
 * the list moves its own keys only.
 *
 * When a key's member isn't usable, another hash of the key is tried, and so on.
 *
 * Costs: a pick is one hash and about as many multiplications as the logarithm of the number of buckets.
 *
 * @returns a strategy whose `build` throws a `ConfigError` for ids or weights that {@link checkMembers} refuses. A
 *   table without members picks nobody.
 */
export function jump(): Strategy {
  return {
    name: 'jump',
    build(members: readonly Member[]): Table {
      const places = layOut(members)
      const buckets = places.ends.at(-1) ?? 0
      return {
        pick: (key, usable) =>
          pickAlong(places, 0, (_, count) => jumpHash(xxh64(key, count), buckets), usable)
      }
    }
  }
}
