import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Server } from 'node:net'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { WebSocket } from 'ws'
import { createGateway } from '../src/index.ts'
import { accept, backend, echo, listen } from './support/gate-backend.ts'
import { child } from './support/gate-child.ts'
import type { HostOptions } from './support/gate-child-host.ts'
import type { Host } from './support/gate-host.ts'
import { host, recorder } from './support/gate-host.ts'
import { ask, dial, handshake, tunnel } from './support/gate-peer.ts'
import type { Peer } from './support/gate-peer.ts'
import { until, within } from './support/gate-waiting.ts'

async function connections(server: Server): Promise<number> {
  return new Promise(resolve => server.getConnections((_, count) => resolve(count)))
}

/** Tunnels whose clients answer a FIN with theirs, as a browser does. */
async function tunnels(t: TestContext, { port, gateway }: Host, count: number): Promise<Peer[]> {
  const peers: Peer[] = []
  while (peers.length < count) {
    const more = Array.from({ length: Math.min(100, count - peers.length) }, async () => tunnel(t, port))
    peers.push(...(await Promise.all(more)))
  }
  for (const { socket } of peers) socket.on('end', () => socket.end())
  await until(() => gateway.stats().tunnels.active === count, 'all tunnels are open')
  return peers
}

for (const tls of [false, true]) {
  test(`with 100 tunnels open, gateway.close() and then server.close() end${tls ? ', over TLS' : ''}`, async t => {
    const { address } = await echo(t)
    const { log } = recorder()
    const gateway = createGateway({ upstream: { servers: [address] }, log })
    t.after(async () => gateway.close())
    const gate = await host(t, [address], {}, { tls })
    const closes: Promise<unknown>[] = []
    // By hand, so that the test sees what each request's socket says.
    const server = gate.server
    await gate.gateway.close()
    server.on('upgrade', (request, stream, head) => {
      closes.push(once(request.socket, 'close'))
      gateway.handleUpgrade(request, stream, head)
    })
    const peers = await Promise.all(Array.from({ length: 100 }, async () => tunnel(t, gate.port, { tls })))
    assert.equal(await connections(server), 100)

    await within(gateway.close(), 'gateway.close()')
    const closed = once(server, 'close')
    server.close()
    await within(closed, 'server.close()')
    assert.equal(closes.length, 100)
    await within(Promise.all(closes), "every request's socket")
    assert.equal(await connections(server), 0)
    await Promise.all(peers.map(async peer => peer.left()))
  })
}

test('nodejs/node 53536: close({ drain: 1000 }) with 1,000 tunnels ends them one after the other, within its time', async t => {
  const { address } = await echo(t)
  const gate = await host(t, [address])
  const peers = await tunnels(t, gate, 1_000)
  let ended = 0
  gate.gateway.on('tunnel:close', () => ended++)

  // Time goes in steps, and each waits for the ends that are due: evenly over four fifths of the drain.
  let now = Math.round(performance.now())
  t.mock.method(performance, 'now', () => now)
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
  const closing = gate.gateway.close({ drain: 1_000 })
  for (let passed = 0; passed < 800; passed += 20) {
    const due = Math.floor(passed / 0.8) + 1
    await until(() => ended >= due, `${due} tunnels have ended`)
    assert.equal(ended, due)
    now += 20
    t.mock.timers.tick(20)
  }
  await closing
  assert.equal(ended, 1_000)
  for (const peer of peers) assert.ok(peer.error === undefined, 'a FIN each, no reset')
  assert.deepEqual(gate.gateway.stats().tunnels, { active: 0, opened: 1_000, closed: 1_000 })
})

test('close({ spread, code }) ends tunnels by Close frames with that code, evenly over that time', async t => {
  const { address } = await echo(t)
  const gate = await host(t, [address], { watch: true })
  const clients = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const client = new WebSocket(`ws://127.0.0.1:${gate.port}/`)
      await once(client, 'open')
      return client
    })
  )
  const codes: number[] = []
  for (const client of clients) client.on('close', code => codes.push(code))

  let now = Math.round(performance.now())
  t.mock.method(performance, 'now', () => now)
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
  const closing = gate.gateway.close({ drain: 60_000, spread: 400, code: 1012 })
  for (let due = 1; due <= 20; due++) {
    await until(() => codes.length >= due, `${due} tunnels have ended`)
    assert.equal(codes.length, due)
    now += 20
    t.mock.timers.tick(20)
  }
  await closing
  assert.deepEqual([...new Set(codes)], [1012])
})

test('close({ drain, spread: 0 }) ends all tunnels at once, and gives them time to go', async t => {
  const { address } = await echo(t)
  const gate = await host(t, [address])
  const peers = await tunnels(t, gate, 30)
  const closing = gate.gateway.close({ drain: 20_000, spread: 0 })
  await Promise.all(peers.map(async peer => peer.left()))
  await within(closing, 'close')
  for (const peer of peers) assert.ok(peer.error === undefined, 'a FIN each, no reset')
})

test('a client that takes no notice of its FIN is cut off when the drain is over', async t => {
  const { address } = await backend(t, async peer => accept(peer))
  const gate = await host(t, [address])
  await tunnel(t, gate.port)
  const started = performance.now()
  await within(gate.gateway.close({ drain: 300 }), 'close')
  const took = performance.now() - started
  assert.ok(took >= 290 && took < 5_000, `${took} ms`)
})

