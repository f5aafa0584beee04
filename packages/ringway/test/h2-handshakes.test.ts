import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import type { Http2Server, Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import { constants } from 'node:http2'
import type { Duplex } from 'node:stream'
import test from 'node:test'
import type { KeyFunction, KeySource } from '@ringway/core'
import { WebSocketServer } from 'ws'
import type { Gateway } from '../src/index.ts'
import { echo } from './support/gate-backend.ts'
import { ask, handshake } from './support/gate-peer.ts'
import { RawHttp2 } from './support/h2-raw.ts'
import type { Mount } from './support/h2-host.ts'
import { connectHead, dialHttp2, http2Host, openTunnel, send } from './support/h2-host.ts'

/** What is wrong, the answer's status, and what it says. */
const BAD: [
  what: string,
  more: Record<string, string | string[] | undefined>,
  status: number,
  says: RegExp
][] = [
  ['no version', { 'sec-websocket-version': undefined }, 400, /exactly one Sec-WebSocket-Version/],
  ['two versions', { 'sec-websocket-version': ['13', '13'] }, 400, /exactly one Sec-WebSocket-Version/],
  ['another version', { 'sec-websocket-version': '8' }, 426, /must be 13/],
  ['another scheme', { ':scheme': 'wss' }, 400, /:scheme/],
  ['another host', { host: 'other.test' }, 400, /same as :authority/],
  ['a path with two slashes', { ':path': '//other.test/' }, 400, /must be a path/],
  ['a fragment', { ':path': '/a#b' }, 400, /must be a path/],
  ['a body', { 'content-length': '5' }, 400, /no body/],
  ['an expectation', { expect: '100-continue' }, 400, /no Expect/]
]

for (const [what, more, status, says] of BAD) {
  test(`an extended CONNECT with ${what}: ${status}`, async t => {
    const { address, peers } = await echo(t)
    const host = await http2Host(t, [address])
    const session = await dialHttp2(t, host)
    const client = send(session, connectHead('/', more))
    const answer = await client.answer()
    assert.equal(answer[':status'], status)
    const body = (await client.rest()).toString()
    assert.equal(body.length, Number(answer['content-length']))
    assert.match(body, says)
    if (status === 426) assert.equal(answer['sec-websocket-version'], '13')
    await client.gone()
    // The connection is as good as before.
    const next = await openTunnel(session)
    next.write('hello')
    assert.equal((await next.take(5)).toString(), 'hello')
    assert.equal(peers.length, 1)
  })
}

// Node's client sends none of these, so their frames are made here. Some are refused by Node's server.
for (const [what, more] of [
  ['no scheme', { ':scheme': undefined }],
  ['no path', { ':path': undefined }],
  ['no authority', { ':authority': undefined }],
  ['an authority that is none', { ':authority': 'a b' }],
  ['a user in the authority', { ':authority': 'me@gate.test' }],
  ['two authorities', { ':authority': ['gate.test', 'gate.test'] }],
  ['two hosts', { host: ['gate.test', 'other.test'] }],
  ['a star', { ':path': '*' }],
  ['Connection', { connection: 'Upgrade' }],
  ['Upgrade', { upgrade: 'websocket' }],
  ['Keep-Alive', { 'keep-alive': 'timeout=5' }],
  ['Proxy-Connection', { 'proxy-connection': 'keep-alive' }],
  ['Transfer-Encoding', { 'transfer-encoding': 'chunked' }],
  ['TE', { te: 'gzip' }]
] as const) {
  test(`an extended CONNECT with ${what} is refused`, async t => {
    const { address, peers } = await echo(t)
    const host = await http2Host(t, [address])
    const raw = await RawHttp2.dial(t, host.port)
    raw.headers(1, connectHead('/', more))
    assert.match(await raw.answer(1), /^(?:400|404|RST_STREAM 1)$/)
    // Without it the same frame is good.
    raw.headers(3, connectHead())
    assert.equal(await raw.answer(3), '200')
    assert.equal(peers.length, 1)
  })
}

test('an extended CONNECT that is over at once, with END_STREAM, is a tunnel whose client has ended', async t => {
  const { address } = await echo(t)
  const host = await http2Host(t, [address])
  const client = send(await dialHttp2(t, host), connectHead(), { endStream: true })
  assert.equal((await client.answer())[':status'], 200)
  assert.equal((await client.rest()).length, 0)
  await client.gone()
})

test('a host that is the same as the authority is no fault', async t => {
  const { address, peers } = await echo(t)
  const host = await http2Host(t, [address])
  await openTunnel(await dialHttp2(t, host), connectHead('/', { host: 'GATE.test' }))
  assert.equal(peers.length, 1)
})

/** A server whose app answers plain requests, with a gateway at `/ws`. */
function atWs(more: (server: Http2Server) => void = () => {}): Mount {
  return (server, gateway) => {
    server.on('request', (_, response) => response.end('the app'))
    gateway.attach(server, { path: '/ws' })
    more(server)
  }
}

const plainConnect = { ':method': 'CONNECT', ':authority': 'other.test:443' }

test('what nobody claims: 404 for another path, 405 for a plain CONNECT, 501 for another protocol', async t => {
  const { address, peers } = await echo(t)
  const host = await http2Host(t, [address], {}, { mount: atWs() })
  const session = await dialHttp2(t, host)
  for (const [head, status] of [
    [connectHead('/wsx'), 404],
    [plainConnect, 405],
    [connectHead('/ws', { ':protocol': 'connect-udp' }), 501]
  ] as const) {
    const client = send(session, head)
    assert.equal((await client.answer())[':status'], status)
    await client.gone()
  }
  await openTunnel(session, connectHead('/ws/a'))
  assert.equal(peers.length, 1)
  assert.deepEqual(
    host.lines.map(line => line.fields['code']),
    ['ERR_RINGWAY_NOT_FOUND', 'ERR_RINGWAY_BAD_METHOD', 'ERR_RINGWAY_BAD_PROTOCOL']
  )
})

/** A server with no listener at all but the gateway, at `/ws`. */
function bare(server: Http2Server, gateway: Gateway): void {
  gateway.attach(server, { path: '/ws' })
}

test('the same without any listener of the host', async t => {
  const { address } = await echo(t)
  const host = await http2Host(t, [address], {}, { mount: bare })
  const session = await dialHttp2(t, host)
  assert.equal((await send(session, plainConnect).answer())[':status'], 405)
  assert.equal((await send(session, connectHead('/other')).answer())[':status'], 404)
  await openTunnel(session, connectHead('/ws'))
})

test("CONNECTs that aren't ours are left to a host that listens to them", async t => {
  const { address, peers } = await echo(t)
  const seen: string[] = []
  const byConnect = atWs(server => {
    server.on('connect', (request: Http2ServerRequest, response: Http2ServerResponse) => {
      seen.push(`connect ${request.url}`)
      response.writeHead(418).end()
    })
  })
  const byStream: Mount = (server, gateway) => {
    server.on('stream', (stream, headers) => {
      seen.push(`stream ${headers[':path']}`)
      stream.respond({ ':status': 418 }, { endStream: true })
    })
    gateway.attach(server, { path: '/ws' })
  }
  for (const mount of [byConnect, byStream]) {
    const host = await http2Host(t, [address], {}, { mount })
    const session = await dialHttp2(t, host)
    const client = await openTunnel(session, connectHead('/ws'))
    client.write('hello')
    assert.equal((await client.take(5)).toString(), 'hello')
    for (const head of [connectHead('/other'), plainConnect, connectHead('/ws', { ':protocol': 'else' })]) {
      const other = send(session, head)
      assert.equal((await other.answer())[':status'], 418)
      other.reset()
    }
  }
  assert.deepEqual(seen, [
    'connect /other',
    'connect undefined',
    'connect /ws',
    'stream /other',
    'stream undefined',
    'stream /ws'
  ])
  assert.equal(peers.length, 2)
})

test("a path of another WebSocket server of the host's is one for HTTP/1.1, which the client is told", async t => {
  const { address } = await echo(t)
  const mount = atWs(server => {
    const others = new WebSocketServer({ noServer: true })
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      others.handleUpgrade(request, socket, head, webSocket => webSocket.send('another'))
    })
  })
  const host = await http2Host(t, [address], {}, { tls: true, mount })
  const session = await dialHttp2(t, host)
  const client = send(session, connectHead('/other'))
  await client.gone()
  assert.equal(client.stream.rstCode, constants.NGHTTP2_HTTP_1_1_REQUIRED)
  await openTunnel(session, connectHead('/ws'))
  const { peer, head } = await ask(t, host.port, handshake('/other'), { tls: true })
  assert.equal(head.status, 101)
  assert.equal((await peer.take(9)).subarray(2).toString(), 'another')
})

