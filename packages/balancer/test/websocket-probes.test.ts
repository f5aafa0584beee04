import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { test } from 'node:test'
import type { TestContext } from 'node:test'

import { WebSocketServer } from 'ws'
import type { ServerOptions } from 'ws'

import { cert, key, socketPath } from './support/backend.ts'
import { frame, opcodes, shakeHands, switching } from './support/frames.ts'
import { happening } from './support/happening.ts'
import { dialled, fault, firstProbe, probeOnce, probing, rawServer, REFUSED } from './support/probing.ts'
import type { RawServer } from './support/probing.ts'

const websocket = { type: 'websocket', timeout: 77 } as const
const good = { ok: true, status: 101 }

/** A real server, which ends with the test. */
async function wsServer(
  t: TestContext,
  on: Server = createServer(),
  where: [path: string] | [port: number, host: string] = [0, '127.0.0.1'],
  options: ServerOptions = {}
): Promise<{ server: WebSocketServer; port: number }> {
  const server = new WebSocketServer({ ...options, server: on })
  on.listen(...(where as [number, string]))
  await once(on, 'listening')
  t.after(() => {
    for (const client of server.clients) client.terminate()
    server.close()
    on.close()
  })
  return { server, port: (on.address() as AddressInfo).port }
}

/** A server of raw frames that shakes hands first. `serve` is told of each frame of the probe's. */
function frameServer(
  t: TestContext,
  serve: (socket: Socket, opcode: number, payload: Buffer) => void
): Promise<RawServer> {
  return rawServer(t, socket => {
    shakeHands(socket, (opcode, payload) => serve(socket, opcode, payload))
  })
}

/** A server that answers the handshake by a text. */
function answering(t: TestContext, answer: (request: string) => string): Promise<RawServer> {
  return rawServer(t, socket => {
    socket.once('data', (chunk: Buffer) => socket.write(answer(chunk.toString('latin1'))))
  })
}

test('a probe shakes hands, pings, closes with 1000, and leaves nothing', async t => {
  const sockets = dialled(t)
  const { server, port } = await wsServer(t)
  const seen: unknown[] = []
  const { seen: closed, happened } = happening()
  server.on('connection', (client, request) => {
    const { host, 'user-agent': agent, 'x-probe': probe, origin, ...others } = request.headers
    seen.push(request.method, request.url, host, agent, probe, origin)
    seen.push(others['sec-websocket-extensions'], others['sec-websocket-protocol'])
    client.on('ping', payload => seen.push(payload.length))
    client.on('close', code => {
      seen.push(code)
      happened()
    })
  })
  const headers = { 'X-Probe': 'yes', Origin: 'https://probe.example' }
  const options = { ...websocket, path: '/chat?probe=1', headers }
  assert.deepEqual(await probeOnce(port, options), good)
  assert.deepEqual(
    sockets.map(socket => socket.closed),
    [true]
  )
  await closed
  const request = ['GET', '/chat?probe=1', `127.0.0.1:${port}`, 'ringway', 'yes', 'https://probe.example']
  assert.deepEqual(seen, [...request, undefined, undefined, 8, 1000])
})

test('an upstream probed by WebSocket has it up, and says 101', async t => {
  const { port } = await wsServer(t)
  const set = probing(t, port, { type: 'websocket' })
  const { ok, status, error } = await firstProbe(set)
  assert.deepEqual([ok, status, error], [true, 101, undefined])
  assert.equal(set.servers[0]?.state, 'up')
})

test('subprotocols are offered, and one must be chosen', async t => {
  const { server, port } = await wsServer(t)
  const protocols: unknown[] = []
  server.on('connection', client => protocols.push(client.protocol))
  assert.deepEqual(await probeOnce(port, { ...websocket, protocols: ['chat.v2', 'chat'] }), good)
  assert.deepEqual(protocols, ['chat.v2'])
  const none = await answering(t, switching)
  const result = await probeOnce(none.port, { ...websocket, protocols: ['chat'] })
  assert.deepEqual(result, { ok: false, status: 101, error: 'Server sent no subprotocol' })
})

test('a host header of the options replaces our own in the handshake', async t => {
  const { server, port } = await wsServer(t)
  const hosts: unknown[] = []
  server.on('connection', (_, request) => hosts.push(request.headers.host))
  assert.deepEqual(await probeOnce(port, { ...websocket, headers: { Host: 'chat.example' } }), good)
  assert.deepEqual(hosts, ['chat.example'])
})

test('a server on a Unix socket is probed by WebSocket', async t => {
  const path = socketPath(t)
  const { server } = await wsServer(t, createServer(), [path])
  const hosts: unknown[] = []
  server.on('connection', (_, request) => hosts.push(request.headers.host))
  assert.deepEqual(await probeOnce({ address: { socketPath: path } }, websocket), good)
  assert.deepEqual(hosts, ['localhost'])
})

