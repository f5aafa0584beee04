import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { test } from 'node:test'
import type { TestContext } from 'node:test'

import type { Answer, Packet, SrvData } from 'dns-packet'

import { fromDns } from '../src/index.ts'
import type { DnsOptions } from '../src/index.ts'
import { fakeResolver, fakeTcpResolver, reply } from './support/fake-resolver.ts'
import type { Query } from './support/fake-resolver.ts'
import { happening } from './support/happening.ts'
import { Failures, lists } from './support/lists.ts'

const NAME = 'ws.test'

function a(address: string, name = NAME, ttl = 3600): Answer {
  return { type: 'A', name, ttl, data: address }
}

/** The first failure of a watch that has had no list, and ends then. */
async function failure(t: TestContext, options: DnsOptions): Promise<string> {
  const failures = new Failures()
  const list = lists(t, fromDns({ ...options, onError: failures.onError }))
  const failed = failures.next()
  assert.equal(await list.end(failed), true)
  return (await failed).error.message
}

function ws(resolver: string, more: object = {}): DnsOptions {
  return { host: NAME, port: 80, family: 4, resolvers: [resolver], ...more }
}

const FORGED: Record<string, (query: Query) => void> = {
  'another id': query =>
    query.send(reply(query, [a('10.6.6.6')], { id: ((query.packet.id ?? 0) + 1) & 0xffff })),
  'another question': query =>
    query.send(reply(query, [a('10.6.6.6')], { questions: [{ type: 'A', name: 'wt.test' }] })),
  'another type': query =>
    query.send(reply(query, [a('10.6.6.6')], { questions: [{ type: 'AAAA', name: NAME }] })),
  'no question': query => query.send(reply(query, [a('10.6.6.6')], { questions: [] })),
  'the query itself': query => query.send(reply(query, [a('10.6.6.6')], { type: 'query' })),
  'a few bytes': query => query.send(Buffer.from([1, 2, 3]))
}
for (const [what, forge] of Object.entries(FORGED)) {
  test(`a datagram with ${what} is passed over`, async t => {
    const resolver = await fakeResolver(t, query => {
      forge(query)
      query.send(reply(query, [a('10.0.0.1')]))
    })
    assert.deepEqual(await lists(t, fromDns(ws(resolver))).ids(), ['10.0.0.1:80'])
  })
}

test('an answer from another port is passed over', async t => {
  const forger = createSocket('udp4')
  t.after(() => forger.close())
  const resolver = await fakeResolver(t, query => {
    forger.send(reply(query, [a('10.6.6.6')]), query.from.port, query.from.address, () =>
      query.send(reply(query, [a('10.0.0.1')]))
    )
  })
  assert.deepEqual(await lists(t, fromDns(ws(resolver))).ids(), ['10.0.0.1:80'])
})

test('ids and source ports are others with each query; names may change their letters', async t => {
  const seen = new Set<string>()
  const resolver = await fakeResolver(t, query => {
    seen.add(`${query.packet.id} ${query.from.port}`)
    const name = NAME.toUpperCase()
    const last = seen.size < 8 ? '1' : '2'
    query.send(reply(query, [a(`10.0.0.${last}`, name)], { questions: [{ type: 'A', name }] }))
  })
  const list = lists(t, fromDns(ws(resolver, { minTtl: 1, maxTtl: 1 })))
  assert.deepEqual(await list.ids(), ['10.0.0.1:80'])
  assert.deepEqual(await list.ids(), ['10.0.0.2:80'])
  assert.equal(seen.size, 8)
})

test('records of other names in an answer are not taken, and aliases in a circle come to an end', async t => {
  const resolver = await fakeResolver(t, query =>
    query.send(
      reply(query, [
        { type: 'CNAME', name: NAME, data: 'other.test', ttl: 1 },
        { type: 'CNAME', name: 'other.test', data: NAME, ttl: 1 },
        a('10.6.6.6', 'www.test')
      ])
    )
  )
  assert.match(await failure(t, ws(resolver)), /^dns ws\.test:80: ws\.test has no A record/)
})

