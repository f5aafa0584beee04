import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import test from 'node:test'

import type { Upstream } from '../src/index.ts'
import type { UpstreamServer } from '../src/index.ts'
import { acquired, clock, located, tryOn, upstream } from './support/upstream.ts'

const servers = ['a:80', 'b:80', 'c:80', 'd:80']

async function fail(of: Upstream, id: string): Promise<void> {
  await tryOn(of, id, 'failed')
}

function panics(of: Upstream): string[] {
  const list: string[] = []
  of.on('panic:start', () => list.push('start'))
  of.on('panic:end', () => list.push('end'))
  return list
}

test('when less than the threshold is well all servers are used, each key at home', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, panic: 0.5, failTimeout: 100 })
  const list = panics(set)
  await fail(set, 'a:80')
  await fail(set, 'b:80')
  assert.deepEqual(list, [], 'half is not less than half')
  for (let i = 0; i < 50; i++) {
    const lease = await acquired(set, `10.0.0.${i}`)
    assert.ok(set.servers.indexOf(lease.server) >= 2)
    lease.settle('cancelled')
  }
  await fail(set, 'c:80')
  assert.deepEqual(list, ['start'])
  assert.equal(set.stats().panic, true)
  for (let i = 0; i < 50; i++) {
    const key = `10.0.0.${i}`
    const lease = await acquired(set, key)
    assert.equal(lease.server, set.order(key)[0])
    lease.settle('cancelled')
  }
  // Without probes a try that goes well shows that the server is: it is back, and the panic over.
  const lease = await acquired(set, 'x', set.servers.slice(1))
  lease.opened()
  assert.deepEqual(list, ['start', 'end'])
  assert.equal(set.stats().panic, false)
  time.advance(1)
})

test('what the operator has down, what is full, and what is tried already stays out in a panic', async t => {
  clock(t)
  const down = { host: 'c', port: 80, down: true }
  const full = { host: 'd', port: 80, maxConnections: 1 }
  const set = upstream(t, { servers: ['a:80', 'b:80', down, full], panic: 1 })
  ;(await acquired(set, 'x', set.servers.slice(0, 2))).opened()
  await fail(set, 'a:80')
  assert.equal(set.stats().panic, true)
  assert.equal((await acquired(set, 'x', [set.servers[1]!])).server.id, 'a:80')
  assert.equal(await set.acquire('x', { except: new Set(set.servers.slice(0, 2)) }), undefined)
})

test('while a backup is well it takes the traffic, and there is no panic', async t => {
  clock(t)
  const backup = { host: 'b', port: 80, backup: true }
  const set = upstream(t, { servers: ['a:80', backup], panic: 1 })
  const list = panics(set)
  await fail(set, 'a:80')
  assert.equal((await acquired(set, 'x')).server.id, 'b:80')
  assert.deepEqual(list, [])
  void set.setServers(located(['a:80', { ...backup, down: true }]))
  assert.deepEqual(list, ['start'])
  assert.equal((await acquired(set, 'x')).server.id, 'a:80')
})

test('a server that waits for its first probe is not known to be ill', async t => {
  clock(t)
  const health = { type: 'tcp', interval: 1_000_000, starting: 'wait', fall: 1 } as const
  const set = upstream(t, { servers: ['a:80', 'b:80'], panic: 1, health })
  assert.equal(await set.acquire('x'), undefined)
  assert.equal(set.stats().panic, false)
})

test('a change of the set can end a panic; who waits in the queue is let in by one', async t => {
  clock(t)
  const published: unknown[] = []
  const listener = (message: unknown): void => void published.push(message)
  subscribe('ringway:panic:start', listener)
  t.after(() => unsubscribe('ringway:panic:start', listener))
  const set = upstream(t, { servers: ['a:80', 'b:80'], panic: 0.6, pendingHandshakes: 1 })
  const list = panics(set)
  await fail(set, 'a:80')
  assert.deepEqual(list, ['start'])
  assert.deepEqual(published, [{ upstream: set }])
  void set.setServers(located(['b:80', 'c:80', 'd:80']))
  assert.deepEqual(list, ['start', 'end'])
})

test('without the option all may be down, and only one that is so by failures alone is used', async t => {
  clock(t)
  const set = upstream(t, { servers })
  await fail(set, 'a:80')
  void set.setServers(located(servers.map(id => ({ id, host: id[0]!, port: 80, down: id !== 'a:80' }))))
  assert.equal(set.servers[0]!.state, 'down')
  assert.equal((await acquired(set, 'x')).server.id, 'a:80')
  void set.setServers(located(servers.map(id => ({ id, host: id[0]!, port: 80, down: true }))))
  assert.equal(await set.acquire('x'), undefined)
  assert.equal(set.stats().panic, false)
})

test('where a panic lets a second try through in probation, the first one is a trial still', async t => {
  const time = clock(t)
  const set = upstream(t, { servers: ['a:80', 'b:80'], maxFails: 2, failTimeout: 100, panic: 1 })
  const [a, b] = set.servers as [UpstreamServer, UpstreamServer]
  const states: string[] = []
  set.on('server:down', ({ id }, reason) => states.push(`${id} ${reason}`))
  for (let i = 0; i < 2; i++) (await acquired(set, 'x', [b])).settle('failed')
  time.advance(100)
  const [first, second] = [await acquired(set, 'x', [b]), await acquired(set, 'x', [b])]
  second.settle('cancelled')
  assert.equal(a.usable, false, 'the first one is under way')
  states.length = 0
  first.settle('failed')
  assert.deepEqual(states, ['a:80 failures'])
})
