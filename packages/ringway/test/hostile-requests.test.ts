import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { createGateway } from '../src/index.ts'
import type { Gateway } from '../src/index.ts'
import { backend, listen } from './support/gate-backend.ts'
import { recorder, settled } from './support/gate-host.ts'
import { dial, handshake } from './support/gate-peer.ts'
import type { Peer } from './support/gate-peer.ts'
import { within } from './support/gate-waiting.ts'

interface Place {
  gateway: Gateway
  port: number
  /** Connections that servers have had, and have. */
  peers: Peer[]
}

/** A gateway for plain requests and upgrades, in front of two servers that answer by hand. */
async function place(t: TestContext, answer: (peer: Peer) => unknown): Promise<Place> {
  const servers = [await backend(t, answer), await backend(t, answer)]
  const { log } = recorder()
  const gateway = createGateway({ upstream: { servers: servers.map(({ address }) => address) }, log })
  const server = createServer((request, response) => gateway.handleRequest(request, response))
  gateway.attach(server)
  t.after(async () => {
    await within(gateway.close(), 'gateway.close()')
    await settled(gateway)
  })
  const port = await listen(t, server)
  return {
    gateway,
    port,
    get peers() {
      return servers.flatMap(({ peers }) => peers)
    }
  }
}

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

function broken(): never {
  throw new Error('the log is broken')
}

test('a request with two Hosts is a 400, and no server is blamed for it', async t => {
  const here = await place(t, async peer => {
    await peer.head()
    peer.write(OK)
  })
  const client = await dial(t, here.port)
  client.write('GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n')
  assert.equal((await client.head()).status, 400)
  assert.equal(here.peers.length, 0)
  assert.ok(here.gateway.upstream.servers.every(server => server.usable))
})

test('a reason phrase that no HTTP head can hold does not harm the host', async t => {
  const here = await place(t, async peer => {
    await peer.head()
    peer.write('HTTP/1.1 200 \u6210\u529f\r\nContent-Length: 2\r\n\r\nok')
  })
  const client = await dial(t, here.port)
  client.write(GET)
  assert.equal((await client.head()).status, 200)
  assert.equal((await client.take(2)).toString(), 'ok')
})

test('a client that leaves behind pipelined requests leaves no lease out', async t => {
  const here = await place(t, peer => {
    peer.socket.on('data', chunk => {
      for (const _ of String(chunk).matchAll(/GET /g)) peer.write(OK)
    })
  })
  await Promise.all(
    Array.from({ length: 50 }, async (_, i) => {
      const client = await dial(t, here.port)
      client.write(GET + GET + GET + (i % 2 ? handshake() : ''))
      if (i % 3) await client.head()
      client.reset()
    })
  )
  await settled(here.gateway)
})

test('an answer that closes the connection takes the requests behind it along', async t => {
  const here = await place(t, async peer => {
    await peer.head()
    peer.write('HTTP/1.1 426 No\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno')
  })
  const client = await dial(t, here.port)
  client.write(GET + GET + GET)
  assert.equal((await client.head()).status, 426)
  await client.rest()
  await settled(here.gateway)
})

test('a relayed body that stalls is not awaited for a client that is gone', async t => {
  const here = await place(t, async peer => {
    await peer.head()
    peer.write('HTTP/1.1 401 No\r\nContent-Length: 300000\r\n\r\nabc')
  })
  for (const text of [handshake(), GET]) {
    const client = await dial(t, here.port)
    client.write(text)
    assert.equal((await client.head()).status, 401)
    client.reset()
  }
  await settled(here.gateway)
})

test('304 and 204 with a Content-Length, which means nothing there, are answers', async t => {
  for (const status of [304, 204]) {
    const here = await place(t, async peer => {
      await peer.head()
      peer.write(`HTTP/1.1 ${status} Fine\r\nContent-Length: 3\r\nETag: "x"\r\n\r\n`)
    })
    const client = await dial(t, here.port)
    client.write(GET)
    assert.equal((await client.head()).status, status)
  }
})

test('the head of an answer does not wait for its body', async t => {
  let finish!: () => void
  const here = await place(t, async peer => {
    await peer.head()
    peer.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n')
    finish = () => peer.socket.end('data: 1\n\n')
  })
  const client = await dial(t, here.port)
  client.write(GET)
  assert.equal((await client.head()).status, 200)
  finish()
})

test('a request behind a body that was answered early is answered too', async t => {
  const here = await place(t, async peer => {
    const head = await peer.head()
    peer.write(head.first.startsWith('POST') ? 'HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno' : OK)
  })
  const client = await dial(t, here.port)
  client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n`)
  client.write(Buffer.alloc(5_000_000))
  client.write(GET)
  assert.equal((await client.head()).status, 413)
  await client.take(2)
  assert.equal((await client.head()).status, 200)
})

test('a log that throws is nobody else’s fault', async t => {
  const gateway = createGateway({
    upstream: { servers: ['127.0.0.1:1'] },
    log: { info: broken, warn: broken, error: broken }
  })
  t.after(async () => gateway.close())
  const server = createServer()
  gateway.attach(server)
  const client = await dial(t, await listen(t, server))
  client.write(handshake())
  assert.equal((await client.head()).status, 502)
})
