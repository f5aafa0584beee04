import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { IncomingMessage } from 'node:http'
import test from 'node:test'
import { createGateway } from '../src/index.ts'
import type { RequestHook } from '../src/index.ts'
import { accept, backend, listen, REFUSED } from './support/gate-backend.ts'
import { assertHookFails, FAULTS } from './support/gate-hooks.ts'
import { host, recorder } from './support/gate-host.ts'
import type { Head } from './support/gate-peer.ts'
import { ask, handshake } from './support/gate-peer.ts'
import { connectHead, dialHttp2, http2Host, StreamPeer } from './support/h2-host.ts'
import { backend as webServer } from './support/mount-backend.ts'

const SENT = ['Cookie: session=1', 'X-User: root', 'X-USER: admin', 'X-Plain: 1', 'X-Forwarded-For: 6.6.6.6']

const hook: RequestHook = ({ address, headers }) => ({
  'X-User': `user of ${String(headers['cookie'])}`,
  'X-Real-IP': address,
  'x-forwarded-for': 'hidden',
  Host: 'inner.example',
  Cookie: undefined,
  'X-Absent': undefined
})

/** What the server gets of them. */
function assertChanged(values: (name: string) => string[]): void {
  assert.deepEqual(values('x-user'), ['user of session=1'])
  assert.deepEqual(values('x-real-ip'), ['127.0.0.1'])
  assert.deepEqual(values('x-forwarded-for'), ['hidden'])
  assert.deepEqual(values('x-forwarded-host'), ['gate.test'])
  assert.deepEqual(values('host'), ['inner.example'])
  assert.deepEqual(values('cookie'), [])
  assert.deepEqual(values('x-absent'), [])
  assert.deepEqual(values('x-plain'), ['1'])
}

test('the request hook sets headers of upgrades for the server, and takes some away', async t => {
  const heads: Head[] = []
  const server = await backend(t, async peer => void heads.push(await accept(peer)))
  let asked = 0
  const gate = await host(t, [REFUSED, server.address], {
    request: async (...args) => {
      asked++
      return hook(...args)
    },
    upstream: { key: () => 'x', maxFails: 0 }
  })
  for (let i = 0; i < 4; i++)
    assert.equal((await ask(t, gate.port, handshake('/', ...SENT))).head.status, 101)
  assert.equal(asked, 4)
  for (const head of heads) assertChanged(name => head.values(name))
})

test('and those of plain requests, and over HTTP/2', async t => {
  const seen: IncomingMessage[] = []
  const web = await webServer(t, {
    page: (request, response) => {
      seen.push(request)
      response.end()
    }
  })
  const gateway = createGateway({ log: recorder().log, request: hook, upstream: { servers: [web.address] } })
  t.after(async () => gateway.close())
  const port = await listen(t, createServer(gateway.handleRequest.bind(gateway)))
  const head = ['GET / HTTP/1.1', 'Host: gate.test', 'Connection: close', ...SENT, '', ''].join('\r\n')
  assert.equal((await ask(t, port, head)).head.status, 200)
  assertChanged(name => seen[0]!.headersDistinct[name] ?? [])

  const heads: Head[] = []
  const server = await backend(t, async peer => void heads.push(await accept(peer)))
  const gate = await http2Host(t, [server.address], { request: hook })
  const session = await dialHttp2(t, gate)
  const more = { cookie: 'session=1', 'x-user': 'root', 'x-plain': '1' }
  const peer = new StreamPeer(session.request(connectHead('/', more), { endStream: false }))
  assert.equal((await peer.answer())[':status'], 200)
  assertChanged(name => heads[0]!.values(name))
})

test('a hook that gives nothing changes nothing', async t => {
  const heads: Head[] = []
  const server = await backend(t, async peer => void heads.push(await accept(peer)))
  const gate = await host(t, [server.address], { request: () => undefined })
  await ask(t, gate.port, handshake('/', ...SENT))
  assert.deepEqual(heads[0]!.values('x-user'), ['root', 'admin'])
  assert.deepEqual(heads[0]!.values('x-forwarded-for'), ['127.0.0.1'])
})

const REQUEST_FAULTS: Record<string, unknown> = {
  ...FAULTS,
  'gives null': () => null,
  'breaks out of its line': () => ({ 'X-A': 'a\r\nX-B: b' }),
  'gives a bad name': () => ({ 'X A': 'a' }),
  'gives a number': () => ({ 'X-A': undefined, 'X-B': 5 }),
  'changes Connection': () => ({ connection: 'close' }),
  'changes the key of the handshake': () => ({ 'Sec-WebSocket-Key': 'a' }),
  'gives a length': () => ({ 'Content-Length': '1' })
}

for (const [name, request] of Object.entries(REQUEST_FAULTS)) {
  test(`a request hook that ${name}: 500, one error line, and no server hears of it`, async t => {
    await assertHookFails(t, name, { request: request as RequestHook })
  })
}
