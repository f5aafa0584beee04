import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage, RequestListener, Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { describe, test } from 'node:test'
import express from 'express'
import fastify from 'fastify'
import ringway from '../src/fastify.ts'
import type { Gateway, GatewayError } from '../src/index.ts'
import { roundRobin } from '../src/index.ts'
import type { Backend } from './support/mount-backend.ts'
import { backend, nobody } from './support/mount-backend.ts'
import type { Place } from './support/mount-client.ts'
import { Client, handshake, header, headers, requestHead } from './support/mount-client.ts'
import { gateway, Lines } from './support/mount-gateway.ts'
import { start as startFastify } from './support/mount-hosts.ts'
import { deserted, listen, makeServer, socketsOf, still, stop, until } from './support/mount-server.ts'

/** Express, saying nothing of errors on stderr. */
function quiet(): express.Express {
  return express().set('env', 'test')
}

/** Everything at `/ws` to the gateway, upgrades too. */
const ways: Record<string, (t: TestContext, by: Gateway) => Promise<Place>> = {
  async handleRequest(t, by) {
    const made = makeServer(false, (request, response) => by.handleRequest(request, response))
    by.attach(made, { path: '/ws' })
    return { port: await listen(t, made) }
  },
  async middleware(t, by) {
    const app = quiet()
    app.use('/ws', by.middleware())
    const made = makeServer(false, app)
    by.attach(made, { path: '/ws', through: true })
    return { port: await listen(t, made) }
  },
  async listen(t, by) {
    const made = await by.listen({ host: '127.0.0.1', path: '/ws' })
    t.after(async () => stop(made))
    return { port: (made.address() as AddressInfo).port }
  },
  async Fastify(t, by) {
    const app = fastify()
    await app.register(ringway, { prefix: '/ws', gateway: by })
    return startFastify(t, app)
  }
}

/** Answers with the request's line, headers and the length of its body. */
const mirror: RequestListener = (request, response) => {
  let bytes = 0
  request.on('data', (chunk: Buffer) => (bytes += chunk.length))
  request.on('end', () => {
    const { method, url, headers: got } = request
    response.end(JSON.stringify({ method, url, headers: got, bytes }))
  })
}

interface Seen {
  method: string
  url: string
  headers: Record<string, string>
  bytes: number
}

async function seen(t: TestContext, place: Place, ...said: (string | Buffer)[]): Promise<Seen> {
  const client = await Client.connect(t, place)
  for (const part of said) client.say(part)
  const answer = await client.answer()
  assert.equal(answer.status, 200, answer.body.toString())
  client.socket.destroy()
  return JSON.parse(answer.body.toString()) as Seen
}

const MANY = Array.from({ length: 5 * 16 }, (_, at) => Buffer.alloc(65_536, at)) // 5 MiB

