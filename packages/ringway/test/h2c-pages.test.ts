import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import dns from 'node:dns'
import { once } from 'node:events'
import type { IncomingMessage, RequestListener, Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { isIPv6 } from 'node:net'
import type { TestContext } from 'node:test'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import fastify from 'fastify'
import ringway from '../src/fastify.ts'
import { backend } from './support/mount-backend.ts'
import type { Place } from './support/mount-client.ts'
import { Client, handshake, requestHead } from './support/mount-client.ts'
import { gateway } from './support/mount-gateway.ts'
import { deserted, listen, makeServer, socketsOf } from './support/mount-server.ts'

const OFFER = [
  'Connection: Upgrade, HTTP2-Settings',
  'Upgrade: h2c',
  'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA'
]

/** Answers with what it was asked. */
const mirror: RequestListener = (request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    response.end(`${request.method} ${request.url} ${Buffer.concat(chunks).toString()}`)
  })
}

interface Page extends Place {
  readonly made: Server
}

async function host(t: TestContext, tls = false, listener = mirror): Promise<Page> {
  const made = makeServer(tls, listener)
  gateway(t, [await backend(t)]).attach(made, { path: '/ws' })
  return { made, port: await listen(t, made), tls }
}

type Found = (error: null, addresses: dns.LookupAddress[]) => void

/** A Fastify app on localhost, which listens on 127.0.0.1 and on ::1, with a server of its own for the second. */
async function onLocalhost(t: TestContext): Promise<Page> {
  // Not all machines say that localhost has both.
  const lookup = dns.lookup as (...args: unknown[]) => void
  t.mock.method(dns, 'lookup', (...args: unknown[]) => {
    const [name, options, found] = args as [string, dns.LookupAllOptions, Found]
    if (name !== 'localhost' || !options.all) return lookup(...args)
    const both = ['127.0.0.1', '::1'].map(address => ({ address, family: isIPv6(address) ? 6 : 4 }))
    return void setImmediate(found, null, both)
  })
  const app = fastify()
  app.all('/*', (request, reply) => {
    void reply.send(`${request.method} ${request.url} ${(request.body ?? '') as string}`)
  })
  await app.register(ringway, { prefix: '/ws', gateway: gateway(t, [await backend(t)]) })
  await app.listen({ port: 0, host: 'localhost' })
  t.after(async () => app.close())
  return { made: app.server, port: (app.server.address() as AddressInfo).port }
}

/** Asks for pages with an offer of h2c, one after the other on one connection, and for a tunnel at the end. */
async function asksForPages(t: TestContext, place: Place): Promise<void> {
  const client = await Client.connect(t, place, requestHead('GET /page?a=b', ...OFFER))
  assert.equal((await client.answer()).body.toString(), 'GET /page?a=b ')

  const posted = ['Content-Type: text/plain', ...OFFER]
  client.say(`${requestHead('POST /length', 'Content-Length: 5', ...posted)}12345`)
  assert.equal((await client.answer()).body.toString(), 'POST /length 12345')
  client.say(`${requestHead('POST /chunks', 'Transfer-Encoding: chunked', ...posted)}3\r\n123\r\n`)
  client.say('2\r\n45\r\n0\r\n\r\n')
  assert.equal((await client.answer()).body.toString(), 'POST /chunks 12345')
  const large = 'x'.repeat(1_048_576)
  client.say(`${requestHead('POST /large', `Content-Length: ${large.length}`, ...posted)}${large}`)
  assert.equal((await client.answer()).body.toString(), `POST /large ${large}`)

  client.say(requestHead('GET /plain'))
  assert.equal((await client.answer()).body.toString(), 'GET /plain ')
  client.say(handshake('/ws'))
  assert.equal((await client.answer()).status, 101)
  await client.echoes('tunnel')
  client.socket.destroy()
}

