import assert from 'node:assert/strict'
import test from 'node:test'
import type { TestContext } from 'node:test'

import type { Outcome, OutlierOptions, Upstream, UpstreamOptions, UpstreamServer } from '../src/index.ts'
import { acquired, clock, located, moves, tryOn, upstream } from './support/upstream.ts'

const servers = ['a:80', 'b:80', 'c:80', 'd:80']

function outlying(t: TestContext, outliers: OutlierOptions, more: Partial<UpstreamOptions> = {}): Upstream {
  return upstream(t, { servers, maxFails: 0, outliers, ...more })
}

/** So many tries on one server. */
async function tries(of: Upstream, id: string, outcome: Outcome, count = 1): Promise<void> {
  for (let i = 0; i < count; i++) await tryOn(of, id, outcome)
}

function server(of: Upstream, id: string): UpstreamServer {
  return of.servers.find(each => each.id === id)!
}

function ejected(of: Upstream): string[] {
  return of
    .stats()
    .servers.filter(each => each.ejected)
    .map(({ id }) => id)
}

test('so many failures in a row take a server out, and one success between them does not count down but anew', async t => {
  clock(t)
  const set = outlying(t, { consecutive: 3 })
  const list = moves(set)
  await tries(set, 'a:80', 'failed', 2)
  await tries(set, 'a:80', 'ok')
  await tries(set, 'a:80', 'failed', 2)
  await tries(set, 'a:80', 'cancelled', 5)
  assert.deepEqual(list, [])
  await tries(set, 'a:80', 'failed')
  assert.deepEqual(list, ['down a:80 outlier'])
  assert.deepEqual(ejected(set), ['a:80'])
})

test('the last server that is well stays in use, however it does', async t => {
  clock(t)
  const set = outlying(t, { consecutive: 3, maxEjectedShare: 1 })
  void set.setServers(
    located(['a:80', ...servers.slice(1).map(id => ({ id, host: id[0]!, port: 80, down: true }))])
  )
  await tries(set, 'a:80', 'failed', 10)
  assert.equal(server(set, 'a:80').state, 'up')
})

test('it is out for a time that grows, then one try decides; doing well makes the time shorter again', async t => {
  const time = clock(t)
  const set = outlying(t, { consecutive: 2, time: 100, maxTime: 250 })
  const list = moves(set)
  await tries(set, 'a:80', 'failed', 2)
  for (const lasts of [100, 200, 250, 250]) {
    assert.equal(server(set, 'a:80').state, 'down')
    time.advance(lasts - 1)
    assert.equal(server(set, 'a:80').state, 'down')
    time.advance(1)
    assert.equal(server(set, 'a:80').state, 'probation')
    assert.deepEqual(list.splice(0), ['down a:80 outlier', 'probation a:80 expired'])
    await tries(set, 'a:80', 'failed')
  }
  time.advance(250)
  await tries(set, 'a:80', 'ok')
  assert.equal(server(set, 'a:80').state, 'up')
  assert.deepEqual(ejected(set), [])

  // It was out five times; four times `time` of doing well leave one, so the next is the second.
  time.advance(400)
  list.length = 0
  await tries(set, 'a:80', 'failed', 2)
  time.advance(199)
  assert.equal(server(set, 'a:80').state, 'down')
  time.advance(1)
  assert.equal(server(set, 'a:80').state, 'probation')
})

test('a try that began before it was out neither brings it back nor keeps it out', async t => {
  const time = clock(t)
  const set = outlying(t, { consecutive: 2, time: 100 })
  const others = set.servers.slice(1)
  const [good, bad] = [await acquired(set, 'x', others), await acquired(set, 'x', others)]
  await tries(set, 'a:80', 'failed', 2)
  good.opened()
  assert.equal(server(set, 'a:80').state, 'down')
  time.advance(100)
  bad.settle('failed')
  assert.equal(server(set, 'a:80').state, 'probation')
  assert.equal(server(set, 'a:80').usable, true)
})

test('a server whose share of failures is that much above the others is taken out', async t => {
  const time = clock(t)
  const set = outlying(t, { consecutive: 0, share: 0.5, minTries: 10, window: 1000 })
  const list = moves(set)
  await tries(set, 'a:80', 'failed', 20)
  assert.deepEqual(list, [], 'the others have had no tries yet')
  await tries(set, 'b:80', 'ok', 10)
  await tries(set, 'a:80', 'failed')
  assert.deepEqual(list, ['down a:80 outlier'])

  // What is older than the window doesn't count.
  await tries(set, 'c:80', 'failed', 9)
  time.advance(1100)
  await tries(set, 'b:80', 'ok', 10)
  await tries(set, 'c:80', 'failed', 9)
  assert.equal(server(set, 'c:80').state, 'up')
  await tries(set, 'c:80', 'failed')
  assert.equal(server(set, 'c:80').state, 'down')
})

