import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { acceptProxy, ConfigError } from '../src/index.ts'
import type { AcceptProxyOptions } from '../src/index.ts'
import { arrived, fronted, HEADER, HEADERS, plainClient, startTls, whose } from './support/fronted.ts'
import { listen } from './support/gate-backend.ts'
import { recorder } from './support/gate-host.ts'
import { certificate, Peer } from './support/gate-peer.ts'
import { until } from './support/gate-waiting.ts'

const GET = 'GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n'

function changed(header: Buffer, at: number, byte: number): Buffer {
  const other = Buffer.from(header)
  other[at] = byte
  return other
}

/** What is no header. */
const BAD: readonly [name: string, bytes: Buffer][] = [
  ['a request without a header', Buffer.from(GET)],
  ['a TLS hello without a header', Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01])],
  ['a line that never ends', Buffer.from(`PROXY UNKNOWN ${'a'.repeat(100)}`)],
  ['a line with an address too few', Buffer.from('PROXY TCP4 192.0.2.1 1 2\r\n')],
  ['a line with an address of the other family', Buffer.from('PROXY TCP4 ::1 ::1 1 2\r\n')],
  ['a line with a port beyond 65535', Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.1 65536 2\r\n')],
  ['a v2 with another signature', changed(HEADER, 11, 0x0d)],
  ['a v2 of another version', changed(HEADER, 12, 0x11)],
  ['a v2 with an unknown command', changed(HEADER, 12, 0x22)],
  ['a v2 that is too short for its addresses', changed(HEADER, 15, 11)]
]

for (const [name, bytes] of BAD) {
  test(`${name} ends the connection with one line in the log, and the server hears of nothing`, async t => {
    const server = await fronted(t, createServer())
    const client = await plainClient(t, server.port)
    const peer = new Peer(client)
    const port = client.localPort
    client.write(bytes)
    await peer.left()
    assert.equal(server.shown.length, 0)
    const [line, ...more] = server.lines
    assert.equal(more.length, 0)
    assert.equal(line!.level, 'warn')
    assert.equal(line!.message, 'PROXY header refused')
    const { address, port: from, code, error } = line!.fields
    assert.deepEqual([address, from, code], ['127.0.0.1', port, 'ERR_RINGWAY_BAD_PROXY_HEADER'])
    assert.match((error as Error).message, /^The PROXY header is invalid: /)
    const raw = server.raw.get(port)!
    assert.deepEqual([raw.listenerCount('readable'), raw.listenerCount('close')], [0, 0])
  })
}

test('a header that is late ends the connection, however much of it came meanwhile; no time counts behind it', async t => {
  const server = await fronted(t, createServer(), { timeout: 1_000 })
  const inTime = new Peer(await plainClient(t, server.port))
  inTime.write(HEADER)
  const silent = new Peer(await plainClient(t, server.port))
  const begun = performance.now()
  const dribbling = new Peer(await plainClient(t, server.port))
  for (let at = 0; performance.now() - begun < 500; at++) {
    dribbling.write(HEADER.subarray(at, at + 1)) // of 28
    await arrived(server, dribbling.socket, at + 1)
    if (at === HEADER.length - 2) break
  }
  await dribbling.left()
  assert.ok(performance.now() - begun >= 990)
  await silent.left()
  assert.deepEqual(
    server.lines.map(line => line.fields['code']),
    ['ERR_RINGWAY_PROXY_HEADER_TIMEOUT', 'ERR_RINGWAY_PROXY_HEADER_TIMEOUT']
  )
  assert.equal(server.shown.length, 1)
  assert.equal(inTime.closed, false)
})

