import { ConfigError } from './errors.ts'
import { Fields } from './fields.ts'
import { checkMembers } from './members.ts'
import type { Member, Strategy, Table } from './strategy.ts'
import { xxh64 } from './xxh64.ts'
import type { Hash64 } from './xxh64.ts'

/** Envoy's largest. */
const LARGEST_TABLE = 5_000_011

/** Options of {@link maglev}. */
export interface MaglevOptions {
  /**
   * Entries of the table: a prime number of at least the number of members, up to 5,000,011. With a hundred times the
   * members, shares are within 1 %. Default: 65,537, as in the paper and in Envoy.
   */
  readonly tableSize?: number
}

/**
 * Google's Maglev hashing: the most even shares and the quickest pick, at the price that a change of the set also
 * moves a few keys that need not move.
 *
 * Algorithm: Eisenbud et al., Maglev: A Fast and Reliable Software Network Load Balancer (NSDI 2016), 3.4, with the
 * hashes, order and weights of Envoy's `maglev` policy: the same names, weights and table size give the table that
 * Envoy has, and a key goes where an Envoy that hashes the same text sends it. Each member in turn takes the first
 * free entry of a permutation of its own, until none is free. The order of the list makes no difference.
 *
 * When a key's member isn't usable, the entries behind its own are looked at, as along a ring.
 *
 * Costs: one byte an entry for up to 256 members, two for up to 65,536. A pick is one hash and one look.
 *
 * @param options - see {@link MaglevOptions}; a bad one throws a {@link ConfigError} that names it
 * @returns a strategy whose `build` throws a {@link ConfigError} for ids or weights that {@link checkMembers}
 *   refuses, and for more members than the table has entries. A table without members picks nobody.
 */
export function maglev(options: MaglevOptions = {}): Strategy {
  const fields = new Fields(options, '', ['tableSize'])
  const size = fields.integer('tableSize', 65_537, 2, LARGEST_TABLE)
  if (!isPrime(size)) throw fields.mismatch('tableSize', 'a prime number')
  return {
    name: 'maglev',
    build(members: readonly Member[]): Table {
      checkMembers(members)
      if (members.length > size) {
        throw new ConfigError('members', `are ${members.length}, more than the table has entries (${size})`)
      }
      return new MaglevTable(members, size)
    }
  }
}

class MaglevTable implements Table {
  readonly #members: readonly Member[]
  /** Index of the member that has the entry. */
  readonly #entries: Uint8Array | Uint16Array | Uint32Array

  constructor(members: readonly Member[], size: number) {
    this.#members = members.toSorted((one, other) => (one.id < other.id ? -1 : 1))
    this.#entries = fillTable(this.#members, size)
  }

  pick(key: string, usable: (member: Member) => boolean): Member | undefined {
    if (this.#members.length === 0) return undefined
    const entry = remainder(xxh64(key), this.#entries.length)
    const member = this.#members[this.#entries[entry]!]!
    return usable(member) ? member : this.#walkOn(entry, usable)
  }

  /** The first usable member behind an entry, whose own member has been asked. Asks each other member once. */
  #walkOn(entry: number, usable: (member: Member) => boolean): Member | undefined {
    const { length } = this.#entries
    const asked = new Uint8Array(this.#members.length)
    asked[this.#entries[entry]!] = 1
    for (let left = this.#members.length - 1, step = 1; left > 0; step++) {
      const index = this.#entries[(entry + step) % length]! // each member has an entry, so all are found
      if (asked[index] === 1) continue
      const member = this.#members[index]!
      if (usable(member)) return member
      asked[index] = 1
      left--
    }
    return undefined
  }
}

/** Fills the table: listing 1 of the paper, with the weights of Envoy. */
export function fillTable(members: readonly Member[], size: number): Uint8Array | Uint16Array | Uint32Array {
  const entries = entriesFor(members.length, size)
  const isTaken = new Uint8Array(size)
  const next = members.map(({ id }) => remainder(xxh64(id), size))
  const skip = members.map(({ id }) => remainder(xxh64(id, 1), size - 1) + 1)
  const heaviest = members.reduce((most, { weight }) => Math.max(most, weight), 0)
  // A member of half the heaviest one's weight has every second turn. All have the first.
  const due = new Float64Array(members.length)
  let free = members.length === 0 ? 0 : size
  for (let turn = 1; free > 0; turn++) {
    for (let index = 0; index < members.length && free > 0; index++) {
      if (turn * members[index]!.weight < due[index]!) continue
      due[index]! += heaviest
      let entry = next[index]!
      while (isTaken[entry] === 1) {
        entry += skip[index]!
        if (entry >= size) entry -= size
      }
      isTaken[entry] = 1
      entries[entry] = index
      next[index] = entry
      free--
    }
  }
  return entries
}

/** A 64-bit hash modulo the size of a table, which is small enough to keep the product exact. */
function remainder({ high, low }: Hash64, divisor: number): number {
  return ((high % divisor) * (0x1_0000_0000 % divisor) + low) % divisor
}

function entriesFor(members: number, size: number): Uint8Array | Uint16Array | Uint32Array {
  if (members <= 0x100) return new Uint8Array(size)
  return members <= 0x10000 ? new Uint16Array(size) : new Uint32Array(size)
}

function isPrime(number: number): boolean {
  for (let divisor = 2; divisor * divisor <= number; divisor++) if (number % divisor === 0) return false
  return true
}
