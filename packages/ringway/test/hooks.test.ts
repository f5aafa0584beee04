import assert from 'node:assert/strict'
import test from 'node:test'
import { ketama } from '../src/index.ts'
import type { KeyFunction, KeySource, Strategy } from '../src/index.ts'
import { echo } from './support/gate-backend.ts'
import { host, settled } from './support/gate-host.ts'
import { ask, dial, handshake } from './support/gate-peer.ts'
import { until } from './support/gate-waiting.ts'

function timers(): number {
  return process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
}

const secret = 'the secret reason'

/** Key functions that fail, each in its way. */
const KEYS: Record<string, KeyFunction> = {
  throws: () => {
    throw new Error(secret)
  },
  'throws what is no error': () => {
    // oxlint-disable-next-line typescript/only-throw-error -- a user may
    throw secret
  },
  'throws undefined': () => {
    // oxlint-disable-next-line typescript/only-throw-error -- a user may
    throw undefined
  },
  rejects: async () => Promise.reject(new Error(secret)),
  'rejects with nothing': async () => Promise.reject(),
  'returns a number': () => 7 as unknown as string,
  'returns null': () => null as unknown as string,
  'returns an object': () => ({ key: 'a' }) as unknown as string,
  'resolves to a number': async () => Promise.resolve(7 as unknown as string),
  'never resolves': async () => new Promise(() => {})
}

for (const [name, key] of Object.entries(KEYS)) {
  test(`a key function that ${name}: 500, one error line, no lease, and the host lives`, async t => {
    const { address, peers } = await echo(t)
    const chain = name === 'never resolves' ? 100 : 30_000
    let calls = 0
    const first: KeyFunction = source => (calls++ === 0 ? key(source) : source.target)
    const { gateway, port, lines } = await host(t, [address], {
      upstream: { key: first },
      timeouts: { chain }
    })
    const { peer, head } = await ask(t, port)
    assert.equal(head.status, 500)
    assert.ok(!(await peer.rest()).toString().includes(secret))
    assert.equal(lines.length, 1)
    assert.equal(lines[0]!.level, 'error')
    assert.equal(lines[0]!.fields['code'], 'ERR_RINGWAY_HOOK')
    assert.equal(peers.length, 0)
    await settled(gateway)
    assert.equal((await ask(t, port)).head.status, 101)
  })
}

/** A strategy whose pick is this one at the first call. */
function strategy(pick: (real: ReturnType<Strategy['build']>, key: string) => unknown): Strategy {
  return {
    name: 'mine',
    build(members) {
      const real = ketama().build(members)
      let calls = 0
      return {
        pick: (key, usable, load) =>
          calls++ === 0 ? (pick(real, key) as ReturnType<typeof real.pick>) : real.pick(key, usable, load)
      }
    }
  }
}

const PICKS: Record<string, Strategy> = {
  throws: strategy(() => {
    throw new Error(secret)
  }),
  'picks a member of its own': strategy(() => ({ id: 'nobody', weight: 1 })),
  'picks a name': strategy(() => 'sre1')
}

for (const [name, mine] of Object.entries(PICKS)) {
  test(`a strategy that ${name}: 500, one error line, no lease, and the host lives`, async t => {
    const { address } = await echo(t)
    const { gateway, port, lines } = await host(t, [address, '127.0.0.1:1'], { upstream: { strategy: mine } })
    const { peer, head } = await ask(t, port)
    assert.equal(head.status, 500)
    assert.ok(!(await peer.rest()).toString().includes(secret))
    assert.deepEqual(
      lines.map(({ level }) => level),
      ['error']
    )
    await settled(gateway)
    assert.equal((await ask(t, port)).head.status, 101)
  })
}

test('a strategy that picks a server which has failed already: 500, and its leases are given back', async t => {
  const always: Strategy = { name: 'stubborn', build: members => ({ pick: () => members[0] }) }
  const { gateway, port } = await host(t, ['127.0.0.1:1', '127.0.0.2:1'], { upstream: { strategy: always } })
  assert.equal((await ask(t, port)).head.status, 500)
  await settled(gateway)
})

test('a strategy that looks at no key: the key function is not asked', async t => {
  const { address } = await echo(t)
  const keyless: Strategy = { name: 'first', keyed: false, build: members => ({ pick: () => members[0] }) }
  let asks = 0
  const key = (): string => `${asks++}`
  const { port } = await host(t, [address], { upstream: { strategy: keyless, key } })
  assert.equal((await ask(t, port)).head.status, 101)
  assert.equal(asks, 0)
})

test('a key function gets the address, the method, the whole target, the headers and the request', async t => {
  const { address } = await echo(t)
  const sources: KeySource[] = []
  const key: KeyFunction = async source => {
    sources.push(source)
    return Promise.resolve('a')
  }
  const { port } = await host(t, [address], { upstream: { key } })
  await ask(t, port, handshake('/a?b=c', 'X-User: d'), { from: '127.1.2.3' })
  const { address: from, method, target, headers, request } = sources[0]!
  assert.deepEqual({ from, method, target }, { from: '127.1.2.3', method: 'GET', target: '/a?b=c' })
  assert.equal(headers['x-user'], 'd')
  assert.equal((request as { url: string }).url, '/a?b=c')
})

test('a client that goes while the key is awaited: no server is asked, and its line says 499', async t => {
  const { address, peers } = await echo(t)
  let asks = 0
  const key: KeyFunction = async () => {
    asks++
    return new Promise(() => {})
  }
  const { port, lines } = await host(t, [address], { upstream: { key }, timeouts: { chain: 3_000 } })
  const client = await dial(t, port)
  const before = timers()
  client.write(handshake())
  await until(() => asks === 1, 'the key is asked for')
  client.reset()
  await until(() => lines.length > 0, 'it is logged')
  assert.deepEqual(
    lines.map(({ level, fields }) => [level, fields['status']]),
    [['info', 499]]
  )
  assert.equal(peers.length, 0)
  assert.equal(timers(), before, 'no timer is left')
})
