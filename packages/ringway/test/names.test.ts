import assert from 'node:assert/strict'
import dns from 'node:dns'
import { once } from 'node:events'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { ketama } from '@ringway/core'
import type { KeyFunction } from '@ringway/core'
import type { Backend } from './support/gate-backend.ts'
import { accept, backend, echo } from './support/gate-backend.ts'
import type { Host } from './support/gate-host.ts'
import { host, settled } from './support/gate-host.ts'
import { ask, dial, handshake, tunnel } from './support/gate-peer.ts'
import { connect, connectAll } from './support/gate-trio.ts'
import { until } from './support/gate-waiting.ts'

/** A good server must not be late, however busy the machine is. */
const timeouts = { connect: 1_000_000 }
const REFUSED_TRY = 'ERR_RINGWAY_CONNECT_FAILED'

type Answer = readonly string[] | Promise<readonly string[]>

/** The system's resolver, of which only one name is asked; counts how often. */
function resolver(t: TestContext, answer: Answer): { answer: Answer; asked: number } {
  const made = { answer, asked: 0 }
  t.mock.method(dns.promises, 'lookup', async (name: string) => {
    assert.equal(name, 'ws.test')
    made.asked++
    return (await made.answer).map(address => ({ address, family: 4 }))
  })
  return made
}

/** A server that tells its address in a header. All of a test's have the same port, so that a name may stand for them. */
async function at(t: TestContext, address: string, port?: number): Promise<Backend> {
  const serve = { host: address, ...(port === undefined ? {} : { port }) }
  return backend(
    t,
    async peer => {
      await accept(peer, '', `X-Server: ${address}`)
      peer.socket.pipe(peer.socket)
    },
    serve
  )
}

/** What came of each try, of each upgrade that has ended. */
function results({ lines }: Host): unknown[][] {
  const upgrades = lines.filter(({ message }) => message.startsWith('upgrade'))
  return upgrades.map(({ fields }) => (fields['tries'] as { result: unknown }[]).map(({ result }) => result))
}

for (const maxFails of [1, 0]) {
  test(`one of a name's two addresses is dead, maxFails ${maxFails}: each client gets its 101, by one try more at most`, async t => {
    const { port } = await at(t, '127.52.0.1')
    resolver(t, ['127.52.0.1', '127.52.0.2'])
    const gate = await host(t, [`ws.test:${port}`], {
      timeouts,
      upstream: { maxFails, failTimeout: 1_000_000 }
    })
    // All at once, and then one after the other.
    const clients = await connectAll(t, gate, 53, 50)
    for (let i = 0; i < 10; i++) clients.push(await connect(t, gate, '127.53.0.1'))
    for (const { peer } of clients) peer.socket.end()
    await settled(gate.gateway)
    const tried = results(gate)
    assert.equal(tried.length, 60)
    for (const each of tried) assert.deepEqual(each, each.length === 1 ? [101] : [REFUSED_TRY, 101])
    // They take turns, so the dead one has had its own.
    assert.ok(tried.some(({ length }) => length === 2))
    const downs = gate.moves.filter(({ message }) => message === 'server down')
    assert.deepEqual(
      downs.map(({ fields }) => fields['reason']),
      maxFails === 0 ? [] : ['failures']
    )
  })
}

test('once an address of a name is known as dead, nobody is tried there', async t => {
  const { port } = await at(t, '127.52.0.1')
  resolver(t, ['127.52.0.1', '127.52.0.2'])
  const gate = await host(t, [`ws.test:${port}`], { timeouts, upstream: { failTimeout: 1_000_000 } })
  const isDown = (): boolean => gate.moves.some(({ message }) => message === 'server down')
  while (!isDown()) (await connect(t, gate, '127.53.0.1')).peer.socket.end()
  await settled(gate.gateway)
  const before = results(gate).length
  for (const { peer } of await connectAll(t, gate, 53, 20)) peer.socket.end()
  await settled(gate.gateway)
  assert.deepEqual(
    results(gate).slice(before),
    Array.from({ length: 20 }, () => [101])
  )
})

