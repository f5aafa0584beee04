import { ConfigError } from './errors.ts'
import { show } from './fields.ts'
import type { Member } from './strategy.ts'

const LARGEST_WEIGHT = 10_000

/** With more a table takes gigabytes. It also bounds the number of members. */
export const LARGEST_TOTAL_WEIGHT = 1_000_000

/**
 * Checks a set of members as Ringway's own strategies need it. For your own strategy too: call it first in
 * `build`. No members at all are fine.
 *
 * @param members - the set
 * @throws ConfigError whose `field` is `members[INDEX].id` for an id that is empty or used twice,
 *   `members[INDEX].weight` for a weight that is no integer from 1 to 10,000, `members[INDEX]` for what is no object, or
 *   `members` for what is no array and for weights of more than 1,000,000 together
 */
export function checkMembers(members: readonly Member[]): void {
  const given: unknown = members
  if (!Array.isArray(given)) throw new ConfigError('members', `must be an array, not ${show(given)}`)
  const ids = new Set<string>()
  let total = 0
  for (const [index, member] of members.entries()) {
    if (typeof member !== 'object' || member === null) {
      throw new ConfigError(
        `members[${index}]`,
        `must be an object with an id and a weight, not ${show(member)}`
      )
    }
    const { id, weight } = member
    if (typeof id !== 'string' || id === '') {
      throw new ConfigError(`members[${index}].id`, 'must be a text that is not empty')
    }
    if (ids.has(id)) {
      throw new ConfigError(`members[${index}].id`, `"${id}" is used twice; each member needs its own`)
    }
    if (!Number.isInteger(weight) || weight < 1 || weight > LARGEST_WEIGHT) {
      throw new ConfigError(
        `members[${index}].weight`,
        `of "${id}" must be an integer from 1 to 10,000, not ${show(weight)}`
      )
    }
    ids.add(id)
    total += weight
  }
  if (total > LARGEST_TOTAL_WEIGHT) {
    throw new ConfigError('members', `must have weights of at most 1,000,000 together, but have ${total}`)
  }
}
