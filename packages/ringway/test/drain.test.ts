import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { WebSocket } from 'ws'
import { accept, backend, echo, webSocketServer } from './support/gate-backend.ts'
import type { Host } from './support/gate-host.ts'
import { host, settled } from './support/gate-host.ts'
import { ask, handshake, tunnel } from './support/gate-peer.ts'
import { addressesAt } from './support/gate-trio.ts'
import { until, within } from './support/gate-waiting.ts'

/** A `ws` client from an address, and the name of the server that it came to. */
async function webSocket(
  t: TestContext,
  { port }: Host,
  address: string
): Promise<{ socket: WebSocket; server: string }> {
  const options = { localAddress: address, perMessageDeflate: false }
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, options)
  t.after(() => socket.terminate())
  const upgraded = once(socket, 'upgrade') as Promise<[IncomingMessage]>
  const opened = once(socket, 'open')
  const [response] = await within(upgraded, 'the 101')
  await opened
  return { socket, server: String(response.headers['x-server']) }
}

test('Envoy 45250: a drain ends 300 busy tunnels by Close 1012, evenly, with no frame broken', async t => {
  const ids = ['a', 'b', 'c']
  const backends = await Promise.all(ids.map(async id => webSocketServer(t, id)))
  const servers = backends.map(({ port }, i) => ({ id: ids[i]!, host: '127.0.0.1', port }))
  const gate = await host(t, servers, { watch: true })
  // What the server of each tunnel is told: a Close that is masked, as it has to be, or `ws` would fail.
  const told: number[] = []
  const faults: unknown[] = []
  backends[0]!.webSockets.on('connection', socket => {
    socket.on('close', code => told.push(code))
    socket.on('error', error => faults.push(error))
  })
  const addresses = addressesAt(gate, 44, 'a', 300)
  const clients = await Promise.all(addresses.map(async address => webSocket(t, gate, address)))
  assert.ok(clients.every(({ server }) => server === 'a'))

  const ends: { code: number; reason: string; at: number }[] = []
  let echoes = 0
  for (const [i, { socket }] of clients.entries()) {
    let next: NodeJS.Timeout | undefined
    const say = (): void => socket.send(randomBytes(100 + i * 10))
    socket.on('message', data => {
      echoes++
      assert.equal((data as Buffer).length, 100 + i * 10)
      next = setTimeout(say, 200)
    })
    socket.on('error', error => faults.push(error))
    socket.on('close', (code, reason) => {
      ends.push({ code, reason: String(reason), at: performance.now() })
      clearTimeout(next)
    })
    say()
  }
  await until(() => echoes >= 600, 'all are busy')

  const lag = monitorEventLoopDelay({ resolution: 5 })
  lag.enable()
  const spread = 3_000
  const started = performance.now()
  const drained = gate.gateway.drain('a', { spread, code: 1012, deadline: 60_000 })
  // From the call on nobody comes to it, though it is the first choice of all of these.
  const others = await Promise.all(
    addresses.slice(0, 30).map(async address => webSocket(t, gate, address)) // few: the process is to have time
  )
  for (const [i, { server }] of others.entries()) {
    assert.equal(server, gate.gateway.upstream.order(addresses[i]!)[0]!.id)
    assert.notEqual(server, 'a')
  }
  await within(drained, 'the drain')
  lag.disable()
  await until(() => ends.length === 300 && told.length === 300, 'both sides of all have been told')

  assert.deepEqual(faults, [])
  assert.ok(ends.every(({ code }) => code === 1012))
  assert.ok(told.every(code => code === 1012))
  assert.equal(new Set(ends.map(({ reason }) => reason)).size, 1)
  // A sixth of them in each sixth of the time, within a fifth of that, and what the process was held up for in each of
  // the turns that a Close takes: the timer's, the gateway's write, the client's read.
  const slack = 50 / 5 + (3 * 300 * lag.max) / 1e6 / spread
  for (let part = 1; part <= 6; part++) {
    const by = started + (spread * part) / 6
    const count = ends.filter(({ at }) => at <= by).length
    assert.ok(Math.abs(count - 50 * part) <= slack, `${count} ± ${slack} in ${part} sixths`)
  }
  assert.deepEqual(
    gate.gateway.upstream.servers.map(({ id }) => id),
    ['b', 'c']
  )
  for (const { socket } of others) assert.equal(socket.readyState, WebSocket.OPEN)
})

