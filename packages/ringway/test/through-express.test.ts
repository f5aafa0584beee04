import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import type { Express, RequestHandler } from 'express'
import express from 'express'
import session from 'express-session'
import type { GatewayError, GatewayOptions } from '../src/index.ts'
import type { Backend } from './support/mount-backend.ts'
import { backend, nobody } from './support/mount-backend.ts'
import type { Answer, Place } from './support/mount-client.ts'
import { Client, handshake, header, headers, requestHead } from './support/mount-client.ts'
import { gateway, Lines } from './support/mount-gateway.ts'
import { deserted, listen, makeServer, socketsOf, until } from './support/mount-server.ts'

declare module 'express-session' {
  interface SessionData {
    visits: number
  }
}

/** An app whose chain is `use`, then a gateway at `/ws`. */
async function host(
  t: TestContext,
  to: Backend | string,
  use: (app: Express) => void,
  more: Partial<GatewayOptions> & { tls?: boolean } = {}
): Promise<Place & { made: Server }> {
  const { tls = false, ...options } = more
  const app = express()
  app.set('env', 'test') // says nothing on stderr of errors
  use(app)
  const by = gateway(t, [to], options)
  app.use('/ws', by.middleware())
  const made = makeServer(tls, app)
  by.attach(made, { path: '/ws', through: true })
  return { made, port: await listen(t, made), tls }
}

/** Never answers, and goes when the gateway does. */
function silent(socket: Socket): void {
  socket.resume().on('end', () => socket.end())
}

/** Counts what a logger would write, whichever event it waits for. */
function logger(lines: string[]): RequestHandler {
  return (request, response, next) => {
    const { originalUrl } = request
    for (const event of ['finish', 'close']) {
      response.on(event, () => lines.push(`response ${event} ${originalUrl} ${response.statusCode}`))
    }
    request.on('close', () => lines.push(`request close ${originalUrl}`))
    next()
  }
}

const WITH_101 = ['request close /ws/a', 'response close /ws/a 101', 'response finish /ws/a 101']

for (const tls of [false, true]) {
  const over = tls ? ' over TLS' : ''

  void test(`loggers hear 'finish' and 'close' once, with 101, while the tunnel is open${over}`, async t => {
    const lines: string[] = []
    const place = await host(t, await backend(t), app => app.use(logger(lines)), { tls })
    const client = await Client.connect(t, place, handshake('/ws/a'))
    assert.equal((await client.answer()).status, 101)
    await until(() => lines.length >= 3, 'all was logged')
    await client.echoes('open')
    client.socket.end()
    await deserted(socketsOf(place.made))
    assert.deepEqual(lines.sort(), WITH_101)
  })

  void test(`loggers hear 'finish' and 'close' once, with 401, behind a guard${over}`, async t => {
    const lines: string[] = []
    const place = await host(
      t,
      await backend(t),
      app => app.use(logger(lines), (_, response) => void response.sendStatus(401)),
      { tls }
    )
    const client = await Client.connect(t, place, handshake('/ws/a'))
    assert.equal((await client.answer()).status, 401)
    await client.ends()
    await deserted(socketsOf(place.made))
    await until(() => lines.length >= 3, 'all was logged')
    assert.deepEqual(
      lines.sort(),
      WITH_101.map(line => line.replace('101', '401'))
    )
  })
}

for (const how of ['with a reset', 'with a FIN']) {
  void test(`the chain's loggers hear of a client that goes ${how} while the backend is asked`, async t => {
    const lines: string[] = []
    const to = await backend(t, { decline: silent })
    const place = await host(t, to, app => app.use(logger(lines)))
    const asked = to.upgrade()
    const client = await Client.connect(t, place, handshake('/ws/a'))
    await asked
    if (how === 'with a FIN') client.socket.end()
    else client.vanish()
    await Promise.all([deserted(socketsOf(place.made)), deserted(to.sockets)])
    await until(() => lines.length >= 2, 'all was logged')
    assert.deepEqual(lines.sort(), ['request close /ws/a', 'response close /ws/a 200'])
  })

  void test(`a client that goes ${how} while the chain thinks leaves nothing`, async t => {
    const lines: string[] = []
    const to = await backend(t)
    const nexts: (() => void)[] = []
    const place = await host(t, to, app =>
      app.use(logger(lines), (_request, _response, next) => nexts.push(next))
    )
    const client = await Client.connect(t, place, handshake('/ws/a'))
    await until(() => nexts.length > 0, 'the chain runs')
    if (how === 'with a FIN') client.socket.end()
    else client.vanish()
    await deserted(socketsOf(place.made))
    nexts[0]!()
    await until(() => lines.length >= 2, 'all was logged')
    assert.deepEqual(lines.sort(), ['request close /ws/a', 'response close /ws/a 200'])
    assert.equal(to.upgrades.length, 0)
  })
}