test('two gateways on one server, and detach: the rest of the host is as before', async t => {
  const one = await echo(t)
  const other = await echo(t)
  const second = await http2Host(t, [other.address])
  const host = await http2Host(t, [one.address], {}, { mount: atWs() })
  const own = Object.getOwnPropertyNames(host.server).includes('emit')
  assert.ok(own)
  const detach = second.gateway.attach(host.server, { path: '/ws/second' })
  assert.throws(() => second.gateway.attach(host.server, { path: '/ws' }), /another gateway is attached/)
  const session = await dialHttp2(t, host)
  await openTunnel(session, connectHead('/ws/first'))
  const tunnel = await openTunnel(session, connectHead('/ws/second'))
  assert.deepEqual([one.peers.length, other.peers.length], [1, 1])
  detach()
  await openTunnel(session, connectHead('/ws/second'))
  assert.deepEqual([one.peers.length, other.peers.length], [2, 1])
  tunnel.write('still')
  assert.equal((await tunnel.take(5)).toString(), 'still')
  await host.gateway.close()
  assert.ok(!Object.getOwnPropertyNames(host.server).includes('emit'))
  const late = send(session, connectHead('/ws'))
  assert.equal((await late.answer())[':status'], 405) // Node's own
  late.reset()
})

test("through the app's chain: its guard and its headers count, and the gateway takes what it lets pass", async t => {
  const { address } = await echo(t)
  const seen: string[] = []
  const mount: Mount = (server, gateway) => {
    const middleware = gateway.middleware()
    server.on('request', (request, response) => {
      seen.push(`${request.method} ${request.url}`)
      if (request.headers['authorization'] === undefined) return response.writeHead(401).end('who?')
      response.setHeader('set-cookie', 'seen=1')
      return middleware(request, response, error => void response.end(String(error)))
    })
    gateway.attach(server, { path: '/ws', through: true })
  }
  const host = await http2Host(t, [address], {}, { mount })
  const session = await dialHttp2(t, host)
  const stranger = send(session, connectHead('/ws'))
  assert.equal((await stranger.answer())[':status'], 401)
  assert.equal((await stranger.rest()).toString(), 'who?')
  await stranger.gone()
  const client = send(session, connectHead('/ws', { authorization: 'Basic me' }))
  const answer = await client.answer()
  assert.equal(answer[':status'], 200)
  assert.deepEqual(answer['set-cookie'], ['seen=1'])
  client.write('hello')
  assert.equal((await client.take(5)).toString(), 'hello')
  assert.deepEqual(seen, ['GET /ws', 'GET /ws'])
})