test("a name's addresses take turns, and share one place on the ring", async t => {
  const { port } = await at(t, '127.52.0.1')
  await Promise.all([at(t, '127.52.0.2', port), at(t, '127.52.0.3', port), at(t, '127.52.0.9', port)])
  resolver(t, ['127.52.0.3', '127.52.0.1', '127.52.0.2'])
  const gate = await host(t, [
    { id: 'name', host: 'ws.test', port },
    { id: 'address', host: '127.52.0.9', port }
  ])
  const ring = ketama().build([
    { id: 'name', weight: 1 },
    { id: 'address', weight: 1 }
  ])
  const servers: string[] = []
  for (let i = 1; i <= 100; i++) {
    const address = `127.54.0.${i}`
    const { peer, server } = await connect(t, gate, address)
    peer.socket.destroy()
    const home = ring.pick(
      address,
      () => true,
      () => 0
    )!.id
    assert.equal(server === '127.52.0.9', home === 'address', address)
    const order = gate.gateway.upstream.order(address).map(({ id }) => id)
    assert.deepEqual(
      order,
      home === 'name' ? ['name', 'name', 'name', 'address'] : ['address', 'name', 'name', 'name']
    )
    if (home === 'name') servers.push(server)
  }
  const turns = servers.slice(0, 3)
  assert.deepEqual(turns.toSorted(), ['127.52.0.1', '127.52.0.2', '127.52.0.3'])
  assert.deepEqual(
    servers,
    servers.map((_, i) => turns[i % 3])
  )
})

test('a name is never looked up in a dial, and no handshake waits for a resolver that hangs', async t => {
  const { port } = await echo(t)
  const system = resolver(t, ['127.0.0.1'])
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const gate = await host(t, [`ws.test:${port}`])
  const dialled = t.mock.method(dns, 'lookup')
  await tunnel(t, gate.port)
  system.answer = new Promise(() => {})
  t.mock.timers.tick(30_000)
  assert.equal(system.asked, 2, 'a look-up is under way')

  // Time stands still, so no limit of the look-up's lets anybody in.
  await Promise.all(Array.from({ length: 20 }, async () => tunnel(t, gate.port)))
  const told = once(gate.gateway, 'lookup:error')
  t.mock.timers.tick(5_000)
  await told
  await Promise.all(Array.from({ length: 20 }, async () => tunnel(t, gate.port)))
  assert.equal(system.asked, 2)
  assert.equal(dialled.mock.callCount(), 0)
  t.mock.timers.reset()
})

test('while nothing is known of a name yet clients wait, for 5 s at most, and one that leaves takes no place', async t => {
  const { port } = await at(t, '127.52.0.9')
  resolver(t, new Promise(() => {}))
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let came = 0
  const key: KeyFunction = ({ address }) => {
    came++
    return address
  }
  const gate = await host(t, [`ws.test:${port}`, `127.52.0.9:${port}`], { upstream: { key } })
  const leaves = await dial(t, gate.port)
  leaves.write(handshake())
  const answered: string[] = []
  const asked = Array.from({ length: 10 }, async (_, i) => {
    const { head } = await ask(t, gate.port, handshake(), { from: `127.55.0.${i + 1}` })
    answered.push(`${head.status} ${head.values('x-server').join()}`)
  })
  await until(() => came === 11, 'all of them are there')
  leaves.socket.destroy()
  await until(() => gate.lines.length === 1, 'it is known to have left')
  assert.deepEqual(answered, [])
  t.mock.timers.tick(5_000)
  await Promise.all(asked)
  assert.deepEqual(
    answered,
    Array.from({ length: 10 }, () => '101 127.52.0.9')
  )
  t.mock.timers.reset()
  const { active, handshakes } = gate.gateway.stats().upstream
  assert.deepEqual([active, handshakes], [10, 0])
})
