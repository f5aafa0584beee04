import assert from 'node:assert/strict'
import { once } from 'node:events'
import test from 'node:test'
import type { TunnelEnd } from '@ringway/tunnel'
import { accept, backend, echo, REFUSED } from './support/gate-backend.ts'
import { host, settled } from './support/gate-host.ts'
import { ask, dial, handshake, tunnel } from './support/gate-peer.ts'
import { until } from './support/gate-waiting.ts'

test('a tunnel has one line, at its end: who, where to, by which servers, how much and how it ended', async t => {
  const { address } = await echo(t)
  const { port, lines, gateway } = await host(t, [address, REFUSED])
  let from = 1
  while (gateway.upstream.order(`127.1.2.${from}`)[0]!.id !== REFUSED) from++
  const { peer, head } = await ask(t, port, handshake('/chat?a=b'), { from: `127.1.2.${from}` })
  assert.equal(head.status, 101)
  peer.write('hello')
  await peer.take(5)
  assert.deepEqual(lines, [])
  peer.socket.end()
  await settled(gateway)
  assert.equal(lines.length, 1)
  const { level, message, fields } = lines[0]!
  assert.equal(level, 'info')
  assert.equal(message, 'upgrade 101')
  const { life, duration, connect, answer, ...rest } = fields as Record<string, number>
  assert.ok(life! >= Math.floor(duration!))
  assert.ok(connect! > 0 && answer! > connect! && answer! < life! + 1, `${connect} ${answer} ${life}`)
  assert.deepEqual(rest, {
    address: `127.1.2.${from}`,
    method: 'GET',
    target: '/chat?a=b',
    status: 101,
    tries: [
      { server: REFUSED, result: 'ERR_RINGWAY_CONNECT_FAILED' },
      { server: address, result: 101 }
    ],
    by: 'client',
    how: 'fin',
    code: undefined,
    bytesToBackend: 5,
    bytesToClient: 5
  })
  assert.doesNotThrow(() => JSON.stringify(fields))
})

test('bytes that were glued to both heads are counted', async t => {
  const { address, peers } = await backend(t, async peer => accept(peer, 'four'))
  const { port, lines, gateway } = await host(t, [address])
  const client = await dial(t, port)
  client.write(`${handshake()}sixsix`)
  await client.head()
  await client.take(4)
  await peers[0]!.take(6)
  peers[0]!.socket.end()
  client.socket.end()
  await settled(gateway)
  assert.equal(lines[0]!.fields['bytesToBackend'], 6)
  assert.equal(lines[0]!.fields['bytesToClient'], 4)
  assert.equal(lines[0]!.fields['how'], 'fin')
})

/** What each way of not becoming a tunnel is worth. */
const LEVELS: [
  what: string,
  level: string,
  status: number,
  code: string | undefined,
  text: string,
  answer: string
][] = [
  ['a bad handshake', 'info', 400, 'ERR_RINGWAY_BAD_HANDSHAKE', handshake().replace('GET', 'POST'), ''],
  ['a bad version', 'info', 426, 'ERR_RINGWAY_BAD_VERSION', handshake().replace('n: 13', 'n: 8'), ''],
  ['a relayed 403', 'info', 403, undefined, handshake(), 'HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n'],
  ['a relayed 500', 'info', 500, undefined, handshake(), 'HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n'],
  ['an invalid answer', 'warn', 502, 'ERR_RINGWAY_BAD_ANSWER', handshake(), 'nonsense'],
  ['a silent server', 'warn', 504, 'ERR_RINGWAY_ANSWER_TIMEOUT', handshake(), '']
]

for (const [what, level, status, code, text, answer] of LEVELS) {
  test(`${what}: one line at ${level}, with its status and code`, async t => {
    const { address } = await backend(t, peer => peer.write(answer))
    // Only for who is silent: others may take their time on a busy machine.
    const timeouts = status === 504 ? { handshake: 200 } : {}
    const { port, lines, gateway } = await host(t, [address], { timeouts })
    const { peer, head } = await ask(t, port, text)
    assert.equal(head.status, status)
    await peer.rest()
    await settled(gateway)
    await until(() => lines.length > 0, 'it is logged')
    assert.equal(lines.length, 1)
    assert.equal(lines[0]!.level, level)
    assert.equal(lines[0]!.fields['status'], status)
    assert.equal(lines[0]!.fields['code'], code)
  })
}

test('a client that is gone before the 101: one line with 499 at info, and no failure of the server', async t => {
  const behind = await backend(t, () => {})
  const { port, lines, gateway } = await host(t, [behind.address, REFUSED], { upstream: { maxFails: 1 } })
  let from = 1
  while (gateway.upstream.order(`127.1.3.${from}`)[0]!.id !== behind.address) from++
  const client = await dial(t, port, { from: `127.1.3.${from}` })
  const dialled = once(behind.server, 'connection')
  client.write(handshake())
  await dialled
  client.reset()
  await settled(gateway)
  await until(() => lines.length > 0, 'it is logged')
  assert.deepEqual(
    lines.map(({ level, fields }) => [level, fields['status'], fields['code']]),
    [['info', 499, 'ERR_RINGWAY_CLIENT_GONE']]
  )
  assert.equal(gateway.upstream.servers[0]!.usable, true)
  assert.deepEqual(lines[0]!.fields['tries'], [{ server: behind.address, result: 'cancelled' }])
})

