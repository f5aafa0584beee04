import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { digest, receive } from './support/bytes.ts'
import { conversation } from './support/conversation.ts'
import { scene, sharedReads } from './support/sockets.ts'
import { until } from './support/waiting.ts'

const OFF = { read: 0, send: 0, linger: 0, sharedReads, watch: true }
const PING = Buffer.from('8900', 'hex')

test('http-proxy 994, 1685, 757: a ping keeps a silent tunnel through ten of its read limits', async t => {
  const { client, server, splice } = await conversation(t, { ...OFF, read: 600 })
  const pings: Buffer[] = []
  client.on('ping', (payload: Buffer) => pings.push(payload))
  let pongs = 0
  server.on('pong', () => pongs++)
  splice.ping(200, 10_000)
  await sleep(6_000)
  assert.ok(pings.length >= 10, `${pings.length} pings`)
  assert.ok(pongs >= pings.length - 1, 'the answers reach the server, which takes them as they are')
  const answer = once(client, 'message') as Promise<[Buffer]>
  server.send('still there')
  assert.equal(String((await answer)[0]), 'still there')
  splice.close()
  await splice.ended
})

test('the backend is pinged by a masked frame, and its pongs reach the client', async t => {
  const { client, server, splice } = await conversation(t, OFF)
  const pinged = once(server, 'ping')
  const ponged = once(client, 'pong')
  splice.ping(100, 10_000, 'backend')
  await pinged
  await ponged
  splice.close()
  await splice.ended
})

for (const side of ['client', 'backend'] as const) {
  test(`a ${side} that answers no ping is given up in time`, async t => {
    const peers = await scene(t, OFF)
    peers.client.resume()
    peers.backend.resume()
    const since = performance.now()
    peers.splice.ping(200, 300, side)
    const { by, how } = await peers.splice.ended
    const took = performance.now() - since
    assert.deepEqual([by, how], ['gateway', 'ping'])
    assert.ok(took >= 500, `${took} ms`)
  })
}

test('who talks is not asked', async t => {
  const { client, backend, splice } = await scene(t, OFF)
  let heard = 0
  client.on('data', (chunk: Buffer) => (heard += chunk.length))
  backend.resume()
  splice.ping(400, 10_000)
  for (let i = 0; i < 10; i++) {
    client.write(Buffer.from('8900', 'hex'))
    await sleep(100)
  }
  assert.equal(heard, 0)
  splice.destroy()
})

test('a ping waits for the end of the frame under way, and stands between two', async t => {
  const { client, backend, splice } = await scene(t, OFF)
  const frame = Buffer.concat([Buffer.of(0x82, 4), Buffer.from('half')])
  backend.write(frame.subarray(0, 3))
  await until(() => splice.bytes === 3, 'a part is through')
  splice.ping(100, 10_000)
  await sleep(400)
  const heard = receive(client)
  backend.end(Buffer.concat([frame.subarray(3), frame]))
  assert.deepEqual(await heard, digest(frame, PING, frame))
  client.end()
  await splice.ended
})

test('a ping with a bad time, or without watch, is refused', async t => {
  const { splice } = await scene(t, OFF)
  for (const [field, every, timeout] of [
    ['every', 0, 1],
    ['timeout', 1, Number.NaN]
  ] as const) {
    assert.throws(() => splice.ping(every, timeout), { code: 'ERR_RINGWAY_CONFIG', field })
  }
  const blind = await scene(t, { ...OFF, watch: false })
  assert.throws(() => blind.splice.ping(100, 100), { field: 'watch' })
})
