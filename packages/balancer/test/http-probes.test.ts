import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import type { TestContext } from 'node:test'

import type { HttpHealthOptions, ServerOptions, Upstream } from '../src/index.ts'
import { backend, cert, socketPath, tlsBackend, unixBackend } from './support/backend.ts'
import { happening } from './support/happening.ts'
import { fast, fault, firstProbe, lastProbe, probing as probe, REFUSED } from './support/probing.ts'
import { acquired, moved, upstream } from './support/upstream.ts'

function probing(
  t: TestContext,
  server: ServerOptions | string,
  health: Partial<HttpHealthOptions> = {}
): Upstream {
  return probe(t, server, { type: 'http', ...health })
}

/** A backend's listener, and the moment of its `count`th request: a probe ends before the next one begins. */
function requests(count: number): { listener: RequestListener; seen: Promise<void> } {
  const { seen, happened } = happening()
  let left = count
  const listener: RequestListener = (_, res) => {
    res.end('fine')
    if (--left === 0) happened()
  }
  return { listener, seen }
}

function fine(_: IncomingMessage, res: ServerResponse): void {
  res.end('fine')
}

test('a server that is stopped falls, and rises when it is started again', async t => {
  const path = socketPath(t)
  const first = await unixBackend(path, fine)
  const set = probing(t, `unix:${path}`, { rise: 2, fall: 3 })

  const down = moved(set, 'server:down')
  await first.stop()
  assert.deepEqual(await down, { server: set.servers[0], reason: 'probe' })
  assert.match(lastProbe(set).error ?? '', /ENOENT|ECONNREFUSED/)
  assert.equal(set.servers[0]?.state, 'down')
  assert.equal(await set.acquire('x'), undefined)

  const up = moved(set, 'server:up')
  const second = await unixBackend(path, fine)
  t.after(() => second.stop())
  assert.deepEqual(await up, { server: set.servers[0], reason: 'probe' })
  assert.equal(set.servers[0]?.state, 'up')
  assert.equal(lastProbe(set).status, 200)
  ;(await acquired(set, 'x')).settle('ok')
})

test('a refused connect is a bad probe', async t => {
  assert.match(await fault(probing(t, `127.0.0.1:${REFUSED}`)), /ECONNREFUSED/)
})

test('a probe is one GET on its own connection, with the address as Host', async t => {
  const seen: unknown[] = []
  const sockets = new Set<unknown>()
  const { listener, seen: three } = requests(3)
  const port = await backend(t, (req, res) => {
    seen.push([req.method, req.url, req.headers])
    sockets.add(req.socket)
    listener(req, res)
  })
  probing(t, `127.0.0.1:${port}`, { path: '/healthz?deep=1', headers: { 'X-Probe': 'yes' } })
  await three
  assert.deepEqual(seen[0], [
    'GET',
    '/healthz?deep=1',
    { host: `127.0.0.1:${port}`, 'user-agent': 'ringway', 'x-probe': 'yes', connection: 'close' }
  ])
  assert.equal(sockets.size, 3)
})

test('a host header of the options replaces our own', async t => {
  const { seen, happened } = happening<string | undefined>()
  const port = await backend(t, (req, res) => {
    res.end()
    happened(req.headers.host)
  })
  probing(t, `127.0.0.1:${port}`, { headers: { Host: 'chat.example' } })
  assert.equal(await seen, 'chat.example')
})

for (const [status, expect, ok] of [
  [200, undefined, true],
  [204, undefined, true],
  [302, undefined, true],
  [404, undefined, false],
  [503, undefined, false],
  [404, [404], true],
  [200, [204, 404], false]
] as const) {
  test(`${status} is a ${ok ? 'good' : 'bad'} answer when ${expect?.join(' or ') ?? '2xx or 3xx'} is expected`, async t => {
    const { listener, seen } = requests(3)
    const port = await backend(t, (req, res) => {
      res.writeHead(status, { location: '/elsewhere' })
      assert.equal(req.url, '/')
      listener(req, res)
    })
    const set = probing(t, `127.0.0.1:${port}`, expect === undefined ? {} : { expect })
    await seen
    assert.equal(set.servers[0]?.state, ok ? 'up' : 'down')
    assert.equal(lastProbe(set).status, status)
    assert.equal(lastProbe(set).error, ok ? undefined : `answered ${status}`)
  })
}

test('a backend that never answers is out of time', async t => {
  const port = await backend(t, () => {})
  const set = probing(t, `127.0.0.1:${port}`, { timeout: 50 })
  assert.equal(await fault(set), 'no whole answer within 50 ms')
  assert.equal(lastProbe(set).status, undefined)
})

