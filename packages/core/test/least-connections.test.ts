import assert from 'node:assert/strict'
import test from 'node:test'
import * as fc from 'fast-check'
import { leastConnections } from '@ringway/core'
import type { Member } from '@ringway/core'
import { anyMembers } from './support/arbitrary.ts'

const always = () => true
const withoutB = (member: Member) => member.id !== 'b'

function membersOf(weights: Record<string, number>): Member[] {
  return Object.entries(weights).map(([id, weight]) => ({ id, weight }))
}

test('it says that it looks at no key', () => {
  assert.equal(leastConnections().keyed, false)
})

test('the member with the smallest load for its weight is picked', () => {
  fc.assert(
    fc.property(anyMembers(10), fc.array(fc.nat(100), { minLength: 8, maxLength: 8 }), (members, loads) => {
      const load = (member: Member) => loads[members.indexOf(member)]!
      const picked = leastConnections().build(members).pick('', always, load)!
      const smallest = Math.min(...members.map(member => load(member) / member.weight))
      assert.equal(load(picked) / picked.weight, smallest)
    })
  )
})

test('members that are not usable are passed over, and nobody is asked twice', () => {
  fc.assert(
    fc.property(anyMembers(), fc.nat(255), (members, mask) => {
      const usable = new Set(members.filter((_, index) => (mask >> index) & 1))
      const asked: Member[] = []
      const loaded: Member[] = []
      const picked = leastConnections()
        .build(members)
        .pick(
          '',
          member => {
            asked.push(member)
            return usable.has(member)
          },
          member => {
            loaded.push(member)
            return 0
          }
        )
      assert.equal(picked !== undefined, usable.size > 0)
      if (picked !== undefined) assert.ok(usable.has(picked))
      assert.deepEqual(asked, members)
      assert.deepEqual(loaded, [...usable])
    })
  )
})

test('equal members take turns', () => {
  const table = leastConnections().build(membersOf({ a: 1, b: 1, c: 1 }))
  assert.equal(picks(7, () => table.pick('', always, () => 2)).join(' '), 'a b c a b c a')
})

test('members that tie take turns by weight, smoothly', () => {
  const table = leastConnections().build(membersOf({ a: 5, b: 1, c: 1 }))
  assert.equal(picks(14, () => table.pick('', always, () => 0)).join(' '), 'a a b a c a a a a b a c a a')
})

test('those that are left take turns when one is no longer usable, and the one that waited comes first', () => {
  const table = leastConnections().build(membersOf({ a: 1, b: 1, c: 1 }))
  assert.equal(picks(2, () => table.pick('', always, () => 0)).join(' '), 'a b')
  assert.equal(picks(6, () => table.pick('', withoutB, () => 0)).join(' '), 'c c a c a c')
})

test('connections that stay open fill the members by weight', () => {
  fc.assert(
    fc.property(anyMembers(10), fc.integer({ min: 1, max: 5 }), (members, rounds) => {
      const loads = new Map(members.map(member => [member, 0]))
      const table = leastConnections().build(members)
      const total = members.reduce((sum, { weight }) => sum + weight, 0)
      for (let connection = 0; connection < total * rounds; connection++) {
        const member = table.pick('', always, each => loads.get(each)!)!
        loads.set(member, loads.get(member)! + 1)
      }
      for (const [member, load] of loads) assert.equal(load, member.weight * rounds)
    })
  )
})

test('a load may be a fraction or without bound, as it is while a member starts slowly', () => {
  const table = leastConnections().build(membersOf({ a: 1, b: 1 }))
  const loads: Record<string, number> = { a: 1 / 0.3, b: 3 }
  assert.equal(table.pick('', always, ({ id }) => loads[id]!)?.id, 'b')
  assert.equal(table.pick('', always, ({ id }) => (id === 'a' ? Number.POSITIVE_INFINITY : 1))?.id, 'b')
  assert.ok(table.pick('', always, () => Number.POSITIVE_INFINITY))
})

test('a table without members picks nobody', () => {
  assert.equal(
    leastConnections()
      .build([])
      .pick('', always, () => 0),
    undefined
  )
})

function picks(count: number, pick: () => Member | undefined): (string | undefined)[] {
  return Array.from({ length: count }, () => pick()?.id)
}