for (const [way, start] of Object.entries(ways)) {
  void describe(`plain HTTP by ${way}`, () => {
    void test('the whole target, and forwarding headers set anew', async t => {
      const place = await start(t, gateway(t, [await backend(t, { page: mirror })]))
      const forged = [
        'X-Forwarded-For: 6.6.6.6',
        'X-Forwarded-Proto: https',
        'X-Forwarded-Host: evil',
        'Forwarded: for=6.6.6.6',
        'X-Real-IP: 6.6.6.6'
      ]
      const got = await seen(
        t,
        place,
        requestHead('GET /ws/a%20b?c=d&e', ...forged, 'X-Mine: 1', 'Connection: X-Drop', 'X-Drop: 1')
      )
      assert.equal(got.url, '/ws/a%20b?c=d&e')
      assert.equal(got.headers['host'], 'example.com')
      assert.equal(got.headers['x-mine'], '1')
      assert.equal(got.headers['x-drop'], undefined)
      assert.equal(got.headers['x-forwarded-for'], '127.0.0.1')
      assert.equal(got.headers['x-forwarded-proto'], 'http')
      assert.equal(got.headers['x-forwarded-host'], 'example.com')
      assert.equal(got.headers['forwarded'], undefined)
      assert.equal(got.headers['x-real-ip'], undefined)
    })

    void test('bodies of any kind come whole', async t => {
      const place = await start(t, gateway(t, [await backend(t, { page: mirror })]))
      for (const type of [
        'application/json',
        'text/plain',
        'application/x-www-form-urlencoded',
        'image/png'
      ]) {
        const lines = [`Content-Type: ${type}`, `Content-Length: ${MANY.length * 65_536}`]
        const got = await seen(t, place, requestHead('POST /ws', ...lines), ...MANY)
        assert.equal(got.bytes, 5 * 1_048_576, type)
        assert.equal(got.headers['content-type'], type)
      }
      const chunked = requestHead('PUT /ws', 'Transfer-Encoding: chunked', 'Content-Type: application/json')
      assert.equal((await seen(t, place, chunked, '5\r\n12345\r\n', '0\r\n\r\n')).bytes, 5)
      assert.equal((await seen(t, place, requestHead('DELETE /ws'))).method, 'DELETE')
      assert.equal((await seen(t, place, requestHead('POST /ws', 'Content-Length: 0'))).bytes, 0)
    })

    void test("the answer comes as it is: status, reason, two cookies, length, and the backend's own Date", async t => {
      const to = await backend(t, {
        page: (request, response) => {
          response.sendDate = false
          const set = [
            'Set-Cookie',
            'a=1',
            'Set-Cookie',
            'b=2',
            'Date',
            'Thu, 01 Jan 1970 00:00:00 GMT',
            'Content-Length',
            '5',
            'X-Kept',
            'yes'
          ]
          response.writeHead(request.url === '/ws/missing' ? 404 : 203, 'So So', set)
          response.end('12345')
        }
      })
      const client = await Client.connect(t, await start(t, gateway(t, [to])))
      for (const [target, status] of [
        ['/ws', 203],
        ['/ws/missing', 404]
      ] as const) {
        client.say(requestHead(`GET ${target}`))
        const answer = await client.answer()
        assert.equal(answer.status, status)
        assert.equal(answer.reason, 'So So')
        assert.deepEqual(headers(answer, 'set-cookie'), ['a=1', 'b=2'])
        assert.equal(header(answer, 'date'), 'Thu, 01 Jan 1970 00:00:00 GMT')
        assert.equal(header(answer, 'content-length'), '5')
        assert.equal(header(answer, 'x-kept'), 'yes')
        assert.equal(answer.body.toString(), '12345')
      }
      client.say(requestHead('HEAD /ws'))
      const head = await client.answer('HEAD')
      assert.equal(header(head, 'content-length'), '5')
      client.say(requestHead('GET /ws'))
      assert.equal((await client.answer()).body.toString(), '12345')
    })

    void test('an answer without a body', async t => {
      const to = await backend(t, {
        page: (request, response) => void response.writeHead(Number(request.url!.slice(4))).end()
      })
      const client = await Client.connect(t, await start(t, gateway(t, [to])))
      for (const status of [204, 304]) {
        client.say(requestHead(`GET /ws/${status}`))
        const answer = await client.answer()
        assert.equal(answer.status, status)
        assert.equal(header(answer, 'transfer-encoding'), undefined)
      }
    })

    void test('goes to the same server as an upgrade of the same key', async t => {
      const backends = await Promise.all(
        ['a', 'b', 'c'].map(async name => backend(t, { name, lines: [`X-Name: ${name}`] }))
      )
      const by = gateway(t, backends, {
        upstream: { key: ({ headers: all }) => String(all['x-user']), servers: [] }
      })
      const place = await start(t, by)
      const used = new Set<string>()
      for (let user = 0; user < 12; user++) {
        const plain = await Client.connect(t, place, requestHead('GET /ws', `X-User: ${user}`))
        const name = (await plain.answer()).body.toString()
        const upgraded = await Client.connect(t, place, handshake('/ws', `X-User: ${user}`))
        assert.equal(header(await upgraded.answer(), 'x-name'), name)
        used.add(name)
        plain.socket.destroy()
        upgraded.socket.destroy()
      }
      assert.ok(used.size > 1)
    })

    void test('a server that refuses is passed over, for a GET and for a POST whose body was not sent', async t => {
      const to = await backend(t, { page: mirror })
      const by = gateway(t, [nobody(), to, nobody()], {
        upstream: { key: ({ target }) => target, servers: [], maxFails: 0 }
      })
      const place = await start(t, by)
      for (let each = 0; each < 8; each++) {
        assert.equal((await seen(t, place, requestHead(`GET /ws/${each}`))).url, `/ws/${each}`)
        const post = requestHead(`POST /ws/${each}`, `Content-Length: ${MANY.length * 65_536}`)
        assert.equal((await seen(t, place, post, ...MANY)).bytes, 5 * 1_048_576)
      }
    })

    void test('when all refuse it is a 502 that names no address, and the connection goes on', async t => {
      const place = await start(t, gateway(t, [nobody(), nobody()]))
      const client = await Client.connect(t, place, requestHead('GET /ws'))
      const answer = await client.answer()
      assert.equal(answer.status, 502)
      assert.doesNotMatch(answer.body.toString(), /127\.0\.0\.1|ECONN|node:|\.js|\.ts/)
      client.say(requestHead('GET /ws'))
      assert.ok([502, 503].includes((await client.answer()).status))
    })

    void test('an answer that the backend cuts short is seen as cut by the client', async t => {
      const to = await backend(t, {
        page: (request, response) => {
          if (request.url === '/ws/length') response.setHeader('Content-Length', 100)
          response.write('some of it', () => response.destroy())
        }
      })
      const place = await start(t, gateway(t, [to]))
      for (const target of ['/ws/length', '/ws/chunks']) {
        const client = await Client.connect(t, place, requestHead(`GET ${target}`))
        await assert.rejects(client.answer(), /ended .* without/)
      }
      await deserted(to.sockets)
    })

    void test("a client that goes away ends the backend's side", async t => {
      let asked: IncomingMessage | undefined
      const to = await backend(t, {
        page: (request, response) => {
          asked = request
          if (request.url === '/ws/begun') response.write('begun')
        }
      })
      const place = await start(t, gateway(t, [to]))
      const targets = ['GET /ws/silent', 'GET /ws/begun', 'POST /ws/silent', 'POST /ws/begun']
      for (const target of targets) {
        asked = undefined
        const lines = target.startsWith('POST') ? ['Content-Length: 100'] : []
        const client = await Client.connect(
          t,
          place,
          `${requestHead(target, ...lines)}${lines.length > 0 ? 'some' : ''}`
        )
        await until(() => asked !== undefined, 'the backend is asked')
        if (target.endsWith('begun')) await client.hear('begun')
        const { socket } = asked!
        client.vanish()
        await until(() => socket.closed, "the backend's side is closed")
      }
    })

    void test('server-sent events come one by one', async t => {
      let go: (() => void) | undefined
      const to = await backend(t, {
        page: (_, response) => {
          let count = 0
          response.writeHead(200, { 'Content-Type': 'text/event-stream' })
          go = () => response.write(`data: ${count++}\n\n`)
          go()
        }
      })
      const client = await Client.connect(t, await start(t, gateway(t, [to])), requestHead('GET /ws'))
      for (let count = 0; count < 5; count++) {
        await client.hear(`data: ${count}\n\n`)
        go!()
      }
    })

    void test('an answer that nobody reads is held back, not stored', async t => {
      let taken = 0
      const to = await backend(t, {
        page: (_, response) => {
          const chunk = Buffer.alloc(65_536)
          const more = (): void => {
            while (taken < 2_000) {
              taken += 1
              if (!response.write(chunk)) return
            }
          }
          response.on('drain', more)
          more()
        }
      })
      const client = await Client.connect(t, await start(t, gateway(t, [to])))
      client.socket.pause()
      client.say(requestHead('GET /ws'))
      await still(() => taken) // the kernel's buffers and ours are full
      assert.ok(taken < 1_500, `${taken} chunks of 64 KiB were taken`)
    })

    void test('a 101 to what was no upgrade is a bad answer', async t => {
      const to: Backend = await backend(t, {
        page: (_, response) =>
          void response.socket!.end('HTTP/1.1 101 No\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n')
      })
      const client = await Client.connect(t, await start(t, gateway(t, [to])), requestHead('GET /ws'))
      assert.equal((await client.answer()).status, 502)
    })
  })
}

