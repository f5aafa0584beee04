import assert from 'node:assert/strict'
import test from 'node:test'
import * as fc from 'fast-check'
import { boundedLoad, jump, ketama, maglev, movedShare, order, rendezvous, ring, xxh64 } from '@ringway/core'
import type { Member, Strategy, Table } from '@ringway/core'
import { mix } from '../src/mix.ts'
import { anyKeys, anyMembers } from './support/arbitrary.ts'

const always = () => true
const noLoad = () => 0

function first(table: Table, key: string): string | undefined {
  return table.pick(key, always, noLoad)?.id
}

// Small tables, so that points and entries collide and members are few steps apart.
const STRATEGIES: readonly Strategy[] = [
  ketama(),
  ring(),
  ring({ points: 3, places: 256 }),
  ring({ points: 200, places: 256 }),
  maglev(),
  maglev({ tableSize: 31 }),
  rendezvous(),
  jump(),
  boundedLoad(ring({ points: 3, places: 256 }), 1.25)
]

for (const [index, strategy] of STRATEGIES.entries()) {
  const name = `${strategy.name} (${index})`

  test(`${name}: the order of a key names each member once`, () => {
    fc.assert(
      fc.property(anyMembers(), anyKeys(), (members, keys) => {
        const table = strategy.build(members)
        for (const key of keys) {
          const ids = order(table, key).map(({ id }) => id)
          assert.deepEqual(ids.toSorted(), members.map(({ id }) => id).toSorted())
        }
      })
    )
  })

  test(`${name}: each key gets the first usable member of its order, as the very object that was given`, () => {
    fc.assert(
      fc.property(anyMembers(), fc.nat(255), anyKeys(), (members, mask, keys) => {
        const table = strategy.build(members)
        const usable = new Set(members.filter((_, at) => (mask >> at) & 1))
        for (const key of keys) {
          const picked = table.pick(key, member => usable.has(member), noLoad)
          assert.equal(
            picked,
            order(table, key).find(member => usable.has(member))
          )
        }
      })
    )
  })

  test(`${name}: a set without members picks nobody`, () => {
    const table = strategy.build([])
    assert.equal(table.pick('key', always, noLoad), undefined)
    assert.deepEqual(order(table, 'key'), [])
  })

  test(`${name}: the empty key has its place like any other`, () => {
    assert.equal(order(strategy.build(['a:1', 'b:1'].map(id => ({ id, weight: 1 }))), '').length, 2)
  })

  test(`${name}: a table keeps the members it was built of when the list changes later`, () => {
    const members = [{ id: 'a:1', weight: 1 }]
    const table = strategy.build(members)
    members.length = 0
    assert.equal(first(table, 'key'), 'a:1')
  })

  test(`${name}: weights that the caller changes later change no table`, () => {
    const members = Array.from({ length: 5 }, (_, at) => ({ id: `${at}:1`, weight: 1 + at }))
    const table = strategy.build(members)
    const keys = Array.from({ length: 200 }, (_, at) => `key-${at}`)
    const before = keys.map(key => first(table, key))
    for (const member of members) member.weight = 6 - member.weight
    assert.deepEqual(
      keys.map(key => first(table, key)),
      before
    )
  })

  test(`${name}: a key that is no text is refused, as all of them would hash alike`, () => {
    const table = strategy.build([{ id: 'a:1', weight: 1 }])
    // @ts-expect-error a key is a text
    assert.throws(() => table.pick(42, always, noLoad), { code: 'ERR_RINGWAY_KEY', message: /not 42/ })
  })

  test(`${name}: ids and weights that can't be used are refused`, () => {
    assert.throws(() => strategy.build([{ id: '', weight: 1 }]), { code: 'ERR_RINGWAY_CONFIG' })
    assert.throws(() => strategy.build([{ id: 'a:1', weight: 0 }]), { field: 'members[0].weight' })
  })

  test(`${name}: a table that takes over from an earlier one is the one that would have come without`, () => {
    fc.assert(
      fc.property(anyMembers(), anyMembers(), fc.nat(255), anyKeys(), (one, other, mask, keys) => {
        // Some members of the first set stay, with the weights that the second has where it has them too.
        const joining = new Map(other.map(member => [member.id, member]))
        for (const [at, member] of one.entries()) if ((mask >> at) & 1) joining.set(member.id, member)
        const members = [...joining.values()]
        const taken = strategy.build(members, strategy.build(one))
        const fresh = strategy.build(members)
        for (const key of keys) assert.deepEqual(order(taken, key), order(fresh, key))
      })
    )
  })
}

for (const strategy of STRATEGIES.filter(({ name }) => name !== 'jump' && name !== 'ketama')) {
  test(`${strategy.name}: the order of the list makes no difference`, () => {
    fc.assert(
      fc.property(anyMembers(), anyKeys(), (members, keys) => {
        const table = strategy.build(members)
        const reversed = strategy.build(members.toReversed())
        for (const key of keys) assert.deepEqual(order(reversed, key), order(table, key))
      })
    )
  })
}