test('records in another order are the same list, and the same record twice is one server', async t => {
  let queries = 0
  const resolver = await fakeResolver(t, query => {
    queries++
    const records = [a('10.0.0.1'), a('10.0.0.2'), a('10.0.0.1')]
    query.send(reply(query, queries < 4 ? records.toSorted(() => (queries % 2) - 0.5) : [a('10.0.0.9')]))
  })
  const list = lists(t, fromDns(ws(resolver, { minTtl: 1, maxTtl: 1 })))
  assert.deepEqual(await list.ids(), ['10.0.0.1:80', '10.0.0.2:80'])
  assert.deepEqual(await list.ids(), ['10.0.0.9:80'])
})

const UNABLE: Record<string, { changes: Packet; says: RegExp }> = {
  SERVFAIL: { changes: { flags: 2 }, says: /answered SERVFAIL/ },
  'an unknown code': { changes: { flags: 11 }, says: /answered RCODE 11/ }
}
for (const [what, { changes, says }] of Object.entries(UNABLE)) {
  test(`a resolver that answers ${what} is asked twice, then it is a failure`, async t => {
    let queries = 0
    const resolver = await fakeResolver(t, query => {
      queries++
      query.send(reply(query, [], changes))
    })
    assert.match(await failure(t, ws(resolver)), says)
    assert.equal(queries, 2)
  })
}

test('a resolver that is silent is given up after the timeout, and the next one asked', async t => {
  const silent = await fakeResolver(t, () => {})
  const resolver = await fakeResolver(t, query => query.send(reply(query, [a('10.0.0.1')])))
  const list = lists(t, fromDns(ws(resolver, { resolvers: [silent, resolver], timeout: 20 })))
  assert.deepEqual(await list.ids(), ['10.0.0.1:80'])
})

test('the abort ends a query that is under way', async t => {
  const failures = new Failures()
  const asked = happening()
  const resolver = await fakeResolver(t, () => asked.happened())
  const list = lists(t, fromDns(ws(resolver, { timeout: 60_000, onError: failures.onError })))
  assert.equal(await list.end(asked.seen), true)
  assert.deepEqual(failures.messages, [])
})

test('a message that is no DNS message is a failure of the resolver', async t => {
  const resolver = await fakeResolver(t, query => {
    const message = reply(query, [a('10.0.0.1')])
    query.send(message.subarray(0, message.length - 2))
  })
  assert.match(await failure(t, ws(resolver)), /answered what is no DNS message/)
})

const CUT_SHORT: Record<string, { reply: Buffer; says: RegExp }> = {
  nothing: { reply: Buffer.alloc(0), says: /ended the connection without an answer/ },
  'half a message': { reply: Buffer.from([0, 200, 1, 2]), says: /ended the connection without an answer/ },
  'another message': { reply: Buffer.from([0, 3, 1, 2, 3]), says: /answered another question/ }
}
for (const [what, { reply: bytes, says }] of Object.entries(CUT_SHORT)) {
  test(`a resolver that cuts its answer and sends ${what} over TCP has failed`, async t => {
    const resolver = await fakeTcpResolver(t, bytes)
    assert.match(await failure(t, ws(resolver)), says)
  })
}

/** The servers of these SRV records. */
async function srv(t: TestContext, ...records: SrvData[]): Promise<string[]> {
  const resolver = await fakeResolver(t, query =>
    query.send(
      reply(
        query,
        records.map(data => ({ type: 'SRV', name: '_ws._tcp.test', ttl: 3600, data }))
      )
    )
  )
  const found = await lists(t, fromDns({ srv: '_ws._tcp.test', resolvers: [resolver] })).next()
  return found.map(({ id, weight, backup }) => `${id} ${weight}${backup === true ? ' backup' : ''}`)
}

test('weights above the most are scaled down with all others, and never to nothing', async t => {
  const found = await srv(
    t,
    { target: 'a.test', port: 1, weight: 40_000 },
    { target: 'b.test', port: 1, weight: 20_000 },
    { target: 'c.test', port: 1, weight: 1 },
    { target: 'd.test', port: 1, weight: 0, priority: 7 }
  )
  assert.deepEqual(found, ['a.test:1 10000', 'b.test:1 5000', 'c.test:1 1', 'd.test:1 1 backup'])
})

