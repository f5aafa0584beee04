import assert from 'node:assert/strict'
import test from 'node:test'
import {
  boundedLoad,
  crc32,
  ipHash,
  jump,
  ketama,
  leastConnections,
  maglev,
  plainHash,
  randomTwo,
  rendezvous,
  ring,
  roundRobin
} from '@ringway/core'
import type { Lease, UpstreamServer } from '../src/index.ts'
import { keysForOnePoint } from './support/same-point.ts'
import { acquired, upstream } from './support/upstream.ts'

const servers = ['a:80', { host: 'b', port: 80, weight: 2 }, 'c:80', 'd:80']
const keys = Array.from({ length: 40 }, (_, index) => `192.0.${index}.7`)

for (const strategy of [
  ketama(),
  ring(),
  maglev(),
  rendezvous(),
  jump(),
  plainHash(),
  ipHash(),
  boundedLoad(ring(), 1000)
]) {
  test(`${strategy.name}: each key gets the servers of its order, one after the other, then none`, async t => {
    const set = upstream(t, { servers, strategy })
    for (const key of keys) {
      const tried = new Set<UpstreamServer>()
      for (;;) {
        const lease = await set.acquire(key, { except: tried })
        if (lease === undefined) break
        tried.add(lease.server)
        lease.settle('ok')
      }
      assert.deepEqual([...tried], set.order(key))
      assert.equal(tried.size, servers.length)
    }
  })
}

// A sequence that is the same each time, as even as can be: by chance one run in 30,000 is beyond the limit below.
let drawn = 0
const golden = (): number => (drawn += 0.618_033_988_749_895) % 1

for (const strategy of [roundRobin(), leastConnections(), randomTwo(golden)]) {
  test(`${strategy.name}: open tunnels are spread by the weights, whatever the keys`, async t => {
    const set = upstream(t, { servers, strategy })
    const leases: Lease[] = []
    for (let tunnel = 0; tunnel < 100; tunnel++) leases.push((await set.acquire('the same key'))!)
    const loads = set.stats().servers.map(({ handshakes }) => handshakes)
    for (const [index, load] of loads.entries()) {
      assert.ok(Math.abs(load - (index === 1 ? 40 : 20)) <= 4, `${index} has ${load}`)
    }
    for (const lease of leases) lease.settle('ok')
  })
}

test('bounded load: tunnels of one key fill up servers to the bound, and go home when there is room', async t => {
  const set = upstream(t, {
    servers: ['a:80', 'b:80', 'c:80', 'd:80'],
    strategy: boundedLoad(ketama(), 1.25)
  })
  const order = set.order('a crowd')
  const leases: Lease[] = []
  const loads = new Map<UpstreamServer, number>()
  for (let tunnel = 1; tunnel <= 400; tunnel++) {
    const lease = (await set.acquire('a crowd'))!
    leases.push(lease)
    const load = (loads.get(lease.server) ?? 0) + 1
    loads.set(lease.server, load)
    assert.ok(load <= Math.ceil((1.25 * tunnel) / 4))
  }
  assert.deepEqual(
    order.map(server => loads.get(server)),
    [125, 125, 125, 25]
  )
  leases.find(({ server }) => server === order[0])!.settle('ok')
  assert.equal((await set.acquire('a crowd'))!.server, order[0])
})

test('10,000 keys made for one point of the ring: with bounded load no server is above its bound, ever', async t => {
  const made = keysForOnePoint('192.0.2.1', 10_000)
  assert.equal(new Set(made).size, 10_000)
  assert.ok(made.every(key => crc32(key) === crc32('192.0.2.1')))
  const equal = ['a:80', 'b:80', 'c:80', 'd:80']

  const open = upstream(t, { servers: equal })
  for (const key of made) (await acquired(open, key)).opened()
  assert.equal(open.order('192.0.2.1')[0]!.active, 10_000, 'as nginx does')

  const bounded = upstream(t, { servers: equal, strategy: boundedLoad(ketama(), 1.25) })
  for (const [i, key] of made.entries()) {
    const lease = await acquired(bounded, key)
    lease.opened()
    assert.ok(lease.server.active <= Math.ceil((1.25 * (i + 1)) / 4), `tunnel ${i + 1}`)
  }
})
