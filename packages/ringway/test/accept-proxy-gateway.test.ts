import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import test from 'node:test'
import { ConfigError, acceptProxy, createGateway } from '../src/index.ts'
import type { ListenOptions, Tunnel } from '../src/index.ts'
import { HEADER, HEADERS, plainClient, startTls } from './support/fronted.ts'
import { accept, backend, listen, REFUSED } from './support/gate-backend.ts'
import { recorder, settled } from './support/gate-host.ts'
import { certificate, handshake, Peer } from './support/gate-peer.ts'
import type { Head } from './support/gate-peer.ts'
import { openTunnel, connectHead, http2Host } from './support/h2-host.ts'
import { listening, proxiedBackend } from './support/proxied.ts'

const acceptTrusted = { from: ['loopback'] }
const GET = 'GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n'
const H2C = GET.replace(
  '\r\n\r\n',
  '\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n'
)

for (const tls of [false, true]) {
  test(`the client that a header tells is in X-Forwarded-For, the key and the log${tls ? ', over TLS' : ''}`, async t => {
    const behind = await proxiedBackend(t)
    const how: ListenOptions = { acceptProxy: acceptTrusted, ...(tls ? { tls: certificate } : {}) }
    const { gateway, port, lines } = await listening(t, { servers: [behind.address], sendProxy: 'v2' }, how)
    const tunnels: Tunnel[] = []
    gateway.on('tunnel:open', tunnel => tunnels.push(tunnel))
    const socket = await plainClient(t, port)
    if (!tls) socket.write(HEADER)
    const client = new Peer(tls ? await startTls(socket, HEADER) : socket)

    // Plain requests and an upgrade on one connection.
    for (let i = 0; i < 2; i++) {
      client.write(GET)
      assert.equal((await client.head()).status, 200)
      await client.take(5)
    }
    client.write(handshake())
    assert.equal((await client.head()).status, 101)
    assert.equal((await client.take(5)).toString(), 'hello')

    assert.equal(behind.seen.length, 3)
    for (const { head, ends } of behind.seen) {
      assert.deepEqual(head.values('x-forwarded-for'), ['203.0.113.7'])
      assert.deepEqual(head.values('x-forwarded-proto'), [tls ? 'https' : 'http'])
      // The client that we were told of, and where it came out: at us.
      assert.deepEqual(ends, {
        source: { address: '203.0.113.7', port: 51_000 },
        destination: { address: '127.0.0.1', port }
      })
    }
    assert.deepEqual([tunnels[0]!.key, tunnels[0]!.address], ['203.0.113.7', '203.0.113.7'])
    client.socket.end()
    behind.seen[2]!.peer.socket.end()
    await settled(gateway)
    assert.deepEqual(
      lines.map(({ fields }) => fields['address']),
      ['203.0.113.7', '203.0.113.7', '203.0.113.7']
    )
  })
}

test('a client that no header tells is the peer itself; a header that is none is told in the log of the gateway', async t => {
  const behind = await proxiedBackend(t)
  const { port, lines } = await listening(
    t,
    { servers: [behind.address], sendProxy: 'v1' },
    { acceptProxy: acceptTrusted }
  )
  const socket = await plainClient(t, port)
  const { localPort } = socket
  const client = new Peer(socket)
  client.write(Buffer.concat([HEADERS.find(([name]) => name === 'v2 LOCAL')![1], Buffer.from(handshake())]))
  assert.equal((await client.head()).status, 101)
  assert.deepEqual(behind.seen[0]!.ends?.source, { address: '127.0.0.1', port: localPort })
  const other = new Peer(await plainClient(t, port))
  other.write(GET)
  await other.left()
  assert.deepEqual(
    lines.map(line => [line.message, line.fields['code']]),
    [['PROXY header refused', 'ERR_RINGWAY_BAD_PROXY_HEADER']]
  )
})

test('a tunnel over HTTP/2 has the client that the header of its connection tells', async t => {
  const heads: Head[] = []
  const { address } = await backend(t, async peer => void heads.push(await accept(peer)))
  const { log } = recorder()
  const host = await http2Host(
    t,
    [address],
    {},
    {
      tls: true,
      mount: (server, gateway) => {
        acceptProxy(server, { ...acceptTrusted, log })
        gateway.attach(server)
      }
    }
  )
  const secure = await startTls(await plainClient(t, host.port), HEADER, { ALPNProtocols: ['h2'] })
  const session = connectHttp2('https://localhost', { createConnection: () => secure })
  t.after(() => session.destroy())
  await new Promise<void>(resolve => session.once('remoteSettings', () => resolve()))
  await openTunnel(session, connectHead('/', { ':scheme': 'https' }))
  assert.deepEqual(heads[0]!.values('x-forwarded-for'), ['203.0.113.7'])
})

test('an offer of h2c, for which Node 20 sees the connection twice, is no second header', async t => {
  const { log } = recorder()
  await using gateway = createGateway({ upstream: { servers: [REFUSED] }, log })
  const server = createServer(({ socket }, response) => response.end(socket.remoteAddress))
  acceptProxy(server, { ...acceptTrusted, log })
  gateway.attach(server)
  const port = await listen(t, server)
  const client = new Peer(await plainClient(t, port))
  client.write(HEADER)
  for (let i = 0; i < 2; i++) {
    client.write(H2C)
    assert.equal((await client.head()).status, 200)
    assert.equal((await client.take(11)).toString(), '203.0.113.7')
  }
})

test('a gateway that closes waits for no header', async t => {
  const { gateway, port } = await listening(
    t,
    { servers: [REFUSED] },
    { acceptProxy: { from: ['loopback'], timeout: 2 ** 31 - 1 } }
  )
  const client = new Peer(await plainClient(t, port))
  client.write(HEADER.subarray(0, 5))
  await gateway.close()
  await client.left()
})

for (const [field, options] of [
  ['acceptProxy', true],
  ['acceptProxy', null],
  ['acceptProxy.from', {}],
  ['acceptProxy.from[0]', { from: ['localhost'] }],
  ['acceptProxy.timeout', { from: ['::1'], timeout: -1 }],
  ['acceptProxy.log', { from: ['::1'], log: {} }]
] as const) {
  test(`listen with acceptProxy ${JSON.stringify(options)}: a ConfigError that names ${field}`, async () => {
    await using gateway = createGateway({ upstream: { servers: [REFUSED] } })
    await assert.rejects(
      gateway.listen({ acceptProxy: options as never }),
      (error: unknown) => error instanceof ConfigError && error.field === field
    )
  })
}