void test('a session is saved, and its cookie is on the 101', async t => {
  const store = new session.MemoryStore()
  const to = await backend(t, { lines: ['Set-Cookie: backend=1'] })
  const place = await host(t, to, app => {
    app.use(session({ secret: 's', resave: false, saveUninitialized: false, store }), (request, _, next) => {
      request.session.visits = (request.session.visits ?? 0) + 1
      next()
    })
  })
  const client = await Client.connect(t, place, handshake('/ws'))
  const answer = await client.answer()
  assert.equal(answer.status, 101)
  const cookies = headers(answer, 'set-cookie')
  assert.equal(cookies.length, 2, cookies.join(' | '))
  assert.equal(await visits(store), 1)
  await client.echoes('tunnel')

  const cookie = cookies.find(each => each.startsWith('connect.sid='))!.split(';', 1)[0]!
  const again = await Client.connect(t, place, handshake('/ws', `Cookie: ${cookie}`))
  assert.deepEqual(headers(await again.answer(), 'set-cookie'), ['backend=1'])
  assert.equal(await visits(store), 2)
})

async function visits(store: session.MemoryStore): Promise<number | undefined> {
  const sessions = await new Promise<object>((resolve, reject) => {
    store.all((error, all) => (error ? reject(error as Error) : resolve(all!)))
  })
  const [only] = Object.values(sessions) as session.SessionData[]
  return only?.visits
}

void test("what the chain set is on the 101, except for what describes a body; the backend's word wins", async t => {
  const to = await backend(t, { lines: ['X-Both: backend'] })
  const place = await host(t, to, app => {
    app.disable('x-powered-by')
    app.use((_, response, next) => {
      response.set({
        'X-Chain': 'yes',
        'X-Both': 'chain',
        'Content-Type': 'text/html',
        'Content-Language': 'en'
      })
      response.set({ 'Content-Length': '5', 'Transfer-Encoding': 'chunked', Connection: 'close' })
      next()
    })
  })
  const client = await Client.connect(t, place, handshake('/ws'))
  const answer = await client.answer()
  assert.equal(answer.status, 101)
  assert.deepEqual(Object.fromEntries(answer.headers), {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-accept': header(answer, 'sec-websocket-accept'),
    'x-chain': 'yes',
    'x-both': 'backend'
  })
  await client.echoes('tunnel')
})

void test('the backend gets the whole target, however the app is mounted', async t => {
  const to = await backend(t)
  const app = express()
  const by = gateway(t, [to])
  const inner = express.Router()
  inner.use('/chat', by.middleware())
  const api = express()
  api.use('/v1', inner)
  app.use((request, _, next) => {
    request.url = request.url.replace('/old', '/api/v1') // a rewrite of the app's own
    next()
  })
  app.use('/api', api)
  const made = makeServer(false, app)
  by.attach(made, { path: ['/api/v1/chat', '/old/chat'], through: true })
  const port = await listen(t, made)
  for (const target of ['/api/v1/chat', '/api/v1/chat/room%20a?b=c', '/old/chat?x=1']) {
    const client = await Client.connect(t, { port }, handshake(target))
    assert.equal((await client.answer()).status, 101, target)
    assert.equal(to.upgrades.at(-1)!.url, target)
  }
})

