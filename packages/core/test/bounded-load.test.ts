import assert from 'node:assert/strict'
import test from 'node:test'
import * as fc from 'fast-check'
import { boundedLoad, jump, ketama, leastConnections, maglev, order, rendezvous, ring } from '@ringway/core'
import type { Member, Strategy, Table } from '@ringway/core'
import { anyMembers } from './support/arbitrary.ts'

const always = () => true

/** Open tunnels by server, with a key each. */
class Tunnels {
  readonly table: Table
  readonly loads: Map<Member, number>
  readonly open: Member[] = []

  constructor(strategy: Strategy, members: readonly Member[]) {
    this.table = strategy.build(members)
    this.loads = new Map(members.map(member => [member, 0]))
  }

  begin(key: string, usable: (member: Member) => boolean = always): Member {
    const member = this.table.pick(key, usable, of => this.loads.get(of)!)
    assert.ok(member !== undefined)
    this.loads.set(member, this.loads.get(member)! + 1)
    this.open.push(member)
    return member
  }

  end(which: number): void {
    const [member] = this.open.splice(which % this.open.length, 1)
    this.loads.set(member!, this.loads.get(member!)! - 1)
  }
}

/** The bound in whole numbers, for a factor of 5/4: ceil(5 × tunnels × weight / (4 × weights)). */
function bound(tunnels: number, weight: number, weights: number): number {
  return Math.floor((5 * tunnels * weight + 4 * weights - 1) / (4 * weights))
}

for (const strategy of [ketama(), ring(), maglev(), rendezvous(), jump()]) {
  test(`${strategy.name}: of 10,000 open tunnels with skewed keys no server has more than the bound, ever`, () => {
    const members = [1, 1, 2, 5, 1, 1, 3, 1, 1, 1].map((weight, index) => ({
      id: `10.0.0.${index}:8080`,
      weight
    }))
    const weights = members.reduce((sum, { weight }) => sum + weight, 0)
    const tunnels = new Tunnels(boundedLoad(strategy, 1.25), members)
    for (let count = 1; count <= 10_000; count++) {
      // Zipf-like: the first of 1000 keys has a thousand times the tunnels of the last.
      tunnels.begin(`tenant-${Math.floor(1000 ** ((count * 0.618_034) % 1))}`)
      for (const [{ id, weight }, load] of tunnels.loads) {
        assert.ok(load <= bound(count, weight, weights), `${id} has ${load} of ${count} tunnels`)
      }
    }
  })
}

test('where tunnels end too, no new one goes to a server that is at the bound', () => {
  fc.assert(
    fc.property(anyMembers(4), fc.array(fc.nat(), { maxLength: 300 }), (members, steps) => {
      const tunnels = new Tunnels(boundedLoad(ketama(), 1.25), members)
      const weights = members.reduce((sum, { weight }) => sum + weight, 0)
      for (const step of steps) {
        if (step % 3 === 0 && tunnels.open.length > 0) {
          tunnels.end(step)
          continue
        }
        const member = tunnels.begin(`key-${step % 5}`)
        assert.ok(tunnels.loads.get(member)! <= bound(tunnels.open.length, member.weight, weights))
      }
    })
  )
})

test('a key goes along its own order, and home as soon as there is room', () => {
  const members = ['a:1', 'b:1', 'c:1', 'd:1'].map(id => ({ id, weight: 1 }))
  const [home, second, third] = order(ketama().build(members), 'key')
  const tunnels = new Tunnels(boundedLoad(ketama(), 1.25), members)
  // Bounds for 1 to 6 tunnels on four servers: 1, 1, 1, 2, 2, 2.
  const went = Array.from({ length: 6 }, () => tunnels.begin('key'))
  assert.deepEqual(went, [home, second, third, home, second, third])
  tunnels.end(0)
  assert.equal(tunnels.begin('key'), home)
})

test("a server that isn't usable counts neither way", () => {
  const members = ['a:1', 'b:1', 'c:1'].map(id => ({ id, weight: 1 }))
  const [home, second, third] = order(ketama().build(members), 'key')
  const table = boundedLoad(ketama(), 1.25).build(members)
  // Home is down with 100 old tunnels. Of the 10 and the new one each other server may have ceil(1.25 × 11 / 2) = 7.
  const loads = new Map([
    [home, 100],
    [second, 6],
    [third, 4]
  ])
  const isUp = (member: Member): boolean => member !== home
  assert.equal(
    table.pick('key', isUp, member => loads.get(member)!),
    second
  )
  // At its bound of 7, with 3 on the other.
  loads.set(second, 7).set(third, 3)
  assert.equal(
    table.pick('key', isUp, member => loads.get(member)!),
    third
  )
})

test('the bound is no higher for a product that rounding makes too large', () => {
  const members = ['a:1', 'b:1'].map(id => ({ id, weight: 1 }))
  const [home, second] = order(ketama().build(members), 'key')
  // 1.1 × 20 / 2 is 11.000000000000002 in floating point.
  const loads = new Map([
    [home, 11],
    [second, 8]
  ])
  assert.equal(
    boundedLoad(ketama(), 1.1)
      .build(members)
      .pick('key', always, member => loads.get(member)!),
    second
  )
})

test('where the bounded strategy reaches some members only, nobody is picked beyond them', () => {
  const homebound: Strategy = {
    name: 'homebound',
    build: members => ({ pick: (_key, usable) => members.slice(0, 1).find(usable) })
  }
  const members = ['a:1', 'b:1'].map(id => ({ id, weight: 1 }))
  const table = boundedLoad(homebound, 1.5).build(members)
  assert.equal(
    table.pick('key', always, ({ id }) => (id === 'a:1' ? 6 : 0)),
    undefined
  )
})

test('it is named after what it bounds', () => {
  assert.equal(boundedLoad(ketama(), 1.25).name, 'bounded-load(ketama, 1.25)')
})

test('what can’t be bounded, and factors that can’t be a bound, are refused', () => {
  for (const factor of [1, 0.5, -2, Number.NaN, Infinity, 1001]) {
    assert.throws(() => boundedLoad(ketama(), factor), { code: 'ERR_RINGWAY_CONFIG', field: 'factor' })
  }
  // @ts-expect-error the factor is a number
  assert.throws(() => boundedLoad(ketama(), '1.25'), { field: 'factor' })
  assert.throws(() => boundedLoad(leastConnections(), 1.25), {
    field: 'strategy',
    message: /least-connections/
  })
  // @ts-expect-error the strategy is missing
  assert.throws(() => boundedLoad(undefined, 1.25), { field: 'strategy' })
})
