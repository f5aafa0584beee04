import assert from 'node:assert/strict'
import dns from 'node:dns'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { TestContext } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { createServer as createTlsServer } from 'node:tls'
import type { Target, TargetTls } from '@ringway/tunnel'
import { dial, nameOf, TunnelError } from '@ringway/tunnel'
import { backend, certificate, listen } from './support/sockets.ts'
import { noSocketLeft } from './support/waiting.ts'

const PATIENT = { timeout: 20_000 }

/** Nobody listens there. A port that was free a moment ago may be anybody's now. */
const REFUSED = 1

/** A backend that says nothing, and leaves when we do. */
async function silent(t: TestContext): Promise<Target> {
  return backend(t, peer => peer.resume().on('end', () => peer.end()))
}

/** A TLS backend, and how it saw the dial to it. */
async function dialTls(t: TestContext, tls: TargetTls, host = '127.0.0.1'): Promise<[Socket, TLSSocket]> {
  const server = createTlsServer({ ...certificate, ALPNProtocols: ['h2', 'http/1.1'] })
  const { port } = await listen(t, server)
  const seen = once(server, 'secureConnection') as Promise<[TLSSocket]>
  const socket = await dial({ host, port, tls }, PATIENT)
  t.after(() => socket.destroy())
  return [socket, (await seen)[0]]
}

test('a TCP backend is reached, with half-close on', async t => {
  const socket = await dial(await backend(t, peer => peer.end('hello')), PATIENT)
  t.after(() => socket.destroy())
  socket.resume()
  await once(socket, 'end')
  assert.equal(socket.writable, true)
})

test('a Unix socket is reached', async t => {
  const socket = await dial(await listen(t, createServer(), 'unix'), PATIENT)
  t.after(() => socket.destroy())
  assert.equal(socket.writable, true)
})

test('a refused connection is told at once, may be tried elsewhere and leaves nothing', async () => {
  await assert.rejects(dial({ host: '127.0.0.1', port: REFUSED }, PATIENT), (error: unknown) => {
    assert.ok(error instanceof TunnelError)
    const { code, side, status, retryable, message, cause } = error
    assert.deepEqual(
      { code, side, status, retryable },
      { code: 'ERR_RINGWAY_CONNECT_FAILED', side: 'backend', status: 502, retryable: true }
    )
    assert.match(message, /127\.0\.0\.1:1 .*ECONNREFUSED/)
    assert.equal((cause as { code: string }).code, 'ECONNREFUSED')
    return true
  })
  await noSocketLeft()
})

test('a missing Unix socket is told by its path', async () => {
  await assert.rejects(dial({ socketPath: '/nowhere/socket' }, PATIENT), {
    code: 'ERR_RINGWAY_CONNECT_FAILED',
    message: /unix:\/nowhere\/socket.*ENOENT/
  })
})

test('a name that does not exist is told', async t => {
  // Some networks have an answer for each name, or none for a long time.
  t.mock.method(dns, 'lookup', (name: string, _: object, answer: (error: Error) => void) =>
    setImmediate(answer, Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: 'ENOTFOUND' }))
  )
  await assert.rejects(dial({ host: 'does-not-exist.invalid', port: 80 }, PATIENT), {
    code: 'ERR_RINGWAY_CONNECT_FAILED',
    message: /does-not-exist\.invalid:80 failed: getaddrinfo ENOTFOUND/
  })
})

test('a name with several addresses that all refuse is told with each of them', async t => {
  const addresses = ['127.0.0.1', '127.0.0.2'].map(address => ({ address, family: 4 }))
  type Answer = (error: null, found: typeof addresses) => void
  t.mock.method(dns, 'lookup', (_: string, __: object, answer: Answer) =>
    setImmediate(answer, null, addresses)
  )
  await assert.rejects(dial({ host: 'two.example', port: REFUSED }, PATIENT), {
    code: 'ERR_RINGWAY_CONNECT_FAILED',
    message: /two\.example:1 failed: connect ECONNREFUSED 127\.0\.0\.1:1, connect ECONNREFUSED 127\.0\.0\.2/
  })
})

test('a backend that accepts and never speaks TLS runs out of time, not early, and leaves nothing', async t => {
  const target = await silent(t)
  const started = performance.now()
  await assert.rejects(dial({ ...target, tls: {} }, { timeout: 150 }), {
    code: 'ERR_RINGWAY_CONNECT_TIMEOUT',
    status: 504,
    retryable: true,
    message: /150 ms/
  })
  // Node's timers round to whole milliseconds.
  assert.ok(performance.now() - started >= 149)
  await noSocketLeft()
})

test('a limit of 0 is no limit', async t => {
  const socket = await dial(await backend(t, () => {}), { timeout: 0 })
  assert.equal(socket.destroy().destroyed, true)
})

test('a backend that answers TLS with garbage or closes is refused', async t => {
  for (const serve of [
    (peer: Socket) => peer.resume().end('SSH-2.0-OpenSSH\r\n'),
    (peer: Socket) => peer.resume().end(),
    (peer: Socket) => peer.resetAndDestroy()
  ]) {
    const target = await backend(t, serve)
    await assert.rejects(dial({ ...target, tls: {} }, PATIENT), { code: 'ERR_RINGWAY_CONNECT_FAILED' })
    await noSocketLeft()
  }
})

