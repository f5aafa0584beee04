import assert from 'node:assert/strict'
import { once } from 'node:events'
import test from 'node:test'
import { WebSocket } from 'ws'
import { backend, webSocketServer } from './support/gate-backend.ts'
import { host } from './support/gate-host.ts'
import { ask, handshake, switching } from './support/gate-peer.ts'

test("fastify-http-proxy 256: a subprotocol that the backend chooses, the second of three, is the client's", async t => {
  const { port } = await webSocketServer(t, 'a', { handleProtocols: () => 'beta' })
  const gate = await host(t, [`127.0.0.1:${port}`])
  const client = new WebSocket(`ws://127.0.0.1:${gate.port}/`, ['alpha', 'beta', 'gamma'])
  await once(client, 'open')
  assert.equal(client.protocol, 'beta')
  client.terminate()
})

test('permessage-deflate is between client and backend', async t => {
  const { port, webSockets } = await webSocketServer(t, 'a', { perMessageDeflate: { threshold: 0 } })
  const gate = await host(t, [`127.0.0.1:${port}`])
  const joined = once(webSockets, 'connection') as Promise<[WebSocket]>
  const client = new WebSocket(`ws://127.0.0.1:${gate.port}/`, { perMessageDeflate: { threshold: 0 } })
  await once(client, 'open')
  assert.match(client.extensions, /permessage-deflate/)
  const [server] = await joined
  assert.match(server.extensions, /permessage-deflate/)
  const text = 'the same again and again '.repeat(10_000)
  client.send(text)
  const [data] = (await once(client, 'message')) as [Buffer]
  assert.equal(data.toString(), text)
  client.terminate()
})

for (const code of [1000, 1001, 1008, 1011, 3000, 4401, 4499]) {
  test(`a close with ${code} and a reason passes from the client to the backend and back`, async t => {
    const { port, webSockets } = await webSocketServer(t, 'a')
    const gate = await host(t, [`127.0.0.1:${port}`])
    const joined = once(webSockets, 'connection') as Promise<[WebSocket]>
    const client = new WebSocket(`ws://127.0.0.1:${gate.port}/`)
    await once(client, 'open')
    const [server] = await joined
    const closed = [once(client, 'close'), once(server, 'close')]
    client.close(code, `reason ${code}`)
    for (const [seen, reason] of (await Promise.all(closed)) as [number, Buffer][]) {
      assert.deepEqual([seen, reason.toString()], [code, `reason ${code}`])
    }
  })

  test(`a close with ${code} and a reason passes from the backend to the client and back`, async t => {
    const { port, webSockets } = await webSocketServer(t, 'a')
    const gate = await host(t, [`127.0.0.1:${port}`])
    const joined = once(webSockets, 'connection') as Promise<[WebSocket]>
    const client = new WebSocket(`ws://127.0.0.1:${gate.port}/`)
    const [server] = await joined
    const closed = [once(client, 'close'), once(server, 'close')]
    server.close(code, `reason ${code}`)
    for (const [seen, reason] of (await Promise.all(closed)) as [number, Buffer][]) {
      assert.deepEqual([seen, reason.toString()], [code, `reason ${code}`])
    }
  })
}

test('pings and pongs pass both ways, with their payload', async t => {
  const { port, webSockets } = await webSocketServer(t, 'a')
  const gate = await host(t, [`127.0.0.1:${port}`])
  const joined = once(webSockets, 'connection') as Promise<[WebSocket]>
  const client = new WebSocket(`ws://127.0.0.1:${gate.port}/`)
  await once(client, 'open')
  const [server] = await joined
  for (const [from, to] of [
    [client, server],
    [server, client]
  ] as const) {
    const events = [once(to, 'ping'), once(from, 'pong')]
    from.ping('payload')
    for (const [payload] of (await Promise.all(events)) as [Buffer][])
      assert.equal(payload.toString(), 'payload')
  }
  client.terminate()
})

