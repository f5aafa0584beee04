import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { Splice } from '@ringway/tunnel'
import { digest, randomFrom, receive, send } from './support/bytes.ts'
import type { Kind } from './support/sockets.ts'
import { flood, rst, scene, sharedReads } from './support/sockets.ts'
import { still, until } from './support/waiting.ts'

const OFF = { read: 0, send: 0, linger: 0, sharedReads }
const ENDED = { code: 'ERR_RINGWAY_TUNNEL_ENDED', retryable: false }

function byHand(from: Socket, to: Socket, rest: Buffer): void {
  to.write(rest)
  from.pipe(to)
}

for (const kind of ['tcp', 'tls', 'unix'] as Kind[]) {
  test(`${kind}: stopped while both ways are in flood, the stream goes on by hand with no byte lost or twice`, async t => {
    const random = randomFrom(8)
    for (let round = 0; round < 10; round++) {
      const up = randomBytes(3_000_000)
      const down = randomBytes(3_000_000)
      const peers = await scene(t, { ...OFF, client: kind, backend: kind })
      const received = [receive(peers.backend), receive(peers.client)]
      const sent = [send(peers.client, up, random, false), send(peers.backend, down, random, false)]
      const moment = 1 + random() * 4_000_000
      await until(() => peers.splice.bytes > moment, 'some of it has passed')
      const rest = await peers.splice.stop()
      const { client, backend } = peers.ours
      assert.deepEqual([client.isPaused(), backend.isPaused()], [true, true])
      byHand(client, backend, rest.fromClient)
      byHand(backend, client, rest.fromBackend)
      await Promise.all(sent)
      peers.client.end()
      peers.backend.end()
      assert.deepEqual(await Promise.all(received), [digest(up), digest(down)])
    }
  })
}

test('stopped and spliced again and again, no byte is lost, and no listeners pile up', async t => {
  const up = randomBytes(8 << 20)
  const peers = await scene(t, OFF)
  const { client, backend } = peers.ours
  const received = receive(peers.backend)
  void send(peers.client, up, randomFrom(9), false)
  let passed = 0
  let { splice } = peers
  let stops = 0
  while (passed < up.length) {
    await until(() => splice.bytes > 0, 'something passed')
    const rest = await splice.stop()
    passed += splice.bytes
    stops += 1
    splice = new Splice(client, backend, rest, OFF)
  }
  assert.ok(stops > 5, `stopped ${stops} times only`)
  assert.ok(backend.listenerCount('error') <= 3)
  peers.client.end()
  assert.deepEqual(await received, digest(up))
})

test('glued bytes are passed on before it stops', async t => {
  const peers = await scene(t, { ...OFF, glued: { fromClient: Buffer.alloc(100_000) } })
  const { fromClient } = await peers.splice.stop()
  assert.equal(fromClient.length, 0)
  peers.ours.backend.end()
  assert.equal((await receive(peers.backend)).bytes, 100_000)
})

test('it stops only when a slow reader has what was taken for it', async t => {
  const peers = await scene(t, OFF)
  const hash = createHash('sha256')
  let sent = 0
  const random = randomFrom(10)
  while (peers.ours.backend.writableLength === 0) {
    const piece = randomBytes(8192 - random() * 100)
    hash.update(piece)
    sent += piece.length
    peers.client.write(piece)
    await until(() => peers.splice.bytes === sent, 'the piece is through')
  }
  let stopped = false
  const stopping = peers.splice.stop().then(rest => {
    stopped = true
    return rest
  })
  await still(() => peers.splice.bytes)
  assert.equal(stopped, false)
  const received = receive(peers.backend)
  const rest = await stopping
  assert.equal(rest.fromClient.length, 0)
  assert.equal(peers.ours.backend.writableLength, 0)
  peers.ours.backend.end()
  assert.deepEqual(await received, { bytes: sent, sha256: hash.digest('hex') })
})

test('a FIN that comes while it stops stays with its socket', async t => {
  const peers = await scene(t, OFF)
  const stopping = peers.splice.stop()
  peers.client.end('the last')
  const rest = await stopping
  const splice = new Splice(peers.ours.client, peers.ours.backend, rest, OFF)
  assert.equal((await receive(peers.backend)).bytes, 8)
  peers.backend.end()
  assert.equal((await splice.ended).by, 'client')
})

test('a tunnel that is ending or has ended is not stopped', async t => {
  const closing = await scene(t, OFF)
  closing.splice.close()
  await assert.rejects(closing.splice.stop(), ENDED)
  closing.splice.destroy()
  await closing.splice.ended
  await assert.rejects(closing.splice.stop(), ENDED)

  const halfClosed = await scene(t, OFF)
  halfClosed.client.end()
  await receive(halfClosed.backend)
  await assert.rejects(halfClosed.splice.stop(), ENDED)

  const dead = await scene(t, OFF)
  dead.ours.client.destroy()
  await assert.rejects(dead.splice.stop(), ENDED)
  await dead.splice.ended
})

test('a side that dies while it stops ends the tunnel', async t => {
  const peers = await scene(t, OFF)
  flood(peers.client)
  await still(() => peers.splice.bytes)
  const stopping = assert.rejects(peers.splice.stop(), ENDED)
  rst(peers.backend)
  await stopping
  const { by, how } = await peers.splice.ended
  assert.deepEqual({ by, how }, { by: 'backend', how: 'reset' })
})

test('a reader that takes nothing while it stops meets the send limit', async t => {
  const peers = await scene(t, { ...OFF, send: 300 })
  flood(peers.client)
  await until(() => peers.ours.backend.writableNeedDrain, 'the way is full')
  await assert.rejects(peers.splice.stop(), ENDED)
  assert.equal((await peers.splice.ended).how, 'send')
})

test('close() while it stops wins', async t => {
  const peers = await scene(t, OFF)
  const stopping = assert.rejects(peers.splice.stop(), ENDED)
  peers.splice.close()
  await stopping
  for (const side of [peers.client, peers.backend]) side.resume().end()
  assert.equal((await peers.splice.ended).how, 'closed')
})

test('it stops once, and leaves its sockets alone then', async t => {
  const peers = await scene(t, { read: 100, linger: 100, send: 100 })
  const again = [peers.splice.stop(), peers.splice.stop()]
  await again[0]
  await assert.rejects(again[1]!, { ...ENDED, message: /was stopped/ })
  await assert.rejects(peers.splice.stop(), ENDED)
  peers.splice.close()
  peers.splice.destroy()
  await peers.splice[Symbol.asyncDispose]()
  const { client, backend } = peers.ours
  assert.deepEqual([client.destroyed, backend.destroyed], [false, false])
  assert.deepEqual([client.writable, backend.writable], [true, true])
})

test('no listener of ours is left once it has stopped, but one for errors', async t => {
  const peers = await scene(t, OFF)
  await peers.splice.stop()
  for (const socket of [peers.ours.client, peers.ours.backend]) {
    const left = ['data', 'close', 'drain', 'timeout', 'finish', 'readable'].map(name =>
      socket.listenerCount(name)
    )
    assert.deepEqual(left, [0, 0, 0, 0, 0, 0])
    assert.ok(socket.listenerCount('end') <= 1) // Node's own
  }
})