test('a TLS server that is silent in the handshake is out of time', async t => {
  const silent = createTcpServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.after(() => silent.close())
  const { port } = silent.address() as AddressInfo
  assert.match(
    await fault(probing(t, { host: '127.0.0.1', port, tls: true }, { timeout: 50 })),
    /within 50 ms/
  )
})

test('a body that stops half-way is out of time', async t => {
  const port = await backend(t, (_, res) => {
    res.writeHead(200, { 'content-length': 10 }).write('half')
  })
  assert.match(await fault(probing(t, `127.0.0.1:${port}`, { timeout: 50 })), /within 50 ms/)
})

test('a body that is broken off is a bad probe', async t => {
  const port = await backend(t, (_, res) => {
    res.writeHead(200, { 'content-length': 10 }).write('half', () => res.destroy())
  })
  assert.notEqual(await fault(probing(t, `127.0.0.1:${port}`)), '')
})

test('an endless body is read for 64 KiB only, and the status stands', async t => {
  const { seen, happened } = happening<number>()
  const chunk = Buffer.alloc(16_384)
  const port = await backend(t, (_, res) => {
    let sent = 0
    const more = (): void => {
      while (!res.destroyed && res.write(chunk)) sent += chunk.length
    }
    res.on('drain', more).on('close', () => happened(sent))
    more()
  })
  const set = probing(t, `127.0.0.1:${port}`)
  // What was sent besides is what the kernel's buffers took.
  assert.ok((await seen) < 64 * 2 ** 20)
  await firstProbe(set)
  assert.equal(lastProbe(set).status, 200)
  assert.equal(set.servers[0]?.state, 'up')
})

test('an answer that is no HTTP is a bad probe', async t => {
  const garbage = createTcpServer(socket => socket.on('error', () => {}).end('SSH-2.0-OpenSSH_9.9\r\n'))
  garbage.listen(0, '127.0.0.1')
  await once(garbage, 'listening')
  t.after(() => garbage.close())
  const { port } = garbage.address() as AddressInfo
  assert.notEqual(await fault(probing(t, `127.0.0.1:${port}`)), '')
})

test('a 101 to a plain GET is a bad probe', async t => {
  const odd = createTcpServer(socket => {
    socket.on('error', () => {}).resume()
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n')
  })
  odd.listen(0, '127.0.0.1')
  await once(odd, 'listening')
  t.after(() => odd.close())
  const { port } = odd.address() as AddressInfo
  assert.notEqual(await fault(probing(t, `127.0.0.1:${port}`)), '')
})

test('over TLS the name is sent and the certificate verified', async t => {
  const names: unknown[] = []
  const port = await tlsBackend(t, names)
  const trusting = probing(t, { host: 'localhost', port, tls: { ca: cert } })
  await firstProbe(trusting)
  assert.equal(trusting.servers[0]?.state, 'up')
  assert.equal(names[0], 'localhost')
})

test('over TLS to an address no name is sent, and the certificate must carry the address', async t => {
  const names: unknown[] = []
  const port = await tlsBackend(t, names)
  const set = probing(t, { host: '127.0.0.1', port, tls: { ca: cert } })
  await firstProbe(set)
  assert.equal(set.servers[0]?.state, 'up')
  assert.equal(names[0], false)
})

test('a certificate that nobody vouches for is a bad probe, unless that is allowed', async t => {
  const port = await tlsBackend(t)
  assert.match(await fault(probing(t, { host: 'localhost', port, tls: true })), /self-signed/)
  const lax = probing(t, { host: 'localhost', port, tls: { rejectUnauthorized: false } })
  await firstProbe(lax)
  assert.equal(lax.servers[0]?.state, 'up')
})

test('a certificate of another name is a bad probe', async t => {
  const port = await tlsBackend(t)
  const tls = { ca: cert, servername: 'elsewhere.example' }
  assert.match(await fault(probing(t, { host: 'localhost', port, tls })), /elsewhere\.example/)
})

test('a server that is down by option is not probed', async t => {
  const { listener, seen } = requests(3)
  const other = await backend(t, listener)
  let asked = 0
  const port = await backend(t, (_, res) => {
    asked++
    res.end()
  })
  const servers = [{ host: '127.0.0.1', port, down: true }, `127.0.0.1:${other}`]
  const set = upstream(t, { servers, health: { type: 'http', ...fast } })
  await seen
  assert.equal(asked, 0)
  assert.deepEqual(
    set.servers.map(server => server.state),
    ['down', 'up']
  )
})
