import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fastify from 'fastify'
import ringway from '../src/fastify.ts'
import type { Authorize, GatewayOptions } from '../src/index.ts'
import { createGateway } from '../src/index.ts'
import { echo, listen } from './support/gate-backend.ts'
import { guarded } from './support/gate-guarded.ts'
import { assertHookFails, FAULTS } from './support/gate-hooks.ts'
import { host, recorder } from './support/gate-host.ts'
import { ask, dial, handshake } from './support/gate-peer.ts'
import { until } from './support/gate-waiting.ts'
import { connectHead, dialHttp2, http2Host, StreamPeer } from './support/h2-host.ts'
import { backend as webServer } from './support/mount-backend.ts'

/** Lets in who has the cookie. */
const bySession: Authorize = async ({ headers }) => {
  await sleep(1)
  if (headers['cookie'] === 'session=1') return undefined
  return { status: 401, headers: { 'WWW-Authenticate': 'Bearer' }, body: 'Who are you?' }
}

async function site(t: TestContext, authorize: Authorize): Promise<{ port: number; seen: string[] }> {
  const seen: string[] = []
  const web = await webServer(t, {
    page: (request, response) => {
      seen.push(request.url!)
      request.resume().on('end', () => response.end('a page'))
    }
  })
  const gateway = createGateway({ log: recorder().log, authorize, upstream: { servers: [web.address] } })
  t.after(async () => gateway.close())
  const server = createServer(gateway.handleRequest.bind(gateway))
  gateway.attach(server)
  return { port: await listen(t, server), seen }
}

test('whom authorize answers gets that answer, and no server hears of it; who is let in gets a tunnel', async t => {
  const { address, peers } = await echo(t)
  const gate = await host(t, [address], { authorize: bySession })
  const { head, peer } = await ask(t, gate.port)
  assert.equal(head.status, 401)
  assert.deepEqual(head.values('www-authenticate'), ['Bearer'])
  assert.deepEqual(head.values('content-type'), ['text/plain; charset=utf-8'])
  assert.equal((await peer.rest()).toString(), 'Who are you?')
  assert.equal(peers.length, 0)
  assert.equal((await ask(t, gate.port, handshake('/', 'Cookie: session=1'))).head.status, 101)
  assert.deepEqual([gate.lines[0]!.level, gate.lines[0]!.fields['status']], ['info', 401])
})

test('plain requests are asked too, and their connection goes on behind a refusal', async t => {
  const { port, seen } = await site(t, bySession)
  const peer = await dial(t, port)
  const body = 'Content-Length: 70000\r\n\r\n' + 'x'.repeat(70_000)
  peer.write(`POST /a HTTP/1.1\r\nHost: gate.test\r\n${body}`)
  assert.equal((await peer.head()).status, 401)
  assert.equal((await peer.take(12)).toString(), 'Who are you?')
  peer.write(`POST /b HTTP/1.1\r\nHost: gate.test\r\nCookie: session=1\r\n${body}`)
  assert.equal((await peer.head()).status, 200)
  assert.deepEqual(seen, ['/b'])
})

test('over HTTP/2 it is the same', async t => {
  const { address } = await echo(t)
  const gate = await http2Host(t, [address], { authorize: bySession })
  const session = await dialHttp2(t, gate)
  const refused = new StreamPeer(session.request(connectHead(), { endStream: false }))
  assert.equal((await refused.answer())[':status'], 401)
  const open = new StreamPeer(
    session.request(connectHead('/', { cookie: 'session=1' }), { endStream: false })
  )
  assert.equal((await open.answer())[':status'], 200)
})

test('in Express and Fastify it is asked behind the app’s own guards', async t => {
  const { address } = await echo(t)
  const options: GatewayOptions = {
    log: recorder().log,
    authorize: bySession,
    upstream: { servers: [address] }
  }
  const { port: inExpress } = await guarded(t, options)
  const fast = fastify()
  t.after(async () => fast.close())
  await fast.register(ringway, { ...options, prefix: '/ws' })
  await fast.listen({ host: '127.0.0.1', port: 0 })
  for (const port of [inExpress, (fast.server.address() as { port: number }).port]) {
    const { head, peer } = await ask(t, port, handshake('/ws'))
    assert.equal(head.status, 401)
    assert.equal((await peer.rest()).toString(), 'Who are you?')
    assert.equal((await ask(t, port, handshake('/ws', 'Cookie: session=1'))).head.status, 101)
  }
})

const AUTHORIZE_FAULTS: Record<string, unknown> = {
  ...FAULTS,
  'says true': () => true,
  'says false': () => false,
  'says null': () => null,
  'gives no status': () => ({ body: 'no' }),
  'gives a bad status': () => ({ status: 101 }),
  'gives a bad header': () => ({ status: 403, headers: { 'X-A': 'a\r\nX-B: b' } })
}

for (const [name, authorize] of Object.entries(AUTHORIZE_FAULTS)) {
  test(`an authorize that ${name}: 500, one error line, and nobody is let in`, async t => {
    await assertHookFails(t, name, { authorize: authorize as Authorize })
  })
}

test('its signal is aborted when the client goes away', async t => {
  const { address } = await echo(t)
  let signal: AbortSignal | undefined
  const gate = await host(t, [address], {
    authorize: async (_source, given) => {
      signal = given
      return new Promise(() => {})
    }
  })
  const peer = await dial(t, gate.port)
  peer.write(handshake())
  await until(() => signal !== undefined, 'it is asked')
  assert.equal(signal!.aborted, false)
  peer.socket.destroy()
  await until(() => signal!.aborted, 'the signal is aborted')
  await until(() => gate.lines.length === 1, 'a line')
  assert.equal(gate.lines[0]!.fields['code'], 'ERR_RINGWAY_CLIENT_GONE')
})

test('a hook that reads the body of a request: 500 that says so, never an empty body', async t => {
  const { port, seen } = await site(t, async ({ request }) => {
    for await (const chunk of request as AsyncIterable<Buffer>) void chunk
    return undefined
  })
  const peer = await dial(t, port)
  peer.write('POST / HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi')
  assert.equal((await peer.head()).status, 500)
  assert.match((await peer.rest()).toString(), /was read before/)
  assert.deepEqual(seen, [])
})
