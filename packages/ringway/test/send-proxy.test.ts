import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { createGateway } from '../src/index.ts'
import { backend } from './support/gate-backend.ts'
import { dial, Peer, tunnel } from './support/gate-peer.ts'
import { listening, proxiedBackend, takeHeader } from './support/proxied.ts'

const GET = 'GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n'

/** What a header must say of a client. */
function endsOf({ socket }: Peer): object {
  return {
    source: { address: socket.localAddress, port: socket.localPort },
    destination: { address: socket.remoteAddress, port: socket.remotePort }
  }
}

for (const sendProxy of ['v1', 'v2'] as const) {
  test(`an upgrade's connection begins with the client's addresses in ${sendProxy}, and bytes pass behind it`, async t => {
    const behind = await proxiedBackend(t)
    const { port } = await listening(t, { servers: [behind.address], sendProxy })
    for (const from of ['127.9.0.1', '127.9.0.2']) {
      const client = await tunnel(t, port, { from })
      assert.equal((await client.take(5)).toString(), 'hello')
      const { ends, head, peer } = behind.seen.at(-1)!
      assert.deepEqual(ends, endsOf(client))
      assert.deepEqual(head.values('x-forwarded-for'), [from])
      client.write('and back')
      assert.equal((await peer.take(8)).toString(), 'and back')
    }
  })

  test(`a plain request has a connection of its own in ${sendProxy}, which is closed behind the answer`, async t => {
    const behind = await proxiedBackend(t)
    const { port } = await listening(t, { servers: [behind.address], sendProxy })
    const one = await dial(t, port, { from: '127.9.0.3' })
    const two = await dial(t, port, { from: '127.9.0.4' })
    for (const client of [one, two, one]) {
      client.write(GET)
      assert.equal((await client.head()).status, 200)
      assert.equal((await client.take(5)).toString(), 'hello')
    }
    assert.deepEqual(
      behind.seen.map(({ ends }) => ends),
      [endsOf(one), endsOf(two), endsOf(one)]
    )
    for (const { peer, head } of behind.seen) {
      assert.deepEqual(head.values('connection'), ['close'])
      await peer.left()
    }
  })

  test(`a client on a Unix socket has no addresses, and the header in ${sendProxy} says so`, async t => {
    const folder = await mkdtemp(join(tmpdir(), 'ringway-'))
    t.after(async () => rm(folder, { recursive: true }))
    const behind = await proxiedBackend(t)
    const gateway = createGateway({ upstream: { servers: [behind.address], sendProxy } })
    const server = createServer((request, response) => gateway.handleRequest(request, response))
    server.listen(join(folder, 'socket'))
    await once(server, 'listening')
    t.after(async () => {
      await gateway.close()
      server.close()
    })
    const client = new Peer(connect(join(folder, 'socket')))
    t.after(() => client.socket.destroy())
    client.write(GET)
    assert.equal((await client.head()).status, 200)
    assert.equal(behind.seen[0]!.ends, undefined)
  })
}

test('a server may have no header where the others have one', async t => {
  const behind = await proxiedBackend(t)
  const plain = await backend(t, async peer => {
    await peer.head()
    peer.socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nplain')
  })
  const other = { host: '127.0.0.1', port: plain.port, sendProxy: false } as const
  const { port } = await listening(t, { servers: [behind.address, other], sendProxy: 'v2' })
  const bodies = new Set<string>()
  for (let i = 1; bodies.size < 2; i++) {
    const client = await dial(t, port, { from: `127.9.1.${i}` })
    client.write(GET)
    assert.equal((await client.head()).status, 200)
    bodies.add((await client.take(5)).toString())
  }
})

test('a server that hangs up behind the header of a plain request has failed: it was no connection kept alive', async t => {
  const behind = await backend(t, async peer => {
    await takeHeader(peer)
    peer.reset()
  })
  const spare = await proxiedBackend(t)
  const servers = [behind.address, { host: '127.0.0.1', port: spare.port, backup: true }]
  const { gateway, port } = await listening(t, { servers, sendProxy: 'v1' })
  const client = await dial(t, port)
  client.write(GET)
  assert.equal((await client.head()).status, 200)
  assert.equal(gateway.stats().upstream.servers[0]!.totals.failed, 1)
})

test('a gateway that closes leaves no connection of a request that is under way', async t => {
  const behind = await backend(t, async peer => takeHeader(peer))
  const { gateway, port } = await listening(t, { servers: [behind.address], sendProxy: 'v1' })
  const client = await dial(t, port)
  client.write(GET)
  while (behind.peers.length === 0) await once(behind.server, 'connection')
  await behind.peers[0]!.head()
  await gateway.close()
  await behind.peers[0]!.left()
})
