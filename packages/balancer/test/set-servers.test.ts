import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import test from 'node:test'

import { ketama, leastConnections, movedShare } from '@ringway/core'
import type { Strategy } from '@ringway/core'
import type { Lease, Upstream } from '../src/index.ts'
import { acquired, clock, located, tryOn, upstream } from './support/upstream.ts'

const keys = Array.from({ length: 300 }, (_, index) => `192.0.${index >> 8}.${index & 255}`)

function homes(set: Upstream): string[] {
  return keys.map(key => set.order(key)[0]!.id)
}

/** All moves of servers from now on. */
function moves(set: Upstream): string[] {
  const list: string[] = []
  set.on('server:added', server => list.push(`added ${server.id}`))
  set.on('server:draining', server => list.push(`draining ${server.id}`))
  set.on('server:removed', server => list.push(`removed ${server.id}`))
  set.on('server:down', (server, reason) => list.push(`down ${server.id} ${reason}`))
  set.on('server:up', (server, reason) => list.push(`up ${server.id} ${reason}`))
  return list
}

test('a server that joins takes keys for itself only, as many as the strategy’s own table says', t => {
  const set = upstream(t, { servers: ['a:80', 'b:80', 'c:80'] })
  const list = moves(set)
  const before = homes(set)
  void set.setServers(located(['a:80', 'b:80', 'c:80', 'd:80']))
  const after = homes(set)
  for (const [index, home] of after.entries()) if (home !== 'd:80') assert.equal(home, before[index])
  const members = ['a:80', 'b:80', 'c:80', 'd:80'].map(id => ({ id, weight: 1 }))
  const moved = after.filter(home => home === 'd:80').length / keys.length
  assert.equal(moved, movedShare(ketama().build(members.slice(0, 3)), ketama().build(members), keys))
  assert.deepEqual(list, ['added d:80'])
})

test('a server that stays keeps its tunnels, its counts and its marks', async t => {
  const set = upstream(t, { servers: ['a:80', 'b:80'] })
  const key = keys.find(each => set.order(each)[0]!.id === 'a:80')!
  const lease = await acquired(set, key)
  lease.opened()
  ;(await acquired(set, key)).settle('failed')
  const a = set.servers[0]!
  void set.setServers(located([{ host: 'a', port: 80, weight: 3 }, 'c:80']))
  assert.equal(set.servers[0], a)
  assert.equal(a.weight, 3)
  assert.equal(a.active, 1)
  assert.equal(a.state, 'down')
  assert.deepEqual(set.stats().servers[0]!.totals, { leases: 2, opened: 1, failed: 1 })
  lease.settle('ok')
  assert.equal(a.active, 0)
})

test('a larger weight takes keys and gives none away', t => {
  const set = upstream(t, { servers: ['a:80', 'b:80', 'c:80'] })
  const before = homes(set)
  void set.setServers(located(['a:80', { host: 'b', port: 80, weight: 3 }, 'c:80']))
  const after = homes(set)
  for (const [index, home] of after.entries()) if (home !== 'b:80') assert.equal(home, before[index])
  assert.ok(
    after.filter(home => home === 'b:80').length > 1.3 * before.filter(home => home === 'b:80').length
  )
})

test('a server that goes takes nothing new, keeps its tunnels to their end, and is removed then', async t => {
  const set = upstream(t, { servers: ['a:80', 'b:80'] })
  const list = moves(set)
  const key = keys.find(each => set.order(each)[0]!.id === 'a:80')!
  const tunnel = await acquired(set, key)
  tunnel.opened()
  const handshake = await acquired(set, key)
  const a = tunnel.server
  void set.setServers(located(['b:80']))
  assert.equal(a.state, 'draining')
  assert.equal(a.usable, false)
  assert.deepEqual(
    set.servers.map(({ id }) => id),
    ['b:80', 'a:80']
  )
  assert.equal((await acquired(set, key)).server.id, 'b:80')
  handshake.opened() // it was under way, and may still become a tunnel
  tunnel.settle('ok')
  assert.deepEqual(list, ['draining a:80'])
  handshake.settle('ok')
  assert.deepEqual(list, ['draining a:80', 'removed a:80'])
  assert.equal(a.state, 'removed')
  assert.deepEqual(
    set.stats().servers.map(({ id }) => id),
    ['b:80']
  )
})

