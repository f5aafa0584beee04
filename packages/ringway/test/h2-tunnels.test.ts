import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { constants } from 'node:http2'
import test from 'node:test'
import { acceptKey } from '@ringway/tunnel'
import type { Peer } from './support/gate-peer.ts'
import { ask, handshake } from './support/gate-peer.ts'
import { accept, backend, echo, REFUSED } from './support/gate-backend.ts'
import { settled } from './support/gate-host.ts'
import { until } from './support/gate-waiting.ts'
import { connectHead, dialHttp2, http2Host, openTunnel, send } from './support/h2-host.ts'

const MIB = 1024 * 1024

for (const tls of [false, true]) {
  test(`an extended CONNECT is a tunnel: echo both ways${tls ? ', over TLS' : ''}`, async t => {
    const { address } = await echo(t)
    const host = await http2Host(t, [address], {}, { tls })
    const client = await openTunnel(await dialHttp2(t, host))
    for (const text of ['one', 'two', 'three']) {
      client.write(text)
      assert.equal((await client.take(text.length)).toString(), text)
    }
    client.socket.end()
    assert.equal((await client.rest()).length, 0)
    await client.gone()
    await settled(host.gateway)
    const [line] = host.lines
    assert.equal(host.lines.length, 1)
    assert.equal(line!.message, 'upgrade 101')
    assert.equal(line!.fields['method'], 'CONNECT')
    assert.equal(line!.fields['address'], '127.0.0.1')
    const { by, how, bytesToBackend, bytesToClient } = line!.fields
    assert.deepEqual([by, how, bytesToBackend, bytesToClient], ['client', 'fin', 11, 11])
  })
}

test('the backend gets a handshake of HTTP/1.1 with a key of ours, and the forwarding headers', async t => {
  const heads: string[] = []
  const { address } = await backend(t, async peer => {
    heads.push((await accept(peer)).text)
  })
  const host = await http2Host(t, [address], {}, { tls: true })
  const session = await dialHttp2(t, host)
  const head = connectHead('/chat?room=1', {
    ':scheme': 'https',
    origin: 'https://gate.test',
    cookie: ['a=1', 'b=2'],
    'sec-websocket-key': 'of no use',
    'sec-websocket-protocol': 'chat, superchat',
    'x-forwarded-for': '6.6.6.6',
    'x-text': 'caf\u00E9',
    te: 'trailers'
  })
  await openTunnel(session, head)
  await openTunnel(session, head)
  const keys = heads.map(text => /^Sec-WebSocket-Key: (.*)\r$/m.exec(text)![1]!)
  assert.notEqual(keys[0], keys[1])
  for (const key of keys) assert.equal(Buffer.from(key, 'base64').length, 16)
  assert.deepEqual(heads[0]!.trimEnd().split('\r\n'), [
    'GET /chat?room=1 HTTP/1.1',
    'Host: gate.test',
    'sec-websocket-version: 13',
    'origin: https://gate.test',
    'sec-websocket-protocol: chat, superchat',
    'x-text: caf\u00E9',
    'cookie: a=1; b=2',
    `Sec-WebSocket-Key: ${keys[0]}`,
    'X-Forwarded-For: 127.0.0.1',
    'X-Forwarded-Proto: https',
    'X-Forwarded-Host: gate.test',
    'Connection: Upgrade',
    'Upgrade: websocket'
  ])
})

test("the client gets the backend's choice and its other headers, and nothing of HTTP/1.1's handshake", async t => {
  const { address } = await backend(t, async peer => {
    const lines = [
      'Sec-WebSocket-Protocol: chat',
      'Sec-WebSocket-Extensions: permessage-deflate',
      'Set-Cookie: a=1',
      'Set-Cookie: b=2',
      'ETag: one',
      'ETag: two',
      'X-Of-Hop: 1',
      'Connection: X-Of-Hop',
      'Content-Length: 0'
    ]
    await accept(peer, '', ...lines)
  })
  const host = await http2Host(t, [address])
  const head = connectHead('/', {
    'sec-websocket-protocol': 'chat',
    'sec-websocket-extensions': 'permessage-deflate'
  })
  const client = await openTunnel(await dialHttp2(t, host), head)
  assert.deepEqual(Object.fromEntries(Object.entries(await client.answer())), {
    ':status': 200,
    'sec-websocket-protocol': 'chat',
    'sec-websocket-extensions': 'permessage-deflate',
    'set-cookie': ['a=1', 'b=2'],
    etag: 'one, two'
  })
})

