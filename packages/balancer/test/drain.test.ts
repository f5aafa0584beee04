import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import dns from 'node:dns'
import test from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import { Upstream } from '../src/index.ts'
import type { Lease, Recall } from '../src/index.ts'
import { acquired, clock, located, moves, upstream } from './support/upstream.ts'

const servers = ['a:80', 'b:80', 'c:80']

/** Takes a lease on one server. */
async function on(set: Upstream, id: string): Promise<Lease> {
  return acquired(
    set,
    'x',
    set.servers.filter(server => server.id !== id)
  )
}

/** Opens it as a tunnel that notes what it is asked for, and ends only when it is cut. */
function stubborn(lease: Lease): Recall[] {
  const asked: Recall[] = []
  lease.opened(recall => {
    asked.push(recall)
    if (recall.cut) lease.settle('ok')
  })
  return asked
}

async function isDone(promise: Promise<void>): Promise<boolean> {
  let done = false
  void promise.then(() => (done = true))
  await turn()
  return done
}

test('what is not said is half a minute, the code of a restart, and five seconds more to the cut', async t => {
  const time = clock(t, 20)
  const set = upstream(t, { servers })
  const [first, second] = [stubborn(await on(set, 'a:80')), stubborn(await on(set, 'a:80'))]
  const done = set.drain('a:80')
  assert.deepEqual(first, [{ reason: 'drain', code: 1012, cut: false }], 'the first at once')
  time.advance(14_980)
  assert.equal(second.length, 0)
  time.advance(20)
  assert.deepEqual(second, [{ reason: 'drain', code: 1012, cut: false }])
  time.advance(19_980)
  assert.equal(await isDone(done), false)
  time.advance(20)
  assert.deepEqual([first[1]?.cut, second[1]?.cut], [true, true])
  assert.equal(await isDone(done), true)
})

test('a deadline before the spread is over goes before it', async t => {
  const time = clock(t, 20)
  const set = upstream(t, { servers })
  const all = []
  for (let i = 0; i < 10; i++) all.push(stubborn(await on(set, 'a:80')))
  const done = set.drain('a:80', { spread: 1000, deadline: 500 })
  time.advance(480)
  assert.deepEqual(
    all.map(asked => asked.map(({ cut }) => cut)),
    [...Array.from({ length: 5 }, () => [false]), ...Array.from({ length: 5 }, () => [])]
  )
  time.advance(20)
  assert.ok(all.every(asked => asked.at(-1)?.cut))
  await done
})

test('without spread and time all are asked and cut in the same call', async t => {
  clock(t)
  const set = upstream(t, { servers })
  const all = [stubborn(await on(set, 'a:80')), stubborn(await on(set, 'a:80'))]
  const done = set.drain('a:80', { spread: 0, deadline: 0 })
  for (const asked of all)
    assert.deepEqual(
      asked.map(({ cut }) => cut),
      [false, true]
    )
  await done
})

test('a server with nothing on it is gone when the call returns', async t => {
  clock(t)
  const set = upstream(t, { servers })
  const list = moves(set)
  const done = set.drain('a:80')
  assert.deepEqual(list, ['draining a:80 operator', 'removed a:80 drained'])
  assert.equal(set.servers.length, 2)
  await done
})

test('a try that fails is all that is left of a server: then it is gone', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, failTimeout: 100 })
  const list = moves(set)
  const lease = await on(set, 'a:80')
  const done = set.drain('a:80')
  lease.settle('failed')
  await done
  time.advance(1000)
  assert.deepEqual(list, ['draining a:80 operator', 'removed a:80 drained'], 'no mark of what has left')
})

test('a marked server that is drained comes to no probation', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, failTimeout: 100, outliers: { consecutive: 2, time: 100 } })
  stubborn(await on(set, 'a:80'))
  ;(await on(set, 'a:80')).settle('failed')
  const list = moves(set)
  void set.drain('a:80', { deadline: 1000 })
  time.advance(900)
  assert.deepEqual(list, ['draining a:80 operator'])
})

test('who waits for a place there goes elsewhere at once', async t => {
  clock(t)
  const set = upstream(t, { servers, pendingHandshakes: 1 })
  const key = 'x'
  const [home, next] = set.order(key)
  await acquired(set, key)
  const waiting = set.acquire(key)
  assert.equal(set.stats().waiting, 1)
  void set.drain(home!.id)
  assert.equal((await waiting)?.server, next)
})

test('a tunnel without a way to be asked is left to its end, and waited for', async t => {
  const time = clock(t, 20)
  const set = upstream(t, { servers })
  const lease = await on(set, 'a:80')
  lease.opened()
  const done = set.drain('a:80', { spread: 100, deadline: 200 })
  time.advance(10_000)
  assert.equal(await isDone(done), false)
  lease.settle('ok')
  assert.equal(await isDone(done), true)
})