for (const strategy of [ketama(), rendezvous()]) {
  test(`${strategy.name}: the keys of a member that leaves go where they went when it was not usable`, () => {
    fc.assert(
      fc.property(anyMembers(), fc.nat(), anyKeys(), (members, which, keys) => {
        const gone = members[which % members.length]!
        const before = strategy.build(members)
        const after = strategy.build(members.filter(member => member !== gone))
        for (const key of keys) {
          if (first(before, key) === gone.id) assert.equal(first(after, key), order(before, key)[1]?.id)
        }
      })
    )
  })
}

for (const [number, strategy] of [
  ketama(),
  ring(),
  ring({ points: 9, places: 256 }),
  rendezvous()
].entries()) {
  const name = `${strategy.name} (${number})`

  test(`${name}: a member that leaves gives up its own keys, and moves no other`, () => {
    fc.assert(
      fc.property(anyMembers(), fc.nat(), anyKeys(), (members, which, keys) => {
        const gone = members[which % members.length]!
        const before = strategy.build(members)
        const after = strategy.build(members.filter(member => member !== gone))
        for (const key of keys) {
          const owner = first(before, key)
          if (owner !== gone.id) assert.equal(first(after, key), owner)
        }
      })
    )
  })

  test(`${name}: a member that joins takes keys for itself only, wherever it stands in the list`, () => {
    fc.assert(
      fc.property(anyMembers(), fc.nat(), anyKeys(), (members, where, keys) => {
        const joining: Member = { id: 'joining.example.test:8080', weight: 2 }
        const before = strategy.build(members)
        const after = strategy.build(members.toSpliced(where % (members.length + 1), 0, joining))
        for (const key of keys) {
          const owner = first(after, key)
          if (owner !== joining.id) assert.equal(owner, first(before, key))
        }
      })
    )
  })

  test(`${name}: a larger weight takes keys and gives none away`, () => {
    fc.assert(
      fc.property(anyMembers(), fc.nat(), anyKeys(), (members, which, keys) => {
        const index = which % members.length
        const raised = members.with(index, { ...members[index]!, weight: members[index]!.weight + 1 })
        const before = strategy.build(members)
        const after = strategy.build(raised)
        for (const key of keys) {
          const owner = first(after, key)
          if (owner !== members[index]!.id) assert.equal(owner, first(before, key))
        }
      })
    )
  })
}

for (const strategy of [ketama(), ring(), maglev(), jump()]) {
  test(`${strategy.name}: no member is asked twice`, () => {
    fc.assert(
      fc.property(anyMembers(), fc.nat(255), anyKeys(), (members, mask, keys) => {
        const table = strategy.build(members)
        const usable = new Set(members.filter((_, at) => (mask >> at) & 1))
        for (const key of keys) {
          const asked: Member[] = []
          const isUsable = (member: Member): boolean => {
            asked.push(member)
            return usable.has(member)
          }
          if (table.pick(key, isUsable, noLoad) === undefined) assert.equal(asked.length, members.length)
          assert.equal(new Set(asked).size, asked.length)
        }
      })
    )
  })
}

// 50,000 keys put a share of one tenth within 1.3 % (one standard deviation), one of 1/25 within 2.2 %.
for (const [strategy, tolerance] of [
  [ketama(), 0.3],
  [ring(), 0.12],
  [maglev(), 0.07],
  [rendezvous(), 0.07],
  [jump(), 0.07]
] as const) {
  for (const weights of [[1], [1, 2, 5]]) {
    test(`${strategy.name}: each of ten members has its share of the keys, by weights ${weights.join('/')}`, () => {
      const members = Array.from({ length: 10 }, (_, index) => ({
        id: `10.1.${index}.7:8080`,
        weight: weights[index % weights.length]!
      }))
      const total = members.reduce((sum, { weight }) => sum + weight, 0)
      const table = strategy.build(members)
      const counts = new Map<string | undefined, number>()
      for (let key = 0; key < 50_000; key++) {
        const id = first(table, `user-${key}`)
        counts.set(id, (counts.get(id) ?? 0) + 1)
      }
      for (const { id, weight } of members) {
        const share = (counts.get(id)! / 50_000) * (total / weight)
        assert.ok(Math.abs(share - 1) < tolerance, `${id} has ${share} of its fair share`)
      }
    })
  }
}

test("the keys of a member that isn't usable go to all others", () => {
  const members = Array.from({ length: 10 }, (_, index) => ({ id: `10.1.${index}.7:8080`, weight: 1 }))
  for (const strategy of [ring(), maglev(), rendezvous(), jump()]) {
    const table = strategy.build(members)
    const counts = new Map<string | undefined, number>()
    for (let key = 0; key < 20_000; key++) {
      if (first(table, `user-${key}`) !== members[3]!.id) continue
      const next = table.pick(`user-${key}`, member => member !== members[3], noLoad)!.id
      counts.set(next, (counts.get(next) ?? 0) + 1)
    }
    assert.equal(counts.size, 9)
    // Some 222 each.
    for (const count of counts.values()) assert.ok(count > 130 && count < 320, `${strategy.name}: ${count}`)
  }
})

