import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'
import { digest, randomFrom, receive, send } from './support/bytes.ts'
import type { Kind } from './support/sockets.ts'
import { scene } from './support/sockets.ts'
import { noSocketLeft, until } from './support/waiting.ts'

const LEGS: [client: Kind, backend: Kind][] = [
  ['tcp', 'tcp'],
  ['tls', 'tcp'],
  ['tcp', 'tls'],
  ['tls', 'tls'],
  ['unix', 'unix'],
  ['tcp', 'unix']
]

for (const [client, backend] of LEGS) {
  const legs = `${client} to ${backend}`

  test(`${legs}: 8 MiB both ways at once arrive unchanged`, async t => {
    const up = randomBytes(8 << 20)
    const down = randomBytes(8 << 20)
    const peers = await scene(t, { client, backend })
    const [atBackend, atClient] = await Promise.all([
      receive(peers.backend),
      receive(peers.client),
      send(peers.client, up, randomFrom(3)),
      send(peers.backend, down, randomFrom(4))
    ])
    assert.deepEqual(atBackend, digest(up))
    assert.deepEqual(atClient, digest(down))
    const end = await peers.splice.ended
    assert.equal(end.how, 'fin')
    assert.equal(end.bytesToBackend, up.length)
    assert.equal(end.bytesToClient, down.length)
    assert.equal(peers.splice.bytes, up.length + down.length)
    await noSocketLeft()
  })

  test(`${legs}: glued bytes come first, both ways`, async t => {
    const fromClient = randomBytes(70_000)
    const fromBackend = randomBytes(70_000)
    const peers = await scene(t, { client, backend, glued: { fromClient, fromBackend } })
    peers.client.end('after')
    peers.backend.end('after')
    const [atBackend, atClient] = await Promise.all([receive(peers.backend), receive(peers.client)])
    assert.deepEqual(atBackend, digest(fromClient, Buffer.from('after')))
    assert.deepEqual(atClient, digest(fromBackend, Buffer.from('after')))
  })

  for (const [first, second] of [
    ['client', 'backend'],
    ['backend', 'client']
  ] as const) {
    test(`${legs}: after the ${first}'s FIN the ${second} still answers`, async t => {
      const peers = await scene(t, { client, backend })
      const bytes = randomBytes(1_000_000)
      const answer = receive(peers[first])
      peers[first].end('question')
      assert.deepEqual(await receive(peers[second]), digest(Buffer.from('question')))
      await send(peers[second], bytes, randomFrom(5))
      assert.deepEqual(await answer, digest(bytes))
      const { by, how } = await peers.splice.ended
      assert.deepEqual({ by, how }, { by: first, how: 'fin' })
    })

    const times = client === 'unix' || backend === 'unix' ? 10 : 50
    test(`${legs}: what the ${first} sent before it left reaches a slow ${second}, ${times} times`, async t => {
      for (let round = 0; round < times; round++) {
        const peers = await scene(t, { client, backend })
        const bytes = randomBytes(200_000 + round * 1_000)
        peers[second].end() // the first one's connection is over as soon as it has said its last
        peers[first].resume()
        const slow = receive(peers[second], true)
        await send(peers[first], bytes, randomFrom(round))
        assert.deepEqual(await slow, digest(bytes))
        await peers.splice.ended
      }
      await noSocketLeft()
    })
  }

  test(`${legs}: a client that leaves for good behind its FIN loses nothing of what it sent`, async t => {
    const peers = await scene(t, { client, backend })
    const bytes = randomBytes(3_000_000)
    const chunks: Buffer[] = []
    peers.backend.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      peers.backend.pause()
      setTimeout(() => peers.backend.resume(), 1)
    })
    peers.client.resume()
    await send(peers.client, bytes, randomFrom(6))
    await until(() => peers.ours.client.readableEnded, 'all of it is with us')
    peers.client.destroy()
    await until(() => {
      const known = peers.ours.client.closed
      if (!known) peers.backend.write('an answer that nobody reads any more')
      return known
    }, 'we know that the client is gone')
    await until(() => peers.backend.readableEnded || peers.backend.closed, 'it has come to its end')
    peers.backend.end()
    assert.deepEqual(digest(...chunks), digest(bytes))
    await peers.splice.ended
    await noSocketLeft()
  })
}

test('24 lazy tunnels at once, and nothing is left', async t => {
  const tunnels = await Promise.all(Array.from({ length: 24 }, async () => scene(t)))
  await Promise.all(
    tunnels.map(async ({ client, backend, splice }, i) => {
      const bytes = randomBytes(300_000)
      void receive(client)
      void send(client, bytes, randomFrom(i))
      assert.deepEqual(await receive(backend, true), digest(bytes))
      backend.end()
      await splice.ended
    })
  )
  await noSocketLeft()
})

test('64 KiB messages back and forth never stop', async t => {
  const { client, backend } = await scene(t)
  backend.on('data', chunk => backend.write(chunk))
  const message = randomBytes(65_536)
  for (let round = 0; round < 200; round++) {
    client.write(message)
    let left = message.length
    while (left > 0) {
      const [chunk] = (await once(client, 'data')) as [Buffer]
      left -= chunk.length
    }
  }
})