test('the last server that is no backup is not drained by an id, but goes with a list', async t => {
  clock(t)
  const set = upstream(t, { servers: ['a:80', { host: 'b', port: 80, backup: true }] })
  const asked = stubborn(await on(set, 'a:80'))
  assert.throws(() => set.drain('a:80'), { code: 'ERR_RINGWAY_CONFIG', field: 'id' })
  assert.equal(asked.length, 0)
  const done = set.setServers(located(['c:80']), { spread: 0, deadline: 0 })
  assert.equal(asked.at(-1)?.cut, true)
  await done
  // What has left already may be drained whatever there is.
  ;(await on(set, 'c:80')).opened()
  await set.setServers(located(['d:80']))
  assert.doesNotThrow(() => set.drain('c:80'))
})

test('a code that no Close frame may carry is refused, and the server stays in its place', t => {
  clock(t)
  const set = upstream(t, { servers })
  assert.throws(() => set.drain('a:80', { code: 1005 }), { field: 'code' })
  assert.throws(() => set.drain('a:80', { code: 1015 }), { field: 'code' })
  assert.throws(() => set.drain('a:80', { code: 2999 }), { field: 'code' })
  assert.throws(() => set.drain('a:80', { code: 5000 }), { field: 'code' })
  assert.equal(set.servers.length, 3)
  // Those that may be sent come further.
  for (const code of [1000, 1014, 3000, 4999])
    assert.throws(() => set.drain('z:80', { code }), { field: 'id' })
})

test('all addresses of a name go, each with its tunnels evenly over the same time', async t => {
  const time = clock(t, 20)
  t.mock.method(dns.promises, 'lookup', () =>
    Promise.resolve(['10.0.0.1', '10.0.0.2'].map(address => ({ address, family: 4 })))
  )
  const set = new Upstream({ servers: ['sre1.test:80', '10.0.0.9:80'] })
  t.after(async () => set[Symbol.asyncDispose]())
  ;(await acquired(set)).settle('ok') // now it is looked up
  const tunnels: { server: string; asked: Recall[] }[] = []
  for (let i = 0; i < 8; i++) {
    const lease = await acquired(set, 'x', set.servers.slice(2))
    const { address } = lease.server as { address: { host: string } }
    tunnels.push({ server: address.host, asked: stubborn(lease) })
  }
  const list = moves(set)
  const done = set.drain('sre1.test:80', { spread: 400, deadline: 500 })
  assert.deepEqual(list, ['draining sre1.test:80 operator', 'draining sre1.test:80 operator'])
  for (const passed of [1, 2, 3, 4]) {
    for (const host of ['10.0.0.1', '10.0.0.2']) {
      const theirs = tunnels.filter(({ server }) => server === host)
      assert.equal(theirs.length, 4)
      assert.equal(theirs.filter(({ asked }) => asked.length > 0).length, passed)
    }
    time.advance(100)
  }
  time.advance(100)
  await done
  assert.deepEqual(
    set.servers.map(({ id }) => id),
    ['10.0.0.9:80']
  )
})

test('each step is published with where it came from, and why', async t => {
  clock(t)
  const set = upstream(t, { servers: ['a:80', 'b:80'] })
  const published: unknown[] = []
  const listener = (message: unknown, name: string | symbol): void => void published.push([name, message])
  for (const state of ['added', 'draining', 'removed']) {
    subscribe(`ringway:server:${state}`, listener)
    t.after(() => unsubscribe(`ringway:server:${state}`, listener))
  }
  const lease = await on(set, 'a:80')
  const { server } = lease
  void set.setServers(located(['b:80', 'c:80']))
  lease.settle('ok')
  const added = set.servers[1]
  assert.deepEqual(published, [
    ['ringway:server:added', { upstream: set, server: added, reason: 'operator' }],
    ['ringway:server:draining', { upstream: set, server, from: 'up', to: 'draining', reason: 'operator' }],
    ['ringway:server:removed', { upstream: set, server, from: 'draining', to: 'removed', reason: 'drained' }]
  ])
})

test('a tunnel that opens on a draining server after disposal is not asked, and sets no timer', async t => {
  const time = clock(t, 20)
  const set = upstream(t, { servers })
  stubborn(await on(set, 'a:80'))
  const late = await on(set, 'a:80')
  const done = set.drain('a:80', { spread: 100, deadline: 200 })
  await set[Symbol.asyncDispose]()
  await done
  const timers = t.mock.method(globalThis, 'setInterval')
  const asked = stubborn(late)
  time.advance(1000)
  assert.deepEqual(asked, [])
  assert.equal(timers.mock.callCount(), 0)
  late.settle('ok')
})
