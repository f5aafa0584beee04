import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import type { Kind, Scene } from './support/sockets.ts'
import { closed, flood, scene, sharedReads } from './support/sockets.ts'
import { noSocketLeft, still, until } from './support/waiting.ts'

const OFF = { read: 0, send: 0, linger: 0, sharedReads }
const CHUNK = randomBytes(65_536)

/** Bytes that a process holds for one direction. */
function held(peers: Scene, from: 'client' | 'backend', to: 'client' | 'backend'): number {
  return peers.ours[from].readableLength + peers.ours[to].writableLength
}

for (const [first, second] of [
  ['client', 'backend'],
  ['backend', 'client']
] as const) {
  for (const kind of ['tcp', 'tls'] as Kind[]) {
    test(`${kind}: a ${second} that stops reading stops the ${first}, and we hold at most 256 KiB`, async t => {
      const peers = await scene(t, { ...OFF, client: kind, backend: kind })
      flood(peers[first])
      await still(() => peers.splice.bytes)
      assert.ok(peers[first].writableLength > 0, 'the sender was not stopped')
      assert.ok(held(peers, first, second) <= 256 * 1024, `${held(peers, first, second)} bytes`)
      assert.equal(held(peers, second, first), 0)
    })
  }

  test(`bytes that wait for a stopped ${second} for longer than send end the tunnel`, async t => {
    const peers = await scene(t, { ...OFF, send: 300 })
    peers[first].resume()
    flood(peers[first])
    const gone = closed(peers[first])
    const { by, how, duration } = await peers.splice.ended
    assert.deepEqual({ by, how }, { by: 'gateway', how: 'send' })
    assert.ok(duration >= 300, `${duration} ms`)
    await gone
    peers[second].destroy()
    await noSocketLeft()
  })

  test(`a trickle by the ${first} does not put off the send limit of a stopped ${second}`, async t => {
    const peers = await scene(t, { ...OFF, send: 400 })
    const piece = CHUNK.subarray(0, 8192)
    for (let sent = piece.length; peers.ours[second].writableLength === 0; sent += piece.length) {
      peers[first].write(piece)
      await until(() => peers.splice.bytes >= sent, 'the piece is through')
    }
    const timer = setInterval(() => peers[first].write('x'), 50)
    t.after(() => clearInterval(timer))
    assert.equal((await peers.splice.ended).how, 'send')
  })

  test(`what a ${first} sends restarts read, however silent the ${second}`, async t => {
    const peers = await scene(t, { ...OFF, read: 500 })
    const sent: number[] = []
    const timer = setInterval(() => {
      sent.push(performance.now())
      peers[first].write('x')
      if (sent.length === 5) clearInterval(timer)
    }, 200)
    t.after(() => clearInterval(timer))
    const end = await peers.splice.ended
    const now = performance.now()
    const passed = end.bytesToBackend + end.bytesToClient
    assert.equal(passed, 5)
    assert.ok(now - sent[passed - 1]! >= 500, `${now - sent[passed - 1]!} ms`)
    assert.deepEqual([end.by, end.how], ['gateway', 'read'])
  })

  test(`after a FIN the ${second} has linger to end too`, async t => {
    const peers = await scene(t, { ...OFF, linger: 300 })
    const ended = once(peers[second].resume(), 'end')
    peers[first].resume().end()
    await ended
    const since = performance.now()
    const { by, how, duration } = await peers.splice.ended
    assert.deepEqual({ by, how }, { by: first, how: 'fin' })
    assert.ok(duration >= 300, `${duration} ms`)
    assert.ok(performance.now() - since < 15_000)
    peers[second].destroy()
    await noSocketLeft()
  })

  test(`after a FIN of the ${first} bytes from the ${second} restart linger`, async t => {
    const peers = await scene(t, { ...OFF, linger: 500 })
    peers[second].resume()
    peers[first].resume().end()
    for (let i = 0; i < 5; i++) {
      await setTimeout(200)
      peers[second].write('x')
    }
    const since = performance.now()
    const { bytesToBackend, bytesToClient } = await peers.splice.ended
    assert.equal(bytesToBackend + bytesToClient, 5)
    assert.ok(performance.now() - since >= 500)
  })

  test(`FINs of both behind a stopped ${second} end at send`, async t => {
    const peers = await scene(t, { ...OFF, send: 300, linger: 100 })
    peers[first].resume()
    peers[second].end()
    peers[first].end(randomBytes(16 << 20))
    await peers.splice.ended
    peers[first].destroy()
    peers[second].destroy()
    await noSocketLeft()
  })
}

test('silence of both ends the tunnel at read, not early, with a FIN to each', async t => {
  const peers = await scene(t, { read: 300 })
  const ends = [peers.client, peers.backend].map(async side => once(side.resume(), 'end'))
  const { by, how, duration } = await peers.splice.ended
  assert.deepEqual({ by, how }, { by: 'gateway', how: 'read' })
  assert.ok(duration >= 300, `${duration} ms`)
  await Promise.all(ends)
})

test('limits of 0 are none', async t => {
  const peers = await scene(t, OFF)
  const first = await Promise.race([peers.splice.ended, setTimeout(1_000, 'still there')])
  assert.equal(first, 'still there')
})

test('a process that was held up for longer than a limit counts what came meanwhile first', async t => {
  const peers = await scene(t, { ...OFF, read: 400 })
  const echo = once(peers.backend, 'data')
  await setTimeout(250)
  peers.client.write('x')
  const until500 = performance.now() + 500
  while (performance.now() < until500);
  await echo
  assert.equal(peers.splice.bytes, 1)
  await setTimeout(250)
  assert.equal(peers.ours.client.destroyed, false)
})

test('a slow reader that takes all in time loses nothing and meets no limit', async t => {
  const peers = await scene(t, { read: 1_000, send: 1_000 })
  peers.client.end(randomBytes(12 << 20))
  peers.client.resume()
  let bytes = 0
  for await (const chunk of peers.backend as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes % 7 === 0) await setTimeout(20)
  }
  assert.equal(bytes, 12 << 20)
})
