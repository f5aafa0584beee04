import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { digest, randomFrom, receive, send } from './support/bytes.ts'
import { closing, conversation } from './support/conversation.ts'
import type { Kind } from './support/sockets.ts'
import { rst, scene } from './support/sockets.ts'
import { noSocketLeft, until } from './support/waiting.ts'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))

/** The header of a frame with this payload, which is binary and not masked. */
function header(length: number): Buffer {
  const bytes = Buffer.of(0x82, 127, 0, 0, 0, 0, 0, 0, 0, 0)
  bytes.writeBigUInt64BE(BigInt(length), 2)
  return bytes
}

const CLOSE_1012 = Buffer.from('880903f4' + Buffer.from('restart').toString('hex'), 'hex')

/** What a client and a backend answer to it, with no code. */
const ANSWERS = { client: Buffer.from('888000000000', 'hex'), backend: Buffer.from('8800', 'hex') }

test('close(1012) is seen by a ws client and by a ws server as a clean close', async t => {
  const { client, server, splice } = await conversation(t, { watch: true })
  const both = Promise.all([closing(client), closing(server)])
  splice.close(1012, 'restart')
  assert.deepEqual(await both, [
    [1012, 'restart'],
    [1012, 'restart']
  ])
  const { by, how } = await splice.ended
  assert.deepEqual({ by, how }, { by: 'gateway', how: 'closed' })
  await noSocketLeft()
})

for (const [from, to] of [
  ['client', 'server'],
  ['server', 'client']
] as const) {
  test(`a message of 1 MiB that is half through to the ${to} arrives whole, then the close`, async t => {
    const { splice, ...ends } = await conversation(t, { watch: true })
    const message = randomBytes(1_048_576)
    const arrived = once(ends[to], 'message') as Promise<[Buffer]>
    const both = Promise.all([closing(ends.client), closing(ends.server)])
    ends[from].send(message)
    await until(() => splice.bytes > 0, 'some of it has passed')
    splice.close(1012, 'restart')
    assert.deepEqual((await arrived)[0], message)
    assert.deepEqual(await both, [
      [1012, 'restart'],
      [1012, 'restart']
    ])
  })
}

test('without watch close() is a FIN, which clients see as 1006', async t => {
  const { client, server, splice } = await conversation(t, {})
  const both = Promise.all([closing(client), closing(server)])
  splice.close(1012, 'restart')
  assert.deepEqual(
    (await both).map(([code]) => code),
    [1006, 1006]
  )
})

test('a frame that is half through, cut anywhere in its header too, passes before our Close; nothing after it', async t => {
  const frame = Buffer.concat([header(1000), randomBytes(1000)])
  for (const cut of [1, 2, 5, 9, 10, 11, 500, frame.length - 1]) {
    const { client, backend, splice } = await scene(t, { watch: true })
    backend.write(frame.subarray(0, cut))
    await until(() => splice.bytes === cut, 'the first part is through')
    splice.close(1012, 'restart')
    backend.write(Buffer.concat([frame.subarray(cut), header(5), Buffer.from('never')]))
    client.write(ANSWERS.client)
    assert.deepEqual(await receive(client), digest(frame, CLOSE_1012))
    client.end()
    backend.end()
    await splice.ended
  }
})

test('a last frame that its reader has not taken yet keeps its bytes, whatever other tunnels read', async t => {
  const options = { client: 'unix', backend: 'unix', watch: true, linger: 0 } as const
  const piece = 8192
  // How many pieces the kernel takes is the same each time.
  let taken = 0
  const first = await scene(t, options)
  first.backend.write(header(1 << 30))
  for (; first.ours.client.writableLength === 0; taken++) {
    await until(() => first.splice.bytes === 10 + taken * piece, 'what came before is through')
    first.backend.write(Buffer.alloc(piece))
    await until(() => first.splice.bytes > 10 + taken * piece, 'the piece is through')
  }
  const { backend, client, splice, ours } = await scene(t, options)
  const payload = randomBytes(taken * piece)
  backend.write(header(payload.length))
  for (let at = 0; at < payload.length; at += piece) {
    await until(() => splice.bytes === 10 + at, 'what came before is through')
    if (at + piece === payload.length) splice.close(1012, 'restart')
    backend.write(payload.subarray(at, at + piece))
  }
  await until(() => ours.client.writableEnded, 'our Close is behind it')
  assert.ok(ours.client.writableLength > 0)
  const other = await scene(t)
  other.client.end(randomBytes(200_000))
  await receive(other.backend)
  assert.deepEqual(await receive(client), digest(header(payload.length), payload, CLOSE_1012))
})

test('a half frame whose rest never comes: a FIN after linger', async t => {
  const { client, backend, splice } = await scene(t, { watch: true, linger: 200 })
  backend.write(header(10))
  await until(() => splice.bytes === 10, 'the header is through')
  const heard = receive(client)
  splice.close(1012)
  assert.deepEqual(await heard, digest(header(10)))
  assert.equal((await splice.ended).how, 'closed')
})

