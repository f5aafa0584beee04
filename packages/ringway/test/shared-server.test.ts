import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { describe, test } from 'node:test'
import { Server as SocketIo } from 'socket.io'
import { WebSocketServer } from 'ws'
import type { Place } from './support/mount-client.ts'
import { Client, handshake, header } from './support/mount-client.ts'
import { backend } from './support/mount-backend.ts'
import { gateway } from './support/mount-gateway.ts'
import { deserted, listen, makeServer, socketsOf } from './support/mount-server.ts'

/** All orders of a list. */
function permutations<Item>(items: readonly Item[]): Item[][] {
  if (items.length < 2) return [[...items]]
  return items.flatMap((first, at) => permutations(items.toSpliced(at, 1)).map(rest => [first].concat(rest)))
}

/** Sends one upgrade, reads what proves its owner, and that no second answer came. */
async function owned(t: TestContext, place: Place, target: string, proof: string): Promise<void> {
  const client = await Client.connect(t, place, handshake(target))
  assert.equal((await client.answer()).status, 101, target)
  if (proof.startsWith('echo')) client.say(proof)
  const heard = await client.hear(proof)
  client.socket.destroy()
  assert.doesNotMatch(heard, /HTTP\/1\.1/, target)
}

async function refused(t: TestContext, place: Place, target: string, status: number): Promise<void> {
  const client = await Client.connect(t, place, handshake(target))
  assert.equal((await client.answer()).status, status, target)
  await client.ends()
}

// A ws server answers 400 to all paths but its own, Socket.IO's too, with a gateway or without one: so these two get
// along only where one of them is left out. That is for their owner to mend; what is ours must not be touched by it.
const companies = [
  ['gateway a', 'gateway b', 'ws', 'Socket.IO'],
  ['gateway a', 'gateway b', 'ws'],
  ['gateway a', 'gateway b', 'Socket.IO']
]

void describe('two gateways, a ws server and Socket.IO share a server', { concurrency: true }, () => {
  for (const order of companies.flatMap(permutations)) {
    void test(`attached in the order ${order.join(', ')}`, async t => {
      // Slower than Socket.IO's patience with upgrades that get no answer, which is one second.
      const slow = await backend(t, { delay: 2_000 })
      const made = makeServer(false, (_, response) => void response.end('page'))
      const attach: Record<string, () => void> = {
        'gateway a': () => gateway(t, [slow]).attach(made, { path: '/a' }),
        'gateway b': () => gateway(t, [slow]).attach(made, { path: '/b' }),
        ws: () => {
          const own = new WebSocketServer({ server: made, path: '/own' })
          own.on('connection', ws => ws.send('own server'))
        },
        'Socket.IO': () => void new SocketIo(made, { transports: ['websocket'] })
      }
      for (const name of order) attach[name]!()
      const place = { port: await listen(t, made) }
      await Promise.all([
        owned(t, place, '/a', 'echo a'),
        owned(t, place, '/b/c?d', 'echo b'),
        order.includes('ws') ? owned(t, place, '/own', 'own server') : undefined,
        order.includes('ws') ? undefined : owned(t, place, '/socket.io/?EIO=4&transport=websocket', '"sid"'),
        // Nobody's: the ws server answers it, or Socket.IO ends it, as they would without a gateway.
        order.includes('ws') ? refused(t, place, '/ab', 400) : cut(t, place, '/ab'),
        page(t, place)
      ])
      assert.deepEqual(slow.upgrades.map(each => each.url ?? '').sort(), ['/a', '/b/c?d'])
      await deserted(socketsOf(made))
    })
  }
})

async function cut(t: TestContext, place: Place, target: string): Promise<void> {
  const client = await Client.connect(t, place, handshake(target))
  await client.ends()
}