test('a server that is listed again before it is empty is the same one: its tunnels, limits and marks count', async t => {
  clock(t)
  const limited = located([{ host: 'a', port: 80, maxConnections: 2 }, 'b:80'])
  const set = upstream(t, { servers: limited, pendingHandshakes: 2, failTimeout: 1000 })
  const key = keys.find(each => set.order(each)[0]!.id === 'a:80')!
  const [tunnel, handshake] = [await acquired(set, key), await acquired(set, key)]
  tunnel.opened()
  const a = tunnel.server
  const list = moves(set)
  void set.setServers(located(['b:80']))
  void set.setServers(limited)
  assert.deepEqual(set.servers[0], a)
  assert.equal(set.servers.length, 2)
  assert.deepEqual([a.state, a.active, a.handshakes, a.usable], ['up', 1, 1, false], 'it is full')
  assert.equal((await acquired(set, key)).server.id, 'b:80')
  // What fails counts, though it began before.
  handshake.settle('failed')
  assert.equal(a.state, 'down')
  void set.setServers(located(['b:80']))
  void set.setServers(limited)
  assert.equal(a.state, 'down')
  // Nothing of it is drained with those that are gone.
  await set.setServers(limited, {})
  tunnel.settle('ok')
  assert.equal(a.active, 0)
  assert.deepEqual(list, [
    'draining a:80',
    'up a:80 operator',
    'down a:80 failures',
    'draining a:80',
    'down a:80 operator'
  ])
})

test('the time of a mark goes on while its server is not listed', async t => {
  const time = clock(t)
  const set = upstream(t, { servers: ['a:80', 'b:80'], failTimeout: 1000 })
  const key = keys.find(each => set.order(each)[0]!.id === 'a:80')!
  const tunnel = await acquired(set, key)
  tunnel.opened()
  await tryOn(set, 'a:80', 'failed')
  void set.setServers(located(['b:80']))
  time.advance(1000)
  void set.setServers(located(['a:80', 'b:80']))
  assert.equal(tunnel.server.state, 'probation')
  await tryOn(set, 'a:80', 'ok')
  assert.equal(tunnel.server.state, 'up')
})

test('a server without tunnels is removed at once', t => {
  const set = upstream(t, { servers: ['a:80', 'b:80'] })
  const list = moves(set)
  void set.setServers(located(['b:80']))
  assert.deepEqual(list, ['draining a:80', 'removed a:80'])
})

test('a failed try of a server that has left says nothing of it any more', async t => {
  const set = upstream(t, { servers: ['a:80', 'b:80'] })
  const key = keys.find(each => set.order(each)[0]!.id === 'a:80')!
  const lease = await acquired(set, key)
  void set.setServers(located(['b:80', 'c:80']))
  const list = moves(set)
  lease.settle('failed')
  assert.deepEqual(list, ['removed a:80'])
})

test('the same id at another address is another server', async t => {
  const set = upstream(t, { servers: [{ id: 'one', host: '10.0.0.1', port: 80 }, 'b:80'] })
  const before = homes(set)
  const old = set.servers[0]!
  const key = keys.find(each => set.order(each)[0] === old)!
  const lease = await acquired(set, key)
  lease.opened()
  void set.setServers(located([{ id: 'one', host: '10.0.0.2', port: 80 }, 'b:80']))
  assert.equal(old.state, 'draining')
  assert.notEqual(set.servers[0], old)
  assert.deepEqual(homes(set), before) // the id is what is hashed
  assert.deepEqual((await acquired(set, key)).server.address, { host: '10.0.0.2', port: 80 })
  lease.settle('ok')
  assert.equal(old.state, 'removed')
})

