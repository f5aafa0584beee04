import assert from 'node:assert/strict'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { AddressCounts } from '../src/address-limits.ts'
import { backend, echo } from './support/gate-backend.ts'
import { guarded } from './support/gate-guarded.ts'
import { host, recorder } from './support/gate-host.ts'
import type { Peer } from './support/gate-peer.ts'
import { ask, dial, handshake, tunnel } from './support/gate-peer.ts'
import { until } from './support/gate-waiting.ts'
import { connectHead, dialHttp2, http2Host, StreamPeer } from './support/h2-host.ts'

const trust = ['loopback']

/** Asks until it is so: nothing tells when a place is free. */
async function eventually(isSo: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (await isSo()) return
    await sleep(5)
  }
  assert.fail('it never came to be')
}

async function from(t: TestContext, port: number, address: string): Promise<{ status: number; peer: Peer }> {
  const { head, peer } = await ask(t, port, handshake('/', `X-Forwarded-For: ${address}`))
  return { status: head.status, peer }
}

test('one address has so many tunnels, others have their own, and an IPv6 /64 is one', async t => {
  const { address } = await echo(t)
  const gate = await host(t, [address], { trust, limits: { tunnelsPerAddress: 2 } })
  const status = async (client: string): Promise<number> => (await from(t, gate.port, client)).status
  const first = await from(t, gate.port, '203.0.113.7')
  assert.deepEqual([first.status, await status('203.0.113.7')], [101, 101])
  const refused = await ask(t, gate.port, handshake('/', 'X-Forwarded-For: 203.0.113.7'))
  assert.equal(refused.head.status, 429)
  assert.match(refused.head.values('retry-after')[0]!, /^[1-9]\d*$/)
  assert.equal(await status('203.0.113.8'), 101)
  assert.deepEqual([await status('2001:db8:1:2::1'), await status('2001:db8:1:2:ffff::9')], [101, 101])
  assert.deepEqual([await status('2001:db8:1:2::3'), await status('2001:db8:1:3::3')], [429, 101])
  first.peer.socket.end()
  await first.peer.gone()
  await eventually(async () => (await status('203.0.113.7')) === 101)
  const codes = gate.lines.filter(({ fields }) => fields['status'] === 429).map(({ level }) => level)
  assert.ok(codes.length >= 2 && codes.every(level => level === 'info'))
})

test('upgrades under way count, and those that come to nothing don’t any more', async t => {
  const silent = await backend(t, async peer => peer.head())
  const gate = await host(t, [silent.address], { limits: { tunnelsPerAddress: 1 } })
  const peer = await dial(t, gate.port)
  peer.write(handshake())
  await until(() => silent.peers.length === 1, 'the server is asked')
  assert.equal((await ask(t, gate.port)).head.status, 429)
  peer.socket.destroy()
  await eventually(async () => {
    const asked = silent.peers.length
    const other = await dial(t, gate.port)
    other.write(handshake())
    let isRefused = false
    void other.head().then(
      () => (isRefused = true),
      () => {}
    )
    await until(() => isRefused || silent.peers.length > asked, 'it is refused or let in')
    return !isRefused
  })
})

test('a burst of refusals is one line in the log, and each is counted', async t => {
  const { address } = await echo(t)
  const gate = await host(t, [address], { limits: { tunnelsPerAddress: 1 } })
  await tunnel(t, gate.port)
  for (let i = 0; i < 20; i++) assert.equal((await ask(t, gate.port)).head.status, 429)
  const told = gate.lines.filter(({ fields }) => fields['code'] === 'ERR_RINGWAY_ADDRESS_LIMIT')
  assert.equal(told.length, 1)
  assert.deepEqual(gate.gateway.stats().failures, { ERR_RINGWAY_ADDRESS_LIMIT: 20 })
})

test('so many upgrades in a second: a second’s worth at once, then one by one', t => {
  let now = 1000
  t.mock.method(performance, 'now', () => now)
  const counts = new AddressCounts({ tunnelsPerAddress: 0, handshakesPerSecond: 10 })
  const side = { once: () => assert.fail('nothing is kept on it') }
  const enter = (): string => counts.enter('203.0.113.7', side)
  const many = (times: number): string[] => Array.from({ length: times }, enter)
  assert.deepEqual(many(12), [...Array<string>(10).fill('admitted'), 'refused', 'again'])
  assert.equal(counts.enter('203.0.113.8', side), 'admitted')
  now += 99
  assert.equal(enter(), 'again')
  now += 1
  assert.deepEqual(many(2), ['admitted', 'again'])
  now += 60_000
  assert.deepEqual(many(11), [...Array<string>(10).fill('admitted'), 'refused'])
  assert.equal(counts.enter(undefined, side), 'admitted')
})

test('what is kept of addresses is bounded', t => {
  t.mock.method(performance, 'now', () => 1000)
  const counts = new AddressCounts({ tunnelsPerAddress: 0, handshakesPerSecond: 1 })
  const enter = (i: number): string =>
    counts.enter(`2001:db8:${(i >> 16).toString(16)}:${(i & 0xffff).toString(16)}::1`, {
      once: () => undefined
    })
  assert.deepEqual([enter(0), enter(0)], ['admitted', 'refused'])
  for (let i = 1; i < 16_384; i++) enter(i)
  assert.equal(enter(0), 'again')
  for (let i = 16_384; i < 40_000; i++) enter(i)
  assert.equal(enter(0), 'admitted')
})

test('over HTTP/2, and before an app’s chain, it is the same', async t => {
  const { address } = await echo(t)
  const limits = { tunnelsPerAddress: 1 }
  const gate = await http2Host(t, [address], { limits })
  const session = await dialHttp2(t, gate)
  const open = (): StreamPeer => new StreamPeer(session.request(connectHead(), { endStream: false }))
  const first = open()
  assert.equal((await first.answer())[':status'], 200)
  assert.equal((await open().answer())[':status'], 429)
  first.reset()
  await eventually(async () => (await open().answer())[':status'] === 200)

  const { port, passed } = await guarded(t, { log: recorder().log, limits, upstream: { servers: [address] } })
  assert.equal((await ask(t, port, handshake('/ws'))).head.status, 101)
  assert.equal((await ask(t, port, handshake('/ws'))).head.status, 429)
  assert.equal(passed(), 1)
})