async function page(t: TestContext, place: Place): Promise<void> {
  const client = await Client.connect(t, place, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  assert.equal((await client.answer()).body.toString(), 'page')
  await client.ends()
}

void test('paths end at segments, and the longest one that fits is the owner', async t => {
  const made = makeServer(false)
  for (const path of ['/a', '/a/b', '/a/b/c/']) {
    gateway(t, [await backend(t, { lines: [`X-Path: ${path}`] })]).attach(made, { path })
  }
  const place = { port: await listen(t, made) }
  const owners = {
    '/a': '/a',
    '/a/': '/a',
    '/a?/a/b': '/a',
    '/a/bc': '/a',
    '/a/b': '/a/b',
    '/a/b/c': '/a/b/c/',
    '/a/b/c/d': '/a/b/c/'
  }
  for (const [target, owner] of Object.entries(owners)) {
    const client = await Client.connect(t, place, handshake(target))
    assert.equal(header(await client.answer(), 'x-path'), owner, target)
    client.socket.end()
  }
  for (const target of ['/', '/ab', '/A', '/b/a', '//a', '/%61']) await refused(t, place, target, 404)
  await deserted(socketsOf(made))
})

void test('one gateway may have several paths, and several servers', async t => {
  const to = await backend(t)
  const by = gateway(t, [to])
  const one = makeServer(false)
  const two = makeServer(true)
  const detach = by.attach(one, { path: ['/a', '/b'] })
  by.attach(two)
  const places = [{ port: await listen(t, one) }, { port: await listen(t, two), tls: true }] as const
  await owned(t, places[0], '/a', 'echo')
  await owned(t, places[0], '/b', 'echo')
  await owned(t, places[1], '/anything', 'echo')
  detach()
  await owned(t, places[1], '/a', 'echo')
})

void test('an upgrade that nobody claims is a 404 when no one else listens, and the next page works', async t => {
  const made = makeServer(false, (_, response) => void response.end('page'))
  gateway(t, [await backend(t)]).attach(made, { path: '/ws' })
  const place = { port: await listen(t, made) }
  await refused(t, place, '/other', 404)
  await page(t, place)
  await deserted(socketsOf(made))
})

void test('a listener that comes late gets what is not ours, untouched', async t => {
  const made = makeServer(false)
  gateway(t, [await backend(t)]).attach(made, { path: '/ws' })
  const place = { port: await listen(t, made) }
  await refused(t, place, '/late', 404)
  const seen: string[] = []
  made.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    seen.push(`${request.url} ${head.toString()}`)
    socket.end('HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n')
  })
  const client = await Client.connect(t, place, `${handshake('/late')}glued`)
  assert.equal((await client.answer()).status, 418)
  await owned(t, place, '/ws', 'echo')
  assert.deepEqual(seen, ['/late glued'])
})

void test('a once-listener of the host is asked as well', async t => {
  const made = makeServer(false)
  gateway(t, [await backend(t)]).attach(made, { path: '/ws' })
  made.once('upgrade', (_, socket) => socket.end('HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n'))
  const place = { port: await listen(t, made) }
  await owned(t, place, '/ws', 'echo')
  await refused(t, place, '/other', 418)
  await refused(t, place, '/other', 404)
})

for (const tls of [false, true]) {
  void test(`a reset on an upgrade that is left to a silent listener does no harm${tls ? ' over TLS' : ''}`, async t => {
    const made = makeServer(tls, (_, response) => void response.end('page'))
    const seen = new Promise<void>(resolve => {
      made.on('upgrade', () => resolve()) // keeps silent, and has no listener for errors
    })
    gateway(t, [await backend(t)]).attach(made, { path: '/ws' })
    const place = { port: await listen(t, made), tls }
    const client = await Client.connect(t, place, handshake('/silent'))
    await seen
    // Written to, the socket fails for certain.
    for (const socket of socketsOf(made)) socket.write('HTTP/1.1 ')
    client.vanish()
    await deserted(socketsOf(made))
    await page(t, place)
  })
}
