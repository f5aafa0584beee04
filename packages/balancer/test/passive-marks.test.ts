import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Outcome, Upstream, UpstreamServer } from '../src/index.ts'
import { acquired, clock, moves, tryOn, upstream } from './support/upstream.ts'

const servers = ['a:80', 'b:80']

/** One try on server a that ends at once. */
async function attempt(on: Upstream, outcome: Outcome): Promise<void> {
  await tryOn(on, 'a:80', outcome)
}

function first(of: Upstream): UpstreamServer {
  return of.servers[0]!
}

test('one failure marks a server for failTimeout, and its keys go to the next', async t => {
  const time = clock(t)
  const set = upstream(t, { servers })
  const list = moves(set)
  await attempt(set, 'failed')
  assert.equal(first(set).state, 'down')
  for (const key of ['1', '2', '3', '4', '5']) assert.equal((await acquired(set, key)).server.id, 'b:80')
  time.advance(9_999)
  assert.equal(first(set).state, 'down')
  time.advance(1)
  assert.equal(first(set).state, 'probation')
  assert.deepEqual(list, ['down a:80 failures', 'probation a:80 expired'])
})

test('the last server that is well is never marked: one request on which all fail leaves one of them in use', async t => {
  const time = clock(t)
  const set = upstream(t, { servers })
  const [home, second] = set.order('x')
  for (let request = 0; request < 3; request++) {
    const tries = set.tries('x')
    for (let lease = await tries.next(); lease; lease = await tries.next()) lease.settle('failed')
  }
  assert.deepEqual([home!.state, second!.state], ['down', 'up'])
  assert.equal((await acquired(set, 'x')).server, second)
  time.advance(10_000)
  assert.equal((await acquired(set, 'x')).server, home)
})

test('probation lets one try through at a time; its success ends it', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, failTimeout: 100 })
  const list = moves(set)
  await attempt(set, 'failed')
  time.advance(100)

  const trial = await acquired(set, 'x', [set.servers[1]!])
  assert.equal(first(set).state, 'probation')
  assert.equal(first(set).usable, false)
  for (let i = 0; i < 20; i++) assert.equal((await acquired(set, `10.0.0.${i}`)).server, set.servers[1])
  trial.opened()
  assert.equal(first(set).state, 'up')
  assert.equal(set.stats().servers[0]?.fails, 0)
  for (let i = 0; i < 3; i++) assert.equal((await acquired(set, 'x', [set.servers[1]!])).server, first(set))
  assert.deepEqual(list, ['down a:80 failures', 'probation a:80 expired', 'up a:80 traffic'])
})

test('an honest answer that is no 101 ends probation too', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, failTimeout: 100 })
  await attempt(set, 'failed')
  time.advance(100)
  await attempt(set, 'ok')
  assert.equal(first(set).state, 'up')
})

test('a failure in probation marks again at once, whatever maxFails is', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, maxFails: 2, failTimeout: 100 })
  const list = moves(set)
  await attempt(set, 'failed')
  assert.equal(first(set).state, 'up')
  await attempt(set, 'failed')
  assert.equal(first(set).state, 'down')
  assert.deepEqual(list.splice(0), ['down a:80 failures'])
  for (let i = 0; i < 3; i++) {
    time.advance(100)
    assert.equal(first(set).state, 'probation')
    await attempt(set, 'failed')
    assert.equal(first(set).state, 'down')
    assert.deepEqual(list.splice(0), ['probation a:80 expired', 'down a:80 failures'])
  }
})

test('a cancelled trial says nothing, and lets the next one try', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, failTimeout: 100 })
  await attempt(set, 'failed')
  time.advance(100)
  for (let i = 0; i < 3; i++) {
    await attempt(set, 'cancelled')
    assert.equal(first(set).state, 'probation')
    assert.equal(first(set).usable, true)
  }
  await attempt(set, 'ok')
  assert.equal(first(set).state, 'up')
})

test('only failures within failTimeout count together', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, maxFails: 3, failTimeout: 100 })
  await attempt(set, 'failed')
  time.advance(60)
  await attempt(set, 'failed')
  assert.equal(set.stats().servers[0]?.fails, 2)
  time.advance(60)
  assert.equal(set.stats().servers[0]?.fails, 1)
  await attempt(set, 'failed')
  assert.equal(first(set).state, 'up')
  time.advance(40)
  await attempt(set, 'failed')
  assert.equal(first(set).state, 'down')
})

test('a 101 is the success at that moment: it clears the count while the tunnel is open', async t => {
  const set = upstream(t, { servers, maxFails: 2 })
  await attempt(set, 'failed')
  const lease = await acquired(set, 'x', [set.servers[1]!])
  assert.equal(set.stats().servers[0]?.fails, 1)
  lease.opened()
  assert.equal(set.stats().servers[0]?.fails, 0)
  await attempt(set, 'failed')
  assert.equal(first(set).state, 'up')
})

test("a tunnel's death never counts", async t => {
  const set = upstream(t, { servers })
  for (let i = 0; i < 5; i++) {
    const lease = await acquired(set, 'x', [set.servers[1]!])
    lease.opened()
    lease.settle('failed')
  }
  assert.equal(first(set).state, 'up')
  assert.deepEqual(set.stats().servers[0]?.totals, { leases: 5, opened: 5, failed: 0 })
})

test('a cancelled try is no failure', async t => {
  const set = upstream(t, { servers })
  await attempt(set, 'cancelled')
  assert.equal(first(set).state, 'up')
})

test('a server alone is never marked', async t => {
  const set = upstream(t, { servers: ['a:80'] })
  for (let i = 0; i < 5; i++) (await acquired(set, 'x')).settle('failed')
  assert.equal(first(set).usable, true)
  assert.equal(set.stats().servers[0]?.totals.failed, 5)
})

test('zero for maxFails or failTimeout never marks', async t => {
  for (const off of [{ maxFails: 0 }, { failTimeout: 0 }]) {
    const set = upstream(t, { servers: [{ host: 'a', port: 80, ...off }, 'b:80'] })
    for (let i = 0; i < 5; i++) await attempt(set, 'failed')
    assert.equal(first(set).state, 'up')
  }
})

test("a server's own limits come before the upstream's", async t => {
  const set = upstream(t, { servers: [{ host: 'a', port: 80, maxFails: 2 }, 'b:80'], maxFails: 1 })
  await attempt(set, 'failed')
  assert.equal(first(set).state, 'up')
  await attempt(set, 'failed')
  assert.equal(first(set).state, 'down')
})

test('failures of tries from before a mark neither prolong it nor mark again', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, failTimeout: 100 })
  const except = [set.servers[1]!]
  const silent = [
    await acquired(set, 'x', except),
    await acquired(set, 'x', except),
    await acquired(set, 'x', except)
  ]
  await attempt(set, 'failed')
  time.advance(60)
  silent.pop()!.settle('failed')
  time.advance(40)
  assert.equal(first(set).state, 'probation')
  silent.pop()!.settle('failed')
  assert.equal(first(set).state, 'probation')
  await attempt(set, 'ok')
  silent.pop()!.settle('failed')
  assert.equal(first(set).state, 'up')
  await attempt(set, 'failed')
  assert.equal(first(set).state, 'down')
})

test('a try from before a mark that succeeds after it ends the mark', async t => {
  const set = upstream(t, { servers })
  const slow = await acquired(set, 'x', [set.servers[1]!])
  await attempt(set, 'failed')
  assert.equal(first(set).state, 'down')
  slow.opened()
  assert.equal(first(set).state, 'up')
})
