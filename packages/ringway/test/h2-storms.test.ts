import assert from 'node:assert/strict'
import { once } from 'node:events'
import { constants } from 'node:http2'
import type { Server, Socket } from 'node:net'
import test from 'node:test'
import { backend, echo } from './support/gate-backend.ts'
import { settled } from './support/gate-host.ts'
import { until, within } from './support/gate-waiting.ts'
import { connectHead, dialHttp2, http2Host, openTunnel, send } from './support/h2-host.ts'
import { RawHttp2 } from './support/h2-raw.ts'

/** A client's Close frame, masked. */
const CLOSE = Buffer.from('888000000000', 'hex')

/** The most connections that a server has at one time. */
function mostOf(server: Server): () => number {
  let open = 0
  let most = 0
  server.on('connection', (socket: Socket) => {
    most = Math.max(most, ++open)
    socket.once('close', () => open--)
  })
  return () => most
}

test('10,000 extended CONNECTs that are reset at once: few dials, others are served, nothing is left', async t => {
  const ROUNDS = 20
  const { address, peers, server } = await echo(t)
  const most = mostOf(server)
  const host = await http2Host(t, [address])
  const other = await openTunnel(await dialHttp2(t, host))
  for (let round = 0; round < ROUNDS; round++) {
    const raw = await RawHttp2.dial(t, host.port)
    raw.storm(1, 500, connectHead())
    other.write('hello')
    assert.equal((await other.take(5)).toString(), 'hello')
    raw.headers(1001, connectHead())
    assert.equal(await raw.answer(1001), '200')
    raw.peer.socket.destroy()
  }
  await until(() => host.streams() === 1, 'all others are gone')
  other.write('again')
  assert.equal((await other.take(5)).toString(), 'again')
  assert.ok(peers.length < 500, `${peers.length} connections to the backend`)
  assert.ok(most() < 100, `${most()} at one time`)
  other.socket.end()
  await other.gone()
  await settled(host.gateway)
})

test('a client that goes on with resets loses its connection, and nobody else does', async t => {
  const { address } = await echo(t)
  const host = await http2Host(t, [address])
  const other = await openTunnel(await dialHttp2(t, host))
  const raw = await RawHttp2.dial(t, host.port)
  raw.storm(1, 10_000, connectHead())
  await raw.goaway()
  raw.peer.socket.destroy()
  other.write('hello')
  assert.equal((await other.take(5)).toString(), 'hello')
  await until(() => host.streams() === 1, 'all others are gone')
})

test('a stream that is reset while its server is dialled ends the dial', async t => {
  const silent = await backend(t, () => {})
  const host = await http2Host(t, [silent.address])
  const session = await dialHttp2(t, host)
  const clients = Array.from({ length: 100 }, () => send(session))
  await until(() => silent.peers.length === 100, 'all are dialled')
  for (const client of clients) client.reset()
  await Promise.all(silent.peers.map(async peer => peer.left()))
  await settled(host.gateway)
  for (const { fields } of host.lines) assert.equal(fields['code'], 'ERR_RINGWAY_CLIENT_GONE')
  assert.equal(host.lines.length, 100)
})

test('close() with a drain ends all tunnels of a connection, each by a Close frame and END_STREAM', async t => {
  const { address } = await echo(t)
  const host = await http2Host(t, [address], { watch: true })
  const session = await dialHttp2(t, host)
  const clients = await Promise.all(Array.from({ length: 20 }, async () => openTunnel(session)))
  for (const client of clients) client.socket.on('end', () => client.socket.end())
  const closed = host.gateway.close({ drain: 500 })
  for (const client of clients) {
    assert.equal((await client.take(4)).toString('hex'), '880203e9')
    client.write(CLOSE)
    assert.equal((await client.rest()).length, 0)
    await client.gone()
    assert.equal(client.stream.rstCode, constants.NGHTTP2_NO_ERROR)
  }
  await closed
  assert.equal(session.destroyed, false)
})

test('a drained server ends its tunnels with 1012, and the client comes back to another', async t => {
  const [one, two] = [await echo(t), await echo(t)]
  const host = await http2Host(t, [one.address, two.address], { watch: true, upstream: { key: () => 'one' } })
  const session = await dialHttp2(t, host)
  const client = await openTunnel(session)
  const first = one.peers.length === 1 ? one : two
  await Promise.all([
    host.gateway.drain(first.address, { deadline: 10_000 }),
    (async () => {
      assert.equal((await client.take(4)).toString('hex').slice(4), '03f4')
      client.write(CLOSE)
      await client.rest()
      client.socket.end()
      await client.gone()
    })()
  ])
  await openTunnel(session)
  assert.equal(one.peers.length + two.peers.length, 2)
  assert.equal(first.peers.length, 1)
})

test('at close() handshakes that wait are told 503 and to come back, and the rest is cut at the deadline', async t => {
  const silent = await backend(t, () => {})
  const host = await http2Host(t, [silent.address])
  const session = await dialHttp2(t, host)
  const client = send(session)
  await until(() => silent.peers.length === 1, 'it waits')
  const closed = host.gateway.close({ drain: 100 })
  const answer = await client.answer()
  assert.deepEqual([answer[':status'], answer['retry-after']], [503, '5'])
  await client.gone()
  await closed
})

test('destroyed tunnels are CANCEL for the client', async t => {
  const { address } = await echo(t)
  const host = await http2Host(t, [address])
  const client = await openTunnel(await dialHttp2(t, host))
  await host.gateway.close()
  await client.gone()
  assert.equal(client.stream.rstCode, constants.NGHTTP2_CANCEL)
})

for (const code of ['NGHTTP2_NO_ERROR', 'NGHTTP2_INTERNAL_ERROR'] as const) {
  test(`a connection that its client destroys with ${code}: its tunnels end, those of others go on`, async t => {
    const { address } = await echo(t)
    const host = await http2Host(t, [address])
    const other = await openTunnel(await dialHttp2(t, host))
    const session = await dialHttp2(t, host)
    const clients = await Promise.all(Array.from({ length: 10 }, async () => openTunnel(session)))
    for (const client of clients) client.write('hello')
    session.destroy(undefined, constants[code])
    await until(() => host.gateway.stats().tunnels.active === 1, 'only the other is left')
    other.write('hello')
    assert.equal((await other.take(5)).toString(), 'hello')
  })
}

test('a client that closes its connection in good order goes on until its tunnels have ended', async t => {
  const { address } = await echo(t)
  const host = await http2Host(t, [address])
  const session = await dialHttp2(t, host)
  const client = await openTunnel(session)
  session.close()
  client.write('hello')
  assert.equal((await client.take(5)).toString(), 'hello')
  client.socket.end()
  await within(once(session, 'close'), 'its close')
  await settled(host.gateway)
})

test('garbage on a connection of HTTP/2 is no harm to the host', async t => {
  const { address } = await echo(t)
  // Node 20 hears nothing more of such a connection, not even its end: there it is this limit that ends the tunnel.
  const host = await http2Host(t, [address], { timeouts: { read: 500 } })
  const raw = await RawHttp2.dial(t, host.port)
  raw.headers(1, connectHead())
  assert.equal(await raw.answer(1), '200')
  raw.frame(0, 0, 1, Buffer.from('hello'))
  raw.frame(6, 0, 1, Buffer.alloc(3)) // a PING is no frame of a stream
  await raw.goaway()
  raw.peer.socket.destroy()
  await settled(host.gateway)
})
