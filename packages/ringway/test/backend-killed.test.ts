import assert from 'node:assert/strict'
import { once } from 'node:events'
import test from 'node:test'
import type { TestContext } from 'node:test'
import type { UpstreamServer } from '@ringway/balancer'
import { child, kill } from './support/gate-child.ts'
import type { Host, Options } from './support/gate-host.ts'
import type { Client } from './support/gate-trio.ts'
import { addressesAt, connect, connectAll, echoes, moved, trio } from './support/gate-trio.ts'
import { until } from './support/gate-waiting.ts'

async function reconnect(t: TestContext, gate: Host, clients: readonly Client[]): Promise<Client[]> {
  return Promise.all(
    clients.map(async ({ address, peer }) => {
      peer.socket.destroy()
      return connect(t, gate, address)
    })
  )
}

/**
 * The whole scenario: 300 tunnels to three servers, one of which is killed and comes back. Then 300 clients of its own
 * come, who weren't there before, and stay.
 *
 * @param net - of the servers
 * @param home - waits until the server takes traffic again, which may be tried when it is back
 */
async function scenario(
  t: TestContext,
  net: number,
  upstream: Options['upstream'] & {},
  home: (gate: Host, id: string, back: Promise<unknown>) => Promise<unknown>
): Promise<void> {
  const { gate, ids, backends } = await trio(t, net, { upstream })
  const order = (address: string): string[] => gate.gateway.upstream.order(address).map(({ id }) => id)
  const clients = await connectAll(t, gate, 20, 300)
  for (const { address, server } of clients) assert.equal(server, order(address)[0])
  const dead = ids[1]!
  const theirs = clients.filter(({ server }) => server === dead)
  const others = clients.filter(({ server }) => server !== dead)
  assert.ok(theirs.length > 50 && others.length > 150, 'each server has a good part of the keys')

  const down = once(gate.gateway, 'server:down') as Promise<[UpstreamServer]>
  await kill(backends[1]!)
  await Promise.all(theirs.map(async ({ peer }) => peer.left()))
  await Promise.all(others.map(echoes))

  const moves = await reconnect(t, gate, theirs)
  for (const { address, server } of moves) assert.equal(server, order(address)[1])
  assert.equal((await down)[0].id, dead)
  await Promise.all([...others, ...moves].map(echoes))
  for (const { address, server } of await reconnect(t, gate, others.slice(0, 50))) {
    assert.equal(server, order(address)[0])
  }

  const back = child(t, 'gate-child-backend.js', dead, String(backends[1]!.message))
  await Promise.all([back, home(gate, dead, back)])
  await Promise.all([...others.slice(50), ...moves].map(echoes))

  const own = addressesAt(gate, 21, dead, 300)
  assert.equal(own.length, 300)
  const came = await Promise.all(own.map(async address => connect(t, gate, address)))
  const gone = came.filter(({ server }) => server !== dead)
  assert.equal(gone.length, 0, 'of its own clients who came and stayed')
  await Promise.all(came.map(echoes))

  const again = await reconnect(t, gate, [...others, ...moves])
  for (const { address, server } of again) assert.equal(server, order(address)[0])
  for (const client of [...again, ...came]) client.peer.socket.destroy()

  const failed = gate.lines.filter(({ fields }) => fields['status'] !== 101)
  assert.deepEqual(failed, [])
}

test('http-proxy 414, and nginx’s starved server: when a backend is killed, its clients go on to their next server, and home when probes say so', async t => {
  const health = { type: 'http', path: '/healthz', interval: 200, timeout: 5_000, rise: 2, fall: 3 } as const
  await scenario(t, 77, { health }, async ({ gateway }, id) => moved(gateway, 'server:up', id))
})

test('without probes too, and home after failTimeout by one try that went well', async t => {
  const failTimeout = 2_500
  await scenario(t, 78, { failTimeout }, async (gate, id, back) => {
    const server = gate.gateway.upstream.servers.find(each => each.id === id)!
    await back
    await until(() => server.state === 'probation', 'the mark has ended')
    const [address] = addressesAt(gate, 22, id, 1)
    const up = once(gate.gateway, 'server:up')
    const { peer } = await connect(t, gate, address!)
    await up
    peer.socket.destroy()
  })
})

test('consistent_hash 8: with all primaries dead everybody goes to the backup, and home when they are back', async t => {
  const health = { type: 'http', path: '/healthz', interval: 50, timeout: 5_000, rise: 2, fall: 2 } as const
  const { gate, ids, backends } = await trio(t, 79, { upstream: { health } })
  const spare = await child<number>(t, 'gate-child-backend.js', '127.79.0.4', '0')
  const all = [...backends, spare].map(({ message: port }, i) => {
    const id = ids[i] ?? 'spare'
    return { id, host: `127.79.0.${i + 1}`, port, backup: id === 'spare' }
  })
  await gate.gateway.setServers(all)
  const clients = await connectAll(t, gate, 23, 90)
  assert.deepEqual([...new Set(clients.map(({ server }) => server))].sort(), [...ids])

  await Promise.all(backends.map(kill))
  const moves = await reconnect(t, gate, clients)
  assert.ok(moves.every(({ server }) => server === '127.79.0.4'))
  const primaries = gate.gateway.upstream.servers.slice(0, 3)
  await until(() => primaries.every(({ state }) => state === 'down'), 'it is known of all')

  await Promise.all(
    ids.map(async (id, i) => child(t, 'gate-child-backend.js', id, String(backends[i]!.message)))
  )
  await until(() => primaries.every(({ state }) => state === 'up'), 'all are back')
  await Promise.all(moves.map(echoes))
  for (const { address, server } of await reconnect(t, gate, moves)) {
    assert.equal(server, gate.gateway.upstream.order(address)[0]!.id)
  }
})
