import assert from 'node:assert/strict'
import { test } from 'node:test'

import { leastConnections } from '@ringway/core'
import type { Member, Strategy } from '@ringway/core'

import { Upstream } from '../src/index.ts'
import type { UpstreamServer } from '../src/index.ts'
import { acquired, upstream } from './support/upstream.ts'

const servers = ['a:80', 'b:80', 'c:80']

/** Open tunnels and handshakes of each server. */
function loads({ servers: all }: Upstream): string {
  return all.map(({ active, handshakes }) => `${active}+${handshakes}`).join(' ')
}

test('a key goes to the first server of its order, and always to the same', async t => {
  const set = upstream(t, { servers })
  for (const key of ['10.0.0.1', '10.0.0.2', 'x', 'y']) {
    const [first] = set.order(key)
    assert.equal((await acquired(set, key)).server, first)
    assert.equal((await acquired(set, key)).server, first)
  }
})

test("a key's order has each server once, down or not", t => {
  const set = upstream(t, { servers: [...servers, { host: 'd', port: 80, down: true }] })
  const ids = set.order('x').map(server => server.id)
  assert.deepEqual(ids.toSorted(), ['a:80', 'b:80', 'c:80', 'd:80'])
})

test('servers in except are passed over in the order of the key', async t => {
  const set = upstream(t, { servers })
  const [first, second, third] = set.order('x') as [UpstreamServer, UpstreamServer, UpstreamServer]
  assert.equal((await acquired(set, 'x', [first])).server, second)
  assert.equal((await acquired(set, 'x', [second, first])).server, third)
  assert.equal(await set.acquire('x', { except: new Set(set.servers) }), undefined)
})

test('a server that is down by option takes nothing, its keys go on to the next', async t => {
  const plain = upstream(t, { servers })
  const set = upstream(t, { servers: ['a:80', { host: 'b', port: 80, down: true }, 'c:80'] })
  const key = ['1', '2', '3', '4', '5', '6', '7', '8', '9'].find(k => plain.order(k)[0]?.id === 'b:80')
  assert.ok(key !== undefined)
  assert.equal((await acquired(set, key)).server.id, plain.order(key)[1]?.id)
  assert.equal(set.servers[1]?.state, 'down')
})

test('a lease is a handshake at once, a tunnel when opened, and gone when settled', async t => {
  const set = upstream(t, { servers: ['a:80'] })
  const promise = set.acquire('x')
  assert.equal(loads(set), '0+1')
  const lease = await promise
  assert.ok(lease !== undefined)
  assert.equal(loads(set), '0+1')
  lease.opened()
  assert.equal(loads(set), '1+0')
  lease.settle('ok')
  assert.equal(loads(set), '0+0')
  assert.deepEqual(set.stats().servers[0]?.totals, { leases: 1, opened: 1, failed: 0 })
})

test('opening or settling a lease twice changes nothing', async t => {
  const set = upstream(t, { servers })
  const lease = await acquired(set, 'x')
  lease.opened()
  lease.opened()
  lease.settle('ok')
  lease.settle('failed')
  lease.opened()
  assert.equal(loads(set), '0+0 0+0 0+0')
  assert.equal(lease.server.state, 'up')

  const other = await acquired(set, 'x')
  other.settle('cancelled')
  other.opened()
  other.settle('failed')
  assert.equal(loads(set), '0+0 0+0 0+0')
  assert.equal(other.server.state, 'up')
})

test('without a key the least loaded server is taken', async t => {
  const set = upstream(t, { servers })
  for (const key of [undefined, '', undefined]) await acquired(set, key)
  assert.equal(loads(set), '0+1 0+1 0+1')
  const busy = set.order('x')[0]
  for (let i = 0; i < 5; i++) (await acquired(set, 'x')).opened()
  for (let i = 0; i < 4; i++) assert.notEqual((await acquired(set)).server, busy)
})

test('a strategy without keys is used for all, and needs none', async t => {
  const set = upstream(t, { servers, strategy: leastConnections() })
  assert.equal(set.keyed, false)
  for (const key of ['x', undefined, 'x']) await acquired(set, key)
  assert.equal(loads(set), '0+1 0+1 0+1')
  assert.throws(() => set.order('x'), { code: 'ERR_RINGWAY_STRATEGY' })
})