test('jump: a member that joins at the end takes keys for itself only, and gives back the same ones', () => {
  fc.assert(
    fc.property(anyMembers(), anyKeys(), (members, keys) => {
      const before = jump().build(members)
      const after = jump().build([...members, { id: 'last', weight: 2 }])
      for (const key of keys) {
        const owner = first(after, key)
        if (owner !== 'last') assert.equal(owner, first(before, key))
      }
    })
  )
})

test('jump: members are told apart by their position only', () => {
  const before = jump().build([
    { id: 'a', weight: 1 },
    { id: 'b', weight: 1 }
  ])
  const after = jump().build([
    { id: 'b', weight: 1 },
    { id: 'a', weight: 1 }
  ])
  assert.equal(movedShare(before, after), 1)
})

test('maglev: with 65,537 entries, one of ten members that leaves moves few keys that need not move', () => {
  const members = Array.from({ length: 10 }, (_, index) => ({ id: `10.1.${index}.7:8080`, weight: 1 }))
  const table = maglev().build(members)
  for (const gone of members) {
    const moved = movedShare(table, maglev().build(members.filter(member => member !== gone)))
    assert.ok(moved > 0.08 && moved < 0.15, `${moved} moved where ${gone.id} left`)
  }
})

test('ring: options that can’t be used are refused by name', () => {
  for (const points of [0, 1.5, 100_001, Number.NaN])
    assert.throws(() => ring({ points }), { field: 'points' })
  for (const places of [128, 1000, 2 ** 25]) assert.throws(() => ring({ places }), { field: 'places' })
  // @ts-expect-error no such option
  assert.throws(() => ring({ point: 100 }), { field: 'point' })
  const members = Array.from({ length: 11 }, (_, index) => ({ id: `${index}`, weight: 10_000 }))
  assert.throws(() => ring().build(members), { field: 'members', message: /165000000 points.*option points/ })
})

test('maglev: options that can’t be used are refused by name', () => {
  for (const tableSize of [1, 4, 65_536, 5_000_021, 2.5]) {
    assert.throws(() => maglev({ tableSize }), { field: 'tableSize' })
  }
  // @ts-expect-error no such option
  assert.throws(() => maglev({ size: 7 }), { field: 'size' })
  const members = Array.from({ length: 3 }, (_, index) => ({ id: `${index}`, weight: 1 }))
  assert.throws(() => maglev({ tableSize: 2 }).build(members), {
    field: 'members',
    message: /are 3.*entries \(2\)/
  })
})

test('tables of many members work as those of few', () => {
  for (const count of [256, 257, 65_536, 65_537]) {
    const members = Array.from({ length: count }, (_, index) => ({ id: `host-${index}:80`, weight: 1 }))
    const last = members.at(-1)!
    for (const strategy of [ring({ points: 2 }), maglev({ tableSize: 131_071 })]) {
      const table = strategy.build(members)
      assert.equal(
        table.pick('key', member => member === last, noLoad),
        last
      )
    }
  }
})

test('ring: a place belongs to the first point at or after it, as a ring of points and keys has it', () => {
  fc.assert(
    fc.property(anyMembers(), fc.integer({ min: 1, max: 60 }), anyKeys(), (members, perWeight, keys) => {
      const table = ring({ points: perWeight, places: 256 }).build(members)
      const points = members.flatMap(({ id, weight }) => {
        const { high, low } = xxh64(id)
        return Array.from({ length: weight * perWeight }, (_, at) => ({ id, point: mix(high, low, at + 1) }))
      })
      points.sort((one, other) => one.point - other.point || (one.id < other.id ? -1 : 1))
      for (const key of keys) {
        const place = (xxh64(key).high >>> 24) * 2 ** 24
        const owner = points.find(({ point }) => point >= place) ?? points[0]!
        assert.equal(first(table, key), owner.id)
      }
    })
  )
})

test('ring: a member of so little weight that it has no place is still come to', () => {
  const light = { id: 'light:80', weight: 1 }
  const members = [{ id: 'heavy:80', weight: 10_000 }, light, { id: 'other:80', weight: 10_000 }]
  const table = ring({ points: 100, places: 256 }).build(members)
  assert.equal(order(table, 'key').length, 3)
  assert.equal(
    table.pick('key', member => member === light, noLoad),
    light
  )
  assert.equal(
    table.pick('key', () => false, noLoad),
    undefined
  )
})

test('maglev: a heavy member among many light ones is built as quickly as equal ones', () => {
  const members = Array.from({ length: 10_000 }, (_, at) => ({ id: `${at}`, weight: at === 0 ? 10_000 : 1 }))
  const table = maglev().build(members)
  const heavy = Array.from({ length: 2000 }, (_, at) => first(table, `key-${at}`)).filter(
    id => id === '0'
  ).length
  // All have their first turn before any has its second, so it is somewhat less than half of all.
  assert.ok(Math.abs(heavy - 916) < 100, `${heavy}`)
})

test('order stops at a table that makes up members without end', () => {
  let made = 0
  const endless: Table = { pick: () => ({ id: `${made++}`, weight: 1 }) }
  assert.throws(() => order(endless, 'key'), { code: 'ERR_RINGWAY_STRATEGY', message: /more members/ })
})
