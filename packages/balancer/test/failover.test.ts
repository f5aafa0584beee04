import assert from 'node:assert/strict'
import test from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import type { Lease, UpstreamServer } from '../src/index.ts'
import { acquired, clock, located, tryOn, upstream } from './support/upstream.ts'

const primaries = ['a:80', 'b:80', 'c:80']
const backups = [
  { host: 'x', port: 80, backup: true },
  { host: 'y', port: 80, backup: true }
]
const keys = Array.from({ length: 40 }, (_, index) => `192.0.2.${index}`)

test('backups take nothing while another server is usable', async t => {
  const set = upstream(t, { servers: [...primaries, ...backups] })
  for (const key of keys) {
    const except: UpstreamServer[] = []
    for (let count = 0; count < 3; count++) {
      const { server } = await acquired(set, key, except)
      assert.equal(server.backup, false)
      except.push(server)
    }
  }
})

test('when all others are out, each key has its own backup, then the other one, then none', async t => {
  const set = upstream(t, { servers: [...primaries, ...backups] })
  const others = set.servers.filter(({ backup }) => !backup)
  const homes = new Set<UpstreamServer>()
  for (const key of keys) {
    const { server: first } = await acquired(set, key, others)
    assert.equal((await acquired(set, key, others)).server, first)
    const { server: second } = await acquired(set, key, [...others, first])
    assert.deepEqual(
      set
        .order(key)
        .slice(3)
        .map(({ id }) => id),
      [first.id, second.id]
    )
    assert.equal(await set.acquire(key, { except: new Set(set.servers) }), undefined)
    homes.add(first)
  }
  assert.equal(homes.size, 2)
})

test('a backup does not move the keys of the others', t => {
  const plain = upstream(t, { servers: primaries })
  const set = upstream(t, { servers: [...primaries, ...backups] })
  for (const key of keys) {
    assert.deepEqual(
      set
        .order(key)
        .slice(0, 3)
        .map(({ id }) => id),
      plain.order(key).map(({ id }) => id)
    )
  }
})

test('requests without a key use backups in the same way', async t => {
  const set = upstream(t, { servers: ['a:80', ...backups] })
  assert.equal((await acquired(set)).server.id, 'a:80')
  const [a] = set.servers
  const two = [await acquired(set, undefined, [a!]), await acquired(set, undefined, [a!])]
  assert.deepEqual(two.map(({ server }) => server.id).toSorted(), ['x:80', 'y:80'])
})

test('keys come home from the backup when a server is back', async t => {
  const time = clock(t)
  const set = upstream(t, { servers: ['a:80', ...backups], failTimeout: 1000 })
  ;(await acquired(set, 'x')).settle('failed')
  assert.equal((await acquired(set, 'x')).server.backup, true)
  time.advance(1000)
  const trial = await acquired(set, 'x')
  assert.equal(trial.server.id, 'a:80')
  trial.opened()
  assert.equal((await acquired(set, 'x')).server.id, 'a:80')
})

test('a server with as many connections as it may have is full, and its keys go on to the next', async t => {
  const set = upstream(t, { servers: primaries.map(id => ({ host: id[0]!, port: 80, maxConnections: 2 })) })
  const [home, second, third] = set.order('x')
  const leases: Lease[] = []
  for (let count = 0; count < 6; count++) leases.push(await acquired(set, 'x'))
  assert.deepEqual(
    leases.map(({ server }) => server),
    [home, home, second, second, third, third]
  )
  assert.equal(await set.acquire('x'), undefined)
  // An open tunnel holds its place as a try does, until its end.
  leases[0]!.opened()
  assert.equal(await set.acquire('x'), undefined)
  leases[0]!.settle('ok')
  assert.equal((await acquired(set, 'x')).server, home)
})

test('a request is tried on as many servers as retry.tries allows, none of them twice', async t => {
  for (const [tries, expected] of [
    [1, 1],
    [2, 2],
    [9, 3]
  ] as const) {
    const set = upstream(t, { servers: primaries, retry: { tries }, maxFails: 0 })
    const each = set.tries('x')
    const tried: UpstreamServer[] = []
    for (;;) {
      const lease = await each.next()
      if (lease === undefined) break
      tried.push(lease.server)
      lease.settle('failed')
    }
    assert.deepEqual(tried, set.order('x').slice(0, expected))
  }
})

test('no further try begins when retry.total is over, and 0 is no limit', async t => {
  const time = clock(t)
  for (const [total, last] of [
    [1000, 'none'],
    [0, 'some']
  ] as const) {
    const set = upstream(t, { servers: primaries, retry: { total }, maxFails: 0 })
    const tries = set.tries('x')
    ;(await tries.next())!.settle('failed')
    time.advance(999)
    ;(await tries.next())!.settle('failed')
    time.advance(1)
    assert.equal((await tries.next()) === undefined ? 'none' : 'some', last)
  }
})

