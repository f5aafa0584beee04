import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request as httpRequest } from 'node:http'
import type { IncomingMessage, RequestListener, Server } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import type { TestContext } from 'node:test'
import express from 'express'
import fastify from 'fastify'
import type { GatewayError, GatewayOptions } from '../src/index.ts'
import ringway from '../src/fastify.ts'
import { createGateway } from '../src/index.ts'
import { backend, listen, REFUSED } from './support/gate-backend.ts'
import { recorder } from './support/gate-host.ts'
import type { Line } from './support/gate-host.ts'
import type { Head } from './support/gate-peer.ts'
import { ask, handshake } from './support/gate-peer.ts'
import { connectHead, dialHttp2, StreamPeer } from './support/h2-host.ts'

interface Asked {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

async function get(port: number, headers: Record<string, string> = {}, method = 'GET'): Promise<Asked> {
  return new Promise((resolve, reject) => {
    const asked = httpRequest({ port, host: '127.0.0.1', path: '/page', method, headers, agent: false })
    asked.on('error', reject).on('response', response => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          body: Buffer.concat(chunks).toString()
        })
      })
    })
    asked.end()
  })
}

/** The answer to an upgrade. */
async function upgraded(t: TestContext, port: number, text?: string): Promise<{ head: Head; body: string }> {
  const { head, peer } = await ask(t, port, text)
  return { head, body: (await peer.rest()).toString() }
}

/** A gateway that listens for itself. */
async function gate(
  t: TestContext,
  address: string,
  options: Partial<GatewayOptions> = {}
): Promise<{ port: number; lines: Line[] }> {
  const { log, lines } = recorder()
  const gateway = createGateway({ log, ...options, upstream: { servers: [address] } })
  t.after(async () => gateway.close())
  const server = await gateway.listen({ host: '127.0.0.1' })
  return { port: ((server as Server).address() as { port: number }).port, lines }
}

async function site(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  server.on('upgrade', (request, socket) => {
    socket.end('HTTP/1.1 403 No\r\nContent-Length: 6\r\nX-Inner: sre1\r\n\r\nbuh-uh')
  })
  return `127.0.0.1:${await listen(t, server)}`
}

