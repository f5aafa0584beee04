import assert from 'node:assert/strict'
import { once } from 'node:events'
import test from 'node:test'
import type { TestContext } from 'node:test'
import type { UpstreamServer } from '@ringway/balancer'
import type { Child } from './support/gate-child.ts'
import { child, kill } from './support/gate-child.ts'
import type { Host, Options } from './support/gate-host.ts'
import { host } from './support/gate-host.ts'
import { ask, handshake } from './support/gate-peer.ts'
import type { Peer } from './support/gate-peer.ts'
import { until } from './support/gate-waiting.ts'

// Addresses of their own: a port of theirs that is free for a while is nobody else's there.
const HOSTS = ['127.77.0.1', '127.77.0.2', '127.77.0.3'] as const
const ADDRESSES = Array.from({ length: 300 }, (_, i) => `127.20.${i >> 4}.${(i & 15) + 1}`)

interface Client {
  readonly address: string
  readonly peer: Peer
  readonly server: string
}

/** A tunnel from an address. A handshake that fails is a failure of the test. */
async function connect(t: TestContext, { port }: Host, address: string): Promise<Client> {
  const { peer, head } = await ask(t, port, handshake(), { from: address })
  assert.equal(head.status, 101, head.text)
  return { address, peer, server: head.values('x-server')[0]! }
}

async function reconnect(t: TestContext, gate: Host, clients: readonly Client[]): Promise<Client[]> {
  return Promise.all(
    clients.map(async ({ address, peer }) => {
      peer.socket.destroy()
      return connect(t, gate, address)
    })
  )
}

async function echoes({ peer, address }: Client): Promise<void> {
  peer.write(address)
  assert.equal((await peer.take(address.length)).toString(), address)
}

/**
 * The whole scenario: 300 tunnels to three servers, one of which is killed and comes back.
 *
 * @param home - waits until the server takes traffic again, which may be tried when it is back
 */
async function scenario(
  t: TestContext,
  options: NonNullable<Options['upstream']>,
  home: (gate: Host, id: string, back: Promise<unknown>) => Promise<unknown>
): Promise<void> {
  const backends: Child<number>[] = await Promise.all(
    HOSTS.map(async name => child<number>(t, 'gate-child-backend.js', name, '0'))
  )
  const ports = backends.map(({ message }) => message)
  const servers = HOSTS.map((name, i) => ({ id: name, host: name, port: ports[i]! }))
  const gate = await host(t, servers, { upstream: options })
  const order = new Map(
    ADDRESSES.map(address => [address, gate.gateway.upstream.order(address).map(({ id }) => id)])
  )

  const clients = await Promise.all(ADDRESSES.map(async address => connect(t, gate, address)))
  for (const { address, server } of clients) assert.equal(server, order.get(address)![0])
  const dead = HOSTS[1]
  const theirs = clients.filter(({ server }) => server === dead)
  const others = clients.filter(({ server }) => server !== dead)
  assert.ok(theirs.length > 50 && others.length > 150, 'each server has a good part of the keys')

  const down = once(gate.gateway, 'server:down') as Promise<[UpstreamServer]>
  await kill(backends[1]!)
  await Promise.all(theirs.map(async ({ peer }) => peer.rest()))
  await Promise.all(others.map(echoes))

  const moved = await reconnect(t, gate, theirs)
  for (const { address, server } of moved) assert.equal(server, order.get(address)![1])
  assert.equal((await down)[0].id, dead)
  await Promise.all([...others, ...moved].map(echoes))
  for (const { address, server } of await reconnect(t, gate, others.slice(0, 50))) {
    assert.equal(server, order.get(address)![0])
  }

  const back = child(t, 'gate-child-backend.js', dead, String(ports[1]))
  await Promise.all([back, home(gate, dead, back)])
  await Promise.all([...others.slice(50), ...moved].map(echoes))
  const again = await reconnect(t, gate, [...others, ...moved])
  for (const { address, server } of again) assert.equal(server, order.get(address)![0])
  for (const client of again) client.peer.socket.destroy()

  const failed = gate.lines.filter(({ fields }) => fields['status'] !== 101)
  assert.deepEqual(failed, [])
}

test('when a backend is killed, its clients go on to their next server, and home when probes say so', async t => {
  const health = { type: 'http', path: '/healthz', interval: 50, timeout: 5_000, rise: 2, fall: 3 } as const
  await scenario(t, { health }, async ({ gateway }, id) => {
    const [server] = (await once(gateway, 'server:up')) as [UpstreamServer]
    assert.equal(server.id, id)
  })
})

test('without probes too, and home after failTimeout by one try that went well', async t => {
  const failTimeout = 2_500
  await scenario(t, { failTimeout }, async (gate, id, back) => {
    const server = gate.gateway.upstream.servers.find(each => each.id === id)!
    await back
    await until(() => server.state === 'probation', 'the mark has ended')
    const address = ADDRESSES.find(each => gate.gateway.upstream.order(each)[0] === server)!
    const up = once(gate.gateway, 'server:up')
    const { peer } = await connect(t, gate, address)
    await up
    peer.socket.destroy()
  })
})
