import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import test from 'node:test'
import { accept, backend, listen } from './support/gate-backend.ts'
import { host, settled } from './support/gate-host.ts'
import { ask, dial, handshake, KEY } from './support/gate-peer.ts'
import type { Peer } from './support/gate-peer.ts'
import { until } from './support/gate-waiting.ts'

const GOOD = handshake('/')

function without(name: string): string {
  return GOOD.replace(new RegExp(`${name}: .*\r\n`), '')
}

function instead(line: string, other: string): string {
  assert.ok(GOOD.includes(line))
  return GOOD.replace(line, other)
}

/** What must be refused, by the status that tells so. */
const REFUSED: [what: string, status: number, text: string][] = [
  ['POST', 400, instead('GET / ', 'POST / ')],
  ['POST with a body', 400, `${handshake('/', 'Content-Length: 4').replace('GET', 'POST')}body`],
  ['HTTP/1.0', 400, instead('HTTP/1.1', 'HTTP/1.0')],
  [
    'an Upgrade to a list that holds websocket',
    400,
    instead('Upgrade: websocket', 'Upgrade: websocket, h2c')
  ],
  [
    'an Upgrade to a list that ends in websocket',
    400,
    instead('Upgrade: websocket', 'Upgrade: h2c, websocket')
  ],
  ['two Upgrade headers', 400, handshake('/', 'Upgrade: websocket')],
  ['two Upgrade headers, h2c and websocket', 400, handshake('/', 'Upgrade: h2c')],
  ['no version', 400, without('Sec-WebSocket-Version')],
  ['version 8', 426, instead('Version: 13', 'Version: 8')],
  ['version 13 and 8', 426, instead('Version: 13', 'Version: 13, 8')],
  ['the version twice', 400, handshake('/', 'Sec-WebSocket-Version: 13')],
  ['no key', 400, without('Sec-WebSocket-Key')],
  ['a short key', 400, instead(KEY, 'c2hvcnQ=')],
  ['a long key', 400, instead(KEY, `${KEY}${KEY}`)],
  ['a key that is no base64', 400, instead(KEY, '#'.repeat(24))],
  ['the key twice', 400, handshake('/', `Sec-WebSocket-Key: ${KEY}`)],
  ['no Host', 400, without('Host')],
  ['two Hosts', 400, handshake('/', 'Host: other.test')],
  ['a Host with a path', 400, instead('Host: gate.test', 'Host: gate.test/a')],
  ['a Host with a space', 400, instead('Host: gate.test', 'Host: gate test')],
  ['an empty Host', 400, instead('Host: gate.test', 'Host:')],
  ['two lengths', 400, `${handshake('/', 'Content-Length: 0', 'Content-Length: 4')}body`],
  ['the same length twice', 400, `${handshake('/', 'Content-Length: 4', 'Content-Length: 4')}body`],
  [
    'a length and chunks',
    400,
    `${handshake('/', 'Content-Length: 4', 'Transfer-Encoding: chunked')}0\r\n\r\n`
  ],
  ['a body', 400, `${handshake('/', 'Content-Length: 4')}body`],
  ['a body in chunks', 400, `${handshake('/', 'Transfer-Encoding: chunked')}4\r\nbody\r\n0\r\n\r\n`],
  ['a negative length', 400, handshake('/', 'Content-Length: -1')],
  ['a length with a plus', 400, handshake('/', 'Content-Length: +0')],
  ['a folded header', 400, handshake('/', 'X-A: b\r\n c')],
  ['bare line feeds', 400, GOOD.replaceAll('\r\n', '\n')],
  ['one bare line feed', 400, handshake('/', 'X-A: b\nX-C: d')],
  ['a bare carriage return', 400, handshake('/', 'X-A: b\rX-C: d')],
  ['a NUL in a value', 400, handshake('/', 'X-A: b\0c')],
  ['a space before the colon', 400, handshake('/', 'X-A : b')],
  ['a name with a space', 400, handshake('/', 'X A: b')],
  ['an absolute target', 400, handshake('http://gate.test/')],
  ['an absolute target of ws', 400, handshake('ws://gate.test/')],
  ['a target that begins with two slashes', 400, handshake('//evil.test/')],
  ['a target that begins with a slash and a backslash', 400, handshake('/\\evil.test/')],
  ['a target that is a star', 400, handshake('*')],
  ['a target with a control character', 400, handshake('/a\x01b')],
  ['a target with a space', 400, handshake('/a b')],
  [
    'a Connection that names the key',
    400,
    instead('Connection: Upgrade', 'Connection: Upgrade, Sec-WebSocket-Key')
  ],
  ['a Connection that names Host', 400, instead('Connection: Upgrade', 'Connection: Upgrade, host')],
  ['an Expect header', 400, handshake('/', 'Expect: 100-continue')],
  ['a head of 100 KiB', 431, handshake('/', `X-A: ${'a'.repeat(100_000)}`)],
  [
    'a thousand headers of 100 bytes',
    431,
    handshake('/', ...Array.from({ length: 1000 }, () => `X-A: ${'a'.repeat(95)}`))
  ]
]

