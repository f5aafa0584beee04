import assert from 'node:assert/strict'
import test from 'node:test'
import { ConfigError, RingwayError, checkMembers, ketama, leastConnections } from '@ringway/core'
import type { Member } from '@ringway/core'

const good: Member = { id: 'sre1:8080', weight: 1 }

for (const weight of [0, -1, 1.5, 10_001, Number.NaN, Number.POSITIVE_INFINITY]) {
  test(`a weight of ${weight} is refused by name`, () => {
    assertRefused([good, { id: 'sre2:8080', weight }], 'members[1].weight', /"sre2:8080".*1 to 10,000/)
  })
}

test('a weight that is no number is refused', () => {
  // @ts-expect-error a weight is a number
  assertRefused([{ id: 'sre1:8080', weight: '2' }], 'members[0].weight', /not '2'/)
})

test('an id that is empty, missing or used twice is refused', () => {
  assertRefused([{ id: '', weight: 1 }], 'members[0].id', /not empty/)
  // @ts-expect-error a member has an id
  assertRefused([{ weight: 1 }], 'members[0].id', /not empty/)
  assertRefused(
    [good, { id: 'sre2:8080', weight: 1 }, { ...good }],
    'members[2].id',
    /"sre1:8080" is used twice/
  )
})

test('no members at all, and the smallest and the largest weight, are fine', () => {
  checkMembers([])
  checkMembers([good, { id: 'sre2:8080', weight: 10_000 }])
})

test('an error has a code to match on, the name of its class and its cause', () => {
  const cause = new Error('why')
  const error = new RingwayError('ERR_RINGWAY_TEST', 'what', { cause })
  assert.equal(error.code, 'ERR_RINGWAY_TEST')
  assert.equal(error.name, 'RingwayError')
  assert.equal(error.cause, cause)
})

/** Ringway's strategies all refuse what {@link checkMembers} refuses. */
function assertRefused(members: readonly Member[], field: string, message: RegExp): void {
  const uses = [
    checkMembers,
    (each: readonly Member[]) => ketama().build(each),
    (each: readonly Member[]) => leastConnections().build(each)
  ]
  for (const use of uses) {
    assert.throws(
      () => use(members),
      (error: unknown) => {
        assert.ok(error instanceof ConfigError && error instanceof RingwayError)
        assert.equal(error.code, 'ERR_RINGWAY_CONFIG')
        assert.equal(error.name, 'ConfigError')
        assert.equal(error.field, field)
        assert.match(error.message, message)
        return true
      }
    )
  }
}

test('what is no list of members is refused', () => {
  // @ts-expect-error members are a list
  assertRefused({ id: 'a:1', weight: 1 }, 'members', /must be an array/)
  // @ts-expect-error a member is an object
  assertRefused([good, 'sre2:8080'], 'members[1]', /must be an object.*'sre2:8080'/)
  // @ts-expect-error a member is an object
  assertRefused([null], 'members[0]', /must be an object/)
})
