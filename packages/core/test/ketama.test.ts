import assert from 'node:assert/strict'
import test from 'node:test'
import * as fc from 'fast-check'
import { ConfigError, ketama, order } from '@ringway/core'
import type { Member, Table } from '@ringway/core'
import { membersOf, setUps } from './support/nginx-fixture.ts'
import { nginxRing } from './support/nginx-ring.ts'
import { anyKeys, anyMembers } from './support/arbitrary.ts'

const always = () => true
const noLoad = () => 0

function first(table: Table, key: string): string | undefined {
  return table.pick(key, always, noLoad)?.id
}

test('a member that leaves gives up its own keys and moves no other', () => {
  fc.assert(
    fc.property(anyMembers(), fc.nat(), anyKeys(), (members, which, keys) => {
      const gone = members[which % members.length]!
      const before = ketama().build(members)
      const after = ketama().build(members.filter(member => member !== gone))
      for (const key of keys) {
        const owner = first(before, key)
        if (owner !== gone.id) assert.equal(first(after, key), owner)
        else assert.equal(first(after, key), order(before, key)[1]?.id)
      }
    })
  )
})

test('a member that joins takes keys for itself only, wherever it stands in the list', () => {
  fc.assert(
    fc.property(anyMembers(), fc.nat(), anyKeys(), (members, where, keys) => {
      const joining: Member = { id: 'joining.example.test:8080', weight: 2 }
      const before = ketama().build(members)
      const after = ketama().build(members.toSpliced(where % (members.length + 1), 0, joining))
      for (const key of keys) {
        const owner = first(after, key)
        if (owner !== joining.id) assert.equal(owner, first(before, key))
      }
    })
  )
})

test('a larger weight takes keys and gives none away', () => {
  fc.assert(
    fc.property(anyMembers(), fc.nat(), anyKeys(), (members, which, keys) => {
      const index = which % members.length
      const raised = members.with(index, { ...members[index]!, weight: members[index]!.weight + 1 })
      const before = ketama().build(members)
      const after = ketama().build(raised)
      for (const key of keys) {
        const owner = first(after, key)
        if (owner !== members[index]!.id) assert.equal(owner, first(before, key))
      }
    })
  )
})

test('the order of the list makes no difference, unless two members share a point', () => {
  fc.assert(
    fc.property(anyMembers(), anyKeys(), (members, keys) => {
      const points = members.reduce((sum, { weight }) => sum + weight * 160, 0)
      fc.pre(nginxRing(members).points.length === points)
      const table = ketama().build(members)
      const reversed = ketama().build(members.toReversed())
      for (const key of keys) assert.deepEqual(order(reversed, key), order(table, key))
    })
  )
})

test('the order of a key names each member once', () => {
  fc.assert(
    fc.property(anyMembers(), anyKeys(), (members, keys) => {
      const table = ketama().build(members)
      for (const key of keys) {
        const ids = order(table, key).map(({ id }) => id)
        assert.deepEqual(ids.toSorted(), members.map(({ id }) => id).toSorted())
      }
    })
  )
})

