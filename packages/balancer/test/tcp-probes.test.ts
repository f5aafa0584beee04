import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { test } from 'node:test'
import type { TLSSocket } from 'node:tls'

import { cert, socketPath, tlsBackend } from './support/backend.ts'
import { dialled, fault, firstProbe, probeOnce, probing, rawServer, REFUSED } from './support/probing.ts'

const tcp = { type: 'tcp' } as const

test('a connect is a good probe, which is ended in peace and gone', async t => {
  const sockets = dialled(t)
  const ends: unknown[] = []
  const server = await rawServer(t, socket => {
    socket.resume().on('end', () => ends.push('end'))
    socket.on('error', error => ends.push(error))
  })
  assert.deepEqual(await probeOnce(server.port, tcp), { ok: true })
  assert.deepEqual(
    sockets.map(socket => socket.closed),
    [true]
  )
  await server.none()
  assert.deepEqual(ends, ['end'])
})

test('an upstream probed by TCP has it up', async t => {
  const { port } = await rawServer(t, socket => socket.resume())
  const set = probing(t, port, tcp)
  const report = await firstProbe(set)
  assert.deepEqual(Object.keys(report).sort(), ['at', 'ok', 'took'])
  assert.equal(set.servers[0]?.state, 'up')
})

test('a refused connect is a bad TCP probe', async t => {
  assert.match(await fault(probing(t, REFUSED, tcp)), /ECONNREFUSED/)
})

test('a Unix socket is probed by a connect', async t => {
  const path = socketPath(t)
  const server = createServer(socket => socket.resume()).listen(path)
  await once(server, 'listening')
  assert.deepEqual(await probeOnce({ address: { socketPath: path } }, tcp), { ok: true })
  server.close()
  await once(server, 'close')
  assert.match(await fault(probing(t, `unix:${path}`, tcp)), /ENOENT|ECONNREFUSED/)
})

test('a server that talks first, and never ends its side, is good and let go', async t => {
  const sockets = dialled(t)
  const { port } = await rawServer(t, socket => {
    socket.allowHalfOpen = true
    socket.resume().write('SSH-2.0-OpenSSH_9.9\r\n')
  })
  assert.deepEqual(await probeOnce(port, tcp), { ok: true })
  assert.deepEqual(
    sockets.map(socket => socket.closed),
    [true]
  )
})

test('a server that resets the connection when the probe ends it is good', async t => {
  const { port } = await rawServer(t, socket => {
    socket.resume().on('end', () => socket.resetAndDestroy())
  })
  assert.deepEqual(await probeOnce(port, tcp), { ok: true })
})

test('over TLS a probe by TCP shakes hands', async t => {
  const server = await rawServer(t, socket => socket.resume(), true)
  const place = {
    address: { host: 'localhost', port: server.port },
    tls: { ca: cert, servername: 'localhost' }
  }
  assert.deepEqual(await probeOnce(place, tcp), { ok: true })
  // The server's side of the handshake may end after ours.
  assert.equal(((await server.first) as TLSSocket).servername, 'localhost')
  await server.none()
})

test('a certificate of another name is a bad TCP probe', async t => {
  const port = await tlsBackend(t)
  const tls = { ca: cert, servername: 'elsewhere.example' }
  assert.match(await fault(probing(t, { host: '127.0.0.1', port, tls }, tcp)), /elsewhere\.example/)
})

test('a server that resets the TLS handshake is bad', async t => {
  const { port } = await rawServer(t, socket => socket.once('data', () => socket.resetAndDestroy()))
  assert.match(await fault(probing(t, { host: '127.0.0.1', port, tls: true }, tcp)), /ECONNRESET/)
})

test('a server that is silent in the TLS handshake is out of time', async t => {
  const end = new AbortController()
  const server = await rawServer(t, socket => socket.once('data', () => end.abort()))
  const place = { address: { host: '127.0.0.1', port: server.port }, tls: {} }
  assert.deepEqual(await probeOnce(place, { ...tcp, timeout: 77 }, end.signal), {
    ok: false,
    error: 'no connection within 77 ms'
  })
  await server.none()
  assert.match(
    await fault(probing(t, { host: '127.0.0.1', port: server.port, tls: true }, { ...tcp, timeout: 20 })),
    /^no connection within 20 ms$/
  )
})
