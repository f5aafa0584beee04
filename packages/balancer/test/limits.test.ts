import assert from 'node:assert/strict'
import test from 'node:test'

import { acquired, clock, upstream } from './support/upstream.ts'

const servers = ['a:80', 'b:80', 'c:80']
const refused = { name: 'RingwayError', code: 'ERR_RINGWAY_LIMIT' }

test('so many connections may be there, tunnels and tries together', async t => {
  clock(t)
  const set = upstream(t, { servers, limits: { connections: 4 } })
  const leases = []
  for (let i = 0; i < 4; i++) leases.push(await acquired(set, `${i}`))
  await assert.rejects(set.acquire('x'), { ...refused, message: '4 connections are open' })
  leases[0]!.opened()
  leases[1]!.opened()
  assert.deepEqual([set.stats().active, set.stats().handshakes], [2, 2])
  await assert.rejects(set.acquire('x'), refused)
  // Whatever its end is, each leaves one place.
  leases[0]!.settle('failed')
  leases[1]!.settle('ok')
  leases[2]!.settle('cancelled')
  leases[3]!.settle('failed')
  for (let i = 0; i < 4; i++) (await acquired(set, `${i}`)).opened()
  await assert.rejects(set.acquire('x'), refused)
})

test('so many tries may be under way; a tunnel is none any more', async t => {
  clock(t)
  const set = upstream(t, { servers, limits: { handshakes: 2 } })
  for (let i = 0; i < 10; i++) {
    const two = [await acquired(set, '1'), await acquired(set, '2')]
    await assert.rejects(set.acquire('3'), { ...refused, message: '2 handshakes are under way' })
    for (const lease of two) lease.opened()
  }
  assert.deepEqual([set.stats().active, set.stats().handshakes], [20, 0])
})

test('those that wait for a place count in both, until they wait no more', async t => {
  const time = clock(t)
  const more = { servers: ['a:80'], pendingHandshakes: 1, queue: { timeout: 100 } }
  for (const limits of [{ handshakes: 2 }, { connections: 2 }]) {
    const set = upstream(t, { ...more, limits })
    const first = await acquired(set, '1')
    const controller = new AbortController()
    const aborted = set.acquire('2', { signal: controller.signal })
    await assert.rejects(set.acquire('3'), refused)
    controller.abort(new Error('gone'))
    await assert.rejects(aborted, /gone/)

    const late = set.acquire('2')
    await assert.rejects(set.acquire('3'), refused)
    time.advance(100)
    await assert.rejects(late, { code: 'ERR_RINGWAY_QUEUE_TIMEOUT' })

    const next = set.acquire('2')
    await assert.rejects(set.acquire('3'), refused)
    first.settle('ok')
    ;(await next)!.settle('ok')
    ;(await acquired(set, '3')).settle('ok')
  }
})

test('tunnels of servers that have left the set still count', async t => {
  clock(t)
  const set = upstream(t, { servers, limits: { connections: 1 } })
  const lease = await acquired(set, 'x')
  lease.opened()
  void set.drain(lease.server.id)
  await assert.rejects(set.acquire('x'), refused)
  lease.settle('ok')
  await acquired(set, 'x')
})

test('a further try of the same request needs a place too, and its own is free by then', async t => {
  clock(t)
  const set = upstream(t, { servers, maxFails: 0, limits: { handshakes: 1, connections: 1 } })
  const tries = set.tries('x')
  for (let i = 0; i < 3; i++) (await tries.next())!.settle('failed')
  const [one, other] = [set.tries('x'), set.tries('x')]
  const lease = (await one.next())!
  await assert.rejects(other.next(), refused)
  lease.settle('failed')
  ;(await other.next())!.opened()
  await assert.rejects(one.next(), refused)
})

test('without limits nobody is refused', async t => {
  clock(t)
  const set = upstream(t, { servers })
  for (let i = 0; i < 5000; i++) void (await acquired(set, `${i}`))
  assert.equal(set.stats().handshakes, 5000)
})

test('after disposal there is no server for anybody, and no limit to be told of', async t => {
  clock(t)
  const set = upstream(t, { servers, limits: { connections: 1 } })
  ;(await acquired(set, 'x')).opened()
  await set[Symbol.asyncDispose]()
  assert.equal(await set.acquire('x'), undefined)
})
