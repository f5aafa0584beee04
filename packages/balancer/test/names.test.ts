import assert from 'node:assert/strict'
import dns from 'node:dns'
import { createServer } from 'node:http'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import { Upstream } from '../src/index.ts'
import type { RingwayError } from '@ringway/core'
import { acquired, clock, moves } from './support/upstream.ts'

type Answer = string[] | Error | Promise<string[]>

/** A resolver that knows these names, and counts who asks. */
function resolver(t: TestContext, names: Record<string, Answer>): { names: typeof names; asked: string[] } {
  const asked: string[] = []
  t.mock.method(dns.promises, 'lookup', async (name: string) => {
    asked.push(name)
    const answer = await (names[name] ?? new Error('ENOTFOUND'))
    if (answer instanceof Error) throw answer
    return answer.map(address => ({ address, family: address.includes(':') ? 6 : 4 }))
  })
  return { names, asked }
}

/** An upstream with names as they are, disposed of with the test. */
function upstream(t: TestContext, options: ConstructorParameters<typeof Upstream>[0]): Upstream {
  const made = new Upstream(options)
  t.after(async () => made[Symbol.asyncDispose]())
  return made
}

function addresses(of: Upstream): string[] {
  return of.servers.map(({ id, address, state }) => `${id} ${'host' in address ? address.host : ''} ${state}`)
}

function hostOf({ address }: { address: object }): string {
  return (address as { host: string }).host
}

