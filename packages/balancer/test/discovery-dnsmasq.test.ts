import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'

import { fromDns } from '../src/index.ts'
import type { DnsOptions } from '../src/index.ts'
import { Dnsmasq, missing } from './support/dnsmasq.ts'
import { Failures, lists } from './support/lists.ts'

const lack = missing()
// Where everything must be tested, nothing is skipped.
const skip = process.env.CI === undefined && lack !== undefined ? lack : false

/** A test with a real DNS server. */
function live(title: string, run: (t: TestContext) => Promise<void>): void {
  test(title, { skip, timeout: 30_000 }, async t => {
    assert.equal(lack, undefined, lack)
    await run(t)
  })
}

/** Lines of a hosts file: `ws.test` with the addresses 10.0.0.1 and so on. */
function hosts(count: number, from = 1): string[] {
  return Array.from({ length: count }, (_, i) => `10.0.0.${from + i} ws.test`)
}

function ids(count: number, from = 1): string[] {
  return Array.from({ length: count }, (_, i) => `10.0.0.${from + i}:80`).sort()
}

/** Asks again as soon as may be, whatever the TTL. */
const SOON = { minTtl: 10, maxTtl: 20, timeout: 1000 }

live('a zone that goes from 3 to 5 to 2 addresses is followed', async t => {
  const dns = await Dnsmasq.start(t, [], hosts(3))
  const list = lists(t, fromDns({ host: 'ws.test', port: 80, resolvers: [dns.resolver], ...SOON }))
  assert.deepEqual(await list.ids(), ids(3))
  await dns.reload(hosts(5))
  assert.deepEqual(await list.ids(), ids(5))
  await dns.reload(hosts(2, 4))
  assert.deepEqual(await list.ids(), ids(2, 4))
})

live('a DNS server that is killed changes nothing, and is asked again when it is back', async t => {
  const dns = await Dnsmasq.start(t, [], hosts(3))
  const failures = new Failures()
  const { onError } = failures
  const list = lists(t, fromDns({ host: 'ws.test', port: 80, resolvers: [dns.resolver], onError, ...SOON }))
  assert.deepEqual(await list.ids(), ids(3))

  const waiting = list.ids()
  const told = failures.next()
  await dns.stop()
  const { error } = await told
  assert.equal(error.code, 'ERR_RINGWAY_DISCOVERY')
  assert.match(error.message, /^dns ws\.test:80: no resolver could tell the A{1,4} records of ws\.test/)
  while ((await failures.next()).failures < 4);

  const asked = dns.count('A ws.test')
  await dns.start([])
  // The same list comes again first, which is none.
  await dns.seen('A ws.test', asked + 2)
  await dns.reload(hosts(2))
  assert.deepEqual(await waiting, ids(2))
})

live('A and AAAA are asked for, or one of them', async t => {
  const dns = await Dnsmasq.start(t, ['host-record=ws.test,10.0.0.1,fd00::1'])
  const options = { host: 'WS.test.', port: 80, resolvers: [dns.resolver] }
  assert.deepEqual(await lists(t, fromDns(options)).ids(), ['10.0.0.1:80', '[fd00::1]:80'])
  assert.deepEqual(dns.queries.toSorted(), ['A ws.test', 'AAAA ws.test'])
  assert.deepEqual(await lists(t, fromDns({ ...options, family: 4 })).ids(), ['10.0.0.1:80'])
  assert.deepEqual(await lists(t, fromDns({ ...options, family: 6 })).ids(), ['[fd00::1]:80'])
  await dns.seen('AAAA ws.test', 2)
  assert.equal(dns.count('A ws.test'), 2)
})

live('an alias is followed', async t => {
  const dns = await Dnsmasq.start(t, ['cname=alias.test,other.test', 'cname=other.test,ws.test'], hosts(2))
  const list = lists(t, fromDns({ host: 'alias.test', port: 80, resolvers: [dns.resolver] }))
  assert.deepEqual(await list.ids(), ids(2))
})

live('a list is looked up again when its TTL has ended, within the limits', async t => {
  const dns = await Dnsmasq.start(t, [
    'host-record=second.test,10.0.0.1,1',
    'host-record=hour.test,10.0.0.1,3600',
    'host-record=zero.test,10.0.0.1',
    'host-record=soon.test,10.0.0.1,3600'
  ])
  const watch = (host: string, limits: Partial<DnsOptions> = {}): void => {
    const options = {
      host,
      port: 80,
      family: 4,
      resolvers: [dns.resolver],
      minTtl: 1,
      ...limits
    } as DnsOptions
    const list = lists(t, fromDns(options))
    // There is one list; the watch goes on looking for another until the test ends.
    list
      .next()
      .then(() => list.next())
      .catch(() => {})
  }
  watch('hour.test')
  watch('zero.test', { minTtl: 60_000 })
  watch('soon.test', { maxTtl: 200 })
  watch('second.test')
  await dns.seen('A second.test', 3)
  assert.equal(dns.count('A hour.test'), 1)
  assert.equal(dns.count('A zero.test'), 1)
  assert.ok(dns.count('A soon.test') >= 3, 'soon.test was asked for each 200 ms')
})

