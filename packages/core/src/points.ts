import { ownersFor } from './entries.ts'
import type { Owners } from './entries.ts'
import type { Member } from './strategy.ts'

/**
 * Puts a member's points on the ring.
 *
 * @param index - which member
 * @param into - to be filled with its points, each an unsigned 32-bit integer, in any order
 */
export type Place = (index: number, into: Uint32Array) => void

/**
 * The points of a set of members on a ring of 2³² places. A key belongs to the first point at or after its hash.
 * Never changes.
 *
 * Where two members share a point, the one that is earlier in the list has it. The other's is kept behind it, to be
 * had when the first one leaves, but no look-up ends there.
 *
 * An index says for each stretch of the ring which of its points is first, so that a look-up is one step into the
 * index and two or three points, where a binary search in a large ring would miss the processor's cache at each step.
 */
export class Points {
  readonly members: readonly Member[]
  /** What the members' ids and weights were then: the objects are the caller's, and may change. */
  readonly #ids: readonly string[]
  readonly #weights: readonly number[]
  /** Ascending; behind the last one stands a sentinel that no hash lies beyond. */
  readonly values: Uint32Array
  /** For each point its member; the sentinel has the first point's, where the ring begins again. */
  readonly owners: Owners
  /** How many points there are, the sentinel not counted. */
  readonly count: number
  /** For each stretch the index of the first point in it or after it. */
  readonly #stretches: Uint16Array | Uint32Array
  /** How far a place is shifted to the right to give the number of its stretch. */
  readonly #shift: number
  readonly #perWeight: number

  /**
   * @param members - the set
   * @param perWeight - how many points a unit of weight has
   * @param place - puts one member's points on the ring
   * @param before - points of another set, placed by the same rule: those of members in both are taken over
   */
  constructor(members: readonly Member[], perWeight: number, place: Place, before?: Points) {
    this.members = [...members]
    this.#ids = members.map(({ id }) => id)
    this.#weights = members.map(({ weight }) => weight)
    this.#perWeight = perWeight
    this.count = members.reduce((sum, { weight }) => sum + weight * perWeight, 0)
    this.values = new Uint32Array(this.count + 1)
    this.owners = ownersFor(members.length, this.count + 1)
    // Two to four points a stretch: the index then takes a byte or two a point.
    const bits = Math.max(1, Math.floor(Math.log2(this.count)) - 1)
    this.#shift = 32 - bits
    this.#stretches = this.count <= 0xffff ? new Uint16Array(2 ** bits) : new Uint32Array(2 ** bits)
    if (before !== undefined) this.#takeOver(before, place)
    else this.#placeAll(place)
    this.values[this.count] = 0xffff_ffff
    this.owners[this.count] = this.owners[0]!
  }

  /** The member that a hash belongs to if it is usable, else the next usable one along the ring. */
  pick(hash: number, usable: (member: Member) => boolean): Member | undefined {
    if (this.count === 0) return undefined
    const at = this.find(hash)
    const member = this.members[this.owners[at]!]!
    return usable(member) ? member : this.#walkOn(at, usable)
  }

  /** The index of the first point at or after a hash; that of the sentinel beyond the last one. */
  find(hash: number): number {
    const { values } = this
    let at = this.#stretches[hash >>> this.#shift]!
    while (values[at]! < hash) at++
    return at
  }

  /** The first usable member after the one at `start`, which has been asked. Asks each other member once. */
  #walkOn(start: number, usable: (member: Member) => boolean): Member | undefined {
    const { members, owners, values, count } = this
    const asked = new Uint8Array(members.length)
    asked[owners[start]!] = 1
    let left = members.length - 1
    for (let step = 1; left > 0 && step <= count; step++) {
      const at = (start + step) % count
      const owner = owners[at]!
      if (asked[owner] === 1 || (at > 0 && values[at - 1] === values[at])) continue
      const member = members[owner]!
      if (usable(member)) return member
      asked[owner] = 1
      left--
    }
    return undefined
  }

  /** Sorts all points by stretch first, which needs no comparisons, then within each stretch. */
  #placeAll(place: Place): void {
    const stretches = this.#stretches
    const placed = new Uint32Array(this.count)
    let from = 0
    for (const [index, weight] of this.#weights.entries()) {
      const to = from + weight * this.#perWeight
      place(index, placed.subarray(from, to))
      from = to
    }
    // Count, add up, and fill each stretch from its end, so that its start is left in the index.
    for (const value of placed) stretches[value >>> this.#shift]!++
    for (let stretch = 1; stretch < stretches.length; stretch++)
      stretches[stretch]! += stretches[stretch - 1]!
    for (let index = this.members.length - 1, at = this.count - 1; index >= 0; index--) {
      for (let left = this.#weights[index]! * this.#perWeight; left > 0; left--, at--) {
        const value = placed[at]!
        const to = --stretches[value >>> this.#shift]!
        this.values[to] = value
        this.owners[to] = index
      }
    }
    this.#sortStretches()
  }

  /** Insertion sort. Nothing moves far, as all points are in their stretch; equal ones stay in their order. */
  #sortStretches(): void {
    const { values, owners } = this
    for (let next = 1; next < this.count; next++) {
      const value = values[next]!
      if (values[next - 1]! <= value) continue
      const owner = owners[next]!
      let at = next
      for (; at > 0 && values[at - 1]! > value; at--) {
        values[at] = values[at - 1]!
        owners[at] = owners[at - 1]!
      }
      values[at] = value
      owners[at] = owner
    }
  }

  /** Merges the points of members that stay, which are in order already, with those of the others. */
  #takeOver(before: Points, place: Place): void {
    const { members, values } = this
    const indexOf = new Map(this.#ids.map((id, index) => [id, index]))
    /** For each member of before its index here, or -1. With another weight it has other points. */
    const stays = before.#ids.map((id, at) => {
      const index = indexOf.get(id) ?? -1
      return this.#weights[index] === before.#weights[at] ? index : -1
    })
    const staying = new Set(stays)
    const joining = [...members.keys()].filter(index => !staying.has(index))
    const joined = new Points(
      joining.map(index => members[index]!),
      this.#perWeight,
      (index, into) => place(joining[index]!, into)
    )
    for (let to = 0, left = 0, right = 0; to < this.count; to++) {
      while (left < before.count && stays[before.owners[left]!] === -1) left++
      const isRight =
        left === before.count || (right < joined.count && joined.values[right]! < before.values[left]!)
      if (isRight) this.#append(to, joined.values[right]!, joining[joined.owners[right++]!]!)
      else this.#append(to, before.values[left]!, stays[before.owners[left++]!]!)
    }

    const stretches = this.#stretches
    let stretch = 0
    for (let at = 0; at < this.count; at++) {
      for (; stretch <= values[at]! >>> this.#shift; stretch++) stretches[stretch] = at
    }
    stretches.fill(this.count, stretch)
  }

  /** Of members that share a point the earlier one in the list comes first, whichever was placed first. */
  #append(to: number, value: number, owner: number): void {
    const { values, owners } = this
    let at = to
    for (; at > 0 && values[at - 1] === value && owners[at - 1]! > owner; at--) owners[at] = owners[at - 1]!
    values[to] = value
    owners[at] = owner
  }
}