for (const [what, status, text] of REFUSED) {
  test(`${what}: ${status}, and nothing reaches a backend`, async t => {
    const { address, peers } = await backend(t, async peer => accept(peer))
    const { gateway, port } = await host(t, [address])
    const client = await dial(t, port)
    client.write(text)
    const head = await client.head()
    assert.equal(head.status, status, head.text)
    if (status === 426) assert.deepEqual(head.values('sec-websocket-version'), ['13'])
    await client.left()
    assert.equal(peers.length, 0)
    await settled(gateway)
    assert.equal((await ask(t, port)).head.status, 101)
  })
}

test("what is no upgrade to websocket is the app's, and reaches no backend", async t => {
  const { address, peers } = await backend(t, async peer => accept(peer))
  const { port } = await host(t, [address])
  for (const text of [
    GOOD.replace('Upgrade: websocket', 'Upgrade: h2c'),
    GOOD.replace('Connection: Upgrade', 'Connection: close'),
    without('Upgrade').replace('Connection: Upgrade', 'Connection: close')
  ]) {
    const { peer, head } = await ask(t, port, text)
    assert.equal(head.status, 200, head.text)
    peer.socket.destroy()
  }
  assert.equal(peers.length, 0)
})

test('Connection: close, Upgrade is a good handshake', async t => {
  const { address, peers } = await backend(t, async peer => accept(peer))
  const { port } = await host(t, [address])
  const text = GOOD.replace('Connection: Upgrade', 'Connection: close, Upgrade')
  assert.equal((await ask(t, port, text)).head.status, 101)
  assert.equal(peers.length, 1)
})

test('a head whose bytes come one by one is answered as one that comes whole', async t => {
  const { address } = await backend(t, async peer => accept(peer))
  const { port } = await host(t, [address])
  const client = await dial(t, port)
  for (const byte of Buffer.from(GOOD)) {
    await new Promise<void>(resolve => client.socket.write(Buffer.of(byte), () => resolve()))
  }
  assert.equal((await client.head()).status, 101)
})

test('a head that never ends: 408, and nothing reaches a backend', async t => {
  const { address, peers } = await backend(t, async peer => accept(peer))
  const { gateway } = await host(t, [address])
  const server = createServer({ connectionsCheckingInterval: 20, headersTimeout: 100, requestTimeout: 100 })
  gateway.attach(server)
  const client = await dial(t, await listen(t, server))
  client.write('GET / HTTP/1.1\r\nHost: gate.test\r\nUpgrade: websocket\r\n')
  assert.equal((await client.head()).status, 408)
  await client.left()
  assert.equal(peers.length, 0)
})

test('5,000 half requests are held, and a good client connects', async t => {
  const { address } = await backend(t, async peer => accept(peer))
  const { port, server } = await host(t, [address])
  const halves: Peer[] = []
  let accepted = 0
  server.on('connection', () => accepted++)
  for (let batch = 0; batch < 50; batch++) {
    const dials = Array.from({ length: 100 }, async (_, i) =>
      dial(t, port, { from: `127.40.${batch}.${i + 1}` })
    )
    for (const half of await Promise.all(dials)) {
      half.write('GET / HTTP/1.1\r\nHost: gate.test\r\nUpgrade: web')
      halves.push(half)
    }
    await until(() => accepted === 100 * (batch + 1), 'all are accepted')
  }
  const started = process.cpuUsage() // ours alone, however busy the machine is
  assert.equal((await ask(t, port)).head.status, 101)
  assert.ok(process.cpuUsage(started).user < 1_000_000)
  assert.ok(halves.every(({ ended, closed }) => !ended && !closed))
})
