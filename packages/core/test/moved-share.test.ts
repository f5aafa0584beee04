import assert from 'node:assert/strict'
import test from 'node:test'
import { ketama, movedShare, rendezvous } from '@ringway/core'
import { sampleAddresses } from '../src/sample.ts'

const members = ['a:1', 'b:1', 'c:1', 'd:1'].map(id => ({ id, weight: 1 }))

test('nothing moves between two tables of the same set', () => {
  assert.equal(movedShare(rendezvous().build(members), rendezvous().build(members)), 0)
})

test('one of four equal members that joins or leaves moves a quarter of the keys', () => {
  const three = rendezvous().build(members.slice(1))
  const four = rendezvous().build(members)
  assert.ok(Math.abs(movedShare(three, four) - 0.25) < 0.02)
  assert.equal(movedShare(four, three), movedShare(three, four))
})

test('members with the same id are the same, whichever objects they are', () => {
  assert.equal(movedShare(ketama().build(members), ketama().build(structuredClone(members))), 0)
})

test("the operator's own keys can be tried, and each counts as often as it is given", () => {
  const before = rendezvous().build(members)
  const after = rendezvous().build(members.slice(1))
  const home = [...sampleAddresses(100)].find(key => movedShare(before, after, [key]) === 1)
  const other = [...sampleAddresses(100)].find(key => movedShare(before, after, [key]) === 0)
  assert.equal(movedShare(before, after, [home!, home!, home!, other!]), 0.75)
})

test('no keys have no share', () => {
  const table = ketama().build(members)
  assert.ok(Number.isNaN(movedShare(table, table, [])))
})

test('all keys move from a set to none', () => {
  assert.equal(movedShare(ketama().build(members), ketama().build([])), 1)
})

test('the sample has each address once, and always the same ones', () => {
  const keys = [...sampleAddresses(20_000)]
  assert.equal(new Set(keys).size, keys.length)
  assert.deepEqual([...sampleAddresses(3)], keys.slice(0, 3))
  assert.deepEqual([...sampleAddresses(2, 1)], keys.slice(1, 3))
  for (const key of keys) assert.match(key, /^\d{1,3}(\.\d{1,3}){3}$/)
})
