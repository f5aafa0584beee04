import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { WebSocket } from 'ws'
import type { Backend } from './support/gate-backend.ts'
import { accept, backend } from './support/gate-backend.ts'
import { host } from './support/gate-host.ts'
import { ask, dial, handshake } from './support/gate-peer.ts'

interface SetUp {
  readonly servers: readonly { readonly server: string }[]
  readonly keys: readonly [address: string, tried: readonly number[]][]
}

const file = new URL('../../../core/test/fixtures/nginx-ketama.json', import.meta.url)
const { remoteAddress } = JSON.parse(readFileSync(file, 'utf8')) as { remoteAddress: SetUp }

/** The picks of a real nginx, as names: from 500 addresses, in which order it tried its servers. */
const picks = remoteAddress.keys.map(
  ([address, tried]) => [address, tried.map(index => remoteAddress.servers[index]!.server)] as const
)

/** Servers that are named as nginx's were, wherever they listen. */
function named(backends: readonly Backend[]): { id: string; host: string; port: number }[] {
  return backends.map(({ port }, i) => ({ id: remoteAddress.servers[i]!.server, host: '127.0.0.1', port }))
}

/** Three servers that say their names in a header of the 101. */
async function three(t: TestContext): Promise<Backend[]> {
  return Promise.all(
    remoteAddress.servers.map(async ({ server }) =>
      backend(t, async peer => accept(peer, '', `X-Server: ${server}`))
    )
  )
}

test('a client comes to the same server on 100 reconnects', async t => {
  const backends = await three(t)
  const { port } = await host(t, named(backends))
  const [address, order] = picks[7]!
  for (let i = 0; i < 100; i++) {
    const client = new WebSocket(`ws://127.0.0.1:${port}/`, { localAddress: address })
    const server = await new Promise((resolve, reject) => {
      client.on('error', reject).once('upgrade', ({ headers }) => resolve(headers['x-server']))
    })
    client.terminate()
    assert.equal(server, order[0])
  }
})

test('each of 500 addresses comes to the server that nginx picked for it', async t => {
  const { port } = await host(t, named(await three(t)))
  for (const [address, order] of picks) {
    const { peer, head } = await ask(t, port, handshake(), { from: address })
    peer.socket.destroy()
    assert.deepEqual(head.values('x-server'), [order[0]], address)
  }
})

test('when its servers fail, each address goes on in the order in which nginx tried them', async t => {
  const fails = async (): Promise<Backend> =>
    backend(t, async peer => {
      await peer.head()
      peer.socket.end()
    })
  const backends = await Promise.all([fails(), fails(), fails()])
  const { port, lines } = await host(t, named(backends), { upstream: { maxFails: 0 } })
  for (const [address] of picks) {
    const { peer, head } = await ask(t, port, handshake(), { from: address })
    peer.socket.destroy()
    assert.equal(head.status, 502)
  }
  const tried = lines.map(({ fields }) => [
    fields['address'],
    (fields['tries'] as { server: string }[]).map(({ server }) => server)
  ])
  assert.deepEqual(tried, picks)
  for (const { peers } of backends) assert.equal(peers.length, picks.length)
})

const six = Object.values(networkInterfaces())
  .flat()
  .some(each => each?.family === 'IPv6')

test('an IPv4 client of a dual-stack listener is the same client', { skip: !six }, async t => {
  const { port, server } = await host(t, named(await three(t)), {}, { address: '::' })
  const seen: (string | undefined)[] = []
  server.on('connection', socket => seen.push(socket.remoteAddress))
  for (const [address, order] of picks) {
    const { peer, head } = await ask(t, port, handshake(), { from: address })
    peer.socket.destroy()
    assert.deepEqual(head.values('x-server'), [order[0]], address)
    assert.equal(seen.pop(), `::ffff:${address}`)
  }
})

test('an address that forges X-Forwarded-For stays on its own server', async t => {
  const { port } = await host(t, named(await three(t)))
  const [address, order] = picks[0]!
  const [other] = picks.find(([, { 0: first }]) => first !== order[0])!
  for (const header of ['X-Forwarded-For', 'X-Real-IP', 'Forwarded']) {
    const forged = header === 'Forwarded' ? `Forwarded: for=${other}` : `${header}: ${other}`
    const client = await dial(t, port, { from: address })
    client.write(handshake('/', forged))
    assert.deepEqual((await client.head()).values('x-server'), [order[0]])
  }
})