test('crossws 190: end-to-end headers reach the backend as they were sent; hop-by-hop and forged ones do not', async t => {
  const { address, peers } = await backend(t, peer => peer)
  const { port } = await host(t, [address])
  const kept = [
    'Origin: https://page.test',
    'Authorization: Bearer a.b.c',
    'Cookie: a=b; c=d',
    'Cookie: e=f',
    'X-Mixed-CASE: a  b\tc',
    'X-Latin: caf\xe9',
    'X-Empty:',
    'Sec-WebSocket-Protocol: a, b',
    'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits',
    'Traceparent: 00-a-b-01'
  ]
  const dropped = [
    'Keep-Alive: timeout=5',
    'TE: trailers',
    'Trailer: X-Named',
    'Proxy-Authorization: Basic YTpi',
    'Proxy-Connection: keep-alive',
    'HTTP2-Settings: AAMAAABk',
    'X-Named: secret',
    'X-Forwarded-For: 1.2.3.4',
    'X-Forwarded-Host: evil.test',
    'X-Forwarded-Proto: gopher',
    'X-Forwarded-Port: 1',
    'X-Real-IP: 1.2.3.4',
    'Forwarded: for=1.2.3.4',
    'X_Forwarded_For: 1.2.3.4'
  ]
  const text = handshake('/chat?a=%2F&b', ...kept, ...dropped).replace(
    'Connection: Upgrade',
    'Connection: keep-alive, Upgrade, x-named'
  )
  void ask(t, port, text, { from: '127.1.2.3' }).catch(() => {})
  while (peers.length === 0) await new Promise(resolve => setImmediate(resolve))
  const head = await peers[0]!.head()
  assert.equal(head.first, 'GET /chat?a=%2F&b HTTP/1.1')
  const lines = head.text.trimEnd().split('\r\n').slice(1)
  for (const line of kept)
    assert.ok(
      lines.some(each => each.trimEnd() === line),
      line
    )
  assert.deepEqual(head.values('host'), ['gate.test'])
  assert.deepEqual(head.values('connection'), ['Upgrade'])
  assert.deepEqual(head.values('upgrade'), ['websocket'])
  assert.deepEqual(head.values('x-forwarded-for'), ['127.1.2.3'])
  assert.deepEqual(head.values('x-forwarded-proto'), ['http'])
  assert.deepEqual(head.values('x-forwarded-host'), ['gate.test'])
  for (const line of dropped) assert.ok(!lines.includes(line), line)
  for (const word of ['1.2.3.4', 'evil', 'secret', 'gopher']) assert.ok(!head.text.includes(word), word)
})

test("the backend's headers reach the client on the 101, and nothing is added", async t => {
  const sent = [
    'Set-Cookie: a=b; Path=/',
    'Set-Cookie: c=d',
    'X-Mixed-CASE: a',
    'Server: behind',
    'X-Named: no',
    'Keep-Alive: 5'
  ]
  const { address } = await backend(t, async peer => {
    const head = await peer.head()
    const answer = switching(head.values('sec-websocket-key')[0]!, ...sent)
    peer.write(answer.replace('Connection: Upgrade', 'Connection: Upgrade, X-Named'))
  })
  const { port } = await host(t, [address])
  const { head } = await ask(t, port)
  assert.equal(head.status, 101)
  const names = head.text
    .trimEnd()
    .split('\r\n')
    .slice(1)
    .map(line => line.split(':')[0]!)
  assert.deepEqual(names.toSorted(), [
    'Connection',
    'Sec-WebSocket-Accept',
    'Server',
    'Set-Cookie',
    'Set-Cookie',
    'Upgrade',
    'X-Mixed-CASE'
  ])
  assert.deepEqual(head.values('set-cookie'), ['a=b; Path=/', 'c=d'])
})

const BODY = 'no entry\n'.repeat(100)

