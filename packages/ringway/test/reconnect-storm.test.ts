import assert from 'node:assert/strict'
import { once } from 'node:events'
import test from 'node:test'
import type { TestContext } from 'node:test'
import type { QueueOptions } from '@ringway/balancer'
import type { Child } from './support/gate-child.ts'
import { kill } from './support/gate-child.ts'
import type { Host } from './support/gate-host.ts'
import { ask, handshake } from './support/gate-peer.ts'
import type { Client } from './support/gate-trio.ts'
import { addressOf, connect, echoes, trio } from './support/gate-trio.ts'
import { until } from './support/gate-waiting.ts'

// Three servers, 3,000 clients, and one server dies: its thousand clients come back in one instant.
const LIMIT = 8

interface Storm {
  readonly gate: Host
  readonly lost: Client[]
  readonly others: Client[]
  /** The servers that live. Each takes 5 ms for a handshake, and so could take far more than its limit at once. */
  readonly living: Child<number>[]
}

async function storm(t: TestContext, net: number, queue: QueueOptions): Promise<Storm> {
  const upstream = { pendingHandshakes: LIMIT, queue }
  const { gate, ids, backends } = await trio(t, net, { upstream }, 5)
  // Not a storm yet.
  const clients: Client[] = []
  while (clients.length < 3_000) {
    const some = Array.from({ length: 20 }, (_, i) => addressOf(net + 10, clients.length + i))
    clients.push(...(await Promise.all(some.map(async address => connect(t, gate, address)))))
  }
  const lost = clients.filter(({ server }) => server === ids[0])
  const others = clients.filter(({ server }) => server !== ids[0])
  assert.ok(lost.length > 600, `${lost.length}`)
  await kill(backends[0]!)
  await Promise.all(lost.map(async ({ peer }) => peer.left()))
  return { gate, lost, others, living: backends.slice(1) }
}

/** The most handshakes that a server has had at once, as it saw it. */
async function mostAtOnce({ process }: Child<number>): Promise<number> {
  process.send('most')
  const [most] = (await once(process, 'message')) as [number]
  return most
}

/** Stops servers until it is told to let them go on. */
function hold(servers: readonly Child<number>[]): () => void {
  for (const { process } of servers) process.kill('SIGSTOP')
  return () => {
    for (const { process } of servers) process.kill('SIGCONT')
  }
}

test('a reconnect storm: no server has more handshakes at once than its limit, and all clients are back', async t => {
  const { gate, lost, others, living } = await storm(t, 87, { size: 3_000, timeout: 60_000 })
  // So that all of them come before any of them is let in.
  const goOn = hold(living)
  let most = 0
  const back = Promise.all(
    lost.map(async ({ address }) => {
      const client = await connect(t, gate, address)
      const { servers } = gate.gateway.stats().upstream
      most = Math.max(most, ...servers.map(({ handshakes }) => handshakes))
      return client
    })
  )
  await until(() => {
    const { waiting, handshakes } = gate.gateway.stats().upstream
    return waiting + handshakes === lost.length
  }, 'all are there')
  assert.equal(gate.gateway.stats().upstream.handshakes, 2 * LIMIT)
  goOn()
  for (const { address, server } of await back) {
    assert.equal(server, gate.gateway.upstream.order(address)[1]!.id)
  }
  assert.ok(most <= LIMIT, `${most} as we see it`)
  for (const each of living) {
    const theirs = await mostAtOnce(each)
    assert.ok(theirs > 1 && theirs <= LIMIT, `${theirs} as a server sees it`)
  }
  await Promise.all([...others, ...(await back)].map(echoes))
})

test('a reconnect storm that the queue has no room for: 503 with Retry-After, and then they are back too', async t => {
  const { gate, lost, others, living } = await storm(t, 88, { size: 20, timeout: 60_000 })
  const goOn = hold(living)
  let refused = 0
  const first = lost.map(async ({ address }) => {
    const { peer, head } = await ask(t, gate.port, handshake(), { from: address })
    if (head.status === 101) return true
    assert.equal(head.status, 503)
    assert.match(head.values('retry-after')[0]!, /^[1-9]\d*$/)
    await peer.rest()
    refused++
    return false
  })
  await until(() => refused === lost.length - 20 - 2 * LIMIT, 'all others are refused')
  goOn()
  const isIn = await Promise.all(first)
  // These come in an order of their own, with no more of them at once than there is room for.
  const later = lost.filter((_, i) => !isIn[i])
  assert.equal(later.length, refused)
  while (later.length > 0) {
    await Promise.all(later.splice(0, 20).map(async ({ address }) => connect(t, gate, address)))
  }
  for (const each of living) assert.ok((await mostAtOnce(each)) <= LIMIT)
  await Promise.all(others.map(echoes))
  const { waiting, handshakes, active } = gate.gateway.stats().upstream
  assert.deepEqual({ waiting, handshakes, active }, { waiting: 0, handshakes: 0, active: 3_000 })
})