test('while it closes, new upgrades and handshakes under way get 503 with Retry-After', async t => {
  const backends = await backend(t, peer => {
    if (backends.peers.length > 1) return
    peer.socket.on('end', () => peer.socket.end())
    void accept(peer)
  })
  const gate = await host(t, [backends.address])
  const open = await tunnel(t, gate.port)
  const underWay = await dial(t, gate.port)
  underWay.write(handshake())
  await until(() => gate.gateway.stats().upstream.servers[0]!.handshakes === 1, 'the handshake is under way')

  // The open tunnel ends when its client does, so not before all others have asked.
  const closing = gate.gateway.close({ drain: 20_000 })
  const told = await underWay.head()
  assert.equal(told.status, 503)
  assert.match(told.values('retry-after')[0]!, /^[1-9]\d*$/)
  await underWay.rest()
  const late = await ask(t, gate.port)
  assert.equal(late.head.status, 503)
  assert.match(late.head.values('retry-after')[0]!, /^[1-9]\d*$/)
  const request = 'GET / HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n'
  assert.equal((await ask(t, gate.port, request)).head.status, 200, 'the app is not closing')
  await open.left()
  open.socket.end()
  await within(closing, 'close')
  assert.deepEqual(
    gate.lines.map(({ fields }) => fields['status']),
    [503, 503, 101]
  )
})

test('a second close waits for the first, whatever its drain', async t => {
  const { address } = await backend(t, async peer => accept(peer))
  const gate = await host(t, [address])
  await tunnel(t, gate.port)
  const order: string[] = []
  const first = gate.gateway.close({ drain: 200 }).then(() => order.push('first'))
  const second = gate.gateway.close().then(() => order.push('second'))
  const third = gate.gateway[Symbol.asyncDispose]().then(() => order.push('third'))
  await within(Promise.all([first, second, third]), 'all three')
  assert.deepEqual(order, ['first', 'second', 'third'])
  assert.equal(gate.gateway.stats().tunnels.active, 0)
})

test("after close an upgrade is the next owner's, and there is no listener of ours", async t => {
  const { address } = await echo(t)
  const { log } = recorder()
  const server = createServer()
  const port = await listen(t, server)
  for (let i = 0; i < 20; i++) {
    const gateway = createGateway({ upstream: { servers: [address] }, log })
    gateway.attach(server, { path: '/ws' })
    const peer = (await ask(t, port, handshake('/ws'))).peer
    peer.socket.destroy()
    await gateway.close()
    assert.equal(server.listenerCount('upgrade'), 0)
  }
})

test('close() ends the servers of listen(), their connections and what waits in them', async t => {
  const { address } = await echo(t)
  const { log } = recorder()
  const gateway = createGateway({ upstream: { servers: [address] }, log })
  t.after(async () => gateway.close())
  // An address of its own: when it is closed, its port is nobody else's there.
  const there = { host: '127.79.0.1' }
  const server = await gateway.listen(there)
  const { port } = server.address() as { port: number }
  const peer = await tunnel(t, port, there)
  const idle = await dial(t, port, there)
  await within(gateway.close(), 'close')
  assert.equal(server.listening, false)
  await Promise.all([peer.left(), idle.left()])
  await assert.rejects(dial(t, port, there), { code: 'ECONNREFUSED' })
})

for (const tls of [false, true]) {
  test(`a process exits by itself after close, with nothing left${tls ? ', TLS in front' : ''}`, async t => {
    const behind = await backend(t, async peer => {
      if ((await peer.head()).first.includes('/healthz'))
        peer.socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    })
    const { address } = await echo(t)
    const options: HostOptions = {
      tls,
      gateway: {
        upstream: {
          servers: [address, { host: '127.0.0.1', port: behind.port, down: true }],
          health: { type: 'http', path: '/healthz', interval: 60_000 }
        },
        timeouts: { linger: 100 }
      }
    }
    const { process, message: port } = await child<number>(t, 'gate-child-host.js', JSON.stringify(options))
    const peers = await Promise.all(Array.from({ length: 20 }, async () => tunnel(t, port, { tls })))
    for (const peer of peers) peer.socket.on('end', () => peer.socket.end())
    const exit = once(process, 'exit')
    const left = once(process, 'message')
    process.send('close')
    const [resources] = (await within(left, 'its report')) as [string[]]
    assert.deepEqual(
      resources.filter(name => /TCP(?:Socket|Wrap)|TLS|Timeout/.test(name)),
      []
    )
    assert.deepEqual(await within(exit, 'its exit'), [0, null])
  })
}

test('a refused client that never ends holds neither gateway.close() nor server.close()', async t => {
  const { gateway, port, server } = await host(t, ['127.0.0.1:1'], { timeouts: { linger: 100_000 } })
  const { peer, head } = await ask(t, port)
  assert.equal(head.status, 502)
  await peer.rest()
  assert.equal(await connections(server), 1)
  await within(gateway.close(), 'gateway.close()')
  const closed = once(server, 'close')
  server.close()
  await within(closed, 'server.close()')
})
