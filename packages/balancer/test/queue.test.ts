import assert from 'node:assert/strict'
import { once } from 'node:events'
import test from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import type { Lease, Upstream } from '../src/index.ts'
import { acquired, clock, located, upstream } from './support/upstream.ts'

const one = ['a:80']

/** Keys that belong to a server. */
function keysOf(set: Upstream, id: string, count: number): string[] {
  const keys = Array.from({ length: 200 }, (_, i) => `key-${i}`)
  return keys.filter(key => set.order(key)[0]!.id === id).slice(0, count)
}

/** The results of acquires in the order in which they end. */
function race(
  set: Upstream,
  keys: readonly string[],
  signal?: AbortSignal
): { ended: string[]; leases: Lease[] } {
  const ended: string[] = []
  const leases: Lease[] = []
  for (const key of keys) {
    const wait = async (): Promise<void> => {
      try {
        const lease = await set.acquire(key, signal === undefined ? {} : { signal })
        ended.push(`${key} ${lease?.server.id}`)
        if (lease) leases.push(lease)
      } catch (error) {
        const { code, message } = error as { code?: string; message: string }
        ended.push(`${key} ${code ?? message}`)
      }
    }
    void wait()
  }
  return { ended, leases }
}

test('a server has no more handshakes under way than it may; others wait, the longest first', async t => {
  const set = upstream(t, { servers: one, pendingHandshakes: 2 })
  const first = [await acquired(set, '1'), await acquired(set, '2')]
  const { ended, leases } = race(set, ['3', '4', '5'])
  await turn()
  assert.deepEqual(ended, [])
  assert.equal(set.stats().waiting, 3)
  first[0]!.settle('ok')
  await turn()
  assert.deepEqual(ended, ['3 a:80'])
  first[1]!.settle('cancelled')
  leases[0]!.settle('failed')
  await turn()
  assert.deepEqual(ended, ['3 a:80', '4 a:80', '5 a:80'])
  assert.equal(set.servers[0]!.handshakes, 2)
  assert.equal(set.stats().waiting, 0)
})

test('an open tunnel holds no place: with one place and fifty tunnels the next handshake passes', async t => {
  const set = upstream(t, { servers: one, pendingHandshakes: 1 })
  for (let tunnel = 0; tunnel < 51; tunnel++) (await acquired(set, `${tunnel}`)).opened()
  assert.equal(set.servers[0]!.active, 51)
})

test('a place that is freed goes to who waits, not to who comes just then', async t => {
  const set = upstream(t, { servers: one, pendingHandshakes: 1 })
  const held = await acquired(set, 'held')
  const { ended } = race(set, ['waiting'])
  held.opened()
  const late = race(set, ['late'])
  await turn()
  assert.deepEqual(ended, ['waiting a:80'])
  assert.deepEqual(late.ended, [])
})

test('a client waits for its own server, though another one has places', async t => {
  const set = upstream(t, { servers: ['a:80', 'b:80'], pendingHandshakes: 1 })
  const held = await acquired(set, 'x')
  const { ended } = race(set, ['x'])
  await turn()
  assert.deepEqual(ended, [])
  held.opened()
  await turn()
  assert.deepEqual(ended, [`x ${held.server.id}`])
})

test('when the server goes down, those who wait go on to the next of their order', async t => {
  const set = upstream(t, { servers: ['a:80', 'b:80'], pendingHandshakes: 1 })
  const [home, second] = set.order('x')
  const held = await acquired(set, 'x')
  const { ended } = race(set, ['x', 'x'])
  const down = once(set, 'server:down')
  held.settle('failed')
  await down
  await turn()
  assert.equal(home!.usable, false)
  assert.deepEqual(ended, [`x ${second!.id}`])
  assert.equal(set.stats().waiting, 1)
})

