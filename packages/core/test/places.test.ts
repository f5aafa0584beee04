import assert from 'node:assert/strict'
import test from 'node:test'
import * as fc from 'fast-check'
import { ipHash, order, plainHash } from '@ringway/core'
import type { Member } from '@ringway/core'
import { anyKeys, anyMembers } from './support/arbitrary.ts'
import { decidedByNumbers, ipNumbers, plainNumbers } from './support/nginx-steps.ts'

const always = () => true
const noLoad = () => 0

for (const [strategy, numbers, keysOf] of [
  [plainHash(), plainNumbers, (index: number) => `user-${index}`],
  [ipHash(), ipNumbers, (index: number) => `10.${index >> 8}.${index & 0xff}.1`]
] as const) {
  const { name } = strategy

  test(`${name}: the order of a key names each member once`, () => {
    fc.assert(
      fc.property(anyMembers(40), anyKeys(), (members, keys) => {
        const table = strategy.build(members)
        for (const key of keys) {
          const all = order(table, key)
          assert.equal(all.length, members.length)
          assert.deepEqual(new Set(all), new Set(members))
        }
      })
    )
  })

  test(`${name}: each key gets the first usable member of its order, and no member is asked twice`, () => {
    fc.assert(
      fc.property(anyMembers(40), fc.nat(255), anyKeys(), (members, mask, keys) => {
        const table = strategy.build(members)
        const usable = new Set(members.filter((_, index) => (mask >> index) & 1))
        for (const key of keys) {
          const asked: Member[] = []
          const picked = table.pick(
            key,
            member => {
              asked.push(member)
              return usable.has(member)
            },
            noLoad
          )
          assert.equal(
            picked,
            order(table, key).find(member => usable.has(member))
          )
          assert.equal(new Set(asked).size, asked.length)
          if (picked === undefined) assert.equal(asked.length, members.length)
        }
      })
    )
  })

  test(`${name}: two tables of the same list agree, whatever was picked before and whatever the ids`, () => {
    fc.assert(
      fc.property(anyMembers(), anyKeys(), (members, keys) => {
        const one = strategy.build(members)
        const renamed = members.map(({ weight }, index) => ({ id: `renamed-${index}`, weight }))
        const other = strategy.build(renamed)
        for (const key of keys) one.pick(key, () => false, noLoad)
        for (const key of keys) {
          assert.deepEqual(
            order(one, key).map(member => members.indexOf(member)),
            order(other, key).map(member => renamed.indexOf(member))
          )
        }
      })
    )
  })

  test(`${name}: no choice that nginx makes by the hash is another one, with servers down too`, () => {
    fc.assert(
      fc.property(anyMembers(), fc.nat(255), anyKeys(), (members, mask, keys) => {
        const places = members.flatMap(member => Array.from({ length: member.weight }, () => member))
        const down = new Set(members.filter((_, index) => (mask >> index) & 1))
        const downIds = new Set([...down].map(({ id }) => id))
        const table = strategy.build(members)
        for (const key of keys) {
          const decided = decidedByNumbers(numbers(key), members, downIds)
          const theirs = new Set<Member>()
          for (const number of numbers(key)) {
            if (theirs.size === decided) break
            const member = places[number % places.length]!
            if (!down.has(member)) theirs.add(member)
          }
          const ours = order(table, key).filter(member => !down.has(member))
          assert.deepEqual(ours.slice(0, decided), [...theirs])
        }
      })
    )
  })

  test(`${name}: each member gets its share of the keys, by weight`, () => {
    const members = [1, 2, 5].map((weight, index) => ({ id: `sre${index}`, weight }))
    const table = strategy.build(members)
    const counts = new Map<Member | undefined, number>()
    for (let index = 0; index < 16_000; index++) {
      const picked = table.pick(keysOf(index), always, noLoad)
      counts.set(picked, (counts.get(picked) ?? 0) + 1)
    }
    for (const member of members) {
      const share = member.weight * 2_000
      assert.ok(Math.abs(counts.get(member)! - share) < 0.1 * share, `${counts.get(member)} for ${share}`)
    }
  })

  test(`${name}: the keys of a heavy member that isn't usable spread over the light ones`, () => {
    const members = [10_000, 1, 1, 1].map((weight, index) => ({ id: `sre${index}`, weight }))
    const table = strategy.build(members)
    const counts = new Map<Member | undefined, number>()
    for (let index = 0; index < 3_000; index++) {
      const picked = table.pick(keysOf(index), member => member !== members[0], noLoad)
      counts.set(picked, (counts.get(picked) ?? 0) + 1)
    }
    for (const light of members.slice(1)) assert.ok(counts.get(light)! > 600)
  })

  test(`${name}: a member in another's place in the list has its keys`, () => {
    const members = ['a', 'b', 'c'].map(id => ({ id, weight: 1 }))
    const replaced = members.with(1, { id: 'new', weight: 1 })
    for (let index = 0; index < 100; index++) {
      const before = order(strategy.build(members), keysOf(index)).map(({ id }) => (id === 'b' ? 'new' : id))
      const after = order(strategy.build(replaced), keysOf(index)).map(({ id }) => id)
      assert.deepEqual(after, before)
    }
  })

  test(`${name}: a table without members picks nobody`, () => {
    const table = strategy.build([])
    assert.equal(table.pick('key', always, noLoad), undefined)
    assert.deepEqual(order(table, 'key'), [])
  })

  test(`${name}: a table keeps the members it was built of when the list changes later`, () => {
    const members = [{ id: 'a:1', weight: 1 }]
    const table = strategy.build(members)
    members.length = 0
    assert.equal(table.pick('key', always, noLoad)?.id, 'a:1')
  })

  test(`${name}: members that can't be used are refused`, () => {
    assert.throws(() => strategy.build([{ id: 'a', weight: 0 }]), {
      name: 'ConfigError',
      field: 'members[0].weight'
    })
    const many = Array.from({ length: 101 }, (_, index) => ({ id: `sre${index}`, weight: 10_000 }))
    assert.throws(() => strategy.build(many), { name: 'ConfigError', field: 'members', message: /1010000/ })
    assert.equal(order(strategy.build(many.slice(1)), 'key').length, 100)
  })
}
