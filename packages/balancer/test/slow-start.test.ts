import assert from 'node:assert/strict'
import dns from 'node:dns'
import test from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import { leastConnections, roundRobin } from '@ringway/core'

import { Upstream } from '../src/index.ts'
import { acquired, clock, located, tryOn, upstream } from './support/upstream.ts'

const servers = ['a:80', 'b:80', 'c:80']
const keys = Array.from({ length: 2000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)

/** Which keys of `a`'s own are at home now. Nobody stays. */
async function home(of: Upstream, id: string): Promise<Set<string>> {
  const at = new Set<string>()
  for (const key of keys) {
    if (of.order(key)[0]!.id !== id) continue
    const lease = await acquired(of, key)
    if (lease.server.id === id) at.add(key)
    lease.settle('cancelled')
  }
  return at
}

test('a server that is back takes a growing part of its keys, the same ones each time', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, failTimeout: 100, slowStart: 1000 })
  const all = await home(set, 'a:80')
  assert.ok(all.size > 300)
  await tryOn(set, 'a:80', 'failed')
  time.advance(100)
  await tryOn(set, 'a:80', 'ok')
  assert.equal(set.stats().servers[0]!.state, 'up')
  assert.equal((await home(set, 'a:80')).size, 0)
  let before = new Set<string>()
  for (const part of [0.25, 0.5, 0.75]) {
    time.advance(250)
    assert.equal(set.stats().servers[0]!.ramp, part)
    const now = await home(set, 'a:80')
    assert.ok(
      [...before].every(key => now.has(key)),
      'who is home stays there'
    )
    assert.ok(Math.abs(now.size / all.size - part) < 0.08, `${now.size} of ${all.size} at ${part}`)
    before = now
  }
  time.advance(250)
  assert.deepEqual(await home(set, 'a:80'), all)
  assert.equal(set.stats().servers[0]!.ramp, 1)
})

test('those that are not home yet stay where they were while it was away', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, failTimeout: 100, slowStart: 1000 })
  await tryOn(set, 'a:80', 'failed')
  time.advance(100)
  await tryOn(set, 'a:80', 'ok')
  time.advance(500)
  for (const key of keys) {
    const lease = await acquired(set, key)
    const [first, second] = set.order(key)
    assert.ok(lease.server === first || (first!.id === 'a:80' && lease.server === second))
    lease.settle('cancelled')
  }
})

test('at its start an upstream is in a hurry, and a server that joins later is not', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, slowStart: 1000 })
  assert.deepEqual(
    set.stats().servers.map(({ ramp }) => ramp),
    [1, 1, 1]
  )
  void set.setServers(located([...servers, 'd:80']))
  assert.equal(set.stats().servers[3]!.ramp, 0)
  assert.equal((await home(set, 'd:80')).size, 0)
  time.advance(1000)
  assert.ok((await home(set, 'd:80')).size > 100)
})

test('when all that could take a client are slow to start one of them does, and no backup', async t => {
  const time = clock(t)
  const [b, d] = [
    { host: 'b', port: 80 },
    { host: 'd', port: 80, backup: true }
  ]
  const set = upstream(t, { servers: ['a:80', b, d], failTimeout: 100, slowStart: 1000 })
  await tryOn(set, 'a:80', 'failed')
  await tryOn(set, 'b:80', 'failed')
  time.advance(100)
  await tryOn(set, 'a:80', 'ok')
  await tryOn(set, 'b:80', 'ok')
  for (const key of keys.slice(0, 200)) {
    const lease = await acquired(set, key)
    assert.equal(lease.server, set.order(key)[0])
    lease.settle('cancelled')
  }
})

test('down again in the middle of it, it starts from nothing', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, failTimeout: 100, slowStart: 1000 })
  await tryOn(set, 'a:80', 'failed')
  time.advance(100)
  await tryOn(set, 'a:80', 'ok')
  time.advance(900)
  while ((await home(set, 'a:80')).size === 0) time.advance(1)
  const [key] = await home(set, 'a:80')
  const lease = await acquired(set, key)
  lease.settle('failed')
  assert.equal(set.stats().servers[0]!.state, 'down')
  time.advance(100)
  await tryOn(set, 'a:80', 'ok')
  assert.equal(set.stats().servers[0]!.ramp, 0)
})

for (const strategy of [roundRobin(), leastConnections()]) {
  test(`without keys (${strategy.name}) it takes its part of all requests`, async t => {
    const time = clock(t)
    const set = upstream(t, { servers, strategy, failTimeout: 100, slowStart: 1000 })
    await tryOn(set, 'a:80', 'failed')
    time.advance(100)
    await tryOn(set, 'a:80', 'ok')
    const counts: number[] = []
    for (const advance of [0, 500, 500]) {
      time.advance(advance)
      let count = 0
      for (let i = 0; i < 300; i++) {
        const lease = await acquired(set)
        if (lease.server.id === 'a:80') count++
        lease.settle('cancelled')
      }
      counts.push(count)
    }
    assert.equal(counts[0], 0)
    assert.ok(counts[1]! > 30 && counts[1]! < 80, counts.join())
    assert.equal(counts[2], 100)
  })
}