void test('a backend that declines is relayed, with what the chain adds', async t => {
  const to = await backend(t, {
    decline: socket => {
      const head = ['HTTP/1.1 403 Nope', 'Set-Cookie: a=1', 'Set-Cookie: b=2', 'Content-Length: 1048576']
      socket.end(`${head.join('\r\n')}\r\n\r\n${'x'.repeat(1_048_576)}`)
    }
  })
  const lines: string[] = []
  const place = await host(t, to, app =>
    app.use(logger(lines), (_, response, next) => {
      response.cookie('chain', '1')
      next()
    })
  )
  const client = await Client.connect(t, place, `${handshake('/ws/a')}glued`)
  const answer = await client.answer()
  assert.equal(answer.status, 403)
  assert.equal(answer.reason, 'Nope')
  assert.equal(answer.body.length, 1_048_576)
  assert.deepEqual(headers(answer, 'set-cookie').sort(), ['a=1', 'b=2', 'chain=1; Path=/'])
  await client.ends()
  await Promise.all([deserted(socketsOf(place.made)), deserted(to.sockets)])
  await until(() => lines.length >= 3, 'all was logged')
  assert.deepEqual(
    lines.sort(),
    WITH_101.map(line => line.replace('101', '403'))
  )
})

/** Reads the one answer to an upgrade, then waits until nothing is left of it. */
async function refused(t: TestContext, place: Place & { made: Server }): Promise<Answer> {
  const client = await Client.connect(t, place, handshake('/ws'))
  const answer = await client.answer()
  await client.ends()
  await deserted(socketsOf(place.made))
  return answer
}

void test('a chain that never answers ends at its limit with 503', async t => {
  const to = await backend(t)
  const place = await host(t, to, app => app.use(() => {}), { timeouts: { chain: 50 } })
  const answer = await refused(t, place)
  assert.equal(answer.status, 503)
  assert.equal(to.upgrades.length, 0)
})

void test('a chain that lets the upgrade through after its limit has no say any more', async t => {
  const to = await backend(t)
  const nexts: (() => void)[] = []
  const chain: RequestHandler = (_request, _response, next) => {
    // The second one goes on at once, and takes the first along.
    if (nexts.push(next) === 2) for (const each of nexts) each()
  }
  const place = await host(t, to, app => app.use(chain), { timeouts: { chain: 200 } })
  assert.equal((await refused(t, place)).status, 503)
  const other = await Client.connect(t, place, handshake('/ws'))
  assert.equal((await other.answer()).status, 101)
  assert.equal(to.upgrades.length, 1)
})

void test('a chain that answers without end is cut off when the client takes nothing of it', async t => {
  const place = await host(
    t,
    await backend(t),
    app => app.use((_, response) => void response.send(Buffer.alloc(50e6))),
    {
      timeouts: { chain: 50, send: 100 }
    }
  )
  const client = await Client.connect(t, place, handshake('/ws'))
  client.socket.pause()
  await once(place.made, 'request')
  await deserted(socketsOf(place.made))
})

for (const when of ['at once', 'not for a minute']) {
  void test(`a chain that lets through and answers too gives one answer, if the backend answers ${when}`, async t => {
    const to = await backend(t, when === 'at once' ? {} : { decline: silent })
    const place = await host(t, to, app =>
      app.use((_, response, next) => {
        next()
        response.status(500).send('too late')
      })
    )
    const answer = await refused(t, place)
    assert.equal(answer.status, 500)
    assert.equal(answer.body.toString(), 'too late')
    await deserted(to.sockets)
  })
}

void test('a chain that answers in the last moment before the 101 gives one answer', async t => {
  const to = await backend(t, { delay: 20 })
  const place = await host(t, to, app =>
    app.use((_, response, next) => {
      const set = response.setHeader.bind(response)
      response.setHeader = (name, value) => {
        if (name === 'Upgrade') response.writeHead(418, { 'Content-Length': 0 }).end()
        return response.headersSent ? response : set(name, value)
      }
      next()
    })
  )
  const answer = await refused(t, place)
  assert.equal(answer.status, 418)
  await deserted(to.sockets)
})

void test("a chain that throws is answered by the app's own error handler, and so is one that throws behind next()", async t => {
  for (const behind of [false, true]) {
    const to = await backend(t, { delay: 50 })
    const place = await host(t, to, app =>
      app.use((_request, _response, next) => {
        if (behind) next()
        throw new Error('the app failed')
      })
    )
    const answer = await refused(t, place)
    assert.equal(answer.status, 500)
    await deserted(to.sockets)
  }
})

void test('a listener that throws outside of any chain is answered 500 and ends neither process nor server', async t => {
  const made = makeServer(false, () => {
    throw new Error('no framework caught this')
  })
  const log = new Lines()
  const by = gateway(t, [await backend(t)], { log })
  by.attach(made, { path: '/ws', through: true })
  const answer = await refused(t, { made, port: await listen(t, made) })
  assert.equal(answer.status, 500)
  assert.doesNotMatch(answer.body.toString(), /no framework/)
})

