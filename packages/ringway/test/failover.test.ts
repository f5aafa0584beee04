import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Gateway } from '../src/index.ts'
import type { Backend } from './support/gate-backend.ts'
import { accept, backend, echo, REFUSED } from './support/gate-backend.ts'
import type { Line } from './support/gate-host.ts'
import { host, settled } from './support/gate-host.ts'
import { ask, dial, handshake, KEY, switching, tunnel } from './support/gate-peer.ts'
import type { Peer } from './support/gate-peer.ts'
import { until } from './support/gate-waiting.ts'

const HALF = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso'

/** How a server can fail before it has answered, and what the log and the client are told. */
const FAILURES: Record<string, { serve: (peer: Peer) => unknown; code: RegExp; status: 502 | 504 }> = {
  // Whether our connect sees it depends on how quick the other end is.
  'resets the connection at once': {
    serve: peer => peer.reset(),
    code: /^ERR_RINGWAY_(?:CONNECT_FAILED|ANSWER_MISSING)$/,
    status: 502
  },
  'ends the connection at once': {
    serve: peer => peer.socket.end(),
    code: /^ERR_RINGWAY_ANSWER_MISSING$/,
    status: 502
  },
  'resets the connection after our request': {
    serve: async peer => {
      await peer.head()
      peer.reset()
    },
    code: /^ERR_RINGWAY_ANSWER_MISSING$/,
    status: 502
  },
  'ends the connection after our request': {
    serve: async peer => {
      await peer.head()
      peer.socket.end()
    },
    code: /^ERR_RINGWAY_ANSWER_MISSING$/,
    status: 502
  },
  'ends the connection after half an answer': {
    serve: peer => peer.socket.end(HALF),
    code: /^ERR_RINGWAY_ANSWER_MISSING$/,
    status: 502
  },
  'resets the connection after half an answer': {
    serve: async peer => {
      await peer.head()
      peer.socket.write(HALF, () => peer.reset())
    },
    code: /^ERR_RINGWAY_ANSWER_MISSING$/,
    status: 502
  },
  'says nothing': { serve: () => {}, code: /^ERR_RINGWAY_ANSWER_TIMEOUT$/, status: 504 },
  'says half a status line and nothing more': {
    serve: peer => peer.write('HTTP/1.1 10'),
    code: /^ERR_RINGWAY_ANSWER_TIMEOUT$/,
    status: 504
  },
  'says half an answer and nothing more': {
    serve: peer => peer.write(HALF),
    code: /^ERR_RINGWAY_ANSWER_TIMEOUT$/,
    status: 504
  },
  'sends 103 after 103 and no answer': {
    serve: peer => peer.write('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(3)),
    code: /^ERR_RINGWAY_ANSWER_TIMEOUT$/,
    status: 504
  }
}

/** An address whose order of servers begins with these. */
function addressFor(gateway: Gateway, ...ids: string[]): string {
  for (let i = 1; i < 255; i++) {
    const address = `127.30.0.${i}`
    const order = gateway.upstream.order(address).map(({ id }) => id)
    if (ids.every((id, at) => order[at] === id)) return address
  }
  return assert.fail(`no address for ${ids.join()}`)
}

function triesOf(line: Line | undefined): { server: string; result: unknown }[] {
  return line?.fields['tries'] as { server: string; result: unknown }[]
}

async function good(t: TestContext): Promise<Backend> {
  return backend(t, async peer => accept(peer))
}

/** Ends the time that a server has for its answer, when it has our request and we have what it said at once. */
async function expire(t: TestContext, { peers }: Backend): Promise<void> {
  await until(() => peers[0]?.unread.includes('\r\n\r\n') ?? false, 'it has the request')
  await turn()
  t.mock.timers.tick(150)
}

for (const [name, { serve, code, status }] of Object.entries(FAILURES)) {
  const timeouts = { handshake: status === 504 ? 150 : 20_000 }
  // Else a good server could be late too, on a busy machine.
  const stopTime = (t: TestContext): void => {
    if (status === 504) t.mock.timers.enable({ apis: ['setTimeout'] })
  }

  test(`a server that ${name}: the client gets the next one, and no word of it`, async t => {
    const [bad, next] = await Promise.all([backend(t, serve), good(t)])
    const { gateway, port, lines } = await host(t, [bad.address, next.address], { timeouts })
    const from = addressFor(gateway, bad.address)
    stopTime(t)
    const asked = ask(t, port, handshake(), { from })
    if (status === 504) await expire(t, bad)
    const { peer, head } = await asked
    assert.equal(head.status, 101)
    t.mock.timers.reset()
    peer.socket.end()
    next.peers[0]!.socket.end()
    await settled(gateway)
    const [failed, opened] = triesOf(lines[0])
    assert.equal(failed!.server, bad.address)
    assert.match(String(failed!.result), code)
    assert.deepEqual(opened, { server: next.address, result: 101 })
    assert.equal(gateway.upstream.servers[0]!.usable, false)
  })

  test(`a server that ${name}, and no other: ${status}, and one of them stays in use`, async t => {
    const bad = await Promise.all([backend(t, serve), backend(t, serve)])
    const servers = bad.map(({ address }) => address)
    const { port, gateway, lines } = await host(t, servers, { timeouts })
    stopTime(t)
    const asked = ask(t, port)
    for (const { id } of gateway.upstream.order('127.0.0.1')) {
      if (status === 504)
        await expire(
          t,
          bad.find(({ address }) => address === id)!
        )
    }
    const first = await asked
    t.mock.timers.reset()
    assert.equal(first.head.status, status)
    assert.deepEqual(first.head.values('connection'), ['close'])
    const body = (await first.peer.rest()).toString()
    assert.equal(Number(first.head.values('content-length')[0]), body.length)
    assert.ok(!/127\.0|:\d/.test(body), `nothing of our servers: ${body}`)
    const tries = triesOf(lines[0])
    assert.deepEqual(
      tries.map(({ server }) => server),
      gateway.upstream.order('127.0.0.1').map(({ id }) => id)
    )
    for (const { result } of tries) assert.match(String(result), code)

    const states = gateway.upstream.order('127.0.0.1').map(({ state }) => state)
    assert.deepEqual(states, ['down', 'up'])
  })
}

test('servers that refuse: 502; servers that are all down: 503 with Retry-After', async t => {
  const { gateway, port, lines } = await host(t, [REFUSED, '127.0.0.2:1'])
  const first = await ask(t, port)
  assert.equal(first.head.status, 502)
  assert.match((await first.peer.rest()).toString(), /^502 Bad Gateway: /)
  assert.equal(lines[0]!.level, 'warn')
  assert.equal(lines[0]!.fields['code'], 'ERR_RINGWAY_CONNECT_FAILED')
  void gateway.setServers([{ host: '127.0.0.1', port: 1, down: true }])
  const second = await ask(t, port)
  assert.equal(second.head.status, 503)
  assert.match(second.head.values('retry-after')[0]!, /^[1-9]\d*$/)
})

test('a server that is the only one is tried each time', async t => {
  const { port } = await host(t, [REFUSED])
  for (let i = 0; i < 3; i++) assert.equal((await ask(t, port)).head.status, 502)
})

/** What no client may be given as an answer. The key is KEY's in all of them. */
const VALID = switching(KEY)
const INVALID: Record<string, string> = {
  garbage: 'SSH-2.0-OpenSSH_9.6\r\n',
  'a TLS alert': '\x15\x03\x01\x00\x02\x02\x46',
  'a wrong accept': VALID.replace(/Accept: ./, 'Accept: #'),
  'no accept': VALID.replace(/Sec-WebSocket-Accept.*\r\n/, ''),
  'the accept twice': VALID.replace(/(Sec-WebSocket-Accept.*\r\n)/, '$1$1'),
  'no Upgrade': VALID.replace('Upgrade: websocket\r\n', ''),
  'another Upgrade': VALID.replace('Upgrade: websocket', 'Upgrade: h2c'),
  'no Connection': VALID.replace('Connection: Upgrade\r\n', ''),
  'an extension that was not offered': switching(KEY, 'Sec-WebSocket-Extensions: permessage-deflate'),
  'a subprotocol that was not offered': switching(KEY, 'Sec-WebSocket-Protocol: chat'),
  'HTTP/1.0': VALID.replace('HTTP/1.1', 'HTTP/1.0'),
  'a bare line feed': VALID.replaceAll('\r\n', '\n'),
  'a folded header': VALID.replace('Upgrade: websocket', 'X-A: b\r\n c\r\nUpgrade: websocket'),
  'a NUL in a header': VALID.replace('Upgrade: websocket', 'X-A: b\0c\r\nUpgrade: websocket'),
  'an endless header': `HTTP/1.1 101 Switching Protocols\r\nX-A: ${'a'.repeat(100_000)}`,
  'two lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12',
  'a length and chunks': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
}

for (const [name, answer] of Object.entries(INVALID)) {
  test(`a server that answers ${name}: 502 at once, its failure, and no other server is asked`, async t => {
    const [bad, next] = await Promise.all([backend(t, peer => peer.write(answer)), good(t)])
    const { gateway, port, lines } = await host(t, [bad.address, next.address])
    const from = addressFor(gateway, bad.address)
    const { peer, head } = await ask(t, port, handshake(), { from })
    assert.equal(head.status, 502)
    await peer.rest()
    await bad.peers[0]!.left()
    assert.deepEqual(triesOf(lines[0]), [{ server: bad.address, result: 'ERR_RINGWAY_BAD_ANSWER' }])
    assert.equal(next.peers.length, 0)
    assert.equal(gateway.upstream.servers[0]!.usable, false)
    assert.equal((await ask(t, port, handshake(), { from })).head.status, 101)
  })
}

test('Envoy 9961: of three servers two are dead: exactly three dials', async t => {
  const dead = await Promise.all([backend(t, peer => peer.reset()), backend(t, peer => peer.reset())])
  const alive = await good(t)
  const backends = [...dead, alive]
  const { gateway, port } = await host(
    t,
    backends.map(({ address }) => address)
  )
  const from = addressFor(gateway, dead[0].address, dead[1].address)
  assert.equal((await ask(t, port, handshake(), { from })).head.status, 101)
  assert.deepEqual(
    backends.map(({ peers }) => peers.length),
    [1, 1, 1]
  )
  assert.equal((await ask(t, port, handshake(), { from })).head.status, 101)
  assert.deepEqual(
    backends.map(({ peers }) => peers.length),
    [1, 1, 2]
  )
})

test('fastify-http-proxy 460: 500 upgrades at once at a set that is dead are all answered', async t => {
  const resets = await backend(t, peer => peer.reset())
  const { gateway, port, lines } = await host(t, [REFUSED, '127.0.0.2:1', resets.address])
  const statuses = await Promise.all(
    Array.from({ length: 500 }, async (_, i) => {
      const { peer, head } = await ask(t, port, handshake(), { from: `127.31.${i >> 7}.${(i & 127) + 1}` })
      await peer.rest()
      if (head.status === 503) assert.equal(head.values('retry-after').length, 1)
      return head.status
    })
  )
  assert.deepEqual(
    [...new Set(statuses)].filter(status => status !== 502 && status !== 503),
    []
  )
  await settled(gateway)
  assert.equal(lines.length, 500)
})

test('Caddy ip_hash: 30 addresses, one of two servers dead: 30 × 101', async t => {
  const { address } = await echo(t)
  for (const maxFails of [0, 1]) {
    const { gateway, port } = await host(t, [REFUSED, address], { upstream: { maxFails } })
    const addresses = Array.from({ length: 30 }, (_, i) => `127.33.0.${i + 1}`)
    const orders = addresses.map(each => gateway.upstream.order(each)[0]!.id)
    assert.equal(new Set(orders).size, 2, 'some of them belong to the dead one')
    await Promise.all(addresses.map(async from => tunnel(t, port, { from })))
  }
})

test('500 upgrades at once at a set that is silent are all answered', async t => {
  const silent = await backend(t, () => {})
  const { gateway, port } = await host(t, [silent.address, REFUSED], { timeouts: { handshake: 500 } })
  const answers = Array.from({ length: 500 }, async () => {
    const { peer, head } = await ask(t, port)
    await peer.rest()
    return head.status
  })
  const statuses = new Set(await Promise.all(answers))
  assert.deepEqual(
    [...statuses].filter(status => ![502, 503, 504].includes(status)),
    []
  )
  await settled(gateway)
})

test('a backend that sends 103 first: its 101 is awaited', async t => {
  const early = await backend(t, async peer => {
    peer.write('HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n')
    await accept(peer)
  })
  const { port } = await host(t, [early.address])
  const { head } = await ask(t, port)
  assert.equal(head.status, 101)
  assert.deepEqual(head.values('link'), [])
})

test('an answer that comes byte by byte is one', async t => {
  const slow = await backend(t, async peer => {
    const head = await peer.head()
    const text = `${switching(head.values('sec-websocket-key')[0]!)}and more`
    for (const byte of Buffer.from(text)) {
      await new Promise<void>(resolve => peer.socket.write(Buffer.of(byte), () => resolve()))
    }
  })
  const { port } = await host(t, [slow.address])
  const { peer, head } = await ask(t, port)
  assert.equal(head.status, 101)
  assert.equal((await peer.take(8)).toString(), 'and more')
})

test('the first packet after a burst of failures still comes to a server that is well', async t => {
  const [bad, next] = await Promise.all([backend(t, peer => peer.reset()), echo(t)])
  const { port } = await host(t, [bad.address, next.address])
  const peers = await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      const peer = await dial(t, port, { from: `127.32.0.${i + 1}` })
      peer.write(`${handshake()}hello ${i}`)
      assert.equal((await peer.head()).status, 101)
      return peer
    })
  )
  for (const [i, peer] of peers.entries()) {
    const text = `hello ${i}`
    assert.equal((await peer.take(text.length)).toString(), text)
  }
})

test('a refused first choice starts the next dial in the same turn, with no timer between', async t => {
  const next = await good(t)
  const { gateway, port } = await host(t, [REFUSED, next.address], { upstream: { maxFails: 0 } })
  const from = addressFor(gateway, REFUSED)
  const peers = await Promise.all(Array.from({ length: 20 }, async () => dial(t, port, { from })))

  const events: string[] = []
  const watch = (message: unknown): void => {
    const { socket } = message as { socket: Socket }
    events.push('dial')
    socket.once('error', () => {
      events.push('refused')
      // The first thing that runs in the event loop's next phase.
      setImmediate(() => events.push('turn'))
    })
  }
  subscribe('net.client.socket', watch)
  t.after(() => unsubscribe('net.client.socket', watch))
  for (const peer of peers) {
    events.length = 0
    peer.write(handshake())
    assert.equal((await peer.head()).status, 101)
    assert.deepEqual(events.slice(0, 4), ['dial', 'refused', 'dial', 'turn'])
  }
})
