import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import test from 'node:test'
import type { TestContext } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { WebSocket } from 'ws'
import type { GatewayOptions } from '../src/index.ts'
import { createGateway } from '../src/index.ts'
import { accept, backend, echo, webSocketServer } from './support/gate-backend.ts'
import type { Line } from './support/gate-host.ts'
import { host, recorder, settled } from './support/gate-host.ts'
import { ask, certificate, handshake, tunnel } from './support/gate-peer.ts'

/** A gateway with a server of its own that speaks TLS. */
async function alone(
  t: TestContext,
  servers: GatewayOptions['upstream']['servers']
): Promise<{ port: number; lines: Line[] }> {
  const { log, lines } = recorder()
  const gateway = createGateway({ upstream: { servers }, log })
  const server = await gateway.listen({ host: '127.0.0.1', tls: certificate })
  t.after(async () => {
    await gateway.close()
    await settled(gateway)
  })
  return { port: (server.address() as { port: number }).port, lines }
}

test('wss by listen({ tls }): messages pass, and the backend is told that it was https', async t => {
  const { port, webSockets } = await webSocketServer(t, 'a')
  const gate = await alone(t, [`127.0.0.1:${port}`])
  const joined = once(webSockets, 'connection') as Promise<[WebSocket, { headers: Record<string, string> }]>
  const client = new WebSocket(`wss://localhost:${gate.port}/`, { ca: certificate.cert, family: 4 })
  await once(client, 'open')
  client.send('hello')
  const [data] = (await once(client, 'message')) as [Buffer]
  assert.equal(data.toString(), 'hello')
  const [, { headers }] = await joined
  assert.equal(headers['x-forwarded-proto'], 'https')
  assert.equal(headers['x-forwarded-host'], `localhost:${gate.port}`)
  client.terminate()
})

test("on TLS what the backend says after the client's end arrives, and the other way round", async t => {
  const late = randomBytes(2_000_000)
  const { address, peers } = await backend(t, async peer => {
    await accept(peer)
    await peer.rest()
    peer.socket.end(late)
  })
  const gate = await alone(t, [address])
  const client = await tunnel(t, gate.port, { tls: true })
  client.socket.end('the end')
  assert.ok((await client.rest()).equals(late))

  const other = await backend(t, async peer => {
    await accept(peer)
    peer.socket.end('the end')
  })
  const second = await alone(t, [other.address])
  const late2 = await tunnel(t, second.port, { tls: true })
  assert.equal((await late2.rest()).toString(), 'the end')
  late2.socket.end(late)
  assert.ok((await other.peers[0]!.rest()).equals(late))
  assert.equal(peers.length, 1)
})

test('bytes that are glued to a handshake on TLS arrive first', async t => {
  const { address, peers } = await backend(t, async peer => accept(peer, 'first'))
  const gate = await alone(t, [address])
  const { peer, head } = await ask(t, gate.port, `${handshake()}first`, { tls: true })
  assert.equal(head.status, 101)
  assert.equal((await peer.take(5)).toString(), 'first')
  assert.equal((await peers[0]!.take(5)).toString(), 'first')
})

test('a refusal on TLS is a whole answer too', async t => {
  const gate = await alone(t, ['127.0.0.1:1'])
  const { peer, head } = await ask(t, gate.port, handshake(), { tls: true })
  assert.equal(head.status, 502)
  assert.equal((await peer.rest()).length, Number(head.values('content-length')[0]))
})

test('TLS to a backend: its name is sent, its certificate is checked', async t => {
  const behind = await backend(t, async peer => accept(peer, 'hello'), { tls: true })
  const names: unknown[] = []
  behind.server.on('secureConnection', (socket: TLSSocket & { servername?: string }) =>
    names.push(socket.servername)
  )
  const tls = { ca: certificate.cert }
  for (const server of [
    { host: 'localhost', port: behind.port, tls },
    { host: '127.0.0.1', port: behind.port, tls: { ...tls, servername: 'localhost' } },
    { host: '127.0.0.1', port: behind.port, tls },
    { host: '127.0.0.1', port: behind.port, tls: { rejectUnauthorized: false } }
  ]) {
    const gate = await host(t, [server])
    const client = await tunnel(t, gate.port)
    assert.equal((await client.take(5)).toString(), 'hello')
  }
  assert.deepEqual(names, ['localhost', 'localhost', false, false])
})

for (const [what, tls] of [
  ['is signed by a stranger', true],
  ['is for another name', { ca: certificate.cert, servername: 'other.test' }]
] as const) {
  test(`a backend whose certificate ${what} is not believed: the next server, or 502`, async t => {
    const behind = await backend(t, async peer => accept(peer), { tls: true })
    const server = { host: '127.0.0.1', port: behind.port, tls }
    const gate = await host(t, [server])
    assert.equal((await ask(t, gate.port)).head.status, 502)
    assert.equal(gate.lines[0]!.fields['code'], 'ERR_RINGWAY_CONNECT_FAILED')

    const plain = await echo(t)
    const both = await host(t, [server, plain.address])
    for (let i = 1; i <= 10; i++) await tunnel(t, both.port, { from: `127.6.0.${i}` })
    assert.deepEqual(
      behind.peers.filter(peer => peer.unread.length > 0),
      []
    )
  })
}

test('a backend that speaks plain text where TLS is due, and the other way round: 502', async t => {
  const plain = await backend(t, async peer => accept(peer))
  const secure = await backend(t, async peer => accept(peer), { tls: true })
  for (const server of [{ host: '127.0.0.1', port: plain.port, tls: true }, secure.address]) {
    const gate = await host(t, [server], { timeouts: { connect: 2_000, handshake: 2_000 } })
    const { head } = await ask(t, gate.port)
    assert.ok([502, 504].includes(head.status), head.text)
  }
})