test('the same id with another PROXY header is another server, as its connections are', t => {
  const set = upstream(t, { servers: ['a:80', 'b:80'], sendProxy: 'v1' })
  const [a] = set.servers
  void set.setServers(located([{ host: 'a', port: 80, sendProxy: 'v1' }, 'b:80']))
  assert.equal(set.servers[0], a)
  for (const sendProxy of ['v2', false] as const) {
    const old = set.servers[0]
    void set.setServers(located([{ host: 'a', port: 80, sendProxy }, 'b:80']))
    assert.notEqual(set.servers[0], old)
    assert.equal(set.servers[0]!.sendProxy, sendProxy || undefined)
  }
})

test('down is set and taken away without moving a place on the ring', async t => {
  const set = upstream(t, { servers: ['a:80', 'b:80'] })
  const list = moves(set)
  const before = homes(set)
  void set.setServers(located([{ host: 'a', port: 80, down: true }, 'b:80']))
  assert.deepEqual(homes(set), before)
  for (const key of keys) {
    const lease = await acquired(set, key)
    assert.equal(lease.server.id, 'b:80')
    lease.settle('ok')
  }
  void set.setServers(located(['a:80', 'b:80']))
  assert.deepEqual(list, ['down a:80 operator', 'up a:80 operator'])
  assert.equal(set.servers[0]!.usable, true)
})

test('a terminating server is as if it were not listed', async t => {
  const set = upstream(t, { servers: ['a:80', 'b:80', { host: 'c', port: 80, terminating: true }] })
  assert.equal(set.servers.length, 2)
  const key = keys.find(each => set.order(each)[0]!.id === 'a:80')!
  const lease = await acquired(set, key)
  lease.opened()
  void set.setServers(located([{ host: 'a', port: 80, terminating: true }, 'b:80']))
  assert.equal(lease.server.state, 'draining')
  lease.settle('ok')
  assert.deepEqual(
    set.servers.map(({ id }) => id),
    ['b:80']
  )
})

test('apisix 7301: counts survive a change: 100 tunnels on two servers, a third joins, and gets 67 of the next 100', async t => {
  const set = upstream(t, { servers: ['a:80', 'b:80'], strategy: leastConnections() })
  for (let tunnel = 0; tunnel < 100; tunnel++) (await acquired(set)).opened()
  void set.setServers(located(['a:80', 'b:80', 'c:80']))
  for (let tunnel = 0; tunnel < 100; tunnel++) (await acquired(set)).opened()
  const [a, b, c] = set.servers.map(({ active }) => active)
  assert.ok(Math.abs(c! - 67) <= 5, `${c}`)
  assert.equal(a! + b! + c!, 200)
})

test('nginx-gateway-fabric 5524: fifty changes of other servers under 500 tunnels touch none of them', async t => {
  const set = upstream(t, { servers: ['a:80', 'b:80', 'c:80'] })
  const leases: Lease[] = []
  for (let tunnel = 0; tunnel < 500; tunnel++) {
    const lease = await acquired(set, `client-${tunnel}`)
    lease.opened()
    leases.push(lease)
  }
  const counts = set.servers.map(({ active }) => active)
  for (let change = 0; change < 50; change++) {
    void set.setServers(located(['a:80', 'b:80', 'c:80', `other${change}:80`]))
    void set.setServers(located(['a:80', 'b:80', 'c:80']))
  }
  assert.deepEqual(
    set.servers.map(({ active }) => active),
    counts
  )
  for (const lease of leases) lease.settle('ok')
  assert.deepEqual(
    set.servers.map(({ active, handshakes }) => active + handshakes),
    [0, 0, 0]
  )
})

test('a bad list, or one that a strategy refuses, changes nothing', t => {
  const set = upstream(t, { servers: ['a:80', 'b:80'] })
  const list = moves(set)
  const servers = [...set.servers]
  assert.throws(() => set.setServers([]), { code: 'ERR_RINGWAY_CONFIG', field: 'servers' })
  assert.throws(() => set.setServers(located(['a:80', { host: 'c', port: 0 }])), { field: 'servers[1].port' })
  assert.throws(() => set.setServers(located([{ host: 'c', port: 80, terminating: true }])), {
    field: 'servers'
  })
  // The same points on nginx's ring.
  assert.throws(
    () =>
      void set.setServers(
        located([
          { id: 'x', host: 'a', port: 1 },
          { id: 'x:', host: 'b', port: 1 }
        ])
      ),
    { field: 'members[1].id' }
  )
  assert.deepEqual([...set.servers], servers)
  assert.deepEqual(list, [])
})

