import { Entries, ownersFor } from './entries.ts'
import type { Owners } from './entries.ts'
import { ConfigError } from './errors.ts'
import { Fields } from './fields.ts'
import { checkMembers } from './members.ts'
import type { Member, Strategy, Table } from './strategy.ts'
import { xxh64Modulo } from './xxh64.ts'

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
 * hashes, order and weights of Envoy's `maglev` policy: the same names and table size give the table that Envoy has, and
 * a key goes where an Envoy that hashes the same text sends it. (With unequal weights Envoy's fractions are rounded,
 * which may give a few entries to others.) Each member in turn takes the first
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
  readonly #size: number
  readonly #entries: Entries

  constructor(members: readonly Member[], size: number) {
    const sorted = members.toSorted((one, other) => (one.id < other.id ? -1 : 1))
    this.#size = size
    this.#entries = new Entries(sorted, fillTable(sorted, size))
  }

  pick(key: string, usable: (member: Member) => boolean): Member | undefined {
    return this.#entries.pick(xxh64Modulo(key, this.#size), usable)
  }
}

/** Fills the table: listing 1 of the paper, with the weights of Envoy. */
export function fillTable(members: readonly Member[], size: number): Owners {
  const entries = ownersFor(members.length, size)
  const isTaken = new Uint8Array(size)
  const next = members.map(({ id }) => xxh64Modulo(id, size))
  const skip = members.map(({ id }) => xxh64Modulo(id, size - 1, 1) + 1)
  const heaviest = members.reduce((most, { weight }) => Math.max(most, weight), 0)
  // The heaviest have each turn, a member of half their weight every second one. All have the first.
  const weights = members.map(({ weight }) => weight)
  const each = [...weights.keys()].filter(index => weights[index] === heaviest)
  const due = new Float64Array(members.length)
  const turns = new Map<number, number[]>([
    [1, [...weights.keys()].filter(index => weights[index] !== heaviest)]
  ])
  let free = members.length === 0 ? 0 : size
  for (let turn = 1; free > 0; turn++) {
    const others = turns.get(turn)
    turns.delete(turn)
    const now = others === undefined ? each : [...each, ...others].sort((one, other) => one - other)
    for (const index of now) {
      if (free === 0) break
      let entry = next[index]!
      while (isTaken[entry] === 1) {
        entry += skip[index]!
        if (entry >= size) entry -= size
      }
      isTaken[entry] = 1
      entries[entry] = index
      next[index] = entry
      free--

      if (weights[index] === heaviest) continue
      due[index]! += heaviest
      const again = Math.max(turn + 1, Math.ceil(due[index]! / weights[index]!))
      const then = turns.get(again)
      if (then === undefined) turns.set(again, [index])
      else then.push(index)
    }
  }
  return entries
}

function isPrime(number: number): boolean {
  for (let divisor = 2; divisor * divisor <= number; divisor++) if (number % divisor === 0) return false
  return true
}