async function expressHost(t: TestContext, app: express.Express): Promise<{ made: Server; port: number }> {
  const made = makeServer(false, app)
  return { made, port: await listen(t, made) }
}

const failed: express.ErrorRequestHandler = (error: GatewayError, _request, response, _next) => {
  response.status(error.status).send(`${error.code} ${error.message}`)
}

void test('a body that a parser has consumed is a 500 that says so, and nothing reaches the backend', async t => {
  const asked: string[] = []
  const to = await backend(t, {
    page: (request, response) => void response.end(String(asked.push(request.url ?? '')))
  })
  const app = quiet()
  app.use(express.json())
  app.use('/ws', gateway(t, [to]).middleware())
  app.use(failed)
  const { port } = await expressHost(t, app)
  const lines = ['Content-Type: application/json', 'Content-Length: 2']
  const client = await Client.connect(t, { port }, `${requestHead('POST /ws', ...lines)}{}`)
  const answer = await client.answer()
  assert.equal(answer.status, 500)
  assert.match(answer.body.toString(), /ERR_RINGWAY_BODY_CONSUMED .*before body parsers/)
  assert.deepEqual(asked, [])
  // What the parser has left alone passes.
  client.say(requestHead('GET /ws'))
  assert.equal((await client.answer()).status, 200)
  client.say(`${requestHead('POST /ws', 'Content-Type: text/plain', 'Content-Length: 2')}{}`)
  assert.equal((await client.answer()).status, 200)
})

