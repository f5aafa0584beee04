import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fastify from 'fastify'
import { WebSocketServer } from 'ws'
import ringway from '../src/fastify.ts'
import type { GatewayError, KeySource } from '../src/index.ts'
import { backend, nobody } from './support/mount-backend.ts'
import { Client, handshake, header, headers, requestHead } from './support/mount-client.ts'
import { gateway, Lines, named } from './support/mount-gateway.ts'
import { start } from './support/mount-hosts.ts'
import { deserted, makeServer, until } from './support/mount-server.ts'

declare module 'fastify' {
  interface FastifyRequest {
    user?: string
  }
}

void test('hooks beside and above the plugin run for its upgrades, those of other plugins do not', async t => {
  const app = fastify()
  const ran: string[] = []
  const note = (name: string) => (request: FastifyRequest, _: unknown, done: () => void) => {
    ran.push(`${name} ${request.url}`)
    done()
  }
  app.addHook('onRequest', note('root'))
  await app.register(async inner => {
    inner.addHook('preHandler', note('inner'))
    await inner.register(ringway, { prefix: '/ws', gateway: gateway(t, [await backend(t)]) })
  })
  await app.register((other, _, done) => {
    other.addHook('onRequest', note('other'))
    other.get('/page', (_request, reply) => void reply.send('page'))
    done()
  })
  const host = await start(t, app)
  const client = await Client.connect(t, host, handshake('/ws/a'))
  assert.equal((await client.answer()).status, 101)
  const page = await Client.connect(t, host, requestHead('GET /page'))
  assert.equal((await page.answer()).body.toString(), 'page')
  assert.deepEqual(ran, ['root /ws/a', 'inner /ws/a', 'root /page', 'other /page'])
})

void test("a nested prefix is one path, and the backend gets the client's target", async t => {
  const app = fastify()
  const to = await backend(t)
  await app.register(async inner => inner.register(ringway, { prefix: '/ws', gateway: gateway(t, [to]) }), {
    prefix: '/api'
  })
  const host = await start(t, app)
  const client = await Client.connect(t, host, handshake('/api/ws?a=b'))
  assert.equal((await client.answer()).status, 101)
  assert.equal(to.upgrades[0]!.url, '/api/ws?a=b')
  const other = await Client.connect(t, host, handshake('/ws'))
  assert.equal((await other.answer()).status, 404)
})

void test("the plugin's parser stays inside: the app's own routes parse JSON", async t => {
  const app = fastify()
  await app.register(ringway, { prefix: '/ws', gateway: gateway(t, [await backend(t)]) })
  app.post('/json', (request, reply) => void reply.send({ got: request.body }))
  const host = await start(t, app)
  const lines = ['Content-Type: application/json', 'Content-Length: 9']
  const client = await Client.connect(t, host, `${requestHead('POST /json', ...lines)}{"a":"b"}`)
  assert.deepEqual(JSON.parse((await client.answer()).body.toString()), { got: { a: 'b' } })
})

void test('onSend sets cookies on the 101, onResponse runs once with 101, and the log says so', async t => {
  const log: { msg: string; res?: { statusCode: number } }[] = []
  const app = fastify({
    logger: { stream: { write: line => void log.push(JSON.parse(line) as (typeof log)[number]) } }
  })
  const ran: string[] = []
  app.addHook('onSend', (_, reply, payload, done) => {
    void reply.header('Set-Cookie', 'session=1')
    done(null, payload)
  })
  app.addHook('onResponse', (_, reply, done) => {
    ran.push(`onResponse ${reply.statusCode}`)
    done()
  })
  const to = await backend(t, { lines: ['Set-Cookie: backend=1', 'Set-Cookie: backend=2'] })
  await app.register(ringway, { prefix: '/ws', gateway: gateway(t, [to]) })
  const host = await start(t, app)
  const client = await Client.connect(t, host, handshake('/ws'))
  const answer = await client.answer()
  assert.equal(answer.status, 101)
  assert.deepEqual(headers(answer, 'set-cookie').sort(), ['backend=1', 'backend=2', 'session=1'])
  assert.deepEqual(
    answer.headers.map(([name]) => name).filter(name => /^(?:content-|transfer-|date)/.test(name)),
    []
  )
  await until(() => ran.length > 0, 'onResponse has run')
  await client.echoes('tunnel')
  client.socket.end()
  await deserted(host.sockets)
  assert.deepEqual(ran, ['onResponse 101'])
  const completed = log.filter(({ msg }) => msg === 'request completed')
  assert.deepEqual(
    completed.map(({ res }) => res?.statusCode),
    [101]
  )
})

