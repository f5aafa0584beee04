import { carry, highOf } from './int64.ts'
import { checkMembers } from './members.ts'
import type { Member, Strategy, Table } from './strategy.ts'
import { xxh64 } from './xxh64.ts'
import type { Hash64 } from './xxh64.ts'

/** The multiplier of the generator in the paper, 2862933555777941757, in halves. */
const STEP_HIGH = 0x27bb2ee6
const STEP_LOW = 0x87b0b0fd

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
      checkMembers(members)
      return new JumpTable(members)
    }
  }
}

class JumpTable implements Table {
  readonly #members: readonly Member[]
  /** For each bucket the index of its member. */
  readonly #buckets: Uint32Array

  constructor(members: readonly Member[]) {
    this.#members = [...members]
    this.#buckets = new Uint32Array(members.reduce((sum, { weight }) => sum + weight, 0))
    let from = 0
    for (const [index, { weight }] of members.entries()) {
      this.#buckets.fill(index, from, from + weight)
      from += weight
    }
  }

  pick(key: string, usable: (member: Member) => boolean): Member | undefined {
    if (this.#members.length === 0) return undefined
    const index = this.#buckets[jumpHash(xxh64(key), this.#buckets.length)]!
    const member = this.#members[index]!
    return usable(member) ? member : this.#jumpOn(key, index, usable)
  }

  /** The first usable member after the first choice, which has been asked. Asks each other member once. */
  #jumpOn(key: string, index: number, usable: (member: Member) => boolean): Member | undefined {
    const { length } = this.#members
    const asked = new Uint8Array(length)
    asked[index] = 1
    for (let left = length - 1, step = 1; left > 0; step++) {
      // After that many hashes the rest comes in the order of the list, so that the search has an end.
      if (step <= length) index = this.#buckets[jumpHash(xxh64(key, step), this.#buckets.length)]!
      else index = (index + 1) % length
      if (asked[index] === 1) continue
      const member = this.#members[index]!
      if (usable(member)) return member
      asked[index] = 1
      left--
    }
    return undefined
  }
}

/** The bucket, from 0, that a 64-bit key has among a number of buckets: figure 1 of the paper. */
export function jumpHash({ high, low }: Hash64, buckets: number): number {
  let bucket = 0
  for (let next = 0; next < buckets;) {
    bucket = next
    // key = key * 2862933555777941757 + 1
    const product = Math.imul(low, STEP_LOW)
    const sum = (product + 1) | 0
    high = (highOf(low, STEP_HIGH, STEP_LOW, high) + carry(product, 1, sum)) | 0
    low = sum
    // (bucket + 1) * (2³¹ / ((key >> 33) + 1))
    next = Math.floor((bucket + 1) * (0x8000_0000 / ((high >>> 1) + 1)))
  }
  return bucket
}