live('an answer that is too long for UDP comes over TCP', async t => {
  const many = Array.from({ length: 200 }, (_, i) => `10.0.1.${i + 1} ws.test`)
  const dns = await Dnsmasq.start(t, [], many)
  const list = lists(t, fromDns({ host: 'ws.test', port: 80, family: 4, resolvers: [dns.resolver] }))
  const found = await list.ids()
  assert.equal(found.length, 200)
  assert.ok(found.includes('10.0.1.200:80'))
  await dns.seen('A ws.test', 2)
})

live('SRV records are servers with their weights, those of higher priority values are backups', async t => {
  const dns = await Dnsmasq.start(t, [
    // name, target, port, priority, weight
    'srv-host=_ws._tcp.test,c.test,8443,20,5',
    'srv-host=_ws._tcp.test,B.test,8080,10,0',
    'srv-host=_ws._tcp.test,a.test,8080,10,7',
    'srv-host=_ws._tcp.test,a.test,8081,10,1'
  ])
  const list = lists(t, fromDns({ srv: '_ws._tcp.test', resolvers: [dns.resolver], tls: true }))
  assert.deepEqual(await list.next(), [
    { host: 'a.test', port: 8080, id: 'a.test:8080', weight: 7, tls: {} },
    { host: 'a.test', port: 8081, id: 'a.test:8081', weight: 1, tls: {} },
    { host: 'b.test', port: 8080, id: 'b.test:8080', weight: 1, tls: {} },
    { host: 'c.test', port: 8443, id: 'c.test:8443', weight: 5, tls: {}, backup: true }
  ])
  assert.deepEqual(dns.queries, ['SRV _ws._tcp.test'])
})

live('SRV records that change are followed, and the change of backups alone', async t => {
  const name = 'srv-host=_ws._tcp.test'
  const dns = await Dnsmasq.start(t, [`${name},a.test,1,1`, `${name},b.test,1,1`])
  const list = lists(t, fromDns({ srv: '_ws._tcp.test', resolvers: [dns.resolver], ...SOON }))
  assert.deepEqual(await list.ids(), ['a.test:1', 'b.test:1'])
  await dns.stop()
  await dns.start([`${name},a.test,1,2`, `${name},b.test,1,1`])
  assert.deepEqual(await list.ids(), ['b.test:1', 'a.test:1*'])
})

live('a name that is gone, or has no such records, changes nothing', async t => {
  const dns = await Dnsmasq.start(t, [], hosts(3))
  const failures = new Failures()
  const { onError } = failures
  const list = lists(t, fromDns({ host: 'ws.test', port: 80, resolvers: [dns.resolver], onError, ...SOON }))
  assert.deepEqual(await list.ids(), ids(3))
  const waiting = list.ids()
  const gone = failures.next()
  await dns.reload(['10.0.0.1 another.test'])
  assert.match((await gone).error.message, /ws\.test has no A or AAAA record/)
  await dns.reload(hosts(1))
  assert.deepEqual(await waiting, ids(1))
})

live('the next resolver is asked when one is not there or refuses', async t => {
  const dns = await Dnsmasq.start(t, [], ['10.0.0.1 ws.elsewhere'])
  const refusing = await Dnsmasq.start(t, [])
  const gone = await Dnsmasq.start(t, [])
  await gone.stop()
  const resolvers = [gone.resolver, refusing.resolver, dns.resolver]
  const list = lists(t, fromDns({ host: 'ws.elsewhere', port: 80, family: 4, resolvers }))
  assert.deepEqual(await list.ids(), ids(1))
  await refusing.seen('A ws.elsewhere', 1)
})

live('a resolver that tells A and refuses AAAA fails the look-up, and the error says what to do', async t => {
  const dns = await Dnsmasq.start(t, [], ['10.0.0.1 ws.elsewhere'])
  const failures = new Failures()
  const { onError } = failures
  const list = lists(t, fromDns({ host: 'ws.elsewhere', port: 80, resolvers: [dns.resolver], onError }))
  const ended = list.end(failures.next())
  const { error } = await failures.next()
  assert.match(error.message, /AAAA records of ws\.elsewhere .*answered REFUSED.*family: 4/)
  assert.equal(await ended, true)
})
