/**
 * What nginx's `hash` without `consistent`, its `ip_hash` and jump hashing have in common: each member has as many
 * places as its weight, in the order of the list, and a number modulo all places finds the member. If that one can't
 * be used, the next number is tried. Not public.
 */
import { checkMembers } from './members.ts'
import type { Member } from './strategy.ts'

/** nginx goes on by round robin when a request has been led to servers out of use more often than this. */
const LARGEST_REPEATS = 20

/** Members and their places. Never changes. */
export interface Places {
  readonly members: readonly Member[]
  /** For each member, the first place after its own. The last one is the number of places. */
  readonly ends: Uint32Array
}

/**
 * Gives members their places.
 *
 * @throws ConfigError for ids or weights that {@link checkMembers} refuses
 */
export function layOut(members: readonly Member[]): Places {
  checkMembers(members)
  let end = 0
  return { members: [...members], ends: Uint32Array.from(members, ({ weight }) => (end += weight)) }
}

/**
 * The first usable member in the order in which numbers lead to them; `undefined` when none is. Asks each member
 * once at most.
 *
 * @param places - of all members
 * @param start - what `next` gets first
 * @param next - the next number, of the last one and how many there were before: an integer of at least 0
 * @param usable - whether a member may be taken
 */
export function pickAlong(
  places: Places,
  start: number,
  next: (last: number, count: number) => number,
  usable: (member: Member) => boolean
): Member | undefined {
  const { members, ends } = places
  if (members.length === 0) return undefined
  const number = next(start, 0)
  const index = indexOf(ends, number)
  const member = members[index]!
  return usable(member) ? member : walkOn(places, number, index, next, usable)
}

/**
 * The first usable member after the first choice, which has been asked. As long as nginx would go by numbers we do, and
 * somewhat longer if members are down: it counts those too, we only count numbers that lead back to a member. So the
 * order depends on nothing but the key.
 */
function walkOn(
  { members, ends }: Places,
  number: number,
  first: number,
  next: (last: number, count: number) => number,
  usable: (member: Member) => boolean
): Member | undefined {
  const asked = new Uint8Array(members.length)
  asked[first] = 1
  let left = members.length - 1
  for (let count = 1, repeats = 0; left > 0 && repeats <= LARGEST_REPEATS; count++) {
    number = next(number, count)
    const index = indexOf(ends, number)
    if (asked[index] === 1) {
      repeats++
      continue
    }
    if (usable(members[index]!)) return members[index]
    asked[index] = 1
    left--
  }
  // The rest in the order of the list. We begin where the number says if all weigh the same: the place's own
  // member would often be the heaviest, so that all its keys would go to the one behind it.
  for (let at = number; left > 0; at++) {
    const index = at % members.length
    if (asked[index] === 1) continue
    if (usable(members[index]!)) return members[index]
    left--
  }
  return undefined
}

/** The index of the member that has the place `number` modulo all places. */
function indexOf(ends: Uint32Array, number: number): number {
  const place = number % ends[ends.length - 1]!
  let low = 0
  let high = ends.length - 1
  while (low < high) {
    const middle = (low + high) >>> 1
    if (ends[middle]! <= place) low = middle + 1
    else high = middle
  }
  return low
}
