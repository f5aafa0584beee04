import { ConfigError } from './errors.ts'
import type { Member } from './strategy.ts'

const LARGEST_WEIGHT = 10_000

/**
 * Checks a set of members as Ringway's own strategies need it. For your own strategy too: call it first in
 * `build`. No members at all are fine.
 *
 * @param members - the set
 * @throws ConfigError whose `field` is `members[INDEX].id` for an id that is empty or used twice, or
 *   `members[INDEX].weight` for a weight that is no integer from 1 to 10,000
 */
export function checkMembers(members: readonly Member[]): void {
  const ids = new Set<string>()
  for (const [index, { id, weight }] of members.entries()) {
    if (typeof id !== 'string' || id === '') {
      throw new ConfigError(`members[${index}].id`, 'must be a text that is not empty')
    }
    if (ids.has(id)) {
      throw new ConfigError(`members[${index}].id`, `"${id}" is used twice; each member needs its own`)
    }
    if (!Number.isInteger(weight) || weight < 1 || weight > LARGEST_WEIGHT) {
      throw new ConfigError(
        `members[${index}].weight`,
        `of "${id}" must be an integer from 1 to 10,000, but is ${String(weight)}`
      )
    }
    ids.add(id)
  }
}
