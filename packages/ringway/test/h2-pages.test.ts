import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { constants } from 'node:http2'
import test from 'node:test'
import fastify from 'fastify'
import ringway from '../src/fastify.ts'
import { backend, echo } from './support/gate-backend.ts'
import { settled } from './support/gate-host.ts'
import { certificate } from './support/gate-peer.ts'
import { until } from './support/gate-waiting.ts'
import { connectHead, dialHttp2, http2Host, openTunnel, StreamPeer } from './support/h2-host.ts'
import type { Mount } from './support/h2-host.ts'
import { backend as webServer } from './support/mount-backend.ts'

/** All plain requests go to the gateway. */
const pages: Mount = (server, gateway) => {
  server.on('request', gateway.handleRequest.bind(gateway))
  gateway.attach(server)
}

/** How many warnings this process has had, which Node writes for what isn't HTTP/2's. */
const warnings: Error[] = []
process.on('warning', warning => warnings.push(warning))

test('a page over HTTP/2 comes from a backend of HTTP/1.1, without what only either of them has', async t => {
  let seen: IncomingMessage | undefined
  const web = await webServer(t, {
    page: (request, response) => {
      seen = request
      response.writeHead(
        200,
        'Very fine',
        [
          ['Connection', 'close, X-Of-Hop'],
          ['Keep-Alive', 'timeout=5'],
          ['X-Of-Hop', '1'],
          ['Set-Cookie', 'a=1'],
          ['Set-Cookie', 'b=2'],
          ['ETag', 'one'],
          ['ETag', 'two']
        ].flat()
      )
      response.end('a page')
    }
  })
  const host = await http2Host(t, [web.address], {}, { tls: true, mount: pages })
  const session = await dialHttp2(t, host)
  const peer = new StreamPeer(
    session.request({ ':path': '/a?b', ':authority': 'gate.test', cookie: ['a=1', 'b=2'], te: 'trailers' })
  )
  const answer = await peer.answer()
  assert.equal((await peer.rest()).toString(), 'a page')
  await peer.gone()
  const { date, ...headers } = Object.fromEntries(Object.entries(answer))
  assert.ok(date)
  assert.deepEqual(headers, { ':status': 200, 'set-cookie': ['a=1', 'b=2'], etag: 'one, two' })
  assert.equal(seen!.url, '/a?b')
  const raw = seen!.rawHeaders
  const pairs = raw.filter((_, at) => at % 2 === 0).map((name, at) => `${name}: ${raw[2 * at + 1]}`)
  assert.deepEqual(pairs, [
    'host: gate.test',
    'connection: keep-alive',
    'cookie: a=1; b=2',
    'X-Forwarded-For: 127.0.0.1',
    'X-Forwarded-Proto: https',
    'X-Forwarded-Host: gate.test'
  ])
  await until(() => host.lines.length === 1, 'the line is written')
  const { address, method, target, status } = host.lines[0]!.fields
  assert.deepEqual([address, method, target, status], ['127.0.0.1', 'GET', '/a?b', 200])
  assert.deepEqual(warnings, [])
})

test('a body passes, and an answer without one ends', async t => {
  const web = await webServer(t, {
    page: (request, response) => {
      if (request.method === 'DELETE') response.writeHead(204).end()
      else request.pipe(response)
    }
  })
  const host = await http2Host(t, [web.address], {}, { mount: pages })
  const session = await dialHttp2(t, host)
  const bytes = Buffer.alloc(1024 * 1024, 'body')
  const post = new StreamPeer(session.request({ ':path': '/', ':method': 'POST' }))
  post.socket.end(bytes)
  assert.ok((await post.rest()).equals(bytes))
  const gone = new StreamPeer(session.request({ ':path': '/', ':method': 'DELETE' }))
  assert.equal((await gone.answer())[':status'], 204)
  const head = new StreamPeer(session.request({ ':path': '/', ':method': 'HEAD' }))
  assert.equal((await head.answer())[':status'], 200)
  await Promise.all([post.gone(), gone.gone(), head.gone()])
})

