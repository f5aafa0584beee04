import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { test } from 'node:test'

import { acquired, clock, upstream } from './support/upstream.ts'

const servers = ['a:80', 'b:80']

test('each move is published on its diagnostics channel', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, failTimeout: 100 })
  const published: unknown[] = []
  const listener = (message: unknown, name: string | symbol): void => {
    published.push([name, message])
  }
  for (const name of ['ringway:server:down', 'ringway:server:probation', 'ringway:server:up']) {
    subscribe(name, listener)
    t.after(() => unsubscribe(name, listener))
  }
  const lease = await acquired(set, 'x')
  const { server } = lease
  lease.settle('failed')
  time.advance(100)
  ;(await acquired(set, 'x')).opened()
  assert.deepEqual(published, [
    ['ringway:server:down', { upstream: set, server, from: 'up', to: 'down', reason: 'failures' }],
    ['ringway:server:probation', { upstream: set, server, from: 'down', to: 'probation', reason: 'expired' }],
    ['ringway:server:up', { upstream: set, server, from: 'probation', to: 'up', reason: 'traffic' }]
  ])
})

test('a listener finds the move already done', async t => {
  const set = upstream(t, { servers })
  const lease = await acquired(set, 'x')
  let seen: unknown
  set.on('server:down', server => {
    seen = [server.state, server.usable, server.handshakes, set.stats().servers[1]?.totals.failed]
  })
  lease.settle('failed')
  assert.deepEqual(seen, ['down', false, 0, lease.server === set.servers[1] ? 1 : 0])
})

test('a listener that throws is an uncaught exception, and harms no count', async t => {
  const set = upstream(t, { servers })
  const lease = await acquired(set, 'x')
  set.on('server:down', () => {
    throw new Error('a bug in a listener')
  })
  // The test runner listens too, and would fail the test.
  const others = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  const uncaught = once(process, 'uncaughtException') as Promise<[Error]>
  lease.settle('failed')
  const [error] = await uncaught
  for (const other of others) process.on('uncaughtException', other)

  assert.equal(error.message, 'a bug in a listener')
  assert.equal(lease.server.state, 'down')
  assert.equal(lease.server.handshakes, 0)
  lease.settle('failed')
  assert.equal(lease.server.handshakes, 0)
  assert.notEqual((await acquired(set, 'x')).server, lease.server)
})