test('a target that is there twice is a server once, with its lowest priority', async t => {
  const found = await srv(
    t,
    { target: 'a.test', port: 1, weight: 2, priority: 9 },
    { target: 'A.test', port: 1, weight: 1, priority: 3 },
    { target: 'a.test', port: 1, weight: 5, priority: 3 },
    { target: '.', port: 0, weight: 0, priority: 0 }
  )
  assert.deepEqual(found, ['a.test:1 5'])
})

test('the root as the only target says that there is no such service: a failure', async t => {
  const resolver = await fakeResolver(t, query => {
    const data = { target: '.', port: 0, priority: 0, weight: 0 }
    query.send(reply(query, [{ type: 'SRV', name: '_ws._tcp.test', ttl: 1, data }]))
  })
  assert.match(
    await failure(t, { srv: '_ws._tcp.test', resolvers: [resolver] }),
    /_ws\._tcp\.test has no SRV record with a target/
  )
})

test('with TLS an address is asked for the certificate of its host, unless told otherwise', async t => {
  const resolver = await fakeResolver(t, query => query.send(reply(query, [a('10.0.0.1')])))
  const [plain] = await lists(t, fromDns(ws(resolver, { tls: true }))).next()
  assert.deepEqual(plain?.tls, { servername: NAME })
  const tls = { servername: 'www.test', rejectUnauthorized: false }
  const [told] = await lists(t, fromDns(ws(resolver, { tls }))).next()
  assert.deepEqual(told?.tls, tls)
})

test('bad options of DNS throw a ConfigError', () => {
  const refused: [options: object, field: string][] = [
    [{}, 'host'],
    [{ host: NAME }, 'port'],
    [{ host: '10.0.0.1', port: 80 }, 'host'],
    [{ host: 'a b', port: 80 }, 'host'],
    [{ host: 'a..b', port: 80 }, 'host'],
    [{ host: `${'a'.repeat(64)}.test`, port: 80 }, 'host'],
    [{ host: NAME, port: 0 }, 'port'],
    [{ host: NAME, port: 80, family: 5 }, 'family'],
    [{ host: NAME, port: 80, srv: NAME }, 'host'],
    [{ srv: NAME, port: 80 }, 'port'],
    [{ srv: NAME, family: 4 }, 'family'],
    [{ srv: 5 }, 'srv'],
    [{ srv: NAME, resolvers: [] }, 'resolvers'],
    [{ srv: NAME, resolvers: ['127.0.0.1', 'localhost'] }, 'resolvers[1]'],
    [{ srv: NAME, resolvers: ['127.0.0.1:0'] }, 'resolvers[0]'],
    [{ srv: NAME, resolvers: ['[127.0.0.1]:53'] }, 'resolvers[0]'],
    [{ srv: NAME, resolvers: [5] }, 'resolvers[0]'],
    [{ srv: NAME, timeout: 0 }, 'timeout'],
    [{ srv: NAME, minTtl: 0 }, 'minTtl'],
    [{ srv: NAME, minTtl: 2, maxTtl: 1 }, 'minTtl'],
    [{ srv: NAME, tls: 'yes' }, 'tls'],
    [{ srv: NAME, tls: { servername: '10.0.0.1' } }, 'tls.servername'],
    [{ srv: NAME, onError: true }, 'onError'],
    [{ srv: NAME, servers: [] }, 'servers']
  ]
  for (const [options, field] of refused) {
    const fails = { code: 'ERR_RINGWAY_CONFIG', field }
    assert.throws(() => fromDns(options as DnsOptions), fails, `${JSON.stringify(options)} names ${field}`)
  }
  fromDns({ srv: NAME, maxTtl: 10, resolvers: ['::1', '[::1]', '[::1]:5353', '127.0.0.1', '127.0.0.1:5353'] })
})