test('a body that the client cuts off is cut off for the backend too, not ended', async t => {
  const web = await webServer(t, {
    page: (request, response) => {
      request.on('error', () => {}).resume()
      request.on('end', () => response.end('whole'))
      request.once('data', () => web.server.emit('half', request))
    }
  })
  const host = await http2Host(t, [web.address], {}, { mount: pages })
  const session = await dialHttp2(t, host)
  const began = once(web.server, 'half') as Promise<[IncomingMessage]>
  const controller = new AbortController()
  const request = session.request({ ':path': '/', ':method': 'POST' }, { signal: controller.signal })
  request.on('error', () => {})
  request.write('half')
  const [seen] = await began
  controller.abort()
  await until(() => seen.closed, 'the backend has lost it')
  assert.equal(seen.complete, false)
  await settled(host.gateway)
  await until(() => host.lines.length === 1, 'the line is written')
  assert.equal(host.lines[0]!.fields['code'], 'ERR_RINGWAY_CLIENT_GONE')
})

test('a client that takes nothing of a page stops the backend, and other pages pass', async t => {
  const big = Buffer.alloc(8 * 1024 * 1024)
  let written = 0
  const web = await webServer(t, {
    page: (request, response) => {
      if (request.url === '/big') response.end(big, () => (written = big.length))
      else response.end('small')
    }
  })
  const host = await http2Host(t, [web.address], {}, { mount: pages })
  const session = await dialHttp2(t, host)
  const slow = new StreamPeer(session.request({ ':path': '/big' }))
  slow.stream.pause()
  await slow.answer()
  const small = new StreamPeer(session.request({ ':path': '/' }))
  assert.equal((await small.rest()).toString(), 'small')
  assert.equal(written, 0)
  slow.stream.resume()
  assert.equal((await slow.rest()).length, big.length)
})

test('a bad request is answered: two hosts, and a star', async t => {
  const { address } = await echo(t)
  const host = await http2Host(t, [address], {}, { mount: pages })
  const session = await dialHttp2(t, host)
  for (const head of [
    { ':path': '/', ':authority': 'gate.test', host: 'other.test' },
    { ':path': '*', ':method': 'OPTIONS' }
  ]) {
    const peer = new StreamPeer(session.request(head))
    assert.equal((await peer.answer())[':status'], 400)
    await peer.gone()
  }
})

test('a page whose backend breaks off is a reset of the stream', async t => {
  const { address } = await backend(t, async peer => {
    await peer.head()
    peer.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf')
    peer.reset()
  })
  const host = await http2Host(t, [address], {}, { mount: pages })
  const peer = new StreamPeer((await dialHttp2(t, host)).request({ ':path': '/' }))
  await peer.gone()
  assert.notEqual(peer.stream.rstCode, constants.NGHTTP2_NO_ERROR)
})

test('Fastify over HTTP/2: tunnels and pages run through its hooks', async t => {
  const { address } = await echo(t)
  const web = await webServer(t)
  const hooked: string[] = []
  const app = fastify({ http2: true, https: { ...certificate, allowHTTP1: true } })
  app.addHook('onRequest', async (request, reply) => {
    hooked.push(`${request.method} ${request.url}`)
    if (request.url.endsWith('/no')) return reply.code(401).send('no')
    return void reply.header('set-cookie', 'seen=1')
  })
  await app.register(ringway as never, { prefix: '/ws', upstream: { servers: [address] } } as never)
  await app.register(ringway as never, { prefix: '/web', upstream: { servers: [web.address] } } as never)
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.after(async () => app.close())
  const { port } = app.server.address() as { port: number }
  const session = await dialHttp2(t, { port, tls: true })
  const client = await openTunnel(session, connectHead('/ws/a'))
  assert.deepEqual((await client.answer())['set-cookie'], ['seen=1'])
  client.write('hello')
  assert.equal((await client.take(5)).toString(), 'hello')
  const refused = new StreamPeer(session.request(connectHead('/ws/no'), { endStream: false }))
  assert.equal((await refused.answer())[':status'], 401)
  const page = new StreamPeer(session.request({ ':path': '/web/page' }))
  assert.equal((await page.rest()).toString(), 'backend')
  assert.deepEqual(hooked, ['GET /ws/a', 'GET /ws/no', 'GET /web/page'])
  client.socket.end()
  await client.gone()
  session.close()
})