test('what was sent may be sent again within the budget: a share of the last ten seconds, and a floor', async t => {
  const time = clock(t)
  const budget = { share: 0.1, floor: 1 }
  const set = upstream(t, { servers: primaries, retry: { budget }, maxFails: 0 })
  /** Whether the second try of a request was allowed. */
  const repeat = async (sent: boolean): Promise<boolean> => {
    const tries = set.tries('x')
    ;(await tries.next())!.settle('failed')
    const second = await tries.next(sent)
    second?.settle('failed')
    return second !== undefined
  }
  let allowed = 0
  for (let request = 0; request < 100; request++) if (await repeat(true)) allowed++
  // The floor's 1 × 10, and a tenth of the requests.
  assert.equal(allowed, 20)
  // Where nothing was sent, the next server is always tried.
  for (let request = 0; request < 50; request++) assert.equal(await repeat(false), true)
  time.advance(11_000)
  assert.equal(await repeat(true), true)
})

test('without a budget all may be sent again', async t => {
  const set = upstream(t, { servers: primaries, maxFails: 0 })
  for (let request = 0; request < 200; request++) {
    const tries = set.tries(undefined)
    ;(await tries.next())!.settle('failed')
    ;(await tries.next(true))!.settle('failed')
  }
})

test('of those who wait for a place to be sent again no more are allowed than the budget has', async t => {
  const retry = { budget: { share: 0, floor: 1 } }
  const set = upstream(t, { servers: ['a:80', 'b:80'], maxFails: 0, pendingHandshakes: 1, retry })
  const all = await Promise.all(
    Array.from({ length: 100 }, async () => {
      const tries = set.tries('x')
      ;(await tries.next())!.settle('failed')
      return tries
    })
  )
  const held = [await acquired(set, 'x'), await acquired(set, 'x', [set.order('x')[0]!])]
  let repeated = 0
  const again = all.map(async tries => {
    const lease = await tries.next(true)
    if (lease === undefined) return
    repeated++
    lease.settle('failed')
  })
  assert.equal(set.stats().waiting, 10)
  for (const lease of held) lease.settle('cancelled')
  await Promise.all(again)
  assert.equal(repeated, 10)
})

test('retry.total counts from the first try, and ends the wait for a place', async t => {
  const time = clock(t)
  const retry = { total: 100 }
  const set = upstream(t, { servers: primaries.slice(1), maxFails: 0, pendingHandshakes: 1, retry })
  const [first, second] = set.order('x') as [UpstreamServer, UpstreamServer]
  const held = await acquired(set, 'x')
  const tries = set.tries('x')
  const waiting = tries.next()
  time.advance(1000)
  held.settle('cancelled')
  const lease = (await waiting)!
  assert.equal(lease.server, first)
  const full = await acquired(set, 'x', [first])
  assert.equal(full.server, second)
  lease.settle('failed')
  const next = tries.next()
  assert.equal(set.stats().waiting, 1)
  time.advance(49)
  // Nobody else has a place at half of it either.
  assert.equal(set.stats().waiting, 1)
  time.advance(51)
  assert.equal(await next, undefined)
  assert.equal(set.stats().waiting, 0)
  full.settle('cancelled')
  assert.equal(second.handshakes, 0)
})

test('a repetition that comes to nothing costs no budget', async t => {
  clock(t)
  const retry = { budget: { share: 0, floor: 1 } }
  const set = upstream(t, { servers: ['a:80', 'b:80'], maxFails: 0, retry })
  // Ten in ten seconds are allowed.
  for (let i = 0; i < 20; i++) {
    const tries = set.tries('x')
    ;(await tries.next())!.settle('cancelled')
    void set.setServers(located(set.servers.map(({ id }) => ({ id, host: id[0]!, port: 80, down: true }))))
    assert.equal(await tries.next(true), undefined)
    void set.setServers(located(['a:80', 'b:80']))
  }
  const tries = set.tries('x')
  ;(await tries.next())!.settle('cancelled')
  const repeated = await tries.next(true)
  assert.ok(repeated !== undefined)
  repeated.settle('cancelled')
})

