import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { createServer } from 'node:net'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { dial, proxyHeader, TunnelError } from '@ringway/tunnel'
import type { Target, TargetTls } from '@ringway/tunnel'
import { certificate, listen } from './support/sockets.ts'
import { noSocketLeft } from './support/waiting.ts'

const PATIENT = { timeout: 20_000 }

const HEADER = proxyHeader('v2', {
  source: { address: '203.0.113.7', port: 51_000 },
  destination: { address: '192.0.2.1', port: 443 }
})

/** The first bytes of a socket, exactly so many. */
async function first(socket: Socket, length: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(length) as Buffer | null
    if (bytes) return bytes
    await once(socket, 'readable')
  }
}

interface Behind {
  readonly port: number
  /** What stood before the TLS handshake. */
  readonly header: Promise<Buffer>
  readonly secure: Promise<TLSSocket>
}

/** A TLS backend that takes a header first. */
async function tlsBehindHeader(t: TestContext): Promise<Behind> {
  const tls = createTlsServer({ ...certificate, allowHalfOpen: true })
  const server = createServer({ allowHalfOpen: true })
  const { port } = await listen(t, server)
  const header = once(server, 'connection').then(async ([socket]) => {
    const bytes = await first(socket as Socket, HEADER.length)
    tls.emit('connection', socket)
    return bytes
  })
  tls.on('tlsClientError', () => {})
  return { port, header, secure: once(tls, 'secureConnection').then(([socket]) => socket as TLSSocket) }
}

for (const kind of ['tcp', 'unix'] as const) {
  test(`the header is the first thing that a backend on a ${kind} socket hears`, async t => {
    const server = createServer({ allowHalfOpen: true })
    const target = await listen(t, server, kind)
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const socket = await dial({ ...target, proxyHeader: HEADER }, PATIENT)
    t.after(() => socket.destroy())
    socket.end('and then this')
    const [peer] = await accepted
    const all = Buffer.concat([HEADER, Buffer.from('and then this')])
    assert.deepEqual(await first(peer, all.length), all)
    peer.end('an answer')
    assert.equal(Buffer.concat((await socket.toArray()) as Buffer[]).toString(), 'an answer')
  })
}

for (const [host, tls] of [
  ['127.0.0.1', { ca: certificate.cert }],
  ['localhost', { ca: certificate.cert }],
  ['127.0.0.1', { ca: certificate.cert, servername: 'localhost' }]
] satisfies [string, TargetTls][]) {
  test(`the header goes before TLS to ${host}${tls.servername ? ' by a name' : ''}, whose certificate is checked`, async t => {
    const behind = await tlsBehindHeader(t)
    const socket = (await dial({ host, port: behind.port, tls, proxyHeader: HEADER }, PATIENT)) as TLSSocket
    t.after(() => socket.destroy())
    assert.deepEqual(await behind.header, HEADER)
    assert.equal(socket.authorized, true)
    assert.equal(socket.alpnProtocol, false)
    const peer = await behind.secure
    // Both ways, and the half-close of plain sockets.
    socket.end('to the backend')
    assert.equal((await first(peer, 14)).toString(), 'to the backend')
    peer.end('to the client')
    assert.equal(Buffer.concat((await socket.toArray()) as Buffer[]).toString(), 'to the client')
  })
}

test('a certificate of another name ends the dial behind a header too, and leaves nothing', async t => {
  const behind = await tlsBehindHeader(t)
  const tls = { ca: certificate.cert, servername: 'other.test' }
  await assert.rejects(
    dial({ host: '127.0.0.1', port: behind.port, tls, proxyHeader: HEADER }, PATIENT),
    (error: unknown) => {
      assert.ok(error instanceof TunnelError)
      assert.equal(error.code, 'ERR_RINGWAY_CONNECT_FAILED')
      assert.match(error.message, /other\.test/)
      return true
    }
  )
})

function proxied(target: Target): Target {
  return { ...target, tls: {}, proxyHeader: HEADER }
}

test('refused, silent, reset and ended behind a header are told as without one', async t => {
  await assert.rejects(dial(proxied({ host: '127.0.0.1', port: 1 }), PATIENT), {
    code: 'ERR_RINGWAY_CONNECT_FAILED'
  })
  for (const [serve, wait, error] of [
    [() => {}, { timeout: 50 }, { code: 'ERR_RINGWAY_CONNECT_TIMEOUT' }],
    [(peer: Socket) => peer.resetAndDestroy(), PATIENT, { code: 'ERR_RINGWAY_CONNECT_FAILED' }],
    [(peer: Socket) => peer.resume().end(), PATIENT, { code: 'ERR_RINGWAY_CONNECT_FAILED' }],
    [
      (peer: Socket) => peer.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
      PATIENT,
      { code: 'ERR_RINGWAY_CONNECT_FAILED' }
    ]
  ] as const) {
    const target = await listen(
      t,
      createServer({ allowHalfOpen: true }, peer => void serve(peer))
    )
    await assert.rejects(dial(proxied(target), wait), error)
  }
})

test('a signal ends the dial in the middle of the TLS behind a header', async t => {
  const controller = new AbortController()
  const reason = new Error('enough')
  const server = createServer(peer => {
    peer.once('data', () => controller.abort(reason))
  })
  const target = await listen(t, server)
  const { signal } = controller
  await assert.rejects(dial({ ...target, tls: {}, proxyHeader: HEADER }, { ...PATIENT, signal }), reason)
  server.close()
  await once(server, 'close')
  await noSocketLeft()
})

test('a server that takes no header sees that TLS does not begin at once', async t => {
  const server = createTlsServer(certificate)
  const failed = once(server, 'tlsClientError')
  const target = await listen(t, server)
  const tls = { ca: certificate.cert }
  await assert.rejects(dial({ ...target, tls, proxyHeader: HEADER }, PATIENT), {
    code: 'ERR_RINGWAY_CONNECT_FAILED'
  })
  await failed
  const plain = connectTls({ port: target.port, ca: certificate.cert })
  await once(plain, 'secureConnect')
  plain.destroy()
})
