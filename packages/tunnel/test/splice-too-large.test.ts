import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { digest, receive } from './support/bytes.ts'
import { closing, conversation } from './support/conversation.ts'
import { scene, sharedReads } from './support/sockets.ts'
import { noSocketLeft, until } from './support/waiting.ts'

const OPTIONS = { watch: true, maxMessage: 1000, sharedReads }

/** A frame of a client's: masked, with a key of zeros. */
function frame(opcode: number, length: number, fin = true): Buffer {
  const extended = Buffer.alloc(length > 125 ? 2 : 0)
  if (length > 125) extended.writeUInt16BE(length)
  const first = Buffer.of((fin ? 0x80 : 0) | opcode, 0x80 | (length > 125 ? 126 : length))
  return Buffer.concat([first, extended, Buffer.alloc(4 + length)])
}

const TOO_LARGE = Buffer.concat([Buffer.from('881303f1', 'hex'), Buffer.from('message too large')])

test('a message larger than it may be is 1009 for a ws client, and 1001 for a ws server, which sees nothing of it', async t => {
  const { client, server, splice } = await conversation(t, { ...OPTIONS, maxMessage: 100_000 })
  const messages: number[] = []
  server.on('message', (message: Buffer) => messages.push(message.length))
  const both = Promise.all([closing(client), closing(server)])
  client.send(Buffer.alloc(99_000, 'x'), { compress: false })
  client.send(Buffer.alloc(100_001, 'x'), { compress: false })
  assert.deepEqual(await both, [
    [1009, 'message too large'],
    [1001, 'client refused']
  ])
  assert.deepEqual(messages, [99_000])
  const { by, how, code } = await splice.ended
  assert.deepEqual([by, how, code], ['gateway', 'maxMessage', 1009])
  await noSocketLeft()
})

test('what the server sends is not limited', async t => {
  const { client, server, splice } = await conversation(t, { ...OPTIONS, maxMessage: 10 })
  const arrived = once(client, 'message') as Promise<[Buffer]>
  server.send(Buffer.alloc(5_000, 'x'), { compress: false })
  assert.equal((await arrived)[0].length, 5_000)
  splice.close()
  await splice.ended
})

test('fragments count together, control frames between them do not, and the next message begins anew', async t => {
  const fine = [frame(2, 500, false), frame(9, 100), frame(0, 500), frame(1, 1000), frame(2, 600, false)]
  const { client, backend, splice } = await scene(t, OPTIONS)
  const [atClient, atBackend] = [receive(client), receive(backend)]
  client.write(Buffer.concat([...fine, frame(0, 401), frame(1, 1)]))
  assert.deepEqual(await atClient, digest(TOO_LARGE))
  const { bytes } = await atBackend
  const ours = 2 + 4 + 2 + 'client refused'.length
  assert.equal(
    bytes,
    fine.reduce((sum, each) => sum + each.length, ours)
  )
  client.end()
  backend.end()
  await splice.ended
})

test('a frame whose header came in pieces ends the tunnel too, without a Close for who has got half of it', async t => {
  for (const cut of [1, 2, 3]) {
    const { client, backend, splice } = await scene(t, OPTIONS)
    const [atClient, atBackend] = [receive(client), receive(backend)]
    const large = frame(1, 1001)
    client.write(large.subarray(0, cut))
    await until(() => splice.bytes === cut, 'the first part is through')
    client.write(large.subarray(cut))
    assert.deepEqual(await atClient, digest(TOO_LARGE))
    assert.deepEqual(await atBackend, digest(large.subarray(0, cut)))
    client.end()
    backend.end()
    assert.equal((await splice.ended).how, 'maxMessage')
  }
})
