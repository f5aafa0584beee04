import assert from 'node:assert/strict'
import type { Server } from 'node:http'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import type { Backend } from './support/mount-backend.ts'
import { backend } from './support/mount-backend.ts'
import { Client, handshake } from './support/mount-client.ts'
import { gateway } from './support/mount-gateway.ts'
import { deserted, listen, makeServer, socketsOf } from './support/mount-server.ts'

// oxlint-disable typescript/unbound-method -- the functions that stand in a server's place are what is looked at

/** What {@link Server} has of its own, besides symbols. */
function shape(made: Server): object {
  const names = Object.getOwnPropertyNames(made).filter(name => !name.startsWith('_'))
  return {
    names,
    emit: made.emit,
    upgrade: made.listenerCount('upgrade'),
    shouldUpgrade: shouldUpgradeOf(made)
  }
}

/** Node 20 has none. */
function shouldUpgradeOf(made: Server): unknown {
  return (made as { shouldUpgradeCallback?: unknown }).shouldUpgradeCallback
}

async function status(t: TestContext, port: number, target: string): Promise<number> {
  const client = await Client.connect(t, { port }, handshake(target))
  const answer = await client.answer()
  client.socket.destroy()
  return answer.status
}

/** Writes down each event that a host's own `emit` sees, and calls the one below. */
function wrap(made: Server, seen: string[]): Server['emit'] {
  const below = made.emit as (this: Server, event: string, ...args: unknown[]) => boolean
  const own = function own(this: Server, event: string, ...args: unknown[]): boolean {
    seen.push(event)
    return below.call(this, event, ...args)
  }
  made.emit = own
  return own
}

void test('after the last detach the server is as it was', async t => {
  const to = await backend(t)
  const made = makeServer(false)
  const before = shape(made)
  const a = gateway(t, [to]).attach(made, { path: '/a' })
  const b = gateway(t, [to]).attach(made, { path: '/b' })
  const port = await listen(t, made)
  assert.equal(await status(t, port, '/a'), 101)
  a()
  assert.equal(await status(t, port, '/a'), 404)
  assert.equal(await status(t, port, '/b'), 101)
  b()
  b()
  b[Symbol.dispose]()
  assert.deepEqual(shape(made), before)
})

void test('close() detaches from all servers', async t => {
  const servers = [makeServer(false), makeServer(true)]
  const before = servers.map(shape)
  const by = gateway(t, [await backend(t)])
  for (const made of servers) by.attach(made, { path: ['/a', '/b'] })
  await by.close()
  assert.deepEqual(servers.map(shape), before)
})

void test('fifty times attached and detached: no warning, and it still works', async t => {
  const warnings: Error[] = []
  const heard = (warning: Error): void => void warnings.push(warning)
  process.on('warning', heard)
  t.after(() => process.off('warning', heard))
  const made = makeServer(false)
  const before = shape(made)
  const by = gateway(t, [await backend(t)])
  const port = await listen(t, made)
  for (let round = 0; round < 50; round++) {
    const detach = by.attach(made, { path: '/ws' })
    if (round % 10 === 0) assert.equal(await status(t, port, '/ws'), 101)
    detach()
  }
  assert.deepEqual(shape(made), before)
  await new Promise(resolve => setImmediate(resolve)) // warnings are told later
  assert.deepEqual(warnings, [])
})

void test('fifty gateways on one server: one listener, no warning', async t => {
  const warnings: Error[] = []
  const heard = (warning: Error): void => void warnings.push(warning)
  process.on('warning', heard)
  t.after(() => process.off('warning', heard))
  const to = await backend(t)
  const made = makeServer(false)
  for (let each = 0; each < 50; each++) gateway(t, [to]).attach(made, { path: `/${each}` })
  assert.equal(made.listenerCount('upgrade'), 1)
  const port = await listen(t, made)
  assert.equal(await status(t, port, '/49'), 101)
  await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual(warnings, [])
})

void test('attach twice is the same attachment: one detach ends it', async t => {
  const made = makeServer(false)
  const by = gateway(t, [await backend(t)])
  by.attach(made, { path: '/ws' })
  const detach = by.attach(made, { path: '/ws/' })
  const port = await listen(t, made)
  assert.equal(await status(t, port, '/ws'), 101)
  detach()
  assert.equal(made.listenerCount('upgrade'), 0)
})

void test('a tunnel outlives the detach', async t => {
  const made = makeServer(false)
  const detach = gateway(t, [await backend(t)]).attach(made, { path: '/ws' })
  const client = await Client.connect(t, { port: await listen(t, made) }, handshake('/ws'))
  await client.answer()
  detach()
  await client.echoes('still here')
  client.socket.end()
  await deserted(socketsOf(made))
})

void test("a host's own emit comes back", async t => {
  const made = makeServer(false)
  const seen: string[] = []
  const own = wrap(made, seen)
  const detach = gateway(t, [await backend(t)]).attach(made, { path: '/ws' })
  const port = await listen(t, made)
  assert.equal(await status(t, port, '/ws'), 101)
  assert.ok(seen.includes('connection'))
  detach()
  assert.equal(made.emit, own)
})

/** A host that wraps the server's emit after a gateway was attached. */
async function wrapped(
  t: TestContext
): Promise<{ made: Server; seen: string[]; to: Backend; detach: () => void; port: number }> {
  const made = makeServer(false, (_, response) => void response.end('page'))
  const to = await backend(t)
  const detach = gateway(t, [to]).attach(made, { path: '/ws' })
  const seen: string[] = []
  wrap(made, seen)
  return { made, seen, to, detach, port: await listen(t, made) }
}

void test("a host's emit in front of ours works before and after our detach", async t => {
  const { made, seen, detach, port } = await wrapped(t)
  assert.equal(await status(t, port, '/ws'), 101)
  assert.ok(seen.includes('upgrade'))
  detach()
  seen.length = 0
  const client = await Client.connect(t, { port }, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  assert.equal((await client.answer()).body.toString(), 'page')
  assert.ok(seen.includes('request'))
  assert.equal(made.listenerCount('upgrade'), 0)
  // As before any gateway: Node takes no notice of an upgrade that nobody listens for.
  client.say(handshake('/ws'))
  assert.equal((await client.answer()).body.toString(), 'page')
})

void test('attached again behind a host that wraps emit, each upgrade is answered once', async t => {
  const { made, to, detach, port } = await wrapped(t)
  for (let round = 0; round < 3; round++) {
    detach()
    const again = gateway(t, [to]).attach(made, { path: '/ws' })
    const client = await Client.connect(t, { port }, handshake('/ws'))
    assert.equal((await client.answer()).status, 101)
    await client.echoes('tunnel')
    again()
  }
  assert.equal(to.upgrades.length, 3)
})

void test('after a detach behind a host that wraps emit, a listener of its own gets the upgrades', async t => {
  const { made, detach, port } = await wrapped(t)
  detach()
  made.on('upgrade', (_, socket) => socket.end('HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n'))
  assert.equal(await status(t, port, '/ws'), 418)
})

void test('a detach from within an upgrade leaves that upgrade alone', async t => {
  const made = makeServer(false, () => {})
  const by = gateway(t, [await backend(t)])
  const detach = by.attach(made, { path: '/ws', through: true })
  const next = by.middleware()
  made.on('request', (request, response) => {
    detach()
    next(request, response, () => {})
  })
  const client = await Client.connect(t, { port: await listen(t, made) }, handshake('/ws'))
  assert.equal((await client.answer()).status, 101)
  await client.echoes('tunnel')
})