test('when no server is left, those who wait get none', async t => {
  const set = upstream(t, { servers: ['a:80', 'b:80'], pendingHandshakes: 1 })
  const [home, second] = set.order('x')
  const held = await acquired(set, 'x')
  const other = await acquired(set, 'x', [home!])
  const { ended } = race(set, ['x', 'x'])
  held.settle('failed')
  await turn()
  assert.equal(other.server, second)
  assert.deepEqual(ended, [])
  void set.setServers(located(set.servers.map(({ id }) => ({ id, host: id[0]!, port: 80, down: true }))))
  await turn()
  assert.deepEqual(ended, ['x undefined', 'x undefined'])
})

test('beyond the queue’s size clients are refused at once', async t => {
  const set = upstream(t, { servers: one, pendingHandshakes: 1, queue: { size: 2 } })
  await acquired(set, 'held')
  const { ended } = race(set, ['1', '2', '3'])
  await turn()
  assert.deepEqual(ended, ['3 ERR_RINGWAY_QUEUE_FULL'])
  assert.equal(set.stats().waiting, 2)
})

test('nobody waits longer than the queue’s time, and its timers are gone then', async t => {
  const set = upstream(t, { servers: one, pendingHandshakes: 1, queue: { timeout: 20 } })
  const held = await acquired(set, 'held')
  await assert.rejects(set.acquire('x'), {
    code: 'ERR_RINGWAY_QUEUE_TIMEOUT',
    message: 'a:80 had no place within 20 ms'
  })
  assert.equal(set.stats().waiting, 0)
  held.settle('ok')
  assert.equal(set.servers[0]!.handshakes, 0)
})

test('who has waited for its own server for half of the queue’s time takes any place, the longest first', async t => {
  const time = clock(t)
  const set = upstream(t, { servers: ['a:80', 'b:80', 'c:80'], pendingHandshakes: 1, queue: { timeout: 20 } })
  const [home, second, third] = set.order('x').map(({ id }) => id)
  await acquired(set, 'x')
  const held = await acquired(set, 'x', [set.order('x')[0]!])
  const { ended } = race(set, ['x', 'x', 'x'])
  await turn()
  const theirs = keysOf(set, second!, 1)
  const other = race(set, theirs)
  time.advance(9)
  await turn()
  assert.deepEqual(ended, [])
  time.advance(1)
  await turn()
  assert.deepEqual(ended, [`x ${third}`])
  held.opened()
  await turn()
  assert.deepEqual(ended.slice(1), [`x ${second}`])
  assert.deepEqual(other.ended, [])
  time.advance(10)
  await turn()
  assert.deepEqual(ended.slice(2), ['x ERR_RINGWAY_QUEUE_TIMEOUT'])
  assert.deepEqual(other.ended, [`${theirs[0]} ERR_RINGWAY_QUEUE_TIMEOUT`])
  assert.equal(set.servers.find(({ id }) => id === home)!.handshakes, 1)
})

test('who finds the queue full goes to the next server that has a place, and is refused if there is none', async t => {
  const set = upstream(t, { servers: ['a:80', 'b:80'], pendingHandshakes: 1, queue: { size: 1 } })
  const [home, second] = set.order('x')
  await acquired(set, 'x')
  const { ended } = race(set, ['x'])
  await turn()
  assert.equal((await acquired(set, 'x')).server, second)
  await assert.rejects(set.acquire('x'), { code: 'ERR_RINGWAY_QUEUE_FULL' })
  assert.deepEqual([ended, home!.handshakes, set.stats().waiting], [[], 1, 1])
})