/** A host that takes CONNECTs itself. */
function byHand(server: Http2Server, gateway: Gateway): void {
  server.updateSettings({ enableConnectProtocol: true })
  server.on('request', (_, response) => response.end('the app'))
  server.on('connect', gateway.handleConnect.bind(gateway))
}

test("by hand: a host's own 'connect' listener gives a CONNECT to handleConnect", async t => {
  const { address } = await echo(t)
  const host = await http2Host(t, [address], {}, { mount: byHand })
  const client = await openTunnel(await dialHttp2(t, host))
  client.write('hello')
  assert.equal((await client.take(5)).toString(), 'hello')
})

test('the key function gets headers without pseudo-headers, and the host', async t => {
  const { address } = await echo(t)
  const sources: KeySource[] = []
  const key: KeyFunction = source => {
    sources.push(source)
    return 'one'
  }
  const host = await http2Host(t, [address], { upstream: { key } })
  await openTunnel(await dialHttp2(t, host), connectHead('/a?b', { cookie: ['a=1', 'b=2'] }))
  const { address: from, method, target, headers } = sources[0]!
  assert.deepEqual([from, method, target], ['127.0.0.1', 'CONNECT', '/a?b'])
  assert.deepEqual({ ...headers }, { host: 'gate.test', 'sec-websocket-version': '13', cookie: 'a=1; b=2' })
})
