import assert from 'node:assert/strict'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { child, kill } from './support/gate-child.ts'
import type { Client, Trio } from './support/gate-trio.ts'
import { connect, connectAll, echoes, hasCode1012, moved, trio } from './support/gate-trio.ts'
import type { Options } from './support/gate-host.ts'
import { until } from './support/gate-waiting.ts'

// https://github.com/envoyproxy/envoy/issues/2819: long-lived connections stay where an outage has sent them.
const health = { type: 'http', path: '/healthz', interval: 50, timeout: 5_000, rise: 1, fall: 2 } as const

/** A server is killed, its clients come back elsewhere, and it is there again. */
async function outage(
  t: TestContext,
  [net, from]: [number, number],
  upstream: Options['upstream']
): Promise<
  Trio & { strayed: Client[]; others: Client[]; lost: string; ended: () => number; before: () => number }
> {
  const all = await trio(t, net, { watch: true, upstream: { health, ...upstream } })
  const { gate, ids, backends } = all
  const clients = await connectAll(t, gate, from, 300)
  const lost = ids[1]!
  const theirs = clients.filter(({ server }) => server === lost)
  const others = clients.filter(({ server }) => server !== lost)
  assert.ok(theirs.length >= 60, `${theirs.length}`)

  const down = moved(gate.gateway, 'server:down', lost)
  await kill(backends[1]!)
  await Promise.all(theirs.map(async ({ peer }) => peer.left()))
  const strayed = await Promise.all(theirs.map(async ({ address }) => connect(t, gate, address)))
  assert.ok(strayed.every(({ server }) => server !== lost))
  await down

  let ended = 0
  let before = -1
  for (const { peer } of strayed) peer.socket.once('end', () => ended++)
  const up = moved(gate.gateway, 'server:up', lost)
  gate.gateway.once('server:up', () => {
    before = ended
  })
  await child(t, 'gate-child-backend.js', lost, String(backends[1]!.message))
  await up
  return { ...all, strayed, others, lost, ended: () => ended, before: () => before }
}

test("Envoy 2819: with rebalance: 'close' those who strayed get Close 1012, and nobody else", async t => {
  const spread = 500
  const { gate, strayed, others, lost, ended, before } = await outage(t, [83, 24], {
    rebalance: 'close',
    spread
  })
  const since = performance.now()
  assert.equal(before(), 0, 'nobody before it is back')
  await until(() => ended() === strayed.length, 'all who strayed have their end')
  // It began when the server was up, a moment before we heard of it.
  const took = performance.now() - since
  assert.ok(took >= spread / 2, `over the spread, not in ${took} ms`)
  strayed.forEach(hasCode1012)

  const home = await Promise.all(strayed.map(async ({ address }) => connect(t, gate, address)))
  assert.ok(home.every(({ server }) => server === lost))
  await Promise.all([...others, ...home].map(echoes))
  assert.ok(others.every(({ peer }) => !peer.ended))
})

test("Envoy 2819: with rebalance: 'lazy' they stay until they come again", async t => {
  const { gate, strayed, others, lost } = await outage(t, [84, 25], { rebalance: 'lazy', spread: 0 })
  await Promise.all([...others, ...strayed].map(echoes))
  for (const { address, peer } of strayed) {
    peer.socket.destroy()
    assert.equal((await connect(t, gate, address)).server, lost)
  }
})