void test('an upgrade that the app lets through to nobody is its 404', async t => {
  const app = express()
  const by = gateway(t, [await backend(t)])
  app.use('/elsewhere', by.middleware())
  const made = makeServer(false, app)
  by.attach(made, { path: '/ws', through: true })
  const answer = await refused(t, { made, port: await listen(t, made) })
  assert.equal(answer.status, 404)
  assert.match(answer.body.toString(), /Cannot GET \/ws/)
})

void test('through an app that nothing listens for, an upgrade ends at the limit of the chain', async t => {
  const made = makeServer(false)
  const by = gateway(t, [await backend(t)], { timeouts: { chain: 50 } })
  by.attach(made, { path: '/ws', through: true })
  assert.equal((await refused(t, { made, port: await listen(t, made) })).status, 503)
})

void test('two gateways through one app run its chain once per upgrade', async t => {
  const app = express()
  const ran: string[] = []
  app.use((request, _, next) => {
    ran.push(request.originalUrl)
    next()
  })
  const a = gateway(t, [await backend(t, { lines: ['X-Name: a'] })])
  const b = gateway(t, [await backend(t, { lines: ['X-Name: b'] })])
  app.use('/a', a.middleware())
  app.use('/b', b.middleware())
  const made = makeServer(false, app)
  a.attach(made, { path: '/a', through: true })
  b.attach(made, { path: '/b', through: true })
  const port = await listen(t, made)
  for (const name of ['a', 'b']) {
    const client = await Client.connect(t, { port }, handshake(`/${name}`))
    assert.equal(header(await client.answer(), 'x-name'), name)
    await client.echoes(name)
  }
  assert.deepEqual(ran, ['/a', '/b'])
})

void test('two gateways mounted one behind the other answer an upgrade once', async t => {
  const app = express()
  const first = gateway(t, [await backend(t, { delay: 50, lines: ['X-Name: first'] })])
  const second = gateway(t, [await backend(t)])
  app.use('/ws', first.middleware(), second.middleware())
  const made = makeServer(false, app)
  first.attach(made, { path: '/ws', through: true })
  const client = await Client.connect(t, { port: await listen(t, made) }, handshake('/ws'))
  assert.equal(header(await client.answer(), 'x-name'), 'first')
  await client.echoes('tunnel')
})

void test("errors of the gateway go to the app's error handler with status and code", async t => {
  const at = nobody()
  const app = express()
  const seen: object[] = []
  const by = gateway(t, [at])
  app.use('/ws', by.middleware())
  const handler: express.ErrorRequestHandler = (error: GatewayError, _request, response, _next) => {
    seen.push({ status: error.status, code: error.code })
    response.status(error.status).send(`in the app's words: ${error.message}`)
  }
  app.use(handler)
  const made = makeServer(false, app)
  by.attach(made, { path: '/ws', through: true })
  const answer = await refused(t, { made, port: await listen(t, made) })
  assert.equal(answer.status, 502)
  assert.match(answer.body.toString(), /in the app's words/)
  assert.doesNotMatch(answer.body.toString(), /127\.0\.0\.1|node:|ECONN/)
  assert.deepEqual(seen, [{ status: 502, code: 'ERR_RINGWAY_CONNECT_FAILED' }])
})

void test('without an error handler of its own the app tells clients no inner address, path or stack', async t => {
  t.mock.method(console, 'error', () => {}) // where Express tells the operator
  const place = await host(t, nobody(), app => app.set('env', 'production'))
  const answer = await refused(t, place)
  assert.equal(answer.status, 502)
  assert.doesNotMatch(answer.body.toString(), /127\.0\.0\.1|node:|ECONN|\.ts|\.js/)
})

void test('a page and then an upgrade on one connection', async t => {
  const place = await host(t, await backend(t), app =>
    app.get('/page', (_, response) => void response.send('page'))
  )
  const client = await Client.connect(t, place, requestHead('GET /page'))
  assert.equal((await client.answer()).body.toString(), 'page')
  client.say(handshake('/ws'))
  assert.equal((await client.answer()).status, 101)
  await client.echoes('tunnel')
})