test('a strategy that changes the set while it builds its tables is refused, and nothing is changed', async t => {
  let act: (() => unknown) | undefined
  const plain = ketama()
  const strategy: Strategy = {
    name: 'meddler',
    build(members) {
      act?.()
      return plain.build(members)
    }
  }
  const set = upstream(t, { servers: ['a:80'], strategy })
  const ids = (): string => set.servers.map(({ id }) => id).join()
  const refused = { code: 'ERR_RINGWAY_STRATEGY', message: /meddler changes the set/ }
  act = () => void set.setServers(located(['ghost:80']))
  assert.throws(() => set.setServers(located(['a:80', 'b:80'])), refused)
  assert.equal(ids(), 'a:80')
  act = undefined
  void set.setServers(located(['a:80', 'b:80']))
  assert.equal(ids(), 'a:80,b:80')
  // It may end it all.
  act = () => void set[Symbol.asyncDispose]()
  await set.setServers(located(['a:80', 'c:80']))
  assert.equal(await set.acquire('x'), undefined)
})

test('who waits for a server that goes is sent on, and who finds none gets none', async t => {
  const set = upstream(t, { servers: ['a:80', 'b:80'], pendingHandshakes: 1 })
  const key = keys.find(each => set.order(each)[0]!.id === 'a:80')!
  const held = await acquired(set, key)
  const waiting = set.acquire(key)
  void set.setServers(located(['b:80']))
  assert.equal((await waiting)!.server.id, 'b:80')
  held.settle('ok')
})

test('the last server that is left is never marked, and is once another joins', async t => {
  const set = upstream(t, { servers: ['a:80', 'b:80'] })
  void set.setServers(located(['a:80']))
  ;(await acquired(set, 'x')).settle('failed')
  assert.equal(set.servers[0]!.usable, true)
  void set.setServers(located(['a:80', 'c:80']))
  const key = keys.find(each => set.order(each)[0]!.id === 'a:80')!
  ;(await acquired(set, key)).settle('failed')
  assert.equal(set.servers[0]!.usable, false)
})

test('probes follow the set: a server that joins is probed, one that goes no more', async t => {
  const seen = new Map<string, number>()
  const start = async (): Promise<string> => {
    const server = createServer((request, response) => {
      const at = request.headers.host!
      seen.set(at, (seen.get(at) ?? 0) + 1)
      response.end()
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close())
    return `127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  const [one, two] = [await start(), await start()]
  const set = upstream(t, { servers: [one], health: { type: 'http', interval: 10 } })
  while (!seen.has(one)) await new Promise(resolve => setTimeout(resolve, 5))
  void set.setServers([two])
  const before = seen.get(one)
  while ((seen.get(two) ?? 0) < 5) await new Promise(resolve => setTimeout(resolve, 5))
  // One may have been under way.
  assert.ok((seen.get(one) ?? 0) <= (before ?? 0) + 1)
  await set[Symbol.asyncDispose]()
  void set.setServers([one])
  assert.deepEqual(
    set.servers.map(({ id }) => id),
    [two]
  )
})

test('a discovered list can be set as it comes', async t => {
  const { fromStatic } = await import('../src/index.ts')
  const set = upstream(t, { servers: ['a:80'] })
  const stop = new AbortController()
  const source = fromStatic([
    'b:80',
    { host: 'c', port: 80, backup: true },
    { host: 'd', port: 80, terminating: true }
  ])
  for await (const servers of source.watch(stop.signal)) {
    void set.setServers(servers)
    stop.abort()
  }
  assert.deepEqual(
    set.servers.map(({ id, backup }) => `${id} ${backup}`),
    ['b:80 false', 'c:80 true']
  )
})