for (const kind of ['tcp', 'tls', 'unix'] as const) {
  test(`${kind}: the FIN comes behind the answer to our Close, and what else is said meanwhile doesn't pass`, async t => {
    const { splice, ...peers } = await scene(t, { client: kind, watch: true })
    const heard = { client: Buffer.alloc(0), backend: Buffer.alloc(0) }
    const ended: string[] = []
    for (const name of ['client', 'backend'] as const) {
      peers[name].on('data', (chunk: Buffer) => (heard[name] = Buffer.concat([heard[name], chunk])))
      peers[name].on('end', () => ended.push(name))
    }
    splice.close(1012, 'restart')
    await until(() => heard.client.length > 0 && heard.backend.length > 0, 'both have our Close')
    assert.deepEqual(heard.client, CLOSE_1012)
    peers.backend.write(header(5))
    peers.backend.write('never')
    await setTimeout(300)
    assert.equal(ended.length, 0)
    for (const name of ['backend', 'client'] as const) {
      peers[name].write(ANSWERS[name])
      await until(() => ended.includes(name), 'it has our FIN')
      peers[name].end()
    }
    assert.deepEqual(ended, ['backend', 'client'])
    assert.deepEqual([heard.client.length, heard.backend.length], [CLOSE_1012.length, CLOSE_1012.length + 4])
    const { by, how, code } = await splice.ended
    assert.deepEqual([by, how, code], ['gateway', 'closed', 1012])
    await noSocketLeft()
  })
}

test('who never answers our Close gets the FIN after 2 s, and who answers with a FIN alone ours at once', async t => {
  const { client, backend, splice } = await scene(t, { watch: true })
  const [atClient, atBackend] = [receive(client), receive(backend)]
  const since = performance.now()
  splice.close(1012, 'restart')
  backend.end()
  await atBackend
  let isEnded = false
  void atClient.then(() => (isEnded = true))
  await setTimeout(500)
  assert.equal(isEnded, false)
  await atClient
  assert.ok(performance.now() - since >= 1_990)
  client.end()
  await splice.ended
})

test('who has had a Close already gets none of ours behind it', async t => {
  const { client, backend, splice } = await scene(t, { watch: true })
  const theirs = Buffer.from('880203e8', 'hex')
  backend.write(theirs)
  await until(() => splice.bytes === 4, 'it is through')
  const atBackend = receive(backend)
  splice.close(1012, 'restart')
  assert.deepEqual(await receive(client), digest(theirs))
  assert.equal(
    (await atBackend).bytes,
    4 + CLOSE_1012.length,
    'the other side has had none, so gets ours, masked'
  )
  client.end()
  backend.end()
  await splice.ended
})

test('bytes that are no frames get no Close into them', async t => {
  const { client, backend, splice } = await scene(t, { watch: true })
  const odd = Buffer.of(0x82, 127, 0xff, 1, 1, 1, 1, 1, 1, 1, 1)
  backend.write(odd)
  await until(() => splice.bytes === odd.length, 'they are through')
  splice.close(1012)
  assert.deepEqual(await receive(client), digest(odd))
  client.end()
  backend.end()
  await splice.ended
})

test('glued bytes are tracked as well', async t => {
  const fromBackend = header(3)
  const { client, backend, splice } = await scene(t, { watch: true, glued: { fromBackend } })
  splice.close(1012, 'restart')
  client.write(ANSWERS.client)
  backend.write('abc')
  assert.deepEqual(await receive(client), digest(fromBackend, Buffer.from('abc'), CLOSE_1012))
  client.end()
  backend.end()
  await splice.ended
})

test('the read limit closes with 1001', async t => {
  const { client, backend, splice } = await scene(t, { watch: true, read: 100 })
  const [atClient, atBackend] = await Promise.all([receive(client), receive(backend)])
  assert.deepEqual(atClient, digest(Buffer.from('880603e9' + Buffer.from('idle').toString('hex'), 'hex')))
  assert.equal(atBackend.bytes, 12)
  client.end()
  backend.end()
  assert.equal((await splice.ended).how, 'read')
  await noSocketLeft()
})

test('a backend that is lost is told to the client with 1011, a client that is lost to the backend with 1001', async t => {
  for (const [which, code] of [
    ['server', 1001],
    ['client', 1011]
  ] as const) {
    const talk = await conversation(t, { watch: true })
    const told = closing(talk[which])
    if (which === 'client') rst((talk.server as unknown as { _socket: Socket })._socket)
    else rst((talk.client as unknown as { _socket: Socket })._socket)
    assert.equal((await told)[0], code)
    assert.equal((await talk.splice.ended).how, 'reset')
  }
})

test('in the middle of a frame a loss is a reset, as without watch', async t => {
  const { client, backend, splice } = await scene(t, { watch: true })
  client.resume()
  const reset = once(client, 'error') as Promise<[NodeJS.ErrnoException]>
  backend.write(header(10))
  await until(() => splice.bytes === 10, 'the header is through')
  rst(backend)
  assert.equal((await reset)[0].code, 'ECONNRESET')
  assert.equal((await splice.ended).how, 'reset')
})

for (const [client, backend] of [
  ['tcp', 'tcp'],
  ['tls', 'unix'],
  ['unix', 'tls']
] as [Kind, Kind][]) {
  test(`${client} to ${backend}: bytes pass unchanged when frames are watched (seed ${seed})`, async t => {
    const random = randomFrom(seed)
    const parts = Array.from({ length: 60 }, () => {
      const payload = randomBytes(Math.floor(random() ** 3 * 200_000))
      return Buffer.concat([header(payload.length), payload])
    })
    const bytes = Buffer.concat(parts)
    const peers = await scene(t, { client, backend, watch: true })
    const received = [receive(peers.client), receive(peers.backend)]
    // With numbers of their own: which of the two sends next is chance.
    await Promise.all([
      send(peers.client, bytes, randomFrom(seed + 1)),
      send(peers.backend, bytes, randomFrom(seed + 2))
    ])
    for (const each of await Promise.all(received)) assert.deepEqual(each, digest(bytes))
    assert.equal((await peers.splice.ended).how, 'fin')
  })
}