void test("a POST that a server has seen isn't sent to another one", async t => {
  const asked: string[] = []
  const dies: RequestListener = request =>
    void request.on('data', () => request.socket.destroy()).once('data', () => asked.push(request.url ?? ''))
  const backends = [await backend(t, { page: dies }), await backend(t, { page: dies })]
  const { port } = await expressHost(t, quiet().use(gateway(t, backends).middleware()))
  const client = await Client.connect(t, { port }, `${requestHead('POST /once', 'Content-Length: 2')}{}`)
  assert.equal((await client.answer()).status, 502)
  assert.deepEqual(asked, ['/once'])
})

void test('a GET that a server has dropped is sent to another one', async t => {
  const asked: string[] = []
  const dies: RequestListener = request => {
    asked.push('dead')
    request.socket.destroy()
  }
  const alive = await backend(t, { name: 'alive' })
  const by = gateway(t, [await backend(t, { page: dies }), alive], {
    upstream: { strategy: roundRobin(), servers: [], maxFails: 0 }
  })
  const { port } = await expressHost(t, quiet().use(by.middleware()))
  for (let each = 0; each < 8; each++) {
    const client = await Client.connect(t, { port }, requestHead(`GET /${each}`))
    assert.equal((await client.answer()).body.toString(), 'alive')
  }
  assert.ok(asked.length > 0)
})

void test('a chain that answers while the backend is asked gives one answer', async t => {
  const to = await backend(t, { page: () => {} })
  const app = quiet()
  const by = gateway(t, [to], { log: new Lines() })
  app.use((_, response, next) => {
    next()
    response.status(418).send('mine')
  })
  app.use(by.middleware())
  const { made, port } = await expressHost(t, app)
  const client = await Client.connect(t, { port }, requestHead('GET /', 'Connection: close'))
  const answer = await client.answer()
  assert.equal(answer.status, 418)
  assert.equal(answer.body.toString(), 'mine')
  await client.ends()
  await Promise.all([deserted(socketsOf(made)), deserted(to.sockets)])
})

void test("the chain's headers stay, the backend's win", async t => {
  const to = await backend(t, {
    page: (_, response) => void response.setHeader('X-Both', 'backend').end('body')
  })
  const app = quiet()
  app.use((_, response, next) => {
    response.set({ 'X-Chain': 'yes', 'X-Both': 'chain' }).cookie('chain', '1')
    next()
  })
  app.use(gateway(t, [to]).middleware())
  const { port } = await expressHost(t, app)
  const answer = await (await Client.connect(t, { port }, requestHead('GET /'))).answer()
  assert.equal(header(answer, 'x-chain'), 'yes')
  assert.equal(header(answer, 'x-both'), 'backend')
  assert.equal(answer.body.toString(), 'body')
  assert.deepEqual(headers(answer, 'set-cookie'), ['chain=1; Path=/'])
})

void test('an absolute target is refused', async t => {
  const made = makeServer(false)
  const by = gateway(t, [await backend(t)])
  made.on('request', by.handleRequest.bind(by))
  const client = await Client.connect(
    t,
    { port: await listen(t, made) },
    requestHead('GET http://example.com/ws')
  )
  assert.equal((await client.answer()).status, 400)
})

void test('a request that waits for 100-continue gets it, and then its answer', async t => {
  const made = makeServer(false)
  const by = gateway(t, [await backend(t, { page: mirror })])
  made.on('request', by.handleRequest.bind(by))
  const lines = ['Content-Length: 5', 'Expect: 100-continue']
  const client = await Client.connect(t, { port: await listen(t, made) }, requestHead('POST /', ...lines))
  await client.hear('100 Continue\r\n\r\n')
  client.say('12345')
  assert.equal((await client.answer()).status, 200)
})

void test('a close while a request is under way cuts it', async t => {
  const to = await backend(t, { page: (_, response) => void response.write('begun') })
  const by = gateway(t, [to])
  const made = makeServer(false, by.handleRequest.bind(by))
  const client = await Client.connect(t, { port: await listen(t, made) }, requestHead('GET /'))
  await client.hear('begun')
  const ended = once(client.socket, 'close')
  await by.close()
  await deserted(to.sockets)
  client.socket.end()
  await ended
})
