import assert from 'node:assert/strict'
import dns from 'node:dns'
import { EventEmitter, once } from 'node:events'
import test from 'node:test'
import { echo } from './support/gate-backend.ts'
import { host, settled } from './support/gate-host.ts'
import { ask, dial, handshake, tunnel } from './support/gate-peer.ts'
import { addressOf } from './support/gate-trio.ts'

test('a name with two addresses, one of them dead: all are let in, with one more try at most', async t => {
  const { port } = await echo(t)
  const lookup = t.mock.method(dns.promises, 'lookup', async () =>
    Promise.resolve(['127.0.0.1', '127.91.0.1'].map(address => ({ address, family: 4 })))
  )
  const gate = await host(t, [`sre.test:${port}`], { upstream: { failTimeout: 60_000 } })
  const peers = []
  for (let i = 0; i < 40; i++) peers.push(await tunnel(t, gate.port, { from: addressOf(51, i) }))
  for (const peer of peers) peer.socket.end()
  await settled(gate.gateway)
  const upgrades = gate.lines.filter(({ message }) => message === 'upgrade 101')
  const tries = upgrades.map(({ fields }) => (fields['tries'] as unknown[]).length)
  // The dead one is marked by the first client that meets it.
  assert.equal(tries.filter(each => each === 2).length, 1)
  assert.equal(tries.filter(each => each === 1).length, 39)
  const servers = gate.gateway.upstream.servers.map(({ id, state }) => `${id} ${state}`)
  assert.deepEqual(servers.sort(), [`sre.test:${port} down`, `sre.test:${port} up`])
  assert.equal(lookup.mock.callCount(), 1, 'no dial looks up')
})

test('a resolver that hangs delays nobody, once a name is known', async t => {
  const { port } = await echo(t)
  const answers = [Promise.resolve([{ address: '127.0.0.1', family: 4 }])]
  const never = new Promise<never>(() => {})
  const lookup = t.mock.method(dns.promises, 'lookup', async () => answers.pop() ?? never)
  const first = await host(t, [`sre.test:${port}`])
  await tunnel(t, first.port)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const gate = await host(t, [`127.0.0.1:${port}`])
  // One that joins is looked up first; the others don't wait for it.
  await gate.gateway.setServers([`127.0.0.1:${port}`, `late.test:${port}`])
  assert.equal(lookup.mock.callCount(), 2)
  for (let i = 0; i < 20; i++) await tunnel(t, gate.port, { from: addressOf(52, i) })
  t.mock.timers.reset()
})

test('clients wait for the first look-up, and are let in when it has ended', async t => {
  const { port } = await echo(t)
  const found = new EventEmitter()
  t.mock.method(dns.promises, 'lookup', async () => once(found, 'address'))
  const gate = await host(t, [`sre.test:${port}`])
  const peers = await Promise.all(
    Array.from({ length: 10 }, async (_, i) => dial(t, gate.port, { from: addressOf(53, i) }))
  )
  for (const peer of peers) peer.write(handshake())
  // An answer of the host's own, so that all of theirs have been read.
  await ask(t, gate.port, 'GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n')
  assert.ok(peers.every(({ unread, ended }) => unread.length === 0 && !ended))
  found.emit('address', { address: '127.0.0.1', family: 4 })
  for (const peer of peers) assert.equal((await peer.head()).status, 101)
})