void test('what hooks set of a body is not on the 101', async t => {
  const app = fastify()
  app.addHook('onRequest', (_, reply, done) => {
    void reply.headers({
      'Content-Type': 'text/html',
      'Content-Length': '5',
      'Content-Language': 'en',
      'X-Mine': 'yes'
    })
    done()
  })
  await app.register(ringway, { prefix: '/ws', gateway: gateway(t, [await backend(t)]) })
  const client = await Client.connect(t, await start(t, app), handshake('/ws'))
  const answer = await client.answer()
  assert.equal(answer.status, 101)
  assert.deepEqual(answer.headers.map(([name]) => name).sort(), [
    'connection',
    'sec-websocket-accept',
    'upgrade',
    'x-mine'
  ])
  await client.echoes('tunnel')
})

void test('the key function gets the FastifyRequest that hooks have worked on', async t => {
  const app = fastify()
  app.addHook('onRequest', (request, _, done) => {
    request.user = String(request.headers['x-user'])
    done()
  })
  const seen: KeySource[] = []
  const key = (source: KeySource): string | undefined => {
    seen.push(source)
    return (source.request as FastifyRequest).user
  }
  const backends = await Promise.all(
    ['a', 'b', 'c'].map(async name => backend(t, { name, lines: [`X-Name: ${name}`] }))
  )
  await app.register(ringway, { prefix: '/ws', upstream: { servers: named(backends), key } })
  const host = await start(t, app)
  const names = new Set<string>()
  for (let user = 0; user < 12; user++) {
    const client = await Client.connect(t, host, handshake('/ws', `X-User: ${user}`))
    const name = header(await client.answer(), 'x-name')!
    const plain = await Client.connect(t, host, requestHead('GET /ws', `X-User: ${user}`))
    assert.equal((await plain.answer()).body.toString(), name)
    names.add(name)
  }
  assert.ok(names.size > 1)
  assert.equal(seen[0]!.target, '/ws')
  assert.equal(seen[0]!.address, '127.0.0.1')
})

void test("the gateway's log is the app's, unless another is given", async t => {
  const lines: string[] = []
  const app = fastify({ logger: { stream: { write: line => void lines.push(line) } } })
  const own = new Lines()
  const upstream = { servers: [nobody()] }
  await app.register(ringway, { prefix: '/app', upstream })
  await app.register(ringway, { prefix: '/own', upstream, log: own })
  const host = await start(t, app)
  for (const target of ['/app', '/own']) {
    const client = await Client.connect(t, host, handshake(target))
    assert.equal((await client.answer()).status, 502)
  }
  assert.equal(lines.filter(line => line.includes('"upgrade 502"')).length, 1)
  assert.equal(own.all.filter(({ message }) => message === 'upgrade 502').length, 1)
})