test('a repetition that is given back when it no longer counts makes the budget no larger', async t => {
  const time = clock(t)
  const retry = { budget: { share: 0, floor: 1 } }
  const queue = { timeout: 11_000 }
  const set = upstream(t, { servers: ['a:80', 'b:80'], maxFails: 0, pendingHandshakes: 1, queue, retry })
  const repeats = async (times: number): Promise<number> => {
    let granted = 0
    for (let i = 0; i < times; i++) {
      const tries = set.tries('x')
      ;(await tries.next())!.settle('failed')
      const lease = await tries.next(true)
      lease?.settle('failed')
      if (lease !== undefined) granted++
    }
    return granted
  }
  const first = set.tries('x')
  ;(await first.next())!.settle('failed')
  const held = (await first.next())!
  const waiting = Array.from({ length: 10 }, async () => {
    const tries = set.tries('x')
    ;(await tries.next())!.settle('failed')
    await assert.rejects(tries.next(true), { code: 'ERR_RINGWAY_QUEUE_TIMEOUT' })
  })
  for (let i = 0; i < 30; i++) await turn()
  assert.equal(set.stats().waiting, 10)
  time.advance(11_000)
  await Promise.all(waiting)
  held.settle('ok')
  assert.equal(await repeats(30), 10)
})

test('where nobody else is left, a server that is out by failures alone is tried', async t => {
  const time = clock(t)
  const set = upstream(t, { servers: ['a:80', 'b:80'], failTimeout: 10_000 })
  const [a, b] = set.servers as [UpstreamServer, UpstreamServer]
  await tryOn(set, 'a:80', 'failed')
  assert.equal(a.state, 'down')
  // It has come back meanwhile, and now the other one is gone; which isn't marked, as there would be nobody left.
  for (let i = 0; i < 20; i++) {
    const tries = set.tries(`10.0.0.${i}`)
    const lease = (await tries.next())!
    assert.equal(lease.server, i === 0 ? b : a)
    if (i > 0) {
      lease.settle('ok')
      continue
    }
    lease.settle('failed')
    const other = (await tries.next())!
    assert.equal(other.server, a)
    other.settle('ok')
    assert.deepEqual([a.state, b.state], ['up', 'up'])
    await tryOn(set, 'b:80', 'failed')
    assert.equal(b.state, 'down')
  }
  // Not one that the operator or its probes have down.
  void set.setServers(located(['a:80', { id: 'b:80', host: 'b', port: 80, down: true }]))
  assert.equal(await set.acquire('x', { except: new Set([a]) }), undefined)
  time.advance(10_000)
  assert.equal(await set.acquire('x', { except: new Set([a]) }), undefined)
})

test('who has waited for long is tried on a server that is out by failures, rather than on none', async t => {
  const time = clock(t)
  const set = upstream(t, {
    servers: ['a:80', 'b:80'],
    pendingHandshakes: 1,
    queue: { timeout: 1000 },
    failTimeout: 60_000
  })
  const [a, b] = set.servers as [UpstreamServer, UpstreamServer]
  await tryOn(set, 'b:80', 'failed')
  const hanging = await acquired(set, 'x')
  assert.equal(hanging.server, a)
  const waiting = set.acquire('x')
  time.advance(500)
  assert.equal((await waiting)?.server, b)
})

test('nobody waits for a server whose one trial is taken while another one has a place', async t => {
  const time = clock(t)
  const set = upstream(t, { servers: ['a:80', 'b:80'], pendingHandshakes: 1, failTimeout: 100 })
  const [a, b] = set.servers as [UpstreamServer, UpstreamServer]
  const key = keys.find(each => set.order(each)[0] === a)!
  const held = await acquired(set, key)
  await tryOn(set, 'b:80', 'failed')
  time.advance(100)
  // Two wait for a; when its place is free again one of them takes it, the other goes on waiting for it.
  const waiting = [set.acquire(key), set.acquire(key)]
  const trial = await acquired(set, key, [a])
  trial.settle('ok')
  assert.deepEqual([a.state, b.state], ['up', 'up'])
  held.settle('failed')
  assert.equal(a.state, 'down')
  assert.equal((await waiting[0])!.server, b)
  time.advance(100)
  assert.equal(a.state, 'probation')
  const second = (await waiting[1])!
  assert.equal(second.server, a, 'the trial')
  const third = set.acquire(key)
  assert.equal(set.stats().waiting, 1, 'b is full, and a has its trial')
  second.settle('cancelled')
  assert.equal((await third)!.server, a, 'the next trial, though it waited for b')
})

test('of many clients whose server fails while the other one is on trial, each gets its try', async t => {
  const time = clock(t)
  const set = upstream(t, { servers: ['a:80', 'b:80'], failTimeout: 100 })
  await tryOn(set, 'a:80', 'failed')
  time.advance(100)
  const all = Array.from({ length: 50 }, (_, i) => set.tries(`10.0.0.${i}`))
  const first = await Promise.all(all.map(async tries => (await tries.next())!))
  assert.equal(first.filter(({ server }) => server.id === 'a:80').length, 1, 'one at a time')
  for (const lease of first) if (lease.server.id === 'b:80') lease.settle('failed')
  const second = await Promise.all(all.map(async tries => tries.next()))
  assert.equal(second.filter(lease => lease?.server.id === 'a:80').length, 49)
})