test('a wrong Sec-WebSocket-Accept is 502: it is ours to check', async t => {
  const { address } = await backend(t, async peer => {
    await peer.head()
    const lines = ['HTTP/1.1 101 Hm', 'Connection: Upgrade', 'Upgrade: websocket']
    peer.write(`${[...lines, `Sec-WebSocket-Accept: ${acceptKey('another')}`].join('\r\n')}\r\n\r\n`)
  })
  const host = await http2Host(t, [address])
  const client = send(await dialHttp2(t, host))
  assert.equal((await client.answer())[':status'], 502)
  assert.equal((await client.rest()).toString(), '502 Bad Gateway: Bad Gateway\n')
  assert.equal(host.lines[0]!.fields['code'], 'ERR_RINGWAY_BAD_ANSWER')
})

test('a server that refuses is passed over', async t => {
  const { address } = await echo(t)
  const host = await http2Host(t, [REFUSED, address], { upstream: { key: () => 'one' } })
  const session = await dialHttp2(t, host)
  const clients = await Promise.all(Array.from({ length: 4 }, async () => openTunnel(session)))
  for (const client of clients) {
    client.write('hello')
    assert.equal((await client.take(5)).toString(), 'hello')
  }
})

for (const tls of [false, true]) {
  test(`1 MiB each way, and a side that takes nothing stops the other${tls ? ', over TLS' : ''}`, async t => {
    const bytes = randomBytes(MIB)
    const servers: Peer[] = []
    const { address } = await backend(t, async peer => {
      await accept(peer)
      servers.push(peer)
    })
    const host = await http2Host(t, [address], {}, { tls })
    const session = await dialHttp2(t, host)
    const client = await openTunnel(session)
    await until(() => servers.length === 1, 'the server has it')
    const server = servers[0]!
    client.write(bytes)
    server.write(bytes)
    assert.ok((await client.take(MIB)).equals(bytes))
    assert.ok((await server.take(MIB)).equals(bytes))

    // A client that takes nothing stops its own stream only, and nothing is lost.
    const other = await openTunnel(session)
    await until(() => servers.length === 2, 'the server has that too')
    client.stream.pause()
    let taken = 0
    const more = Buffer.concat(Array.from({ length: 16 }, () => bytes))
    server.socket.write(more, () => (taken = more.length))
    servers[1]!.write('hello')
    assert.equal((await other.take(5)).toString(), 'hello')
    assert.equal(taken, 0)
    assert.ok(host.gateway.stats().tunnels.active === 2)
    client.stream.resume()
    assert.ok((await client.take(more.length)).equals(more))

    // A server that takes nothing stops the client.
    server.socket.pause()
    taken = 0
    client.stream.write(more, () => (taken = more.length))
    other.write('hello')
    assert.equal((await servers[1]!.take(5)).toString(), 'hello')
    assert.equal(taken, 0)
    server.socket.resume()
    assert.ok((await server.take(more.length)).equals(more))
  })

  test(`a FIN is END_STREAM, and the other way round; the rest passes still${tls ? ', over TLS' : ''}`, async t => {
    const late = randomBytes(MIB)
    const { address, peers } = await backend(t, async peer => {
      const { text } = await accept(peer)
      if (text.includes('/server-first')) peer.socket.end('the end')
      else {
        assert.equal((await peer.rest()).toString(), 'the end')
        peer.socket.end(late)
      }
    })
    const host = await http2Host(t, [address], {}, { tls })
    const session = await dialHttp2(t, host)
    const first = await openTunnel(session)
    first.socket.end('the end')
    assert.ok((await first.rest()).equals(late))
    await first.gone()
    assert.equal(first.stream.rstCode, constants.NGHTTP2_NO_ERROR)

    const second = await openTunnel(session, connectHead('/server-first'))
    assert.equal((await second.rest()).toString(), 'the end')
    second.socket.end(late)
    assert.ok((await peers[1]!.rest()).equals(late))
    await second.gone()
    assert.equal(second.stream.rstCode, constants.NGHTTP2_NO_ERROR)
  })
}

test("a client's RST_STREAM is a reset for the backend, with END_STREAM before it or without", async t => {
  const { address, peers } = await backend(t, async peer => accept(peer, 'hello'))
  const host = await http2Host(t, [address])
  const session = await dialHttp2(t, host)
  const controller = new AbortController()
  const bare = send(session, connectHead(), { signal: controller.signal })
  await bare.take(5)
  controller.abort()
  const ended = await openTunnel(session)
  await ended.take(5)
  ended.reset()
  for (const peer of peers) {
    await peer.gone()
    assert.equal(peer.error?.code, 'ECONNRESET')
  }
  // In the middle of a flood it may be too late for more than an end.
  const busy = await openTunnel(session)
  await busy.take(5)
  busy.write(Buffer.alloc(MIB))
  busy.reset()
  await peers[2]!.left()
  await settled(host.gateway)
  assert.equal(host.lines.length, 3)
  for (const { fields } of host.lines) assert.deepEqual([fields['by'], fields['how']], ['client', 'reset'])
})