test('a header that is cut off by a FIN or a reset is told; a connection without a byte is a probe, which is not', async t => {
  const server = await fronted(t, createServer())
  const [fin, reset, probe, resetProbe] = [
    new Peer(await plainClient(t, server.port)),
    new Peer(await plainClient(t, server.port)),
    new Peer(await plainClient(t, server.port)),
    new Peer(await plainClient(t, server.port))
  ]
  const raw = [...server.raw.values()]
  for (const { socket } of [fin, reset]) {
    socket.write(HEADER.subarray(0, 20))
    await arrived(server, socket, 20)
  }
  fin.socket.end()
  reset.reset()
  probe.socket.end()
  resetProbe.reset()
  await until(() => raw.length === 4 && raw.every(socket => socket.closed), 'all are closed')
  assert.deepEqual(
    server.lines.map(({ fields }) => (fields['error'] as Error).message),
    ['The PROXY header was cut off', 'The PROXY header was cut off']
  )
  assert.equal(server.shown.length, 0)
})

test('a peer that is not trusted is left alone: its header is a bad request, its request is served', async t => {
  const app = createHttpServer(({ socket }, response) => response.end(socket.remoteAddress))
  const server = await fronted(t, app, { from: ['127.0.0.1', '10.0.0.0/8'] })
  const liar = new Peer(await plainClient(t, server.port, '127.0.0.9'))
  liar.write(Buffer.concat([HEADERS[0]![1], Buffer.from(GET)]))
  assert.equal((await liar.head()).status, 400)
  const liarOfV2 = new Peer(await plainClient(t, server.port, '127.0.0.9'))
  liarOfV2.write(Buffer.concat([HEADER, Buffer.from(GET)]))
  assert.equal((await liarOfV2.head()).status, 400)
  const plain = new Peer(await plainClient(t, server.port, '127.0.0.9'))
  plain.write(GET)
  assert.equal((await plain.head()).status, 200)
  assert.equal((await plain.take(9)).toString(), '127.0.0.9')
  assert.deepEqual(server.lines, [])
})

test('a second header, and one within TLS, is not believed', async t => {
  const http = await fronted(
    t,
    createHttpServer((_, response) => response.end())
  )
  const one = new Peer(await plainClient(t, http.port))
  one.write(Buffer.concat([HEADERS[3]![1], HEADER, Buffer.from(GET)]))
  assert.equal((await one.head()).status, 400)

  const bytes: Buffer[] = []
  const tls = await fronted(
    t,
    createTlsServer(certificate, socket => {
      socket.on('error', () => {}).on('data', (chunk: Buffer) => bytes.push(chunk))
      socket.once('data', () => socket.end(whose(socket)))
    })
  )
  const client = await plainClient(t, tls.port)
  const itself = `127.0.0.1 ${client.localPort} IPv4`
  const two = new Peer(await startTls(client, HEADERS[3]![1]))
  two.write(HEADER)
  assert.equal((await two.rest()).toString(), itself)
  assert.deepEqual(Buffer.concat(bytes), HEADER)
})

test('a connection that one server reads and another is handed has one header', async t => {
  const behind = createHttpServer(({ socket }, response) => response.end(whose(socket)))
  const { log } = recorder()
  acceptProxy(behind, { from: ['0.0.0.0/0'], log })
  const front = await fronted(
    t,
    createServer(socket => void behind.emit('connection', socket))
  )
  const peer = new Peer(await plainClient(t, front.port))
  peer.write(Buffer.concat([HEADER, Buffer.from(GET)]))
  await peer.head()
  assert.equal((await peer.take(22)).toString(), '203.0.113.7 51000 IPv4')
})

function answer(socket: Socket): void {
  socket.on('error', () => {}).end(whose(socket))
}

test('peers on a Unix socket are trusted as `unix:`', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'ringway-'))
  t.after(async () => rm(folder, { recursive: true }))
  for (const tls of [false, true]) {
    const server = tls ? createTlsServer(certificate, answer) : createServer(answer)
    const { log } = recorder()
    acceptProxy(server, { from: ['unix:'], log })
    const path = join(folder, `socket-${tls}`)
    server.listen(path)
    await once(server, 'listening')
    t.after(() => server.close())
    const client = connect(path)
    if (!tls) client.write(HEADER)
    const peer = new Peer(tls ? await startTls(client, HEADER) : client)
    assert.equal((await peer.rest()).toString(), '203.0.113.7 51000 IPv4')
  }
})

