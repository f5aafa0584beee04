import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import test from 'node:test'
import { WebSocket } from 'ws'
import { accept, backend, echo, webSocketServer } from './support/gate-backend.ts'
import { host } from './support/gate-host.ts'
import { dial, handshake, switching, tunnel } from './support/gate-peer.ts'

const MIB = 1024 * 1024
const SIZES = [0, 1, 125, 126, 65_535, 65_536, 1_000_003, 8 * MIB]

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Sends random messages of all sizes from one to the other, and sees that they come whole and in order. */
async function pass(from: WebSocket, to: WebSocket): Promise<void> {
  const sent = SIZES.map(size => randomBytes(size))
  const got: string[] = []
  const all = new Promise<void>(resolve => {
    to.on('message', data => {
      if (got.push(sha256(data as Buffer)) === sent.length) resolve()
    })
  })
  for (const message of sent) from.send(message)
  await all
  assert.deepEqual(got, sent.map(sha256))
}

for (const { front, tls, sharedReads } of [
  { front: '', tls: false, sharedReads: true },
  { front: ' by streams', tls: false, sharedReads: false },
  { front: ' over TLS', tls: true, sharedReads: true }
]) {
  test(`random messages of 0 to 8 MiB pass both ways at once through ws${front}`, async t => {
    const { port, webSockets } = await webSocketServer(t, 'a')
    const gate = await host(t, [`127.0.0.1:${port}`], { sharedReads }, { tls })
    const joined = once(webSockets, 'connection') as Promise<[WebSocket]>
    const client = new WebSocket(`${tls ? 'wss' : 'ws'}://127.0.0.1:${gate.port}/`, {
      rejectUnauthorized: false
    })
    await once(client, 'open')
    const [server] = await joined
    server.removeAllListeners('message') // it doesn't send back: it has messages of its own
    await Promise.all([pass(client, server), pass(server, client)])
    client.terminate()
  })

  test(`random bytes pass both ways at once, up to the FIN of each side${front}`, async t => {
    const fromBackend = SIZES.map(size => randomBytes(size))
    const { address, peers } = await backend(t, async peer => {
      await accept(peer)
      peer.socket.end(Buffer.concat(fromBackend))
    })
    const gate = await host(t, [address], { sharedReads }, { tls })
    const client = await tunnel(t, gate.port, { tls })
    const fromClient = SIZES.map(size => randomBytes(size))
    client.socket.end(Buffer.concat(fromClient))
    const [atClient, atBackend] = await Promise.all([client.rest(), peers[0]!.rest()])
    assert.equal(sha256(atClient), sha256(Buffer.concat(fromBackend)))
    assert.equal(sha256(atBackend), sha256(Buffer.concat(fromClient)))
  })

  test(`after one side's FIN the other still says all that it has${front}`, async t => {
    const late = randomBytes(3 * MIB)
    const { address } = await backend(t, async peer => {
      await accept(peer)
      await peer.rest()
      peer.socket.end(late)
    })
    const gate = await host(t, [address], { sharedReads }, { tls })
    const client = await tunnel(t, gate.port, { tls })
    client.socket.end('that is all')
    assert.equal(sha256(await client.rest()), sha256(late))
  })
}

test('http-proxy 473: frames glued to the handshake arrive first, in both directions, wherever the handshake is split', async t => {
  const { address, peers } = await backend(t, async peer => accept(peer, 'first of the backend'))
  const gate = await host(t, [address])
  const text = Buffer.from(`${handshake()}first of the client`)
  for (let at = 1; at <= text.length; at++) {
    const client = await dial(t, gate.port)
    client.write(text.subarray(0, at))
    // Reading its answer is no way to know that the first part came: there is none yet.
    await new Promise<void>(resolve => setImmediate(resolve))
    if (at < text.length) client.write(text.subarray(at))
    assert.equal((await client.head()).status, 101)
    assert.equal((await client.take(20)).toString(), 'first of the backend')
    const server = peers.at(-1)!
    assert.equal((await server.take(19)).toString(), 'first of the client')
    client.write('second')
    assert.equal((await server.take(6)).toString(), 'second')
    server.write('second')
    assert.equal((await client.take(6)).toString(), 'second')
    client.socket.destroy()
    server.socket.destroy()
  }
})

test('a megabyte glued to the handshake waits for the 101 of a slow backend, and arrives whole', async t => {
  const glued = randomBytes(MIB)
  const { address, peers, server } = await backend(t, () => {})
  const gate = await host(t, [address])
  const client = await dial(t, gate.port)
  const dialled = once(server, 'connection')
  client.write(Buffer.concat([Buffer.from(handshake()), glued]))
  await dialled
  const head = await peers[0]!.head()
  assert.equal(peers[0]!.unread.length, 0)
  peers[0]!.write(switching(head.values('sec-websocket-key')[0]!))
  assert.equal((await client.head()).status, 101)
  assert.equal(sha256(await peers[0]!.take(MIB)), sha256(glued))
})

test('ws 1620, fastify-http-proxy: a sender behind a reader that has stopped is stopped too', async t => {
  const { address } = await echo(t)
  const gate = await host(t, [address])
  const client = await tunnel(t, gate.port)
  client.socket.pause()
  const chunk = randomBytes(MIB)
  let written = 0
  // Until nothing of it moves any more: more than all buffers hold.
  while (written < 300) {
    const taken = client.socket.write(chunk)
    written++
    if (taken) continue
    const moved = await Promise.race([
      once(client.socket, 'drain').then(() => true),
      new Promise<false>(resolve => setTimeout(resolve, 500, false))
    ])
    if (!moved) break
  }
  assert.ok(written < 100, `${written} MiB were taken`)
  client.socket.resume()
  const back = Buffer.concat(Array.from({ length: written }, () => chunk))
  assert.equal(sha256(await client.take(back.length)), sha256(back))
})