/** Lets look-ups end that have their answer. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await turn()
}

test('the first acquire waits for the first look-up, and then has an address to dial', async t => {
  clock(t)
  const { asked } = resolver(t, { 'sre1.test': ['10.0.0.1'] })
  const set = upstream(t, { servers: ['sre1.test:8080'] })
  assert.deepEqual(addresses(set), ['sre1.test:8080 sre1.test starting'])
  assert.equal(set.servers[0]!.usable, false)
  const list = moves(set)
  const { server } = await acquired(set, 'x')
  assert.deepEqual(server.address, { host: '10.0.0.1', port: 8080 })
  assert.equal(server, set.servers[0])
  assert.deepEqual(list, ['up sre1.test:8080 lookup'])
  assert.deepEqual(asked, ['sre1.test'])
})

test('addresses are never looked up, nor is a name twice that stands there twice', async t => {
  clock(t)
  const { asked } = resolver(t, { 'sre1.test': ['10.0.0.1'] })
  const set = upstream(t, { servers: ['10.0.0.9:80', '[::1]:80', 'unix:/s', 'sre1.test:1', 'sre1.test:2'] })
  await acquired(set, 'x')
  assert.deepEqual(asked, ['sre1.test'])
})

test('several addresses share one place on the ring and take turns, and each is a try', async t => {
  clock(t)
  resolver(t, { 'sre1.test': ['10.0.0.3', '10.0.0.1', '10.0.0.2'], 'sre2.test': ['10.0.1.1'] })
  const set = upstream(t, { servers: ['sre1.test:80', 'sre2.test:80'] })
  await acquired(set)
  const key = ['a', 'b', 'c', 'd', 'e', 'f'].find(each => set.order(each)[0]!.id === 'sre1.test:80')!
  const hosts: string[] = []
  for (let i = 0; i < 4; i++) hosts.push(hostOf((await acquired(set, key)).server))
  assert.deepEqual(hosts.slice(0, 3).toSorted(), ['10.0.0.1', '10.0.0.2', '10.0.0.3'])
  assert.equal(hosts[3], hosts[0])

  const tries = set.tries(key)
  const tried: string[] = []
  for (let lease = await tries.next(); lease !== undefined; lease = await tries.next()) {
    tried.push(hostOf(lease.server))
    lease.settle('failed')
  }
  assert.deepEqual(tried, [hosts[1], hosts[2], hosts[0], '10.0.1.1'])
})

test('each address has a health of its own, and one that is alone is never marked', async t => {
  clock(t)
  const { names } = resolver(t, { 'sre1.test': ['10.0.0.1', '10.0.0.2'] })
  const set = upstream(t, { servers: ['sre1.test:80'] })
  ;(await acquired(set, 'x')).settle('failed')
  assert.deepEqual(addresses(set), ['sre1.test:80 10.0.0.1 down', 'sre1.test:80 10.0.0.2 up'])
  names['one.test'] = ['10.0.0.1']
  const one = upstream(t, { servers: ['one.test:80'] })
  ;(await acquired(one, 'x')).settle('failed')
  assert.equal(one.servers[0]!.state, 'up')
})

test('it is looked up every 30 s; addresses come and go under live tunnels', async t => {
  const time = clock(t)
  const { names, asked } = resolver(t, { 'sre1.test': ['10.0.0.1', '10.0.0.2'] })
  const set = upstream(t, { servers: ['sre1.test:80', '10.9.9.9:80'] })
  const order = new Map<string, string>()
  const leases = []
  for (let i = 0; i < 40; i++) {
    const lease = await acquired(set, `${i}`)
    lease.opened()
    leases.push(lease)
    order.set(`${i}`, set.order(`${i}`)[0]!.id)
  }
  const list: string[] = []
  set.on('server:added', ({ address }, reason) => list.push(`added ${JSON.stringify(address)} ${reason}`))
  set.on('server:draining', ({ address }, reason) =>
    list.push(`draining ${JSON.stringify(address)} ${reason}`)
  )
  names['sre1.test'] = ['10.0.0.2', '10.0.0.3']
  time.advance(29_999)
  await settle()
  assert.equal(asked.length, 1)
  time.advance(1)
  await settle()
  assert.equal(asked.length, 2)
  assert.deepEqual(list, [
    'added {"host":"10.0.0.3","port":80} lookup',
    'draining {"host":"10.0.0.1","port":80} lookup'
  ])
  for (const lease of leases) assert.ok(lease.server.active > 0)
  for (const [key, id] of order) assert.equal(set.order(key)[0]!.id, id, 'no key moves')
  for (const lease of leases) lease.settle('ok')
  assert.deepEqual(addresses(set), [
    'sre1.test:80 10.0.0.2 up',
    'sre1.test:80 10.0.0.3 up',
    '10.9.9.9:80 10.9.9.9 up'
  ])

  // The same ones in another order are no change.
  names['sre1.test'] = ['10.0.0.3', '10.0.0.2', '10.0.0.2']
  time.advance(30_000)
  await settle()
  assert.equal(list.length, 2)
})

test('a look-up that fails keeps the last addresses, and is told once', async t => {
  const time = clock(t)
  const { names, asked } = resolver(t, { 'sre1.test': ['10.0.0.1'] })
  const set = upstream(t, { servers: ['sre1.test:80'] })
  const errors: RingwayError[] = []
  set.on('lookup:error', (host, error) => {
    assert.equal(host, 'sre1.test')
    errors.push(error)
  })
  await acquired(set, 'x')
  names['sre1.test'] = new Error('EAI_AGAIN')
  for (let i = 0; i < 3; i++) {
    time.advance(30_000)
    await settle()
  }
  assert.equal(asked.length, 4)
  assert.equal(errors.length, 1)
  assert.equal(errors[0]!.code, 'ERR_RINGWAY_LOOKUP')
  assert.match(errors[0]!.message, /sre1\.test.*EAI_AGAIN/)
  assert.deepEqual(addresses(set), ['sre1.test:80 10.0.0.1 up'])
  names['sre1.test'] = ['10.0.0.2']
  time.advance(30_000)
  await settle()
  assert.equal((await acquired(set, 'x')).server.address, set.servers[0]!.address)
  names['sre1.test'] = new Error('again')
  time.advance(30_000)
  await settle()
  assert.equal(errors.length, 2, 'a new row of failures is told anew')
})

test('a name of which nothing is known is down, looked up each second, and then up', async t => {
  const time = clock(t)
  const { names } = resolver(t, {})
  const set = upstream(t, { servers: ['sre1.test:80', '10.0.0.9:80'] })
  const list = moves(set)
  assert.equal((await acquired(set, 'x')).server.id, '10.0.0.9:80')
  assert.deepEqual(list.splice(0), ['down sre1.test:80 lookup'])
  names['sre1.test'] = ['10.0.0.1', '10.0.0.2']
  time.advance(1000)
  await settle()
  assert.deepEqual(list, ['up sre1.test:80 lookup'])
  assert.equal(addresses(set).filter(each => each.endsWith(' up')).length, 3)
})

test('a resolver that never answers is given 5 s, and then the others take the traffic', async t => {
  const time = clock(t)
  const { names, asked } = resolver(t, {})
  let answer!: (found: string[]) => void
  names['sre1.test'] = new Promise(resolve => {
    answer = resolve
  })
  const set = upstream(t, { servers: ['sre1.test:80', '10.0.0.9:80'] })
  const controller = new AbortController()
  const aborted = set.acquire('x', { signal: controller.signal })
  const waiting = set.acquire('x')
  controller.abort(new Error('the client is gone'))
  await assert.rejects(aborted, /the client is gone/)
  time.advance(5000)
  assert.equal((await waiting)?.server.id, '10.0.0.9:80')
  assert.equal(set.servers[0]!.state, 'down')
  // It holds one of the few threads that look-ups have: it is waited for, not asked once more.
  for (let i = 0; i < 60; i++) {
    time.advance(1000)
    await settle()
  }
  assert.equal(asked.length, 1)
  answer(['10.0.0.1'])
  await settle()
  assert.equal(hostOf(set.servers[0]!), 'sre1.test', 'it came too late')
  time.advance(1000)
  await settle()
  assert.equal(hostOf(set.servers[0]!), '10.0.0.1')
  assert.equal(set.servers[0]!.state, 'up')
})

test('disposal ends the wait for the first look-up, and nothing is looked up any more', async t => {
  const time = clock(t)
  const { asked } = resolver(t, { 'silent.test': new Promise(() => {}) })
  const set = upstream(t, { servers: ['silent.test:80'] })
  const waiting = set.acquire('x')
  await set[Symbol.asyncDispose]()
  assert.equal(await waiting, undefined)
  time.advance(100_000)
  await settle()
  assert.equal(asked.length, 1)
})

test('a name that goes while its first look-up is under way holds nobody up', async t => {
  const time = clock(t)
  const { names, asked } = resolver(t, { 'gone.test': new Promise(() => {}) })
  const set = upstream(t, { servers: ['gone.test:80', '10.0.0.9:80'] })
  const waiting = acquired(set, 'x')
  void set.setServers(['10.0.0.9:80'])
  assert.equal((await waiting).server.id, '10.0.0.9:80')
  names['gone.test'] = ['10.0.0.1']
  time.advance(100_000)
  await settle()
  assert.equal(asked.length, 1)
})

test('where nobody else is usable, the look-up of a name that joins later is waited for', async t => {
  const time = clock(t)
  const { names, asked } = resolver(t, { 'sre1.test': ['10.0.0.1'] })
  let answer!: (found: string[]) => void
  names['slow.test'] = new Promise(resolve => {
    answer = resolve
  })
  const set = upstream(t, { servers: ['sre1.test:80'] })
  ;(await acquired(set, 'x')).settle('ok')
  void set.setServers(['slow.test:80'])
  const waiting = set.acquire('x')
  await settle()
  // One look-up, however often the name comes and goes.
  void set.setServers(['sre1.test:80'])
  void set.setServers(['slow.test:80'])
  const other = set.acquire('x')
  await settle()
  answer(['10.0.0.3'])
  assert.equal(hostOf((await waiting)!.server), '10.0.0.3')
  assert.equal(hostOf((await other)!.server), '10.0.0.3')
  assert.equal(asked.filter(name => name === 'slow.test').length, 1)
  // Not longer than a look-up may take, however many names come one after the other.
  const silent = async (name: string): Promise<void> => {
    names[name] = new Promise(() => {})
    void set.setServers([`${name}:80`])
    await settle()
  }
  await silent('never.test')
  const vain = set.acquire('x')
  await settle()
  assert.equal(set.stats().waiting, 1)
  time.advance(4000)
  await silent('nowhere.test')
  time.advance(1000)
  assert.equal(await vain, undefined)
  assert.equal(set.stats().waiting, 0)
})

test('who waits for a look-up counts for the limits, and no longer than retry.total', async t => {
  const time = clock(t)
  const { names } = resolver(t, {})
  names['mute.test'] = new Promise(() => {})
  const limits = { handshakes: 2 }
  const set = upstream(t, { servers: ['10.0.0.9:80'], limits, retry: { total: 300 }, maxFails: 0 })
  const tries = set.tries('x')
  ;(await tries.next())!.settle('failed')
  void set.setServers(['mute.test:80'])
  const again = tries.next()
  const other = set.acquire('x')
  await settle()
  await assert.rejects(set.acquire('x'), { code: 'ERR_RINGWAY_LIMIT' })
  time.advance(300)
  assert.equal(await again, undefined)
  time.advance(4700)
  assert.equal(await other, undefined)
})

test('who waits for a look-up is given another server as soon as one is usable', async t => {
  const time = clock(t)
  const { names } = resolver(t, {})
  names['mute.test'] = new Promise(() => {})
  let answer!: (found: string[]) => void
  names['late.test'] = new Promise(resolve => {
    answer = resolve
  })
  const only = { id: 'a', host: '10.0.0.9', port: 80, maxConnections: 1 }
  const set = upstream(t, { servers: [only], health: { type: 'tcp', interval: 60_000 }, slowStart: 0 })
  const given: string[] = []
  const wait = async (): Promise<void> => {
    const before = given.length
    void set.acquire('x').then(lease => given.push(lease === undefined ? '-' : hostOf(lease.server)))
    await settle()
    assert.equal(given.length, before)
  }
  // One that was full.
  const held = await acquired(set, 'x')
  void set.setServers([only, 'mute.test:80'])
  await wait()
  held.settle('ok')
  await settle()
  assert.deepEqual(given, ['10.0.0.9'])
  // A name that is found, while another one isn't.
  void set.setServers([only, 'mute.test:80', 'late.test:80'])
  await wait()
  answer(['10.0.0.3'])
  await settle()
  assert.deepEqual(given, ['10.0.0.9', '10.0.0.3'])
  // A server that joins.
  void set.setServers([only, { id: 'l', host: 'mute.test', port: 81 }])
  await wait()
  void set.setServers([only, 'mute.test:80', '10.0.0.4:80'])
  await settle()
  assert.deepEqual(given, ['10.0.0.9', '10.0.0.3', '10.0.0.4'])
  assert.equal(set.stats().waiting, 0)
  // One that is back.
  void set.setServers([{ ...only, down: true }, 'mute.test:80'])
  await wait()
  void set.setServers([{ ...only, maxConnections: 2 }, 'mute.test:80'])
  await settle()
  assert.deepEqual(given, ['10.0.0.9', '10.0.0.3', '10.0.0.4', '10.0.0.9'])
  time.advance(5000)
})

test('who waits for a place when the set becomes a name that is looked up yet waits for that', async t => {
  clock(t)
  const { names } = resolver(t, {})
  let answer!: (found: string[]) => void
  names['late.test'] = new Promise(resolve => {
    answer = resolve
  })
  const set = upstream(t, { servers: ['10.0.0.9:80'], pendingHandshakes: 1 })
  const held = await acquired(set, 'x')
  const waiting = set.acquire('x')
  await settle()
  void set.setServers(['late.test:80'])
  await settle()
  answer(['10.0.0.3'])
  assert.equal(hostOf((await waiting)!.server), '10.0.0.3')
  held.settle('ok')
})

test('a name that is listed again while its servers are drained is the same servers', async t => {
  const time = clock(t)
  const { names } = resolver(t, { 'sre1.test': ['10.0.0.1'] })
  const set = upstream(t, { servers: ['sre1.test:80', '10.0.0.9:80'] })
  const { server } = await acquired(set, 'x', set.servers.slice(1))
  const cut: boolean[] = []
  const held = await acquired(set, 'x', set.servers.slice(1))
  held.opened(recall => cut.push(recall.cut))
  void set.drain('sre1.test:80', { spread: 1000, deadline: 1000 })
  assert.equal(server.state, 'draining')
  names['sre1.test'] = new Error('ENOTFOUND')
  void set.setServers(['sre1.test:80', '10.0.0.9:80'])
  assert.equal(set.servers[0], server)
  assert.equal(server.state, 'up')
  time.advance(60_000)
  await settle()
  assert.deepEqual([set.servers[0], server.state, cut], [server, 'up', [false]])
})

test('a server that is added for a name whose look-ups fail has no address', async t => {
  const time = clock(t)
  resolver(t, {})
  const set = upstream(t, { servers: ['absent.test:1', '10.0.0.9:80'] })
  await acquired(set, 'x')
  void set.setServers(['absent.test:1', 'absent.test:5', '10.0.0.9:80'])
  time.advance(5000)
  await settle()
  assert.deepEqual(
    set.servers.map(({ state }) => state),
    ['down', 'down', 'up']
  )
})

test('a name that joins by setServers is looked up then, and one that goes is not any more', async t => {
  const time = clock(t)
  const { names, asked } = resolver(t, { 'sre1.test': ['10.0.0.1'], 'sre2.test': ['10.0.0.2'] })
  const set = upstream(t, { servers: ['sre1.test:80'] })
  ;(await acquired(set, 'x')).settle('ok')
  void set.setServers(['sre2.test:80', '10.0.0.9:80'])
  // It isn't waited for: its keys are with the others for that moment.
  assert.equal((await acquired(set, 'x')).server.id, '10.0.0.9:80')
  await settle()
  assert.deepEqual(addresses(set).slice(0, 2), ['sre2.test:80 10.0.0.2 up', '10.0.0.9:80 10.0.0.9 up'])
  names['sre2.test'] = ['10.0.0.3']
  time.advance(30_000)
  await settle()
  assert.deepEqual(asked, ['sre1.test', 'sre2.test', 'sre2.test'])
})

test('with TLS the name stays the name that is asked for', async t => {
  clock(t)
  resolver(t, { 'sre1.test': ['10.0.0.1'] })
  const set = upstream(t, { servers: [{ host: 'sre1.test', port: 443, tls: true }] })
  const { server } = await acquired(set, 'x')
  assert.equal(server.tls?.servername, 'sre1.test')
})

test('probes run for each address once it is known, and ask for the name', async t => {
  const hosts = new Set<string>()
  const seen = new Promise<void>(resolve => {
    const server = createServer((request, response) => {
      hosts.add(`${request.socket.localAddress} ${request.headers.host}`)
      response.end()
      if (hosts.size === 2) resolve()
    }).listen(0, '127.0.0.1')
    const other = createServer((...args) => void server.emit('request', ...args))
    server.once('listening', () => {
      const { port } = server.address() as { port: number }
      other.listen(port, '127.0.0.2', () => {
        resolver(t, { 'sre1.test': ['127.0.0.1', '127.0.0.2'] })
        const health = { type: 'http', interval: 20, timeout: 10_000 } as const
        upstream(t, { servers: [{ host: 'sre1.test', port }], health })
      })
    })
    t.after(() => {
      server.close()
      other.close()
    })
  })
  await seen
  assert.deepEqual([...hosts].map(each => each.replace(/:\d+$/, '')).toSorted(), [
    '127.0.0.1 sre1.test',
    '127.0.0.2 sre1.test'
  ])
})