test('without pages an error is a line of text, or HTML or JSON if the client would rather have it', async t => {
  const { port } = await gate(t, REFUSED)
  const plain = await get(port)
  assert.equal(plain.status, 502)
  assert.equal(plain.headers['content-type'], 'text/plain; charset=utf-8')
  assert.equal(plain.headers.vary, 'Accept')
  assert.equal(plain.body, '502 Bad Gateway: Bad Gateway\n')
  for (const accept of ['*/*', 'text/*', 'image/png', 'rubbish;;=,', '']) {
    assert.equal((await get(port, { accept })).body, plain.body, accept)
  }
  const page = await get(port, { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' })
  assert.equal(page.headers['content-type'], 'text/html; charset=utf-8')
  assert.match(page.body, /^<!doctype html>.*<h1>502 Bad Gateway<\/h1>/)
  const json = await get(port, { accept: 'application/json, text/plain;q=0.5' })
  assert.equal(json.headers['content-type'], 'application/json')
  assert.deepEqual(JSON.parse(json.body), {
    status: 502,
    code: 'ERR_RINGWAY_CONNECT_FAILED',
    message: 'Bad Gateway'
  })
  for (const { body } of [plain, page, json]) assert.doesNotMatch(body, /127\.0\.0\.1|ECONN|\bat /)
  const head = await get(port, {}, 'HEAD')
  assert.deepEqual([head.status, head.body, head.headers['content-length']], [502, '', '29'])
})

test('what a client wrote is escaped where it is told back', async t => {
  const { port } = await gate(t, REFUSED, {
    errorPages: { '400': error => ({ body: error.message }) }
  })
  const bad = await gate(t, REFUSED)
  const upgrade = handshake().replace(
    'Sec-WebSocket-Version: 13',
    'Accept: text/html\r\nSec-WebSocket-Version: 13'
  )
  const withFault = upgrade.replace(/Sec-WebSocket-Key: .*/, 'Sec-WebSocket-Key: <script>')
  const answer = await upgraded(t, bad.port, withFault)
  assert.equal(answer.head.status, 400)
  assert.match(answer.head.values('content-type')[0]!, /^text\/html/)
  assert.doesNotMatch(answer.body, /<script>/)
  assert.equal((await upgraded(t, port, withFault)).head.status, 400)
})

test('pages by status and class: a file, HTML, a function; for requests and upgrades, HTTP/1.1 and HTTP/2', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'pages-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, '50x.html')
  writeFileSync(file, '<h1>We are back soon</h1>')
  const seen: GatewayError[] = []
  const errorPages: GatewayOptions['errorPages'] = {
    '5xx': { file },
    '400': { html: '<h1>Pardon?</h1>' },
    '4xx': (error, request) => {
      seen.push(error)
      return { status: 410, headers: { 'content-type': 'text/x-gone', 'X-For': request.url! }, body: 'gone' }
    }
  }
  const { port, lines } = await gate(t, REFUSED, { errorPages })
  rmSync(file)
  const page = await get(port, { accept: 'application/json' })
  assert.deepEqual([page.status, page.body], [502, '<h1>We are back soon</h1>'])
  assert.equal(page.headers['content-type'], 'text/html; charset=utf-8')
  assert.equal(page.headers['content-length'], '25')
  const refused = await upgraded(t, port)
  assert.deepEqual([refused.head.status, refused.body], [502, '<h1>We are back soon</h1>'])
  assert.equal(refused.head.values('connection').join(), 'close')
  const bad = await upgraded(t, port, handshake().replace(/Sec-WebSocket-Key: .*/, 'Sec-WebSocket-Key: x'))
  assert.deepEqual([bad.head.status, bad.body], [400, '<h1>Pardon?</h1>'])
  // The headers that belong to the error stay.
  const old = await upgraded(t, port, handshake().replace('Version: 13', 'Version: 8'))
  assert.deepEqual([old.head.status, old.body], [410, 'gone'])
  assert.equal(old.head.values('sec-websocket-version').join(), '13')
  assert.deepEqual(old.head.values('content-type'), ['text/x-gone'])
  assert.equal(seen[0]!.code, 'ERR_RINGWAY_BAD_VERSION')
  assert.ok(lines.every(({ level }) => level !== 'error'))

  const { log } = recorder()
  writeFileSync(file, '<h1>We are back soon</h1>')
  const gateway = createGateway({ log, errorPages, upstream: { servers: [REFUSED] } })
  t.after(async () => gateway.close())
  const server = createHttp2Server(gateway.handleRequest.bind(gateway))
  gateway.attach(server)
  const session = await dialHttp2(t, { port: await listen(t, server), tls: false })
  for (const head of [{ ':path': '/page' }, connectHead()]) {
    const peer = new StreamPeer(session.request(head))
    const answer = await peer.answer()
    assert.equal(answer[':status'], 502)
    assert.equal(answer['content-type'], 'text/html; charset=utf-8')
    assert.equal((await peer.rest()).toString(), '<h1>We are back soon</h1>')
  }
})

test('a page that fails gives the default one, and one line in the log', async t => {
  const faults: unknown[] = [
    () => {
      throw new Error('no template')
    },
    () => ({ body: 'x', headers: { 'X-Bad': 'a\r\nb: c' } }),
    () => ({ body: 'x', status: 99 }),
    () => ({})
  ]
  for (const fault of faults) {
    const { port, lines } = await gate(t, REFUSED, { errorPages: { '502': fault as never } })
    const page = await get(port)
    assert.deepEqual([page.status, page.body], [502, '502 Bad Gateway: Bad Gateway\n'])
    assert.equal(lines.filter(({ message }) => message === 'the error page of 502 failed').length, 1)
  }
  const { port, lines } = await gate(t, REFUSED, { errorPages: { '502': () => undefined } })
  assert.equal((await get(port)).body, '502 Bad Gateway: Bad Gateway\n')
  assert.ok(lines.every(({ level }) => level !== 'error'))
})

test("a server's errors go to the client as they are, unless interceptErrors is on and there is a page", async t => {
  let gone = 0
  const address = await site(t, (request, response) => {
    response.on('close', () => gone++)
    const status = Number(request.headers['x-status'])
    response.writeHead(status, {
      'WWW-Authenticate': 'Basic realm="x"',
      'X-Inner': 'sre1',
      'Set-Cookie': 'a=1'
    })
    response.write('a stack, say')
    if (status !== 500) response.end() // else a body without an end
  })
  const errorPages: GatewayOptions['errorPages'] = {
    '401': { html: 'who?' },
    '5xx': { html: 'sorry' },
    '403': { html: 'no' }
  }
  const plain = await gate(t, address, { errorPages })
  assert.equal((await get(plain.port, { 'x-status': '401' })).body, 'a stack, say')
  assert.equal((await upgraded(t, plain.port)).body, 'buh-uh')

  const { port, lines } = await gate(t, address, { errorPages, interceptErrors: true })
  const unknown = await get(port, { 'x-status': '401' })
  assert.deepEqual([unknown.status, unknown.body], [401, 'who?'])
  assert.equal(unknown.headers['www-authenticate'], 'Basic realm="x"')
  assert.equal(unknown.headers['x-inner'], undefined)
  assert.equal(unknown.headers['set-cookie'], undefined)
  const failed = await get(port, { 'x-status': '500' })
  assert.deepEqual([failed.status, failed.body], [500, 'sorry'])
  const none = await get(port, { 'x-status': '404' })
  assert.deepEqual([none.status, none.body], [404, 'a stack, say'])
  const upgrade = await upgraded(t, port)
  assert.deepEqual([upgrade.head.status, upgrade.body], [403, 'no'])
  assert.deepEqual(upgrade.head.values('x-inner'), [])
  assert.deepEqual(
    lines.map(({ fields }) => fields['status']),
    [401, 500, 404, 403]
  )
  assert.equal(gone, 4)
})

function intercepting(to: string): GatewayOptions {
  const errorPages = { '5xx': { html: 'sorry' } }
  return { log: recorder().log, errorPages, interceptErrors: true, upstream: { servers: [to] } }
}

const appHandler: express.ErrorRequestHandler = (error: GatewayError, _request, response, _next) => {
  response.status(error.status).send(`the app: ${error.status}`)
}

test("in Express and Fastify the gateway's errors are the app's to show; a server's are replaced there too", async t => {
  const address = await site(t, (_request, response) =>
    response.writeHead(503, { 'X-Inner': '1' }).end('inner')
  )
  for (const [to, body] of [
    [REFUSED, 'the app: 502'],
    [address, 'sorry']
  ] as const) {
    const gateway = createGateway(intercepting(to))
    t.after(async () => gateway.close())
    const app = express()
    app.use(gateway.middleware())
    app.use(appHandler)
    const page = await get(await listen(t, createServer(app as RequestListener)))
    assert.equal(page.body, body)

    const fast = fastify()
    t.after(async () => fast.close())
    fast.setErrorHandler((error: GatewayError, _request, reply) =>
      reply.code(error.status).send(`the app: ${error.status}`)
    )
    await fast.register(ringway, intercepting(to))
    await fast.listen({ host: '127.0.0.1', port: 0 })
    const { port } = fast.server.address() as { port: number }
    assert.equal((await get(port)).body, body)
    if (to === address) continue
    assert.equal((await upgraded(t, port)).body, body)
  }
})

test('a server that is silent after an error of its own holds nothing up when a page takes its place', async t => {
  const { address } = await backend(t, async peer => {
    await peer.head()
    peer.write('HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\n')
  })
  const { port } = await gate(t, address, { errorPages: { '500': { html: 'sorry' } }, interceptErrors: true })
  assert.equal((await get(port)).body, 'sorry')
  assert.equal((await upgraded(t, port)).body, 'sorry')
})