test("a backend's reset is RST_STREAM with CANCEL for the client, whose other streams go on", async t => {
  const { address, peers } = await echo(t)
  const host = await http2Host(t, [address])
  const session = await dialHttp2(t, host)
  const clients = await Promise.all([openTunnel(session), openTunnel(session)])
  peers[0]!.reset()
  await Promise.race(clients.map(async client => client.gone()))
  const [lost, left] = clients[0].closed ? clients : [clients[1], clients[0]]
  assert.equal(lost.stream.rstCode, constants.NGHTTP2_CANCEL)
  left.write('hello')
  assert.equal((await left.take(5)).toString(), 'hello')
})

test("the end of a client's connection is a reset for each of its tunnels", async t => {
  const { address, peers } = await echo(t)
  const host = await http2Host(t, [address])
  const session = await dialHttp2(t, host)
  await Promise.all(Array.from({ length: 5 }, async () => openTunnel(session)))
  session.destroy()
  await until(() => peers.length === 5, 'all have come')
  for (const peer of peers) {
    await peer.gone()
    assert.equal(peer.error?.code, 'ECONNRESET')
  }
  await settled(host.gateway)
})

test('50 tunnels on one connection', async t => {
  const { address, peers } = await echo(t)
  const host = await http2Host(t, [address])
  const session = await dialHttp2(t, host)
  const clients = await Promise.all(
    Array.from({ length: 50 }, async (_, i) => openTunnel(session, connectHead(`/${i}`)))
  )
  assert.equal(host.gateway.stats().tunnels.active, 50)
  assert.equal(host.streams(), 50)
  await Promise.all(
    clients.map(async (client, i) => {
      const bytes = Buffer.alloc(100_000, i)
      client.write(bytes)
      assert.ok((await client.take(bytes.length)).equals(bytes))
    })
  )
  assert.equal(peers.length, 50)
  for (const client of clients) client.socket.end()
  await Promise.all(clients.map(async client => client.gone()))
  await settled(host.gateway)
  assert.equal(host.streams(), 0)
})

for (const [what, head, body] of [
  [
    'a length',
    'HTTP/1.1 401 No\r\nContent-Length: 4\r\nWWW-Authenticate: Basic\r\nX-A: 1\r\n\r\nwho?',
    'who?'
  ],
  ['chunks', 'HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nwh\r\n2\r\no?\r\n0\r\n\r\n', 'who?'],
  ['the end', 'HTTP/1.1 503 No\r\nConnection: close\r\nKeep-Alive: timeout=5\r\n\r\nwho?', 'who?'],
  [
    'no body',
    'HTTP/1.1 426 No\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nContent-Length: 0\r\n\r\n',
    ''
  ]
] as const) {
  test(`an answer that is no 101, with ${what}, is relayed, and then the stream ends`, async t => {
    const { address } = await backend(t, async peer => {
      await peer.head()
      peer.socket.end(head)
    })
    const host = await http2Host(t, [address])
    const client = send(await dialHttp2(t, host))
    const status = Number(head.split(' ')[1])
    const headers = await client.answer()
    assert.equal(headers[':status'], status)
    for (const name of ['connection', 'keep-alive', 'upgrade', 'transfer-encoding']) {
      assert.ok(!(name in headers), name)
    }
    assert.equal((await client.rest()).toString(), body)
    if (status === 401) assert.equal(headers['www-authenticate'], 'Basic')
    if (status === 426) assert.equal(headers['sec-websocket-version'], '8')
    await client.gone()
    await settled(host.gateway)
    assert.equal(host.lines[0]!.message, `upgrade ${status}`)
  })
}

test('an answer whose body breaks off is a reset of the stream', async t => {
  const { address } = await backend(t, async peer => {
    await peer.head()
    peer.socket.end('HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nwho?')
  })
  const host = await http2Host(t, [address])
  const client = send(await dialHttp2(t, host))
  assert.equal((await client.answer())[':status'], 403)
  await client.gone()
  assert.notEqual(client.stream.rstCode, constants.NGHTTP2_NO_ERROR)
  await settled(host.gateway)
  assert.equal(host.lines[0]!.fields['code'], 'ERR_RINGWAY_BAD_ANSWER')
})

test('an allowHTTP1 server takes upgrades of HTTP/1.1 as ever', async t => {
  const { address } = await echo(t)
  const host = await http2Host(t, [address], {}, { tls: true })
  const { peer, head } = await ask(t, host.port, handshake(), { tls: true })
  assert.equal(head.status, 101)
  peer.write('hello')
  assert.equal((await peer.take(5)).toString(), 'hello')
  const client = await openTunnel(await dialHttp2(t, host))
  client.write('hello')
  assert.equal((await client.take(5)).toString(), 'hello')
})