test('tunnel:open and tunnel:close tell of each tunnel once, when all counts are right', async t => {
  const { address } = await echo(t)
  const { port, gateway } = await host(t, [address])
  const events: unknown[] = []
  const counts = (): unknown => {
    const { tunnels, upstream } = gateway.stats()
    return [tunnels.active, upstream.servers[0]!.active, upstream.servers[0]!.handshakes]
  }
  gateway.on('tunnel:open', ({ server, key, address: from }) =>
    events.push(['open', { server, address: from, key }, counts()])
  )
  gateway.on('tunnel:close', ({ server, key, address: from }, end: TunnelEnd) =>
    events.push(['close', { server, address: from, key }, end.by, end.how, counts()])
  )
  const peer = await tunnel(t, port, { from: '127.4.5.6' })
  peer.socket.end()
  await settled(gateway)
  const info = { server: address, address: '127.4.5.6', key: '127.4.5.6' }
  assert.deepEqual(events, [
    ['open', info, [1, 1, 0]],
    ['close', info, 'client', 'fin', [0, 0, 0]]
  ])
})

test('server:down and server:up are told as events and as lines', async t => {
  const behind = await backend(t, async peer => (behind.peers.length === 1 ? peer.reset() : accept(peer)))
  const { address: server } = behind
  const { port, gateway, moves } = await host(t, [server, (await echo(t)).address], {
    upstream: { failTimeout: 50 }
  })
  const events: unknown[] = []
  gateway.on('server:down', ({ id }, reason) => events.push(['down', id, reason]))
  gateway.on('server:up', ({ id }, reason) => events.push(['up', id, reason]))
  let i = 1
  while (gateway.upstream.order(`127.5.0.${i}`)[0]!.id !== server) i++
  const from = `127.5.0.${i}`
  await tunnel(t, port, { from })
  await until(() => gateway.upstream.servers[0]!.state === 'probation', 'the mark has ended')
  await tunnel(t, port, { from })
  assert.deepEqual(events, [
    ['down', server, 'failures'],
    ['up', server, 'traffic']
  ])
  assert.deepEqual(
    moves.map(({ level, message, fields }) => [level, message, fields]),
    [
      ['warn', 'server down', { server, reason: 'failures' }],
      ['info', 'server probation', { server, reason: 'expired' }],
      ['info', 'server up', { server, reason: 'traffic' }]
    ]
  )
})

test('listeners that throw hurt no tunnel: each is an error line', async t => {
  const { address } = await echo(t)
  const { port, gateway, lines } = await host(t, [address, REFUSED])
  for (const event of ['tunnel:open', 'tunnel:close', 'server:down', 'server:up'] as const) {
    gateway.on(event, () => {
      throw new Error(`the listener of ${event}`)
    })
  }
  let from = 1
  while (gateway.upstream.order(`127.1.4.${from}`)[0]!.id !== REFUSED) from++
  const peer = await tunnel(t, port, { from: `127.1.4.${from}` })
  peer.write('still there')
  assert.equal((await peer.take(11)).toString(), 'still there')
  peer.socket.end()
  await peer.rest()
  await settled(gateway)
  await until(() => lines.length === 4, 'all is logged')
  assert.deepEqual(lines.map(({ level, message }) => `${level}: ${message}`).toSorted(), [
    'error: a listener of server:down failed',
    'error: a listener of tunnel:close failed',
    'error: a listener of tunnel:open failed',
    'info: upgrade 101'
  ])
})

test('http-proxy-3 23: after 2,000 chaotic connections opened − closed = active = 0, and each tunnel has its line', async t => {
  const backends = await Promise.all([
    echo(t),
    echo(t),
    backend(t, peer => peer.reset()),
    backend(t, async peer => {
      peer.socket.on('end', () => peer.socket.end())
      const head = await accept(peer)
      if (head.text.length % 2 === 0) peer.reset()
    }),
    backend(t, async peer => {
      await peer.head()
      peer.socket.end('HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno')
    })
  ])
  const servers = backends.map(({ address }) => address)
  const { port, gateway, lines } = await host(t, servers, {
    upstream: { failTimeout: 20 },
    timeouts: { linger: 500 }
  })
  const chaos = async (i: number): Promise<void> => {
    const client = await dial(t, port, { from: `127.${50 + (i % 100)}.0.${1 + (i % 250)}` })
    client.write(i % 7 === 0 ? handshake().replace('13', '12') : handshake(i % 2 === 0 ? '/' : '/a'))
    if (i % 5 === 0) return client.reset()
    if (i % 5 === 1) return void client.socket.destroy()
    await Promise.race([client.head(), client.left()]).catch(() => {})
    if (i % 5 === 2) return client.reset()
    client.write('some')
    client.socket.end()
    return client.left()
  }
  for (let at = 0; at < 2_000; at += 50) {
    await Promise.all(Array.from({ length: 50 }, async (_, i) => chaos(at + i)))
  }
  await settled(gateway)
  const { opened, closed, active } = gateway.stats().tunnels
  assert.equal(active, 0)
  assert.equal(opened - closed, 0)
  assert.ok(opened > 100, `${opened} tunnels`)
  assert.equal(lines.filter(({ fields }) => fields['status'] === 101).length, opened)
})

function fail(): never {
  throw new Error('full')
}

test('a log that throws hurts nobody, also when it is told of servers', async t => {
  const written = t.mock.method(process.stderr, 'write', () => true)
  const { gateway, port } = await host(t, [REFUSED, '127.0.0.2:1'], {
    log: { info: fail, warn: fail, error: fail }
  })
  const down = once(gateway, 'server:down')
  assert.equal((await ask(t, port)).head.status, 502)
  await down
  const lines = written.mock.calls
    .map(({ arguments: [line] }) => String(line))
    .filter(line => /the log failed/.test(line))
  assert.ok(lines.length >= 2, String(lines.length))
})
