import assert from 'node:assert/strict'
import test from 'node:test'
import { ipHash, order, plainHash } from '@ringway/core'
import { hashSetUps, membersOf, outOf } from './support/nginx-fixture.ts'
import { decidedByNumbers, ipNumbers, plainNumbers } from './support/nginx-steps.ts'

/** Choices of all keys that nginx made by the hash; it made the others by round robin, and they aren't compared. */
const DECIDED: Record<string, Record<'plainHash' | 'ipHash', string>> = {
  equal: { plainHash: '180 of 180', ipHash: '180 of 180' },
  weights: { plainHash: '174 of 180', ipHash: '179 of 180' },
  ten: { plainHash: '549 of 600', ipHash: '571 of 600' },
  down: { plainHash: '231 of 240', ipHash: '228 of 240' }
}

test('each set-up of the file is compared, and no other is expected', () => {
  assert.deepEqual(Object.keys(hashSetUps).toSorted(), Object.keys(DECIDED).toSorted())
})

for (const [name, setUp] of Object.entries(hashSetUps)) {
  for (const [method, strategy, numbers] of [
    ['plainHash', plainHash(), plainNumbers],
    ['ipHash', ipHash(), ipNumbers]
  ] as const) {
    test(`nginx's picks are those of ${method}: ${name} (${setUp.note})`, () => {
      const members = membersOf(setUp)
      const out = outOf(setUp)
      const table = strategy.build(members)
      let choices = 0
      let compared = 0
      for (const [key, tried] of setUp[method]) {
        const theirs = tried.map(index => members[index]!.id)
        const ours = order(table, key)
          .map(({ id }) => id)
          .filter(id => !out.has(id))
        assert.deepEqual(new Set(theirs), new Set(ours))
        const decided = decidedByNumbers(numbers(key), members, out)
        assert.ok(decided >= 1)
        assert.deepEqual(ours.slice(0, decided), theirs.slice(0, decided), `order of ${JSON.stringify(key)}`)
        choices += theirs.length
        compared += decided
      }
      assert.equal(`${compared} of ${choices}`, DECIDED[name]?.[method])
    })
  }
}