test('over TLS the name is sent and the certificate verified in a probe by WebSocket', async t => {
  const names: unknown[] = []
  const on = createTlsServer({ cert, key })
  on.on('secureConnection', socket => names.push(socket.servername, socket.alpnProtocol))
  const { port } = await wsServer(t, on)
  const address = { host: 'localhost', port }
  assert.deepEqual(await probeOnce({ address, tls: { ca: cert, servername: 'localhost' } }, websocket), good)
  assert.deepEqual(names, ['localhost', 'http/1.1'])

  const set = probing(
    t,
    { ...address, tls: { ca: cert, servername: 'elsewhere.example' } },
    { type: 'websocket' }
  )
  assert.match(await fault(set), /elsewhere\.example/)
})

test('a refused connect is a bad probe by WebSocket', async t => {
  assert.match(await fault(probing(t, REFUSED, { type: 'websocket' })), /ECONNREFUSED/)
})

for (const status of [200, 301, 400, 404, 503]) {
  test(`${status} to the handshake is bad, and says so`, async t => {
    const server = await answering(
      t,
      () => `HTTP/1.1 ${status} X\r\nlocation: /\r\ncontent-length: 9\r\n\r\nhalf`
    )
    assert.deepEqual(await probeOnce(server.port, websocket), {
      ok: false,
      status,
      error: `answered ${status} to the handshake`
    })
    await server.none()
  })
}

test('a 101 with a wrong accept is bad', async t => {
  const server = await answering(t, request => switching(request, 'AAAAAAAAAAAAAAAAAAAAAAAAAAA='))
  const error = 'Invalid Sec-WebSocket-Accept header'
  assert.deepEqual(await probeOnce(server.port, websocket), { ok: false, status: 101, error })
  await server.none()
})

test('a 101 to another protocol is bad', async t => {
  const server = await answering(t, () => 'HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n')
  const error = 'Invalid Upgrade header'
  assert.deepEqual(await probeOnce(server.port, websocket), { ok: false, status: 101, error })
})

test('an answer that is no HTTP is bad', async t => {
  const server = await answering(t, () => 'SSH-2.0-OpenSSH_9.9\r\n')
  const { ok, error } = await probeOnce(server.port, websocket)
  assert.equal(ok, false)
  assert.match(error ?? '', /Parse Error/)
  await server.none()
})

// Out of time, at the moment when the server has seen how far the probe is.

test('a server that is silent in the TLS handshake has no connection in time', async t => {
  const end = new AbortController()
  const server = await rawServer(t, socket => socket.once('data', () => end.abort()))
  const place = { address: { host: '127.0.0.1', port: server.port }, tls: {} }
  assert.deepEqual(await probeOnce(place, websocket, end.signal), {
    ok: false,
    error: 'no connection within 77 ms'
  })
  await server.none()
})

test('a server that never answers the handshake is out of time', async t => {
  const end = new AbortController()
  const server = await rawServer(t, socket => socket.once('data', () => end.abort()))
  assert.deepEqual(await probeOnce(server.port, websocket, end.signal), {
    ok: false,
    error: 'no answer to the handshake within 77 ms'
  })
  await server.none()
})

test('a server that never answers the ping is out of time', async t => {
  const end = new AbortController()
  const server = await frameServer(t, () => end.abort())
  assert.deepEqual(await probeOnce(server.port, websocket, end.signal), {
    ok: false,
    status: 101,
    error: 'no pong within 77 ms'
  })
  await server.none()
})

test('a server that never answers the ping is taken out by the limit of time', async t => {
  const { port } = await frameServer(t, () => {})
  assert.match(await fault(probing(t, port, { type: 'websocket', timeout: 50 })), /^no .* within 50 ms$/)
})

test('a pong with another payload is none of ours', async t => {
  const end = new AbortController()
  const server = await frameServer(t, (socket, opcode) => {
    // The probe's pong to our own ping says that it has read our pong.
    if (opcode === opcodes.pong) return end.abort()
    socket.write(frame(opcodes.pong, Buffer.from('another!')))
    socket.write(frame(opcodes.ping))
  })
  assert.deepEqual(await probeOnce(server.port, websocket, end.signal), {
    ok: false,
    status: 101,
    error: 'no pong with the payload of the ping within 77 ms'
  })
  await server.none()
})

test('a pong that came unasked does no harm', async t => {
  const { server, port } = await wsServer(t)
  server.on('connection', client => client.pong('unasked'))
  assert.deepEqual(await probeOnce(port, websocket), good)
})

