import assert from 'node:assert/strict'
import { getEventListeners, once } from 'node:events'
import { test } from 'node:test'
import { digest, receive } from './support/bytes.ts'
import { closing, conversation } from './support/conversation.ts'
import { scene, sharedReads } from './support/sockets.ts'
import type { Kind } from './support/sockets.ts'
import { noSocketLeft, until } from './support/waiting.ts'

const OFF = { read: 0, send: 0, linger: 0, sharedReads }

test('a tunnel that has reached its lifetime, give or take a tenth, is closed with 1012, busy or not', async t => {
  const { client, server, splice } = await conversation(t, { ...OFF, watch: true, lifetime: 500 })
  server.on('message', message => server.send(message))
  client.on('message', message => client.send(message))
  client.send('round and round')
  const both = Promise.all([closing(client), closing(server)])
  assert.deepEqual(await both, [
    [1012, 'lifetime'],
    [1012, 'lifetime']
  ])
  const { by, how, code, duration } = await splice.ended
  assert.deepEqual([by, how, code], ['gateway', 'lifetime', 1012])
  assert.ok(duration >= 450, `${duration} ms`)
  await noSocketLeft()
})

test('tunnels that opened together end at different times', async t => {
  const scenes = await Promise.all(
    Array.from({ length: 20 }, async () => scene(t, { ...OFF, lifetime: 3_000 }))
  )
  const ages = await Promise.all(
    scenes.map(async ({ client, backend, splice }) => {
      client.resume().once('end', () => client.end())
      backend.resume().once('end', () => backend.end())
      return (await splice.ended).duration
    })
  )
  assert.ok(Math.min(...ages) >= 2_700, String(ages))
  assert.ok(Math.max(...ages) - Math.min(...ages) >= 100, String(ages))
})

for (const kind of ['tcp', 'tls', 'unix'] as Kind[]) {
  for (const [first, second] of [
    ['client', 'backend'],
    ['backend', 'client']
  ] as const) {
    test(`${kind}: without halfClose a FIN of the ${first} ends both sides, behind what has passed`, async t => {
      const peers = await scene(t, { ...OFF, halfClose: false, client: kind, backend: kind })
      const last = Buffer.alloc(300_000, 'x')
      const heard = Promise.all([receive(peers[first]), receive(peers[second])])
      peers[first].end(last)
      const [atFirst, atSecond] = await heard
      assert.deepEqual([atFirst.bytes, atSecond], [0, digest(last)])
      peers[second].end()
      const { by, how } = await peers.splice.ended
      assert.deepEqual([by, how], [first, 'fin'])
      await noSocketLeft()
    })
  }
}

test('an aborted signal destroys the tunnel, and its own signal tells of every end', async t => {
  const controller = new AbortController()
  const { client, backend, splice } = await scene(t, { ...OFF, signal: controller.signal })
  const told = once(splice.signal, 'abort')
  const gone = Promise.all([once(client.resume(), 'end'), once(backend.resume(), 'end')])
  controller.abort()
  await gone
  await told
  const end = await splice.ended
  assert.deepEqual([end.by, end.how], ['gateway', 'destroyed'])
  assert.equal(splice.signal.reason, end)
})

test('a signal that is aborted already lets no tunnel begin, and one that lives on keeps nothing of it', async t => {
  const early = await scene(t, { ...OFF, signal: AbortSignal.abort() })
  assert.equal((await early.splice.ended).how, 'destroyed')
  const { signal } = new AbortController()
  const { splice } = await scene(t, { ...OFF, signal })
  assert.equal(getEventListeners(signal, 'abort').length, 1)
  splice.destroy()
  await splice.ended
  assert.equal(getEventListeners(signal, 'abort').length, 0)
})

for (const [from, code] of [
  ['client', 1000],
  ['server', 4001]
] as const) {
  test(`the record names who sent a Close frame first, and its code: the ${from}, ${code}`, async t => {
    const talk = await conversation(t, { watch: true })
    talk[from].close(code)
    const end = await talk.splice.ended
    const by = from === 'client' ? 'client' : 'backend'
    assert.deepEqual([end.by, end.how, end.code], [by, 'close', code])
  })
}

test('a Close frame without a code, and one in pieces, are told from each other', async t => {
  for (const [bytes, code] of [
    ['8800', undefined],
    ['880203f3', 1011],
    ['8882000000000bb8', 3000],
    ['8882a1b2c3d4aa0a', 3000]
  ] as const) {
    const { client, backend, splice } = await scene(t, { watch: true })
    const heard = receive(client)
    for (const byte of Buffer.from(bytes, 'hex')) {
      const before = splice.bytes
      backend.write(Buffer.of(byte))
      await until(() => splice.bytes > before, 'the byte is through')
    }
    backend.end()
    await heard
    client.end()
    const end = await splice.ended
    assert.deepEqual([end.by, end.how, end.code], ['backend', 'close', code])
  }
})
