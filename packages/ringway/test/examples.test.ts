import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { WebSocket } from 'ws'
import { ketama, order, rendezvous } from '../src/index.ts'
import type { ExampleBackend } from './support/example.ts'
import { Example, EXAMPLES, exampleBackend, say, shakeHands } from './support/example.ts'

const ANY_PORTS = ['--port=0', '--tls-port=0', '--page-port=0']

interface Running {
  readonly example: Example
  readonly backends: readonly ExampleBackend[]
  readonly port: number
}

/** An example with three servers behind it. */
async function run(t: TestContext, folder: string, env: Record<string, string> = {}): Promise<Running> {
  const backends = await Promise.all([exampleBackend(t), exampleBackend(t), exampleBackend(t)])
  const SERVERS = backends.map(({ address }) => address).join(',')
  const example = new Example(t, folder, [], { SERVERS, ...env })
  return { example, backends, port: await example.port() }
}

async function endsCleanly({ example }: Running, open?: WebSocket): Promise<void> {
  const closed = open && once(open, 'close')
  example.signal('SIGTERM')
  await closed
  assert.deepEqual(await example.ended(), { code: 0, signal: null }, example.output)
}

/** The server that the ring has for a key. */
function home({ backends }: Running, key: string): string | undefined {
  return order(ketama().build(backends.map(({ address: id }) => ({ id, weight: 1 }))), key)[0]?.id
}

test('node-http: upgrades below /ws reach a server of the ring, all else is still the app’s', async t => {
  const running = await run(t, 'node-http')
  const { port } = running

  const page = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })
  assert.equal(await page.text(), 'The app answers here as before.\n')

  const { status, server, socket } = await shakeHands(t, `ws://127.0.0.1:${port}/ws/chat`)
  assert.equal(status, 101)
  assert.equal(server, home(running, '127.0.0.1'))
  assert.equal(await say(socket, 'hello'), 'hello')
  assert.equal((await shakeHands(t, `ws://127.0.0.1:${port}/elsewhere`)).status, 404)
  await endsCleanly(running, socket)
})

test('express: the app’s guard refuses strangers, and its session and logger see the 101', async t => {
  const running = await run(t, 'express')
  const { example, port } = running
  const url = `ws://127.0.0.1:${port}/ws/chat`

  const stranger = await shakeHands(t, url)
  assert.equal(stranger.status, 401)
  assert.equal(stranger.body, 'Log in first.\n')
  await example.printed(/GET \/ws\/chat 401 /)

  const login = await fetch(`http://127.0.0.1:${port}/login`, {
    method: 'POST',
    headers: { connection: 'close' }
  })
  const cookie = login.headers.get('set-cookie')?.split(';')[0]
  assert.ok(cookie)

  const member = await shakeHands(t, url, { cookie })
  assert.equal(member.status, 101)
  assert.match(member.headers['set-cookie']?.join('\n') ?? '', /^connect\.sid=/)
  assert.equal(member.server, home(running, '127.0.0.1'))
  assert.equal(await say(member.socket, 'hello'), 'hello')
  await example.printed(/GET \/ws\/chat 101 /)

  const plain = await fetch(`http://127.0.0.1:${port}/ws`, { headers: { cookie, connection: 'close' } })
  assert.equal(await plain.text(), 'ok\n', 'plain requests below /ws go to the servers too')
  await endsCleanly(running, member.socket)
})

test('fastify: an onRequest hook refuses strangers, and the app’s log has the 101', async t => {
  const running = await run(t, 'fastify', { TOKEN: 'open sesame' })
  const { example, port } = running
  const url = `ws://127.0.0.1:${port}/ws/chat`

  const page = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })
  assert.equal(await page.text(), 'The app answers here as before.\n')

  const stranger = await shakeHands(t, url)
  assert.equal(stranger.status, 401)
  assert.equal(stranger.body, 'Who are you?\n')
  await example.printed(/"res":\{"statusCode":401\}/)

  const friend = await shakeHands(t, url, { authorization: 'Bearer open sesame' })
  assert.equal(friend.status, 101)
  assert.equal(friend.server, home(running, '127.0.0.1'))
  assert.equal(await say(friend.socket, 'hello'), 'hello')
  await example.printed(/"res":\{"statusCode":101\}/)
  await endsCleanly(running, friend.socket)
})