test('TLS sends the host name, and HTTP/1.1 as the only protocol', async t => {
  const [socket, seen] = await dialTls(t, { ca: certificate.cert }, 'localhost')
  assert.equal(seen.servername, 'localhost')
  assert.equal(seen.alpnProtocol, 'http/1.1')
  assert.equal(socket.allowHalfOpen, true)
})

test('TLS sends the name it is told to', async t => {
  const [, seen] = await dialTls(t, { ca: certificate.cert, servername: 'localhost' })
  assert.equal(seen.servername, 'localhost')
})

test('TLS sends no name for an address', async t => {
  const [, seen] = await dialTls(t, { ca: certificate.cert })
  assert.equal(seen.servername, false)
})

test('options that are undefined are as if they were not there', async t => {
  const [, seen] = await dialTls(t, { ca: certificate.cert, servername: undefined }, 'localhost')
  assert.equal(seen.servername, 'localhost')
})

for (const [name, tls] of Object.entries({
  'a certificate that nobody vouches for': {},
  'one with rejectUnauthorized undefined': { rejectUnauthorized: undefined },
  'a certificate for another name': { ca: certificate.cert, servername: 'other.example' }
})) {
  test(`${name} is refused`, async t => {
    const server = createTlsServer(certificate)
    const target = await listen(t, server)
    await assert.rejects(dial({ ...target, tls }, PATIENT), {
      code: 'ERR_RINGWAY_CONNECT_FAILED',
      message: /certificate|altnames/i
    })
    await noSocketLeft()
  })
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: the same TLS options take up the last session of a place, and others none`, async t => {
    const versions = { minVersion: version, maxVersion: version }
    const server = createTlsServer({ ...certificate, ...versions }, peer => peer.write('hello'))
    const target = await listen(t, server)
    const tls = { ca: certificate.cert }
    const reused = async (options: TargetTls): Promise<boolean> => {
      const socket = (await dial({ ...target, tls: options }, PATIENT)) as TLSSocket
      const isReused = socket.isSessionReused()
      // Behind the ticket, which comes behind the handshake.
      await once(socket, 'data')
      await turn()
      socket.destroy()
      return isReused
    }
    assert.deepEqual([await reused(tls), await reused(tls), await reused(tls)], [false, true, true])
    assert.equal(await reused({ ...tls }), false)
  })

  test(`${version}: a session never lets in a server whose name was found wrong`, async t => {
    const server = createTlsServer({ ...certificate, minVersion: version, maxVersion: version })
    const target = await listen(t, server)
    const tls = { ca: certificate.cert, servername: 'other.example' }
    for (let i = 0; i < 3; i++) {
      await assert.rejects(dial({ ...target, tls }, PATIENT), { code: 'ERR_RINGWAY_CONNECT_FAILED' })
    }
  })
}

test('no certificate is checked when told not to', async t => {
  const [socket] = await dialTls(t, { rejectUnauthorized: false })
  assert.equal((socket as TLSSocket).authorized, false)
})

test('TLS over a Unix socket checks the name it is told', async t => {
  const target = await listen(t, createTlsServer(certificate), 'unix')
  const tls = { ca: certificate.cert, servername: 'localhost' }
  const socket = await dial({ ...target, tls }, PATIENT)
  assert.equal((socket.destroy() as TLSSocket).authorized, true)
})

test('an aborted signal ends the dial before it begins, with its reason', async t => {
  let connections = 0
  const target = await backend(t, () => (connections += 1))
  const reason = new Error('the client is gone')
  const signal = AbortSignal.abort(reason)
  await assert.rejects(dial(target, { ...PATIENT, signal }), reason)
  assert.equal(connections, 0)
})

test('a signal ends a dial under way, with its reason, and leaves nothing', async t => {
  const target = await silent(t)
  const controller = new AbortController()
  const dialling = dial({ ...target, tls: {} }, { ...PATIENT, signal: controller.signal })
  const reason = new Error('the client is gone')
  setImmediate(() => controller.abort(reason))
  await assert.rejects(dialling, reason)
  await noSocketLeft()
})

test('a signal ends the dial to a name before it is looked up', async () => {
  const controller = new AbortController()
  const dialling = dial({ host: 'localhost', port: 9 }, { ...PATIENT, signal: controller.signal })
  controller.abort('gone')
  await assert.rejects(dialling, (reason: unknown) => reason === 'gone')
  await noSocketLeft()
})

test('a dial that is done leaves the socket when the signal comes later', async t => {
  const controller = new AbortController()
  const socket = await dial(await backend(t, () => {}), { ...PATIENT, signal: controller.signal })
  t.after(() => socket.destroy())
  controller.abort()
  assert.equal(socket.destroyed, false)
  assert.deepEqual(
    ['connect', 'end', 'close', 'timeout', 'error'].map(event => socket.listenerCount(event)),
    [0, 0, 0, 0, 1].map((ours, i) => ours + (i === 1 ? 1 : 0)) // Node has one for 'end'
  )
})

test('a port that is none is a RangeError', async () => {
  await assert.rejects(dial({ host: '127.0.0.1', port: 65_536 }, PATIENT), RangeError)
})

test('targets are named as people write them', () => {
  assert.equal(nameOf({ host: 'a.example', port: 80 }), 'a.example:80')
  assert.equal(nameOf({ host: '::1', port: 80 }), '[::1]:80')
  assert.equal(nameOf({ socketPath: '/run/a' }), 'unix:/run/a')
})