test('20,000 wait for a server that is full: each end of a tunnel asks no more of them than have a place', async t => {
  let asked = 0
  const set = upstream(t, {
    servers: ['a:80', { host: 'b', port: 80, maxConnections: 10 }],
    pendingHandshakes: 1,
    queue: { size: 20_000 },
    // Prefers b, while a takes who can't have it.
    strategy: {
      name: 'mine',
      build: members => ({
        pick: (_key, usable) => {
          asked++
          return members.toReversed().find(usable)
        }
      })
    }
  })
  const tunnels: Lease[] = []
  for (let i = 0; i < 10; i++) {
    tunnels.push(await acquired(set, 'x'))
    tunnels.at(-1)!.opened()
  }
  const slow = await acquired(set, 'x')
  assert.equal(slow.server.id, 'a:80')
  const keys = Array.from({ length: 20_000 }, (_, i) => `${i}`)
  const { ended, leases } = race(set, keys)
  await turn()
  asked = 0
  for (let i = 0; i < 9; i++) {
    tunnels[i]!.settle('ok')
    await turn()
    leases.at(-1)!.opened()
  }
  await turn()
  assert.deepEqual(
    ended,
    keys.slice(0, 9).map(key => `${key} b:80`)
  )
  assert.ok(asked < 100, `${asked}`)
  // One below its limit, but with a handshake under way: whoever waits at a is asked when that is over.
  tunnels[9]!.settle('ok')
  await turn()
  leases[0]!.settle('ok')
  await turn()
  leases.at(-1)!.settle('cancelled')
  await turn()
  assert.deepEqual(ended.slice(9), ['9 b:80', '10 b:80'])
  assert.ok(asked < 100, `${asked}`)
  await set[Symbol.asyncDispose]()
})

test('an aborted wait leaves the queue and takes no place', async t => {
  const set = upstream(t, { servers: one, pendingHandshakes: 1 })
  const held = await acquired(set, 'held')
  const controller = new AbortController()
  const { ended } = race(set, ['1'], controller.signal)
  const other = race(set, ['2'])
  await turn()
  controller.abort(new Error('gone'))
  await turn()
  assert.deepEqual(ended, ['1 gone'])
  held.settle('ok')
  await turn()
  assert.deepEqual(other.ended, ['2 a:80'])
})

test('disposal lets all who wait go', async t => {
  const set = upstream(t, { servers: one, pendingHandshakes: 1 })
  const held = await acquired(set, 'held')
  const { ended } = race(set, ['1', '2'])
  await turn()
  await set[Symbol.asyncDispose]()
  await turn()
  assert.deepEqual(ended, ['1 undefined', '2 undefined'])
  held.settle('ok')
})

test('a strategy that throws while others wait rejects their acquire only', async t => {
  let broken = false
  const set = upstream(t, {
    servers: one,
    pendingHandshakes: 1,
    strategy: {
      name: 'mine',
      build: members => ({
        pick: (_key, usable) => {
          if (broken) throw new Error('bug')
          return members.find(usable)
        }
      })
    }
  })
  const held = await acquired(set, 'held')
  const { ended } = race(set, ['1', '2'])
  await turn()
  broken = true
  held.settle('ok')
  await turn()
  assert.deepEqual(ended, ['1 bug', '2 bug'])
})

test('3000 clients of three servers, one of which dies: no server has more handshakes than it may, all get in', async t => {
  const limit = 20
  const set = upstream(t, {
    servers: ['a:80', 'b:80', 'c:80'],
    pendingHandshakes: limit,
    queue: { size: 3000 },
    maxFails: 1
  })
  const [dead] = set.servers
  let most = 0
  const tunnels: Lease[] = []
  const connect = async (key: string): Promise<void> => {
    const tries = set.tries(key)
    for (;;) {
      const lease = await tries.next()
      assert.ok(lease !== undefined, 'there is a server')
      most = Math.max(most, ...set.servers.map(({ handshakes }) => handshakes))
      await turn()
      if (lease.server === dead) {
        lease.settle('failed')
        continue
      }
      lease.opened()
      tunnels.push(lease)
      return
    }
  }
  await Promise.all(Array.from({ length: 3000 }, (_, client) => connect(`client-${client}`)))
  assert.equal(tunnels.length, 3000)
  assert.equal(most, limit)
  assert.equal(dead!.active, 0)
  assert.deepEqual(
    set.servers.map(({ handshakes }) => handshakes),
    [0, 0, 0]
  )
})

test('who has no key does not wait for one server while another has a place', async t => {
  const set = upstream(t, { servers: ['a:80', 'b:80'], pendingHandshakes: 1 })
  const hangs = await acquired(set)
  for (let i = 0; i < 10; i++) {
    const lease = await acquired(set)
    assert.notEqual(lease.server, hangs.server)
    lease.opened()
  }
})