test('undone: those who wait are cut off, others come as they are, and the server is as it was', async t => {
  const server = createHttpServer(({ socket }, response) => response.end(socket.remoteAddress))
  const { log, lines } = recorder()
  const undo = acceptProxy(server, { from: ['loopback'], log })
  const port = await listen(t, server)
  const served = new Peer(await plainClient(t, port))
  served.write(Buffer.concat([HEADER, Buffer.from(GET)]))
  await served.head()
  const waiting = new Peer(await plainClient(t, port))
  await new Promise<void>(resolve => {
    server.getConnections(function look(_, count) {
      if (count === 2) resolve()
      else server.getConnections(look)
    })
  })
  undo()
  undo[Symbol.dispose]()
  await waiting.left()
  assert.deepEqual(lines, [])
  assert.equal(Object.hasOwn(server, 'emit'), false)

  const plain = new Peer(await plainClient(t, port))
  plain.write(GET)
  assert.equal((await plain.head()).status, 200)
  await served.take(11)
  served.write(GET)
  await served.head()
  assert.equal((await served.take(11)).toString(), '203.0.113.7')

  const again = acceptProxy(server, { from: ['loopback'], log })
  const other = new Peer(await plainClient(t, port))
  other.write(Buffer.concat([HEADER, Buffer.from(GET)]))
  assert.equal((await other.head()).status, 200)
  again()
})

test('undone where somebody stands in front of it, it stays there and lets all pass', async t => {
  const server = createHttpServer((_, response) => response.end())
  const front = await fronted(t, server) // which puts an `emit` of its own in front
  front.undo()
  const peer = new Peer(await plainClient(t, front.port))
  peer.write(GET)
  assert.equal((await peer.head()).status, 200)
})

/** What can't be used. */
const MISUSE: [what: string, field: string, options: unknown][] = [
  ['nothing', 'options', undefined],
  ['no peers', 'from', {}],
  ['an empty list of peers', 'from', { from: [] }],
  ['peers as a text', 'from', { from: '10.0.0.0/8' }],
  ['a peer that is no address', 'from[1]', { from: ['::1', 'sre1'] }],
  ['a network with bits beyond its prefix', 'from[0]', { from: ['10.0.0.1/8'] }],
  ['a timeout of 0', 'timeout', { from: ['::1'], timeout: 0 }],
  ['a timeout that is a text', 'timeout', { from: ['::1'], timeout: '5s' }],
  ['a log that is a function', 'log', { from: ['::1'], log: () => {} }],
  ['an unknown option', 'trust', { from: ['::1'], trust: ['::1'] }]
]

for (const [what, field, options] of MISUSE) {
  test(`acceptProxy with ${what}: a ConfigError that names ${field}, and the server is left alone`, () => {
    const server = createServer()
    assert.throws(
      () => acceptProxy(server, options as AcceptProxyOptions),
      (error: unknown) => error instanceof ConfigError && error.field === field
    )
    assert.equal(Object.hasOwn(server, 'emit'), false)
    acceptProxy(server, { from: ['::1'] })()
  })
}

function isOfServer(error: unknown): boolean {
  return error instanceof ConfigError && error.field === 'server'
}

test('acceptProxy of what is no server, or of one that has it already: a ConfigError that names server', () => {
  for (const server of [undefined, {}, 8080]) {
    assert.throws(() => acceptProxy(server as never, { from: ['::1'] }), isOfServer)
  }
  const server = createServer()
  using _ = acceptProxy(server, { from: ['::1'] })
  assert.throws(() => acceptProxy(server, { from: ['::1'] }), isOfServer)
})