test('a fault that all share takes nobody out', async t => {
  clock(t)
  const set = outlying(t, { consecutive: 0, share: 0.5, minTries: 10 })
  for (let round = 0; round < 50; round++) for (const id of servers) await tries(set, id, 'failed')
  assert.deepEqual(ejected(set), [])
})

test('tunnels that their server breaks off early count as failed tries; later ones and clean ends do not', async t => {
  const time = clock(t)
  const set = outlying(t, { consecutive: 0, share: 0.5, minTries: 10, earlyDeath: 100 })
  const others = set.servers.slice(1)
  await tries(set, 'b:80', 'ok', 10)
  const end = async (after: number, outcome: 'ok' | 'failed'): Promise<void> => {
    const lease = await acquired(set, 'x', others)
    lease.opened()
    time.advance(after)
    lease.settle(outcome)
  }
  for (let i = 0; i < 10; i++) await end(100, 'failed')
  for (let i = 0; i < 10; i++) await end(1, 'ok')
  for (let i = 0; i < 19; i++) await end(1, 'failed')
  assert.equal(server(set, 'a:80').state, 'up')
  await end(1, 'failed')
  assert.equal(server(set, 'a:80').state, 'down')
})

test('never more than maxEjectedShare is out for this reason', async t => {
  clock(t)
  const set = outlying(t, { consecutive: 1, maxEjectedShare: 0.5 })
  for (const id of servers) await tries(set, id, 'failed')
  assert.deepEqual(ejected(set), ['a:80', 'b:80'])
  const none = outlying(t, { consecutive: 1, maxEjectedShare: 0 })
  for (const id of servers) await tries(none, id, 'failed', 3)
  assert.deepEqual(ejected(none), [])
})

test('good probes do not bring it back: they found it well before', async t => {
  const time = clock(t)
  const health = { type: 'tcp', interval: 1_000_000, rise: 1, fall: 1 } as const
  const set = outlying(t, { consecutive: 2, time: 100 }, { health })
  const a = server(set, 'a:80') as unknown as { probed(report: object, startedAt: number): void }
  const probe = (ok: boolean): void => a.probed({ ok, at: 0, took: 0 }, performance.now())
  probe(true)
  await tries(set, 'a:80', 'failed', 2)
  time.advance(1)
  for (let i = 0; i < 5; i++) probe(true)
  assert.equal(server(set, 'a:80').state, 'down')
  // And while probes have it down, the end of its time is no way back.
  probe(false)
  time.advance(100)
  assert.equal(server(set, 'a:80').state, 'down')
  probe(true)
  assert.equal(server(set, 'a:80').state, 'probation')
  await tries(set, 'a:80', 'ok')
  assert.equal(server(set, 'a:80').state, 'up')
})

test('without the option nobody is taken out, whatever happens', async t => {
  clock(t)
  const set = upstream(t, { servers, maxFails: 0 })
  for (let i = 0; i < 100; i++) await tries(set, 'a:80', 'failed')
  assert.equal(server(set, 'a:80').state, 'up')
})

test('the only server there is does worse than nobody', async t => {
  clock(t)
  const set = outlying(t, { consecutive: 1, maxEjectedShare: 1 }, { servers: ['a:80'] })
  await tries(set, 'a:80', 'failed', 10)
  assert.equal(server(set, 'a:80').state, 'up')
  assert.equal(server(set, 'a:80').usable, true)
})

test('a share that is exactly as much larger takes it out, one that is a try less does not', async t => {
  clock(t)
  for (const [failed, state] of [
    [7, 'up'],
    [8, 'down']
  ] as const) {
    // The others fail a fifth of theirs: 0.8 is 0.6 above them.
    const set = outlying(t, { consecutive: 0, share: 0.6, minTries: 10 })
    for (let i = 0; i < 2; i++) await tries(set, 'b:80', 'failed')
    await tries(set, 'b:80', 'ok', 3)
    await tries(set, 'c:80', 'ok', 5)
    await tries(set, 'a:80', 'ok', 10 - failed)
    await tries(set, 'a:80', 'failed', failed)
    assert.equal(server(set, 'a:80').state, state)
  }
})