test('custom-strategy: a tenant has two servers, its clients keep to theirs, and there is no third', async t => {
  const running = await run(t, 'custom-strategy')
  const { backends, port } = running
  const connect = (tenant: string): ReturnType<typeof shakeHands> =>
    shakeHands(t, `ws://127.0.0.1:${port}/${tenant}/chat`)
  const members = backends.map(({ address: id }) => ({ id, weight: 1 }))
  const pairOf = (tenant: string): string[] =>
    order(rendezvous().build(members), tenant)
      .slice(0, 2)
      .map(({ id }) => id)

  for (let i = 0; i < 20; i++) {
    const pair = pairOf(`tenant${i}`)
    const both = [await connect(`tenant${i}`), await connect(`tenant${i}`)]
    assert.ok(pair.includes(both[0]!.server!), `${both[0]!.server} of ${pair.join(', ')}`)
    assert.equal(both[1]!.server, both[0]!.server)
    for (const { socket } of both) {
      socket.close()
      await once(socket, 'close')
    }
  }

  const { server: own } = await connect('acme')
  const other = pairOf('acme').find(id => id !== own)
  await backends.find(({ address }) => address === own)!.stop()
  const { server, socket } = await connect('acme')
  assert.equal(server, other)
  assert.equal(await say(socket, 'hello'), 'hello')
  await backends.find(({ address }) => address === other)!.stop()
  const refused = await connect('acme')
  assert.equal(refused.status, 502)
  await endsCleanly(running)
})

test('custom-strategy: its own tests pass, with a report of the kit for a sound and for a broken strategy', async t => {
  // The context would make it report to this test's runner.
  const example = new Example(t, 'custom-strategy', [], { NODE_TEST_CONTEXT: '' }, 'two-per-tenant.test.js')
  assert.deepEqual(await example.ended(), { code: 0, signal: null }, example.output)
  assert.match(example.output, /strategy "two-per-tenant": 0 of 10 checks failed/)
  assert.match(example.output, /strategy "two-by-position": \d of 10 checks failed/)
  assert.match(example.output, /FAILED {3}member order: \d+ of 20000 keys, such as 'tenant-/)
})

test('quickstart --check: failover and the way home, by real processes, over ws and wss', async t => {
  const example = new Example(t, 'quickstart', ['--check', ...ANY_PORTS])
  assert.deepEqual(await example.ended(), { code: 0, signal: null }, example.output)
  assert.match(example.output, /\nAll as it should be\.\n$/)
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`quickstart: ${signal} ends it with open tunnels, and nothing is left`, async t => {
    const example = new Example(t, 'quickstart', ANY_PORTS)
    const [, page] = await example.printed(/Open +(http:\/\/\S+) [^]+Ctrl-C/)
    assert.match(await (await fetch(page!)).text(), /<title>Ringway quickstart<\/title>/)
    const [ws] = await example.printed(/ws:\/\/\S+/)
    const { status, server, socket } = await shakeHands(t, `${ws}/?user=ann`)
    assert.equal(status, 101)
    assert.match(server!, /^sre[123]:8080$/)
    const closed = once(socket, 'close')
    example.signal(signal)
    await closed
    assert.deepEqual(await example.ended(), { code: 0, signal: null }, example.output)
  })
}

test('quickstart: killed, it leaves no server behind', async t => {
  const example = new Example(t, 'quickstart', ANY_PORTS)
  await example.printed(/Ctrl-C/)
  assert.equal(example.output.match(/process \d+/g)?.length, 3)
  example.signal('SIGKILL')
  assert.deepEqual(await example.ended(), { code: null, signal: 'SIGKILL' })
})

test('quickstart: only its own page may kill a server', async t => {
  const example = new Example(t, 'quickstart', ANY_PORTS)
  const [, page] = await example.printed(/Open +(http:\/\/\S+) [^]+Ctrl-C/)
  const kill = async (origin: string): Promise<number> => {
    const headers = { origin, connection: 'close' }
    return (await fetch(`${page}/kill/sre1%3A8080`, { method: 'POST', headers })).status
  }
  assert.equal(await kill('http://example.com'), 403)
  assert.equal(await kill(page!), 204)
})

test('README.md shows the examples as they are', t => {
  const file = new URL('../README.md', EXAMPLES)
  if (!existsSync(file)) return t.skip('there is no README.md yet')
  const text = readFileSync(file, 'utf8')
  const marks = text.match(/^<!-- examples\/.*$/gm) ?? []
  const shown = [...text.matchAll(/^<!-- examples\/(\S+) -->\n+```js\n([^]*?)^```$/gm)]
  assert.ok(marks.length > 0, 'README.md marks no block as a file of examples/')
  assert.equal(shown.length, marks.length, 'each mark stands right before a js block')
  for (const [, path, block] of shown) {
    assert.equal(block, readFileSync(new URL(path!, EXAMPLES), 'utf8'), `examples/${path}`)
  }
})