for (const [what, framing, body] of [
  ['of a known length', `Content-Length: ${BODY.length}`, BODY],
  ['in chunks', 'Transfer-Encoding: chunked', `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`],
  ['that ends with the connection', 'Connection: close', BODY]
] as const) {
  test(`a 401 with a body ${what} is relayed with both of its cookies`, async t => {
    const { address, peers } = await backend(t, async peer => {
      await peer.head()
      peer.write(
        `HTTP/1.1 401 Go Away\r\nWWW-Authenticate: Basic\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n${framing}\r\n\r\n${body}`
      )
      if (framing.startsWith('Connection')) peer.socket.end()
    })
    const { port, lines, gateway } = await host(t, [address, '127.0.0.1:1'])
    let from = 1
    while (gateway.upstream.order(`127.1.1.${from}`)[0]!.id !== address) from++
    const { peer, head } = await ask(t, port, handshake(), { from: `127.1.1.${from}` })
    assert.equal(head.first, 'HTTP/1.1 401 Go Away')
    assert.deepEqual(head.values('set-cookie'), ['a=b', 'c=d'])
    assert.deepEqual(head.values('www-authenticate'), ['Basic'])
    assert.deepEqual(head.values('connection'), ['close'])
    const rest = (await peer.rest()).toString()
    const chunked = head.values('transfer-encoding').length > 0
    assert.equal(chunked ? rest.replaceAll(/(?:^|\r\n)[\da-f]+\r\n/g, '').replace(/\r\n$/, '') : rest, BODY)
    await peers[0]!.left()
    assert.deepEqual(lines[0]!.fields['tries'], [{ server: address, result: 401 }])
    assert.equal(lines[0]!.level, 'info')
    assert.equal(gateway.upstream.servers[0]!.usable, true)
  })
}

for (const status of [
  '401 Unauthorized',
  '426 Upgrade Required',
  '200 OK',
  '302 Found',
  '500 Oh No',
  '503 Busy'
]) {
  test(`undici: a backend that answers ${status} sees nothing of what the client sends on`, async t => {
    const { address, peers } = await backend(t, async peer => {
      await peer.head()
      peer.write(
        `HTTP/1.1 ${status}\r\nContent-Length: 2\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nno`
      )
    })
    const { port } = await host(t, [address])
    const smuggled = 'GET /admin HTTP/1.1\r\nHost: gate.test\r\n\r\n'
    const { peer, head } = await ask(t, port, `${handshake()}${smuggled}`)
    assert.equal(head.first, `HTTP/1.1 ${status}`)
    peer.write(smuggled)
    peer.write(Buffer.from([0x81, 0x80, 1, 2, 3, 4]))
    assert.equal((await peer.rest()).toString(), 'no')
    await peers[0]!.left()
    assert.equal(peers.length, 1)
    assert.equal(peers[0]!.unread.length, 0)
  })
}

test('http-proxy 624, 783, configurable-http-proxy 557: 1,000 rounds of a relayed 403 leave no backend socket, though the backend keeps connections alive', async t => {
  const { address, peers, server } = await backend(t, async peer => {
    for (;;) {
      await peer.head()
      peer.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nno')
    }
  })
  server.on('connection', socket => socket.on('end', () => socket.end()))
  const { port } = await host(t, [address])
  for (let i = 0; i < 50; i++) {
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { peer, head } = await ask(t, port)
        assert.equal(head.status, 403)
        assert.equal((await peer.rest()).toString(), 'no')
        peer.socket.end()
      })
    )
  }
  assert.equal(peers.length, 1_000)
  for (const peer of peers) await peer.gone()
  const open = await new Promise(resolve => server.getConnections((_, count) => resolve(count)))
  assert.equal(open, 0)
})

test("a body that is cut short ends the client's connection, and is no success", async t => {
  const { address } = await backend(t, async peer => {
    await peer.head()
    peer.socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nhalf', () => peer.reset())
  })
  const { port } = await host(t, [address])
  const { peer, head } = await ask(t, port)
  assert.equal(head.status, 403)
  await peer.left()
  assert.ok(peer.unread.length < 100)
})