test('a drain cuts those off at its deadline who do not go', async t => {
  const stubborn = await backend(t, async peer => void (await accept(peer)))
  const other = await echo(t)
  const servers = [stubborn, other].map(({ port }, i) => ({ id: 'ab'[i]!, host: '127.0.0.1', port }))
  const gate = await host(t, servers, { watch: true, timeouts: { linger: 60_000, read: 0 } })
  const peers = await Promise.all(
    addressesAt(gate, 44, 'a', 20).map(async from => tunnel(t, gate.port, { from }))
  )
  await gate.gateway.drain('a', { spread: 100, deadline: 400 })
  for (const peer of peers) {
    await peer.left()
    // Each had its Close first: FIN, opcode 8, two bytes of code and a reason.
    assert.equal(peer.unread[0], 0x88)
    assert.equal(peer.unread.readUInt16BE(2), 1012)
  }
  assert.deepEqual(
    gate.gateway.upstream.servers.map(({ id }) => id),
    ['b']
  )
})

test('a drain waits for a handshake that is under way, and ends its tunnel too', async t => {
  const answers: (() => void)[] = []
  const late = await backend(t, async peer => {
    await once(peer.socket, 'data')
    await new Promise<void>(resolve => void answers.push(resolve))
    await accept(peer)
    peer.socket.pipe(peer.socket)
  })
  const other = await echo(t)
  const servers = [late, other].map(({ port }, i) => ({ id: 'ab'[i]!, host: '127.0.0.1', port }))
  const gate = await host(t, servers, { watch: true })
  const [from] = addressesAt(gate, 44, 'a', 1)
  const asked = ask(t, gate.port, handshake(), { from: from! })
  await until(() => answers.length === 1, 'its handshake is under way')
  const drained = gate.gateway.drain('a', { spread: 100, deadline: 60_000 })
  let isOver = false
  void drained.then(() => (isOver = true))
  // The spread passes, and nothing happens.
  await until(() => gate.gateway.upstream.servers.length === 2, 'it is draining')
  await new Promise(resolve => setTimeout(resolve, 200))
  assert.equal(isOver, false)

  answers[0]!()
  const { peer, head } = await asked
  assert.equal(head.status, 101)
  const close = await peer.take(4)
  assert.deepEqual([close[0], close.readUInt16BE(2)], [0x88, 1012])
  peer.socket.end()
  await within(drained, 'the drain')
  await settled(gate.gateway)
})

test('Caddy 4895: a drain while a message of 1 MiB is half through: it arrives whole, then 1012', async t => {
  // A frame header and its first half, and the rest when it is told to.
  const message = randomBytes(1 << 20)
  const header = Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 0])
  const slow = await backend(t, async peer => {
    await accept(peer, Buffer.concat([header, message.subarray(0, 1 << 19)]))
  })
  const other = await echo(t)
  const servers = [slow, other].map(({ port }, i) => ({ id: 'ab'[i]!, host: '127.0.0.1', port }))
  const gate = await host(t, servers, { watch: true })
  const { socket } = await webSocket(t, gate, addressesAt(gate, 44, 'a', 1)[0]!)
  await until(() => gate.gateway.stats().tunnels.active === 1, 'the tunnel is open')
  const events: string[] = []
  socket.on('error', error => events.push(String(error)))
  socket.on('message', data => events.push(`whole: ${message.equals(data as Buffer)}`))
  const closed = once(socket, 'close') as Promise<[number]>
  void closed.then(([code]) => events.push(`closed by ${code}`))

  const drained = gate.gateway.drain('a', { spread: 0, deadline: 60_000 })
  await new Promise(resolve => setTimeout(resolve, 100))
  assert.deepEqual(events, [])
  slow.peers[0]!.write(message.subarray(1 << 19))
  await within(closed, 'the close')
  assert.deepEqual(events, ['whole: true', 'closed by 1012'])
  slow.peers[0]!.socket.end()
  await within(drained, 'the drain')
})
