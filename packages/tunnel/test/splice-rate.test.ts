import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { digest, randomFrom, receive, send } from './support/bytes.ts'
import { conversation } from './support/conversation.ts'
import { scene, sharedReads } from './support/sockets.ts'
import type { Kind } from './support/sockets.ts'
import { noSocketLeft, until } from './support/waiting.ts'

const OFF = { read: 0, send: 0, linger: 0, sharedReads }

for (const kind of ['tcp', 'tls'] as Kind[]) {
  test(`${kind}: a client that sends more bytes than it may is read no faster, and all of it arrives`, async t => {
    const rate = { bytes: 400_000 }
    const { client, backend, splice } = await scene(t, { ...OFF, rate, client: kind, backend: kind })
    const bytes = Buffer.alloc(1_200_000, 'abcdefg')
    const since = performance.now()
    const arrived = receive(backend)
    await send(client, bytes, randomFrom(1))
    assert.deepEqual(await arrived, digest(bytes))
    const took = performance.now() - since
    // A second's worth comes at once.
    assert.ok(took >= 1_900, `${took} ms`)
    backend.end()
    client.resume()
    assert.equal((await splice.ended).how, 'fin')
    await noSocketLeft()
  })
}

test('messages beyond their rate wait, whole, and what the server sends does not', async t => {
  const { client, server, splice } = await conversation(t, { ...OFF, watch: true, rate: { messages: 20 } })
  const at: number[] = []
  const since = performance.now()
  server.on('message', () => at.push(performance.now() - since))
  const flooded = new Promise<void>(resolve => {
    let count = 0
    client.on('message', () => ++count === 1_000 && resolve())
  })
  for (let i = 0; i < 60; i++) client.send(`message ${i}`)
  for (let i = 0; i < 1_000; i++) server.send('unlimited')
  await flooded
  assert.ok(at.length < 60)
  await until(() => at.length === 60, 'all have come')
  assert.ok(at[19]! < at[59]! - 1_500, 'a second’s worth at once, then one after the other')
  assert.ok(at[59]! >= 1_900, `${at[59]} ms`)
  client.close()
  await splice.ended
})

test('a client that is held back is not idle', async t => {
  const { client, backend, splice } = await scene(t, { ...OFF, read: 300, rate: { bytes: 1_000 } })
  const arrived = receive(backend)
  client.end(Buffer.alloc(2_500))
  assert.equal((await arrived).bytes, 2_500)
  backend.end()
  client.resume()
  const { how, duration } = await splice.ended
  assert.equal(how, 'fin')
  assert.ok(duration >= 1_400, `${duration} ms`)
})

test('what is held back is handed over by stop()', async t => {
  const { client, splice, ours } = await scene(t, { ...OFF, rate: { bytes: 100 } })
  client.write(Buffer.alloc(500, 'x'))
  await until(() => splice.bytes >= 100, 'what may pass has passed')
  const { fromClient } = await splice.stop()
  assert.equal(fromClient.length + splice.bytes, 500)
  const more = once(ours.client.resume(), 'data')
  client.write('more')
  assert.equal(String((await more)[0]), 'more')
})

test('close() and resets end a tunnel that is held back', async t => {
  for (const end of ['close', 'destroy'] as const) {
    const { client, backend, splice } = await scene(t, { ...OFF, linger: 500, rate: { bytes: 100 } })
    client.resume()
    backend.resume()
    client.write(Buffer.alloc(50_000))
    await until(() => splice.bytes >= 100, 'what may pass has passed')
    splice[end]()
    assert.equal((await splice.ended).by, 'gateway')
    client.destroy()
    backend.destroy()
  }
  const { client, backend, splice } = await scene(t, { ...OFF, rate: { bytes: 100 } })
  client.write(Buffer.alloc(50_000))
  await until(() => splice.bytes >= 100, 'what may pass has passed')
  backend.resetAndDestroy()
  assert.deepEqual([(await splice.ended).by, (await splice.ended).how], ['backend', 'reset'])
  client.destroy()
  await noSocketLeft()
})