for (const [title, serve, error] of [
  ['resets the connection at once', (socket: Socket) => socket.resetAndDestroy(), /ECONNRESET|hang up/],
  [
    'resets it after the request',
    (socket: Socket) => socket.once('data', () => socket.resetAndDestroy()),
    /ECONNRESET|hang up/
  ],
  ['ends it after the request', (socket: Socket) => socket.once('data', () => socket.end()), /hang up/],
  [
    'resets it in the middle of its answer',
    (socket: Socket) =>
      socket.once('data', () => socket.write('HTTP/1.1 101 X\r\nupgrade:', () => socket.resetAndDestroy())),
    /ECONNRESET|hang up/
  ],
  [
    'resets it at the ping',
    (socket: Socket) => shakeHands(socket, () => socket.resetAndDestroy()),
    /^lost the connection before the pong$/
  ],
  [
    'ends it at the ping',
    (socket: Socket) => shakeHands(socket, () => socket.end()),
    /^lost the connection before the pong$/
  ],
  [
    'closes at the ping',
    (socket: Socket) =>
      shakeHands(socket, opcode => {
        if (opcode === opcodes.ping) socket.write(frame(opcodes.close, Buffer.from([0x03, 0xf5])))
        else socket.end()
      }),
    /^closed with code 1013 before the pong$/
  ],
  [
    'sends what is no frame',
    (socket: Socket) => shakeHands(socket, () => socket.write(Buffer.from([0xff, 0xff]))),
    /Invalid WebSocket frame/
  ]
] as const) {
  test(`a server that ${title} is bad`, async t => {
    const server = await rawServer(t, serve)
    const result = await probeOnce(server.port, websocket)
    assert.equal(result.ok, false)
    assert.match(result.error ?? '', error)
    await server.none()
  })
}

test('messages before and after the pong are ignored', async t => {
  const { server, port } = await wsServer(t)
  server.on('connection', client => {
    for (let i = 0; i < 1000; i++) client.send(`message ${i}`)
    client.send(Buffer.alloc(2 ** 20))
    client.on('ping', () => client.send('one more'))
  })
  assert.deepEqual(await probeOnce(port, websocket), good)
})

test('a message that is too long is bad', async t => {
  const { server, port } = await wsServer(t, createServer(), [0, '127.0.0.1'], { autoPong: false })
  server.on('connection', client => client.on('error', () => {}).send(Buffer.alloc(2 ** 20 + 1)))
  assert.deepEqual(await probeOnce(port, websocket), {
    ok: false,
    status: 101,
    error: 'Max payload size exceeded'
  })
})

/** Sends frames for as long as they are taken. */
function flood(socket: Socket, opcode: number): void {
  const some = frame(opcode, Buffer.alloc(125, 'x'))
  const many = Buffer.concat(Array.from({ length: 1000 }, () => some))
  const more = (): void => {
    while (!socket.destroyed && socket.write(many));
  }
  socket.on('drain', more)
  more()
}

for (const name of ['text', 'ping', 'pong'] as const) {
  test(`a server that floods with ${name} frames instead of a pong is bad`, async t => {
    const server = await frameServer(t, (socket, opcode) => {
      if (opcode === opcodes.ping) flood(socket, opcodes[name])
    })
    assert.deepEqual(await probeOnce(server.port, websocket), {
      ok: false,
      status: 101,
      error: 'sent more than 16777216 bytes instead of a pong'
    })
    await server.none()
  })
}

test('a server that floods instead of a close is good, and let go', async t => {
  const server = await frameServer(t, (socket, opcode, payload) => {
    if (opcode === opcodes.ping) socket.write(frame(opcodes.pong, payload))
    if (opcode === opcodes.close) flood(socket, opcodes.text)
  })
  assert.deepEqual(await probeOnce(server.port, websocket), good)
  await server.none()
})

test('a server that never answers the close is good, and its connection ended by the limit of time', async t => {
  const end = new AbortController()
  const sockets = dialled(t)
  const codes: number[] = []
  const server = await frameServer(t, (socket, opcode, payload) => {
    if (opcode === opcodes.ping) return socket.write(frame(opcodes.pong, payload))
    codes.push(payload.readUInt16BE())
    return end.abort()
  })
  assert.deepEqual(await probeOnce(server.port, websocket, end.signal), good)
  assert.deepEqual(
    sockets.map(socket => socket.closed),
    [true]
  )
  assert.deepEqual(codes, [1000])
  await server.none()
})

test('a server that resets the connection at the close is good', async t => {
  const server = await frameServer(t, (socket, opcode, payload) => {
    if (opcode === opcodes.ping) socket.write(frame(opcodes.pong, payload))
    else socket.resetAndDestroy()
  })
  assert.deepEqual(await probeOnce(server.port, websocket), good)
  await server.none()
})
