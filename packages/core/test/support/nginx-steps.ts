import { crc32 } from '@ringway/core'
import type { Member } from '@ringway/core'
import { addressBytes } from '../../src/address.ts'
import { firstPoint } from './nginx-ring.ts'
import type { NginxRing } from './nginx-ring.ts'

/** nginx goes on by round robin when a request has made more steps than this, in all its tries. */
const NGINX_STEPS = 20

/**
 * How many choices nginx makes on its ring for a key. From the key's point on it takes a step for each point
 * whose server is out or was tried, and gives up at the step after the 20th. An empty key isn't looked up at all.
 */
export function decidedByRing(ring: NginxRing, key: string, out: ReadonlySet<string>): number {
  if (key === '') return 0
  const passed = new Set(out)
  let decided = 0
  let at = firstPoint(ring, crc32(key))
  for (let steps = 0; steps <= NGINX_STEPS;) {
    const { id } = ring.members[ring.owners[at % ring.owners.length]!]!
    if (passed.has(id)) {
      at++
      steps++
    } else {
      passed.add(id)
      decided++
    }
  }
  return decided
}

/**
 * How many choices nginx makes by `hash` without `consistent` or `ip_hash`. Each number leads to a server; that is
 * a step if the server is out or was tried, and nginx gives up at the step after the 20th. The numbers go on from
 * one try to the next.
 *
 * @param numbers - of a key: {@link plainNumbers} or {@link ipNumbers}
 */
export function decidedByNumbers(
  numbers: Iterable<number>,
  members: readonly Member[],
  out: ReadonlySet<string>
): number {
  const places = members.flatMap(({ id, weight }) => Array.from({ length: weight }, () => id))
  const passed = new Set(out)
  let decided = 0
  let steps = 0
  for (const number of numbers) {
    const id = places[number % places.length]!
    if (!passed.has(id)) {
      passed.add(id)
      decided++
    } else if (++steps > NGINX_STEPS) break
  }
  return decided
}

/** The numbers of `hash KEY`, without an end. */
export function* plainNumbers(key: string): Generator<number> {
  let sum = 0
  for (let rehash = 0; ; rehash++) {
    sum += (crc32(`${rehash === 0 ? '' : rehash}${key}`) >>> 16) & 0x7fff
    yield sum
  }
}

/** The numbers of `ip_hash`, without an end. */
export function* ipNumbers(address: string): Generator<number> {
  const bytes = addressBytes(address) ?? [0, 0, 0]
  const hashed = bytes.length === 4 ? bytes.slice(0, 3) : bytes
  for (let hash = 89; ;) {
    for (const byte of hashed) hash = (hash * 113 + byte) % 6271
    yield hash
  }
}