test('early deaths of one incident take a server out once: those after it was taken out tell of that', async t => {
  const time = clock(t)
  const set = outlying(t, { consecutive: 0, share: 0.5, minTries: 20, earlyDeath: 1000, time: 300 })
  const [a, ...others] = set.servers
  for (const { id } of others) for (let i = 0; i < 50; i++) await tryOn(set, id, 'ok')
  const leases = []
  for (let i = 0; i < 100; i++) {
    const lease = await acquired(set, 'x', others)
    lease.opened()
    leases.push(lease)
  }
  for (const lease of leases) lease.settle('failed')
  assert.equal(a!.state, 'down')
  time.advance(300)
  await tryOn(set, a!.id, 'ok')
  assert.equal(a!.state, 'up')
  for (let i = 0; i < 100; i++) await tryOn(set, a!.id, 'ok')
  await tryOn(set, a!.id, 'failed')
  assert.equal(a!.state, 'up')
})

test('0 turns off each way out: failures in a row, the share, early deaths', async t => {
  clock(t)
  const set = outlying(t, { consecutive: 0, share: 0, minTries: 1 })
  await tries(set, 'b:80', 'ok', 30)
  await tries(set, 'a:80', 'failed', 100)
  assert.equal(server(set, 'a:80').state, 'up')
  const late = outlying(t, { consecutive: 0, share: 0.1, minTries: 1, earlyDeath: 0 })
  await tries(late, 'b:80', 'ok', 30)
  for (let i = 0; i < 30; i++) {
    const lease = await acquired(late, 'x', late.servers.slice(1))
    lease.opened()
    lease.settle('failed')
  }
  assert.equal(server(late, 'a:80').state, 'up')
})

test('a trial that is cancelled says nothing, and the next one decides', async t => {
  const time = clock(t)
  const set = outlying(t, { consecutive: 1, time: 100 })
  const others = set.servers.slice(1)
  await tries(set, 'a:80', 'failed')
  time.advance(100)
  const trial = await acquired(set, 'x', others)
  assert.equal(server(set, 'a:80').usable, false, 'one at a time')
  trial.settle('cancelled')
  await tries(set, 'a:80', 'ok')
  assert.equal(server(set, 'a:80').state, 'up')
})

test('both a mark and an ejection come of the same failures: whichever is first, and an ejection before a mark', async t => {
  const time = clock(t)
  const more = { maxFails: 3, failTimeout: 100 }
  const marked = outlying(t, { consecutive: 5, time: 1000 }, more)
  const list = moves(marked)
  await tries(marked, 'a:80', 'failed', 3)
  time.advance(100)
  // Its trial fails too: four in a row, and then five.
  await tries(marked, 'a:80', 'failed')
  time.advance(100)
  await tries(marked, 'a:80', 'failed')
  time.advance(999)
  assert.deepEqual(list.splice(0), [
    'down a:80 failures',
    'probation a:80 expired',
    'down a:80 failures',
    'probation a:80 expired',
    'down a:80 outlier'
  ])
  time.advance(1)
  assert.deepEqual(list, ['probation a:80 expired'])
  const both = outlying(t, { consecutive: 3 }, more)
  const next = moves(both)
  await tries(both, 'a:80', 'failed', 3)
  assert.deepEqual(next, ['down a:80 outlier'])
})

test('the time that an outlier waits for its trial is none in which it does well', async t => {
  const time = clock(t)
  const set = outlying(t, { consecutive: 2, time: 100 })
  const list = moves(set)
  await tries(set, 'a:80', 'failed', 2)
  time.advance(10_000)
  await tries(set, 'a:80', 'failed')
  time.advance(199)
  assert.equal(server(set, 'a:80').state, 'down', 'out for twice as long')
  time.advance(10_000)
  await tries(set, 'a:80', 'ok')
  list.length = 0
  await tries(set, 'a:80', 'failed', 2)
  time.advance(299)
  assert.deepEqual(list, ['down a:80 outlier'])
  time.advance(1)
  assert.deepEqual(list, ['down a:80 outlier', 'probation a:80 expired'])
})

test('when the set shrinks, those that are out beyond the share of what is left are back', async t => {
  clock(t)
  const set = outlying(t, { consecutive: 1 })
  const list = moves(set)
  await tries(set, 'a:80', 'failed')
  await tries(set, 'b:80', 'failed')
  assert.deepEqual(ejected(set), ['a:80', 'b:80'])
  list.length = 0
  void set.setServers(located(['a:80', 'b:80']))
  assert.deepEqual(ejected(set), ['b:80'])
  assert.ok(list.includes('up a:80 operator'))
  void set.setServers(located(['b:80']))
  assert.deepEqual(ejected(set), [])
})
