import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { createServer as createNetServer } from 'node:net'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { WebSocketServer } from 'ws'

import type { HealthOptions } from '../src/index.ts'
import { cert, key, socketPath } from './support/backend.ts'
import { dialled, probeOnce, rawServer, REFUSED } from './support/probing.ts'
import { upstream } from './support/upstream.ts'

const HEADERS = {
  v1: 'PROXY UNKNOWN\r\n',
  v2: '\r\n\r\n\0\r\nQUIT\n\x20\0\0\0'
} as const

/** The first bytes of a socket, exactly so many; undefined when its end comes before. */
async function first(socket: Socket, length: number): Promise<string | undefined> {
  for (;;) {
    const bytes = socket.read(length) as Buffer | null
    if (bytes !== null) return bytes.length === length ? bytes.toString('latin1') : undefined
    if (socket.readableEnded || socket.destroyed) return undefined
    await Promise.race([once(socket, 'readable'), once(socket, 'close')])
  }
}

/** A server of all that probes ask for, which takes a header first and keeps what it was. */
async function behindHeader(
  t: TestContext,
  length: number,
  tls: boolean
): Promise<{ port: number; headers: (string | undefined)[] }> {
  const headers: (string | undefined)[] = []
  const inner: Server = tls ? createTlsServer({ cert, key }) : createServer()
  inner.on('request', (_, response) => response.end('well'))
  const webSockets = new WebSocketServer({ server: inner })
  t.after(() => webSockets.close())
  const take = async (socket: Socket): Promise<void> => {
    headers.push(await first(socket, length))
    inner.emit('connection', socket)
  }
  const { port } = await rawServer(t, socket => void take(socket))
  return { port, headers }
}

for (const [version, header] of Object.entries(HEADERS) as ['v1' | 'v2', string][]) {
  for (const type of ['http', 'tcp', 'websocket'] as const) {
    for (const tls of [false, true]) {
      test(`a probe by ${type}${tls ? ' over TLS' : ''} begins with ${version} that stands for nobody`, async t => {
        const { port, headers } = await behindHeader(t, header.length, tls)
        const place = { address: { host: '127.0.0.1', port }, sendProxy: version }
        const secure = tls ? { tls: { ca: cert, servername: 'localhost' } } : {}
        const report = await probeOnce({ ...place, ...secure }, { type })
        assert.deepEqual([report.ok, report.error], [true, undefined])
        while (headers.length === 0) await new Promise(setImmediate)
        assert.deepEqual(headers, [header])
      })
    }
  }
}

test('a probe of a Unix socket begins with the header too, on whatever port', async t => {
  const path = socketPath(t)
  const server = createNetServer().listen(path)
  t.after(() => server.close())
  await once(server, 'listening')
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const place = { address: { socketPath: path }, sendProxy: 'v1' } as const
  assert.deepEqual(await probeOnce(place, { type: 'tcp', port: REFUSED }), { ok: true })
  const [socket] = await accepted
  assert.equal(await first(socket, HEADERS.v1.length), HEADERS.v1)
  socket.destroy()
})

for (const [what, health, sent] of [
  ['is what the server has', {}, true],
  ['is none on another port', { port: 0 }, false],
  ['is on another port what the probe has', { port: 0, sendProxy: 'v1' }, true],
  ['is none where the probe has none', { sendProxy: false }, false]
] satisfies [string, Partial<HealthOptions>, boolean][]) {
  test(`the header of a probe ${what}`, async t => {
    const server = await rawServer(t, () => {})
    const port = health.port === undefined ? {} : { port: server.port }
    const address = { host: '127.0.0.1', port: health.port === undefined ? server.port : REFUSED }
    const report = await probeOnce({ address, sendProxy: 'v1' }, { type: 'tcp', ...health, ...port })
    assert.equal(report.ok, true)
    assert.equal(await first(await server.first, HEADERS.v1.length), sent ? HEADERS.v1 : undefined)
  })
}

test('a refused probe with a header before TLS is bad, and nothing is left of it', async t => {
  const sockets = dialled(t)
  const place = { address: { host: '127.0.0.1', port: REFUSED }, sendProxy: 'v2', tls: {} } as const
  for (const type of ['http', 'tcp', 'websocket'] as const) {
    const outcome = await probeOnce(place, { type }).catch((error: unknown) => ({
      ok: false,
      error: String(error)
    }))
    assert.equal(outcome.ok, false)
    assert.match(outcome.error!, /ECONNREFUSED/)
  }
  assert.ok(sockets.length >= 3)
  for (const socket of sockets) assert.equal(socket.closed, true)
})

test('a probe that is out of time in the TLS handshake behind its header is over at once', async t => {
  const end = new AbortController()
  const server = await rawServer(t, socket => socket.on('data', () => end.abort()))
  const place = { address: { host: '127.0.0.1', port: server.port }, sendProxy: 'v2', tls: {} } as const
  const report = await probeOnce(place, { type: 'tcp', timeout: 77 }, end.signal)
  assert.deepEqual(report, { ok: false, error: 'no connection within 77 ms' })
  await server.none()
})

test("an upstream's sendProxy is its servers', and its probes'; a server may say false", async t => {
  const one = await rawServer(t, () => {})
  const two = await rawServer(t, () => {})
  const set = upstream(t, {
    servers: [`127.0.0.1:${one.port}`, { host: '127.0.0.1', port: two.port, sendProxy: false }],
    sendProxy: 'v2',
    health: { type: 'tcp' }
  })
  assert.deepEqual(
    set.servers.map(({ sendProxy }) => sendProxy),
    ['v2', undefined]
  )
  assert.equal(await first(await one.first, HEADERS.v2.length), HEADERS.v2)
  assert.equal(await first(await two.first, HEADERS.v2.length), undefined)
})