test('each key gets the first usable member of its order, and no member is asked twice', () => {
  fc.assert(
    fc.property(anyMembers(), fc.nat(255), anyKeys(), (members, mask, keys) => {
      const table = ketama().build(members)
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

test('each member gets its share of the keys, by weight', () => {
  const table = ketama().build([
    { id: 'sre1:8080', weight: 1 },
    { id: 'sre2:8080', weight: 1 },
    { id: 'sre3:8080', weight: 2 }
  ])
  const counts: Record<string, number> = {}
  for (let key = 0; key < 20_000; key++) {
    const id = first(table, `user-${key}`)!
    counts[id] = (counts[id] ?? 0) + 1
  }
  // 160 points a unit spread a share by about 1/√160, which is 8 %.
  assert.ok(Math.abs(counts['sre1:8080']! - 5_000) < 1_000)
  assert.ok(Math.abs(counts['sre2:8080']! - 5_000) < 1_000)
  assert.ok(Math.abs(counts['sre3:8080']! - 10_000) < 1_500)
})

test('a light member beside heavy ones is found when it alone is usable', () => {
  const light = { id: 'light:80', weight: 1 }
  const table = ketama().build([{ id: 'heavy:80', weight: 10_000 }, light])
  for (let key = 0; key < 100; key++) {
    assert.equal(
      table.pick(`${key}`, member => member === light, noLoad),
      light
    )
  }
})

test('a table without members picks nobody', () => {
  const table = ketama().build([])
  assert.equal(table.pick('key', always, noLoad), undefined)
  assert.deepEqual(order(table, 'key'), [])
})

test('the empty key has its place like any other', () => {
  const table = ketama().build([
    { id: 'a:1', weight: 1 },
    { id: 'b:1', weight: 1 }
  ])
  assert.equal(order(table, '').length, 2)
})

test('a table keeps the members it was built of when the list changes later', () => {
  const members = [{ id: 'a:1', weight: 1 }]
  const table = ketama().build(members)
  members.length = 0
  assert.equal(first(table, 'key'), 'a:1')
})

test('ids that nginx places on the same points are refused', () => {
  for (const [one, other] of [
    ['unix:/run/a.sock', 'UNIX:/run/a.sock'],
    ['unix:/run/a.sock', '/run/a.sock'],
    ['name', 'name:']
  ] as const) {
    assert.throws(
      () =>
        ketama().build([
          { id: one, weight: 1 },
          { id: other, weight: 2 }
        ]),
      (error: unknown) => {
        assert.ok(error instanceof ConfigError)
        assert.equal(error.field, 'members[1].id')
        assert.match(error.message, /same points/)
        assert.ok(error.message.includes(`"${one}"`) && error.message.includes(`"${other}"`))
        return true
      }
    )
  }
})

test('ids that differ in a port, its absence or a letter are different servers', () => {
  const ids = ['sre1', 'sre1:80', 'sre1:8080', 'SRE1:80', 'sre1:http', '80', '[::1]:80', '[::1]']
  const table = ketama().build(ids.map(id => ({ id, weight: 1 })))
  assert.equal(order(table, 'key').length, ids.length)
})

test('weights that are too much together are refused before anything is allocated', () => {
  const members = Array.from({ length: 101 }, (_, index) => ({ id: `sre${index}`, weight: 10_000 }))
  assert.throws(() => ketama().build(members), { name: 'ConfigError', field: 'members', message: /1010000/ })
})

for (const name of ['collision1', 'collision2'] as const) {
  test(`of the two members of ${name}, which share a point, the earlier has it, whichever joined last`, () => {
    const [one, other] = membersOf(setUps[name]!) as [Member, Member]
    const keys = setUps[name]!.keys!.map(([key]) => key)
    const strategy = ketama()
    for (const members of [
      [one, other],
      [other, one]
    ]) {
      const fresh = strategy.build(members)
      for (const earlier of [[one], [other], [other, one], [one, other]]) {
        const taken = strategy.build(members, strategy.build(earlier))
        for (const key of keys) {
          assert.deepEqual(order(taken, key), order(fresh, key))
          // When the earlier one leaves again, the other has the shared point.
          const left = strategy.build(members.slice(1), taken)
          assert.equal(order(left, key)[0], members[1])
        }
      }
    }
  })
}

test('a table takes over what another was built of, even if its members were changed since', () => {
  const members = ['a:1', 'b:1', 'c:1'].map(id => ({ id, weight: 1 }))
  const strategy = ketama()
  const before = strategy.build(members)
  members[0]!.weight = 3
  members[1]!.id = 'd:1'
  const taken = strategy.build(members, before)
  const fresh = strategy.build(members)
  for (let key = 0; key < 1000; key++) {
    assert.deepEqual(order(taken, `${key}`), order(fresh, `${key}`))
  }
})
