import type { Member } from './strategy.ts'

/** Indexes of members, as small as their number allows, since there are many. */
export type Owners = Uint8Array | Uint16Array | Uint32Array

/**
 * A table that has a member for each of many entries, and for a hash an entry. Where that member isn't usable, the
 * entries behind it are looked at, as along a ring. Never changes.
 */
export class Entries {
  readonly #members: readonly Member[]
  readonly #owners: Owners

  /**
   * @param members - the set, which is taken over
   * @param owners - for each entry the index of its member
   */
  constructor(members: readonly Member[], owners: Owners) {
    this.#members = members
    this.#owners = owners
  }

  /** The member that has an entry if it is usable, else the next usable one. */
  pick(entry: number, usable: (member: Member) => boolean): Member | undefined {
    const member = this.#members[this.#owners[entry]!]
    if (member === undefined) return undefined // there are none at all
    return usable(member) ? member : this.#walkOn(entry, usable)
  }

  /** The first usable member behind an entry, whose own member has been asked. Asks each other member once. */
  #walkOn(entry: number, usable: (member: Member) => boolean): Member | undefined {
    const { length } = this.#owners
    const asked = new Uint8Array(this.#members.length)
    asked[this.#owners[entry]!] = 1
    let left = this.#members.length - 1
    for (let step = 1; left > 0 && step < length; step++) {
      const owner = this.#owners[(entry + step) % length]!
      if (asked[owner] === 1) continue
      const member = this.#members[owner]!
      if (usable(member)) return member
      asked[owner] = 1
      left--
    }
    // Those of so little weight that they have no entry.
    return this.#members.find((member, index) => asked[index] === 0 && usable(member))
  }
}

/** Room for a number of owners, all 0. */
export function ownersFor(members: number, length: number): Owners {
  if (members <= 0x100) return new Uint8Array(length)
  return members <= 0x10000 ? new Uint16Array(length) : new Uint32Array(length)
}