test('a server’s own slowStart goes before the upstream’s', async t => {
  const time = clock(t)
  const set = upstream(t, {
    servers: [{ host: 'a', port: 80, slowStart: 200 }, 'b:80'],
    failTimeout: 100,
    slowStart: 1000
  })
  await tryOn(set, 'a:80', 'failed')
  time.advance(100)
  await tryOn(set, 'a:80', 'ok')
  time.advance(100)
  assert.equal(set.stats().servers[0]!.ramp, 0.5)
})

test('all addresses of a name that are found at its start are in a hurry, later ones are not', async t => {
  const time = clock(t)
  let hosts = ['10.0.0.1', '10.0.0.2']
  t.mock.method(dns.promises, 'lookup', () => Promise.resolve(hosts.map(address => ({ address, family: 4 }))))
  const set = new Upstream({ servers: ['sre1.test:80'], slowStart: 1000 })
  t.after(async () => set[Symbol.asyncDispose]())
  const ramps = (): number[] => set.stats().servers.map(({ ramp }) => ramp)
  ;(await acquired(set, 'x')).settle('ok')
  assert.deepEqual(ramps(), [1, 1])
  hosts = ['10.0.0.1', '10.0.0.2', '10.0.0.3']
  time.advance(30_000)
  await turn()
  assert.deepEqual(ramps(), [1, 1, 0])
})

test('a name that had no address at the start is slow once it has one', async t => {
  const time = clock(t)
  let answer: Promise<object[]> = Promise.reject(new Error('ENOTFOUND'))
  t.mock.method(dns.promises, 'lookup', () => answer)
  const set = new Upstream({ servers: ['sre1.test:80', '10.0.0.9:80'], slowStart: 1000 })
  t.after(async () => set[Symbol.asyncDispose]())
  ;(await acquired(set, 'x')).settle('ok')
  answer = Promise.resolve(['10.0.0.1', '10.0.0.2'].map(address => ({ address, family: 4 })))
  time.advance(1000)
  await turn()
  assert.deepEqual(
    set.stats().servers.map(({ ramp }) => ramp),
    [0, 0, 1]
  )
})

test('an open tunnel on a server that is slow to start counts for more where load decides', async t => {
  const time = clock(t)
  const set = upstream(t, {
    servers: ['a:80', 'b:80'],
    strategy: leastConnections(),
    slowStart: 1000,
    failTimeout: 100
  })
  const b = set.servers.slice(1)
  await tryOn(set, 'a:80', 'failed')
  time.advance(100)
  ;(await acquired(set, undefined, b)).opened()
  // One there for two here, while it may take a half of its traffic at all.
  for (let i = 0; i < 3; i++) (await acquired(set, undefined, set.servers.slice(0, 1))).opened()
  time.advance(500)
  const at: string[] = []
  for (let i = 0; i < 100; i++) {
    const lease = await acquired(set)
    lease.opened()
    at.push(lease.server.id)
  }
  const here = at.filter(id => id === 'a:80').length + 1
  const there = at.filter(id => id === 'b:80').length + 3
  assert.ok(Math.abs(here - there / 2) <= 2, `${here} and ${there}`)
  // And as one for one when it is over.
  time.advance(500)
  for (let i = 0; i < 200; i++) (await acquired(set)).opened()
  const [one, other] = set.servers.map(({ active }) => active)
  assert.ok(Math.abs(one! - other!) <= 1, `${one} and ${other}`)
})

test('a server is slow again after each way of being out, the operator’s or a list’s, and a new weight is none', t => {
  const time = clock(t)
  const rest = ['127.0.0.1:2', '127.0.0.1:3']
  const a = { id: 'a', host: '127.0.0.1', port: 1 }
  const set = upstream(t, { servers: [a, ...rest], slowStart: 1000 })
  const ramp = (): number => set.stats().servers.find(({ id }) => id === 'a')!.ramp
  void set.setServers([{ ...a, down: true }, ...rest])
  void set.setServers([a, ...rest])
  assert.equal(ramp(), 0)
  time.advance(999)
  assert.equal(ramp(), 0.999)
  time.advance(1)
  assert.equal(ramp(), 1)
  void set.setServers(rest)
  void set.setServers([a, ...rest])
  assert.equal(ramp(), 0)
  time.advance(500)
  void set.setServers([{ ...a, weight: 2 }, ...rest])
  assert.equal(ramp(), 0.5)
})