void test("errors of the gateway go to the app's error handler, for upgrades and for pages", async t => {
  const app = fastify()
  const seen: object[] = []
  app.setErrorHandler((error: GatewayError, _, reply) => {
    seen.push({ code: error.code, status: error.statusCode })
    void reply.code(error.statusCode).send(`in the app's words: ${error.message}`)
  })
  await app.register(ringway, { prefix: '/ws', gateway: gateway(t, [nobody()]) })
  const host = await start(t, app)
  for (const head of [handshake('/ws'), requestHead('GET /ws', 'Connection: close')]) {
    const client = await Client.connect(t, host, head)
    const answer = await client.answer()
    assert.ok([502, 503].includes(answer.status))
    assert.match(answer.body.toString(), /^in the app's words: /)
    await client.ends()
  }
  assert.deepEqual(seen[0], { code: 'ERR_RINGWAY_CONNECT_FAILED', status: 502 })
  assert.equal(seen.length, 2)
  await deserted(host.sockets)
})

void test('without an error handler clients hear the status and nothing of what is inside', async t => {
  const app = fastify()
  await app.register(ringway, {
    prefix: '/ws',
    log: new Lines(),
    upstream: {
      servers: [nobody(), nobody()],
      key: ({ target }) => {
        if (target === '/ws/throws') throw new Error('secret of the hook')
        return target
      }
    }
  })
  const host = await start(t, app)
  const statuses = { '/ws': 502, '/ws/throws': 500 }
  for (const [target, status] of Object.entries(statuses)) {
    for (const head of [handshake(target), requestHead(`GET ${target}`)]) {
      const client = await Client.connect(t, host, head)
      const answer = await client.answer()
      if (status === 500) assert.equal(answer.status, 500)
      else assert.ok([502, 503].includes(answer.status))
      assert.doesNotMatch(answer.body.toString(), /127\.0\.0\.1|secret|node:|\.js|\.ts/)
    }
  }
})

void test('a 503 says when to come back', async t => {
  const app = fastify()
  const to = await backend(t)
  const by = gateway(t, [{ ...to, address: to.address }], { upstream: { servers: [] } })
  await app.register(ringway, { prefix: '/ws', gateway: by })
  const host = await start(t, app)
  const closing = by.close()
  const client = await Client.connect(t, host, requestHead('GET /ws'))
  const answer = await client.answer()
  assert.equal(answer.status, 503)
  assert.equal(header(answer, 'retry-after'), '5')
  await closing
})

void test("a hook that answers late gives one answer, and a hook that never does ends at the chain's limit", async t => {
  const app = fastify()
  app.addHook('onRequest', () => {}) // never calls done
  const to = await backend(t)
  await app.register(ringway, { prefix: '/ws', gateway: gateway(t, [to], { timeouts: { chain: 50 } }) })
  const host = await start(t, app)
  const client = await Client.connect(t, host, handshake('/ws'))
  assert.equal((await client.answer()).status, 503)
  await client.ends()
  await deserted(host.sockets)
  assert.equal(to.upgrades.length, 0)
})

void test('a hook that throws is its own 500', async t => {
  const app = fastify()
  app.addHook('preHandler', () => {
    throw new Error('the hook failed')
  })
  const to = await backend(t)
  await app.register(ringway, { prefix: '/ws', gateway: gateway(t, [to]) })
  const host = await start(t, app)
  const client = await Client.connect(t, host, handshake('/ws'))
  assert.equal((await client.answer()).status, 500)
  await client.ends()
  assert.equal(to.upgrades.length, 0)
})

void test("beside a ws server of the user's own", async t => {
  const app = fastify()
  const to = await backend(t)
  const own = new WebSocketServer({ server: app.server, path: '/own' })
  own.on('connection', ws => ws.send('own server'))
  await app.register(ringway, { prefix: '/ws', gateway: gateway(t, [to]) })
  const host = await start(t, app)
  const client = await Client.connect(t, host, handshake('/own'))
  assert.equal((await client.answer()).status, 101)
  await client.hear('own server')
  const tunnel = await Client.connect(t, host, handshake('/ws'))
  assert.equal((await tunnel.answer()).status, 101)
  await tunnel.echoes('tunnel')
  assert.equal(to.upgrades.length, 1)
})

/** An app with one open tunnel. */
async function withTunnel(t: TestContext, app: FastifyInstance): Promise<Client> {
  const client = await Client.connect(t, await start(t, app), handshake('/ws'))
  assert.equal((await client.answer()).status, 101)
  await client.echoes('open')
  return client
}

void test("app.close() ends the tunnels of the plugin's own gateway, within its drain", async t => {
  const app = fastify()
  const to = await backend(t)
  await app.register(ringway, { prefix: '/ws', drain: 20_000, upstream: { servers: [to.address] } })
  const client = await withTunnel(t, app)
  await Promise.all([app.close(), client.ends()])
  await deserted(to.sockets)
  assert.equal(app.server.listenerCount('upgrade'), 0)
})

void test("app.close() ends only this app's tunnels of a gateway that was given", async t => {
  const to = await backend(t)
  const by = gateway(t, [to])
  const first = fastify()
  const second = fastify()
  for (const app of [first, second])
    await app.register(ringway, { prefix: '/ws', drain: 20_000, gateway: by })
  const bare = makeServer(false)
  by.attach(bare, { path: '/ws' })
  const ended = await withTunnel(t, first)
  const open = await withTunnel(t, second)
  await Promise.all([first.close(), ended.ends()])
  assert.equal(by.stats().tunnels.active, 1)
  await open.echoes('still open')
  assert.equal(bare.listenerCount('upgrade'), 1)
})

void test('app.close() does not wait for ever for a client that keeps its side open', async t => {
  const app = fastify()
  const to = await backend(t)
  await app.register(ringway, { prefix: '/ws', drain: 100, upstream: { servers: [to.address] } })
  await withTunnel(t, app)
  await app.close()
  await deserted(to.sockets)
})

void test('bad options, and a path that is taken, stop the app from starting', async t => {
  const by = gateway(t, [await backend(t)])
  const bad: [field: string, options: object][] = [
    ['upstream', {}],
    ['upstream.servers', { upstream: { servers: [] } }],
    ['tyops', { upstream: { servers: ['a:1'] }, tyops: 1 }],
    ['drain', { upstream: { servers: ['a:1'] }, drain: 'long' }],
    ['drain', { gateway: by, drain: -1 }],
    ['gateway', { gateway: {} }],
    ['upstream', { gateway: by, upstream: { servers: ['a:1'] } }]
  ]
  for (const [field, options] of bad) {
    const app = fastify()
    await assert.rejects(async () => app.register(ringway, { prefix: '/ws', ...options } as never).ready(), {
      code: 'ERR_RINGWAY_CONFIG',
      field
    })
    assert.equal(app.server.listenerCount('upgrade'), 0)
    await app.close()
  }
  const app = fastify()
  gateway(t, ['a:1']).attach(app.server, { path: '/ws' })
  const upstream = { servers: ['a:1'] }
  await assert.rejects(async () => app.register(ringway, { prefix: '/ws', upstream }).ready(), {
    field: 'path'
  })
  await app.close()
})

void test("Fastify's own options of register are no options of the gateway", async t => {
  const app = fastify({ logger: { stream: { write: () => {} } } })
  const to = await backend(t)
  await app.register(ringway, { prefix: '/ws', logLevel: 'warn', upstream: { servers: [to.address] } })
  const client = await Client.connect(t, await start(t, app), handshake('/ws'))
  assert.equal((await client.answer()).status, 101)
})

void test('app.close() refuses upgrades under way, of a gateway that was given too', async t => {
  const to = await backend(t, { decline: socket => void socket.resume().on('end', () => socket.end()) })
  const by = gateway(t, [to])
  const app = fastify()
  const nexts: (() => void)[] = []
  app.addHook('preHandler', (request, _, done) => {
    if (request.url === '/ws/later') nexts.push(done)
    else done()
  })
  await app.register(ringway, { prefix: '/ws', drain: 20_000, gateway: by })
  const host = await start(t, app)
  const asked = to.upgrade()
  const clients = [
    await Client.connect(t, host, handshake('/ws/now')),
    await Client.connect(t, host, handshake('/ws/later'))
  ]
  await asked
  await until(() => nexts.length > 0, 'the hook runs')
  const closed = app.close()
  nexts[0]!()
  for (const client of clients) {
    const answer = await client.answer()
    assert.equal(answer.status, 503)
    assert.equal(header(answer, 'retry-after'), '5')
    await client.ends()
  }
  await closed
  await deserted(to.sockets)
})
