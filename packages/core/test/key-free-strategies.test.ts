import assert from 'node:assert/strict'
import test from 'node:test'
import * as fc from 'fast-check'
import { leastConnections, randomTwo, roundRobin } from '@ringway/core'
import type { Member, Table } from '@ringway/core'
import { anyMembers } from './support/arbitrary.ts'

const always = () => true
const noLoad = () => 0

function membersOf(weights: Record<string, number>): Member[] {
  return Object.entries(weights).map(([id, weight]) => ({ id, weight }))
}

function picks(table: Table, count: number, usable: (member: Member) => boolean = always): string {
  return Array.from({ length: count }, () => table.pick('', usable, noLoad)?.id ?? '-').join('')
}

test('they say that they look at no key', () => {
  assert.equal(roundRobin().keyed, false)
  assert.equal(randomTwo().keyed, false)
})

test('they pick nobody where there are no members, or none is usable', () => {
  for (const strategy of [roundRobin(), randomTwo()]) {
    assert.equal(picks(strategy.build([]), 2), '--')
    assert.equal(
      picks(strategy.build(membersOf({ a: 1, b: 2 })), 2, () => false),
      '--'
    )
  }
})

test('they refuse ids and weights that can’t be used', () => {
  for (const strategy of [roundRobin(), randomTwo()]) {
    assert.throws(() => strategy.build([{ id: 'a', weight: 0 }]), { field: 'members[0].weight' })
  }
})

test('round robin goes by weights as nginx does: 5, 1 and 1 are a, a, b, a, c, a, a', () => {
  assert.equal(picks(roundRobin().build(membersOf({ a: 5, b: 1, c: 1 })), 14), 'aabacaaaabacaa')
})

test('round robin among equal members goes by the list', () => {
  assert.equal(picks(roundRobin().build(membersOf({ a: 1, b: 1, c: 1 })), 6), 'abcabc')
})

test('a member that was not usable for a while saves up no turns', () => {
  const table = roundRobin().build(membersOf({ a: 1, b: 1, c: 1 }))
  assert.equal(
    picks(table, 6, ({ id }) => id !== 'b'),
    'acacac'
  )
  assert.equal(picks(table, 3), 'abc')
})

test('in each round of as many picks as there are weights, each member has its weight of them', () => {
  fc.assert(
    fc.property(anyMembers(9), members => {
      const table = roundRobin().build(members)
      const total = members.reduce((sum, { weight }) => sum + weight, 0)
      const counts = new Map<Member, number>()
      for (let pick = 0; pick < total * 2; pick++) {
        const member = table.pick('', always, noLoad)!
        counts.set(member, (counts.get(member) ?? 0) + 1)
      }
      for (const member of members) assert.equal(counts.get(member), member.weight * 2)
    })
  )
})

test('of two members drawn by chance the one that carries less for its weight is picked', () => {
  const [a, b] = [
    { id: 'a', weight: 2 },
    { id: 'b', weight: 1 }
  ] as const
  const loads: Record<string, number> = { a: 3, b: 2 }
  // 0 draws a and 0.9 draws b; 3 of weight 2 are less than 2 of weight 1.
  for (const drawn of [
    [0, 0.9],
    [0.9, 0]
  ]) {
    const numbers = [...drawn]
    const table = randomTwo(() => numbers.shift() ?? 0).build([a, b])
    assert.equal(
      table.pick('', always, ({ id }) => loads[id]!),
      a
    )
  }
})

test('of two that carry the same the first drawn is picked, so that weights count while all are idle', () => {
  const numbers = [0.9, 0]
  assert.equal(picks(randomTwo(() => numbers.shift() ?? 0).build(membersOf({ a: 2, b: 1 })), 1), 'b')
})

test('a draw takes each member as often as its weight says', () => {
  const steps = 800
  let step = 0
  // The first draw of each pick walks through all numbers; the second gets the heaviest member, which carries most.
  const table = randomTwo(() => (step++ % 2 === 0 ? (step >> 1) / steps : 0.999)).build(
    membersOf({ a: 1, b: 2, c: 5 })
  )
  const counts: Record<string, number> = {}
  for (let pick = 0; pick < steps; pick++) {
    const { id } = table.pick('', always, ({ id: of }) => (of === 'c' ? 1 : 0))!
    counts[id] = (counts[id] ?? 0) + 1
  }
  // Where c comes first, it comes second again each time, and the pick then looks for another itself.
  assert.ok(counts.a! >= 99 && counts.b! >= 199, JSON.stringify(counts))
})

test('the only usable one of many members is found, and so are both of two', () => {
  const members = Array.from({ length: 1000 }, (_, index) => ({ id: `${index}`, weight: 1 + (index % 3) }))
  const table = randomTwo().build(members)
  for (let round = 0; round < 50; round++) {
    const [one, other] = [members[round * 7]!, members[999 - round]!]
    assert.equal(
      table.pick('', member => member === one, noLoad),
      one
    )
    const load = (member: Member): number => (member === one ? 2 * one.weight : other.weight)
    assert.equal(
      table.pick('', member => member === one || member === other, load),
      other
    )
  }
})

test('numbers beyond what was asked for harm nothing', () => {
  for (const number of [1, 7, -1, Number.NaN]) {
    const table = randomTwo(() => number).build(membersOf({ a: 1, b: 1, c: 1 }))
    assert.match(picks(table, 1), /[abc]/)
    assert.equal(
      picks(table, 1, ({ id }) => id === 'b'),
      'b'
    )
  }
})

test('what is no function of chance is refused', () => {
  // @ts-expect-error no function
  assert.throws(() => randomTwo(0.5), { code: 'ERR_RINGWAY_CONFIG', field: 'random' })
})

test('under random tunnels that begin and end, no member of two choices is far from its share', () => {
  const members = membersOf({ a: 1, b: 2, c: 5, d: 2 })
  const table = randomTwo().build(members)
  const loads = new Map<Member, number>(members.map(member => [member, 0]))
  for (let tunnel = 0; tunnel < 10_000; tunnel++) {
    const picked = table.pick('', always, member => loads.get(member)!)!
    loads.set(picked, loads.get(picked)! + 1)
  }
  for (const [{ id, weight }, load] of loads) {
    assert.ok(Math.abs(load - weight * 1000) < 100, `${id} carries ${load}`)
  }
})

function failsAtC({ id }: Member): boolean {
  if (id === 'c') throw new Error('bug')
  return true
}

function isBorC({ id }: Member): boolean {
  return id === 'b' || id === 'c'
}

test('a usable() that throws leaves the turns of round robin as they were', () => {
  const table = roundRobin().build(membersOf({ a: 1, b: 1, c: 1 }))
  for (let pick = 0; pick < 5; pick++) assert.throws(() => table.pick('', failsAtC, noLoad), /bug/)
  assert.equal(picks(table, 6), 'abcabc')
})

test('a usable() that picks from the same table again harms neither pick', () => {
  for (const strategy of [roundRobin(), leastConnections(), randomTwo()]) {
    const table = strategy.build(membersOf({ a: 1, b: 1, c: 1, d: 1 }))
    const reentrant = (member: Member): boolean => {
      const inner = table.pick('', ({ id }) => id === 'a' || id === 'd', noLoad)
      assert.ok(inner?.id === 'a' || inner?.id === 'd')
      return isBorC(member)
    }
    for (let pick = 0; pick < 20; pick++) assert.ok(isBorC(table.pick('', reentrant, noLoad)!))
  }
})