test('the strategies are given stable members, the load and the state', async t => {
  const seen: unknown[] = []
  const built: (readonly Member[])[] = []
  const strategy: Strategy = {
    name: 'mine',
    build(members) {
      built.push(members)
      return {
        pick(key, usable, load) {
          seen.push([key, members.map(usable), members.map(load)])
          return members.find(usable)
        }
      }
    }
  }
  const set = upstream(t, {
    servers: ['a:80', { host: 'b', port: 80, weight: 3 }],
    strategy,
    keyless: strategy
  })
  ;(await acquired(set, 'x')).opened()
  await acquired(set, 'x')
  await acquired(set, undefined, [set.servers[0]!])
  assert.deepEqual(built[0], [
    { id: 'a:80', weight: 1 },
    { id: 'b:80', weight: 3 }
  ])
  assert.equal(built[0]?.[0], built[1]?.[0])
  assert.deepEqual(seen, [
    ['x', [true, true], [0, 0]],
    ['x', [true, true], [1, 0]],
    ['', [false, true], [2, 0]]
  ])
})

test('a signal that is aborted already rejects with its reason, and takes no place', async t => {
  const set = upstream(t, { servers })
  const reason = new Error('the client went away')
  await assert.rejects(set.acquire('x', { signal: AbortSignal.abort(reason) }), reason)
  assert.equal(loads(set), '0+0 0+0 0+0')
})

test('a strategy that throws rejects the acquire, and takes no place', async t => {
  const bug = new Error('a bug')
  const pick = (): never => {
    throw bug
  }
  const set = upstream(t, { servers, strategy: { name: 'mine', build: () => ({ pick }) } })
  await assert.rejects(set.acquire('x'), bug)
  assert.equal(loads(set), '0+0 0+0 0+0')
  assert.equal(set.stats().servers[0]?.totals.leases, 0)
  await acquired(set)
})

test('a strategy that throws while it builds throws from the constructor', () => {
  const bug = new Error('a bug')
  const build = (): never => {
    throw bug
  }
  assert.throws(() => new Upstream({ servers, strategy: { name: 'mine', build } }), bug)
})

test('a strategy that picks what is not usable, or no member of ours, is told so', async t => {
  const stubborn: Strategy = { name: 'stubborn', build: members => ({ pick: () => members[0] }) }
  const set = upstream(t, { servers, strategy: stubborn })
  await assert.rejects(set.acquire('x', { except: new Set([set.servers[0]!]) }), {
    code: 'ERR_RINGWAY_STRATEGY',
    message: 'strategy stubborn picked a:80, which is not usable now'
  })
  const copying: Strategy = { name: 'copying', build: ([first]) => ({ pick: () => ({ ...first! }) }) }
  await assert.rejects(upstream(t, { servers, strategy: copying }).acquire('x'), {
    code: 'ERR_RINGWAY_STRATEGY',
    message: /made a member of its own/
  })
})

test('the statistics are plain data', async t => {
  const set = upstream(t, { servers: ['a:80', 'unix:/b'] })
  await acquired(set, 'x', [set.servers[1]!])
  const stats = set.stats()
  assert.deepEqual(JSON.parse(JSON.stringify(stats)), stats)
  assert.deepEqual(stats, {
    strategy: 'ketama',
    keyless: 'least-connections',
    waiting: 0,
    active: 0,
    handshakes: 1,
    panic: false,
    servers: [
      {
        id: 'a:80',
        address: { host: '127.0.0.1', port: 80 },
        weight: 1,
        backup: false,
        maxConnections: 0,
        state: 'up',
        usable: true,
        ejected: false,
        ramp: 1,
        active: 0,
        handshakes: 1,
        fails: 0,
        totals: { leases: 1, opened: 0, failed: 0 },
        probe: null
      },
      {
        id: 'unix:/b',
        address: { socketPath: '/b' },
        weight: 1,
        backup: false,
        maxConnections: 0,
        state: 'up',
        usable: true,
        ejected: false,
        ramp: 1,
        active: 0,
        handshakes: 0,
        fails: 0,
        totals: { leases: 0, opened: 0, failed: 0 },
        probe: null
      }
    ]
  })
})