void describe('a page asked for with an offer of h2c is that page', () => {
  for (const tls of [false, true]) {
    void test(`over ${tls ? 'https' : 'http'}`, async t => {
      const place = await host(t, tls)
      await asksForPages(t, place)
      await deserted(socketsOf(place.made))
    })
  }

  void test('under Fastify, on each address of localhost', async t => {
    const place = await onLocalhost(t)
    await asksForPages(t, { ...place, host: '127.0.0.1' })
    if (hasIpv6()) await asksForPages(t, { ...place, host: '::1' })
  })

  void test('for any protocol, and in a list of them', async t => {
    const place = await host(t)
    for (const upgrade of ['TLS/1.0, HTTP/1.1', 'irc/6.9', 'h2c,foo']) {
      const client = await Client.connect(
        t,
        place,
        requestHead('GET /', 'Connection: close, Upgrade', `Upgrade: ${upgrade}`)
      )
      assert.equal((await client.answer()).body.toString(), 'GET / ')
      await client.ends()
    }
    await deserted(socketsOf(place.made))
  })

  void test('with the headers that the client sent, but for the offer', async t => {
    const place = await host(
      t,
      false,
      (request, response) => void response.end(JSON.stringify(request.rawHeaders))
    )
    const client = await Client.connect(
      t,
      place,
      requestHead('GET /', 'X-A: 1', 'X-A: 2', 'X-Latin: \u00e9', 'Connection: keep-alive', ...OFFER)
    )
    const seen = JSON.parse((await client.answer()).body.toString()) as string[]
    const text = seen.join(' ')
    assert.ok(text.startsWith('Host example.com X-A 1 X-A 2 X-Latin '), text)
  })

  void test('behind a page that takes its time, on one connection', async t => {
    const waiting: (() => void)[] = []
    const place = await host(t, false, (request, response) => {
      const answer = (): void => void response.end(request.url)
      if (request.url === '/slow') waiting.push(answer)
      else answer()
    })
    const both = requestHead('GET /slow') + requestHead('GET /h2c', ...OFFER)
    const client = await Client.connect(t, place, both)
    if (waiting.length === 0) await once(place.made, 'request')
    waiting[0]!()
    for (const target of ['/slow', '/h2c']) assert.equal((await client.answer()).body.toString(), target)
    client.say(requestHead('GET /last'))
    assert.equal((await client.answer()).body.toString(), '/last')
  })

  void test('fifty times on one connection, without a warning', async t => {
    const warnings: Error[] = []
    const heard = (warning: Error): void => void warnings.push(warning)
    process.on('warning', heard)
    t.after(() => process.off('warning', heard))
    const place = await host(t)
    const client = await Client.connect(t, place)
    for (let round = 0; round < 50; round++) {
      client.say(requestHead(`GET /${round}`, ...OFFER))
      assert.equal((await client.answer()).body.toString(), `GET /${round} `)
    }
    await new Promise(resolve => setImmediate(resolve))
    assert.deepEqual(warnings.map(String), [])
  })

  void test('and a client that vanishes behind it does no harm', async t => {
    const place = await host(t, false, () => {})
    const client = await Client.connect(t, place, requestHead('GET /', ...OFFER))
    await once(place.made, 'request')
    client.vanish()
    await deserted(socketsOf(place.made))
  })
})

void test('an offer of h2c goes to another listener untouched', async t => {
  const { made, ...place } = await host(t)
  const seen: string[] = []
  made.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    seen.push(`${request.url} ${request.headers.upgrade} ${head.toString()}`)
    socket.end('HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n')
  })
  const client = await Client.connect(t, place, `${requestHead('GET /page', ...OFFER)}glued`)
  assert.equal((await client.answer()).status, 418)
  assert.deepEqual(seen, ['/page h2c glued'])
})

void test("an offer of h2c to a gateway's own path is the plain request too", async t => {
  const place = await host(t)
  const client = await Client.connect(t, place, requestHead('GET /ws', ...OFFER))
  assert.equal((await client.answer()).body.toString(), 'GET /ws ')
})

void test("the host's own shouldUpgradeCallback decides on what isn't ours", async t => {
  const made = makeServer(false, mirror) as Server & {
    shouldUpgradeCallback?: (request: IncomingMessage) => boolean
  }
  if (made.shouldUpgradeCallback === undefined) return t.skip('this Node has none')
  const asked: string[] = []
  const own = (request: IncomingMessage): boolean => {
    asked.push(request.url ?? '')
    return request.url !== '/plain'
  }
  made.shouldUpgradeCallback = own
  const detach = gateway(t, [await backend(t)]).attach(made, { path: '/ws' })
  const place = { port: await listen(t, made) }
  for (const [target, status] of Object.entries({ '/ws': 101, '/plain': 200, '/other': 404 })) {
    const client = await Client.connect(t, place, handshake(target))
    assert.equal((await client.answer()).status, status, target)
    client.socket.destroy()
  }
  assert.deepEqual(asked, ['/plain', '/other'])
  detach()
  assert.equal(made.shouldUpgradeCallback, own)
  return undefined
})

function hasIpv6(): boolean {
  return (
    spawnSync(process.execPath, [
      '-e',
      "require('net').createServer().listen(0,'::1',()=>process.exit(0)).on('error',()=>process.exit(1))"
    ]).status === 0
  )
}

async function curl(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('curl', [
    '--silent',
    '--show-error',
    '--max-time',
    '10',
    '--http2',
    ...args
  ])
  return stdout
}

void describe('curl --http2', () => {
  const found = /\bHTTP2\b/.test(spawnSync('curl', ['--version'], { encoding: 'utf8' }).stdout ?? '')
  // A run that counts must not pass for want of a tool.
  const skip = !found && !process.env['CI'] && 'needs curl with HTTP/2: apt-get install curl'

  void test('gets, posts, and asks twice on one connection', { skip }, async t => {
    for (const { port } of [await host(t), await onLocalhost(t)]) {
      const page = `http://localhost:${port}/page`
      const status = ['--write-out', ' %{http_code} %{http_version} %{num_connects}\n']
      assert.equal(await curl(page, ...status), 'GET /page  200 1.1 1\n')
      const post = ['--data', 'a=b', '--header', 'Content-Type: text/plain']
      assert.equal(await curl(page, ...post, ...status), 'POST /page a=b 200 1.1 1\n')
      assert.equal(await curl(page, page, ...status), 'GET /page  200 1.1 1\nGET /page  200 1.1 0\n')
    }
  })
})
