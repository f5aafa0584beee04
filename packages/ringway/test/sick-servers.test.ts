import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Reason, UpstreamServer } from '@ringway/balancer'
import type { Try } from '../src/record.ts'
import type { Backend } from './support/gate-backend.ts'
import { accept, backend } from './support/gate-backend.ts'
import type { Host, Options } from './support/gate-host.ts'
import { host, settled } from './support/gate-host.ts'
import { tunnel } from './support/gate-peer.ts'
import type { Peer } from './support/gate-peer.ts'
import { addressesAt, connectAll, moved, trio } from './support/gate-trio.ts'
import { until, within } from './support/gate-waiting.ts'

// Real servers that are ill in one way each. Whatever it is: it is known within the time that the settings imply, no
// client fails, none waits for more than one try that is in vain, and the server is back when it is well.

/** How a server treats those who come; it may change at any time. */
interface Mood {
  probe: (peer: Peer) => unknown
  handshake: (peer: Peer) => unknown
}

const healthy: Mood = {
  probe: peer => peer.socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'),
  handshake: async peer => {
    await accept(peer)
    peer.socket.pipe(peer.socket)
  }
}
const silent = (): void => {}
const late = (serve: (peer: Peer) => unknown, by: number) => async (peer: Peer) => {
  await sleep(by)
  await serve(peer)
}

const health = { type: 'http', path: '/healthz', interval: 50, timeout: 1_000, rise: 2, fall: 2 } as const

interface Ward {
  readonly gate: Host
  /** The one whose mood changes. */
  readonly sick: UpstreamServer
  readonly mood: Mood
  readonly backend: Backend
  /** How many probes it got. */
  readonly probes: () => number
  /** Its moves, with their reasons. */
  readonly moves: string[]
  /** Clients whose own server it is, and as many others. */
  readonly addresses: string[]
}

/** Three servers behind a gateway, one of which can be made ill. */
async function ward(t: TestContext, options: Options): Promise<Ward> {
  const mood = { ...healthy }
  let probes = 0
  const serve =
    (how: Mood) =>
    async (peer: Peer): Promise<void> => {
      await once(peer.socket, 'data')
      const isProbe = peer.unread.toString('latin1').startsWith('GET /healthz ')
      if (isProbe && how === mood) probes++
      await (isProbe ? how.probe : how.handshake)(peer)
    }
  const backends = await Promise.all([mood, healthy, healthy].map(async how => backend(t, serve(how))))
  const servers = backends.map(({ port }, i) => ({ id: 'abc'[i]!, host: '127.0.0.1', port }))
  const gate = await host(t, servers, options)
  const moves = recordMoves(gate, 'a')
  const sick = gate.gateway.upstream.servers[0]!
  const addresses = addressesOf(gate, sick)
  return { gate, sick, mood, backend: backends[0]!, probes: () => probes, moves, addresses }
}

function recordMoves({ gateway }: Host, id: string): string[] {
  const moves: string[] = []
  for (const state of ['down', 'probation', 'up'] as const) {
    gateway.on(`server:${state}`, (server: UpstreamServer, reason: Reason) => {
      if (server.id === id) moves.push(`${state} by ${reason}`)
    })
  }
  return moves
}

/** Ten addresses whose own server this is, and ten of another one's. */
function addressesOf(gate: Host, { id }: UpstreamServer): string[] {
  const other = gate.gateway.upstream.servers.find(each => each.id !== id)!
  return [id, other.id].flatMap(each => addressesAt(gate, 41, each, 10))
}

/** A client from each address comes and goes, all at once: each gets its 101. Gives the tries that each had. */
async function visit(t: TestContext, gate: Host, addresses: readonly string[]): Promise<Try[][]> {
  const before = gate.lines.length
  const peers = await Promise.all(addresses.map(async from => tunnel(t, gate.port, { from })))
  for (const peer of peers) peer.socket.end()
  await settled(gate.gateway)
  const tries = gate.lines.slice(before).map(({ fields }) => fields['tries'] as Try[])
  assert.equal(tries.length, addresses.length)
  for (const each of tries) {
    assert.ok(each.length <= 2, JSON.stringify(each))
    assert.equal(each.at(-1)!.result, 101)
  }
  return tries
}

/** All come, and none of them was sent to the sick server. */
async function avoided(t: TestContext, { gate, addresses, sick }: Ward): Promise<void> {
  const tries = await visit(t, gate, addresses)
  for (const each of tries) assert.ok(each.length === 1 && each[0]!.server !== sick.id, JSON.stringify(each))
}

/** All come, each to its own server. */
async function atHome(t: TestContext, { gate, addresses, sick }: Ward): Promise<void> {
  const tries = await visit(t, gate, addresses)
  assert.ok(tries.every(each => each.length === 1))
  assert.equal(tries.filter(([first]) => first!.server === sick.id).length, 10)
}

test('a server that flaps: each of its clients finds one that is up, and it is up or down as it is', async t => {
  const all = await ward(t, { upstream: { health } })
  const { gate, moves, backend: sick, addresses } = all
  const { port } = sick.server.address() as AddressInfo
  await until(() => moves.length === 1, 'it is known')
  let visits = 0
  const visitors = (async () => {
    for (; moves.length < 7; visits++) await visit(t, gate, addresses)
  })()
  for (let i = 0; i < 3; i++) {
    const after = visits
    await until(() => visits >= after + 2, 'clients came while it was well')
    const down = moved(gate.gateway, 'server:down', 'a')
    sick.server.close()
    for (const peer of sick.peers) peer.socket.destroy()
    await down
    const up = moved(gate.gateway, 'server:up', 'a')
    sick.server.listen(port, '127.0.0.1')
    assert.equal(await up, 'probe')
  }
  await within(visitors, 'the last visit')
  await atHome(t, all)
  const states = moves.map(move => move.split(' ')[0])
  assert.deepEqual(states, ['up', 'down', 'up', 'down', 'up', 'down', 'up'])
})

test('a server that takes connections and never answers: out after `fall` probes, and back after `rise`', async t => {
  const all = await ward(t, { upstream: { health } })
  const { gate, mood, probes, moves } = all
  await until(() => moves.length === 1, 'it is known')
  Object.assign(mood, { probe: silent, handshake: silent })
  const down = moved(gate.gateway, 'server:down', 'a')
  const before = probes()
  assert.equal(await down, 'probe')
  // One may have been on its way when the mood changed.
  assert.ok(probes() - before <= health.fall + 1, `${probes() - before} probes`)
  await avoided(t, all)

  Object.assign(mood, healthy)
  const up = moved(gate.gateway, 'server:up', 'a')
  assert.equal(await up, 'probe')
  await atHome(t, all)
})

test('a server that takes connections and never answers, without probes: out at the first limit, back by one trial', async t => {
  const all = await ward(t, { timeouts: { handshake: 1_500 }, upstream: { failTimeout: 3_000 } })
  const { gate, sick, mood, moves, addresses } = all
  await atHome(t, all)
  mood.handshake = silent
  const tries = await visit(t, gate, addresses)
  const inVain = tries.filter(([first]) => first!.result === 'ERR_RINGWAY_ANSWER_TIMEOUT')
  assert.equal(inVain.length, 10, 'its own clients, who all came at once')
  assert.equal(sick.state, 'down')
  await avoided(t, all)

  mood.handshake = healthy.handshake
  await until(() => sick.state === 'probation', 'its time is over')
  await visit(t, gate, addresses.slice(0, 1))
  await atHome(t, all)
  assert.deepEqual(moves, ['down by failures', 'probation by expired', 'up by traffic'])
})

test('a server that never answers and takes two handshakes at a time: who has queued for it goes elsewhere', async t => {
  const queue = { timeout: 500 }
  const all = await ward(t, { timeouts: { handshake: 3_000 }, upstream: { pendingHandshakes: 2, queue } })
  const { gate, sick, mood, addresses } = all
  mood.handshake = silent
  // Ten of its own clients: two are tried there, eight wait.
  const tries = await visit(t, gate, addresses)
  const inVain = tries.filter(([first]) => first!.result === 'ERR_RINGWAY_ANSWER_TIMEOUT')
  assert.equal(inVain.length, 2)
  assert.ok(inVain.every(([first]) => first!.server === sick.id))
  assert.ok(tries.every(each => inVain.includes(each) || each.length === 1))
})

test('a server that is half dead: probes are good, handshakes are reset; it stays out as an outlier', async t => {
  const outliers = { consecutive: 3, time: 2_000 }
  const all = await ward(t, { upstream: { health, outliers } })
  const { gate, sick, mood, probes, moves, addresses } = all
  const one = addresses.slice(0, 1)
  await until(() => moves.length === 1, 'it is known')
  mood.handshake = peer => peer.reset()
  for (let i = 0; i < outliers.consecutive; i++) {
    // A failure alone takes it out until probes are good again, as they are.
    await until(() => sick.usable, 'it is tried again')
    const [tries] = await visit(t, gate, one)
    assert.equal(tries![0]!.server, 'a')
    assert.equal(tries!.length, 2)
  }
  const stats = gate.gateway.stats().upstream.servers[0]!
  assert.ok(stats.ejected)
  assert.equal(moves.at(-1), 'down by outlier')
  const before = probes()
  await until(() => probes() > before + health.rise + 2, 'more than enough good probes')
  assert.equal(sick.state, 'down')
  await avoided(t, all)

  // The trial fails, and nobody notices.
  await until(() => sick.state === 'probation', 'its time is over')
  await visit(t, gate, addresses)
  assert.equal(sick.state, 'down')
  await avoided(t, all)

  mood.handshake = healthy.handshake
  await until(() => sick.state === 'probation', 'its longer time is over')
  await visit(t, gate, one)
  assert.equal(moves.at(-1), 'up by traffic')
  await atHome(t, all)
})

test('a server that is slow, within the limits, is left in use', async t => {
  const all = await ward(t, { upstream: { health } })
  const { mood, moves } = all
  await until(() => moves.length === 1, 'it is known')
  Object.assign(mood, { probe: late(healthy.probe, 200), handshake: late(healthy.handshake, 400) })
  await atHome(t, all)
  await atHome(t, all)
  assert.deepEqual(moves, ['up by probe'])
})

test('a server that is slower than its probes may be: those who came wait, all others go elsewhere', async t => {
  const all = await ward(t, { upstream: { health } })
  const { gate, mood, moves, addresses } = all
  await until(() => moves.length === 1, 'it is known')
  const slow = health.timeout * 1.5
  Object.assign(mood, { probe: late(healthy.probe, slow), handshake: late(healthy.handshake, slow) })
  const down = moved(gate.gateway, 'server:down', 'a')
  const tries = await visit(t, gate, addresses)
  assert.ok(tries.every(each => each.length === 1))
  assert.equal(await down, 'probe')
  await avoided(t, all)
  const up = moved(gate.gateway, 'server:up', 'a')
  Object.assign(mood, healthy)
  assert.equal(await up, 'probe')
  await atHome(t, all)
})

test('a black hole: a process that is stopped, without probes', async t => {
  const { gate, ids, backends } = await trio(t, 85, {
    timeouts: { handshake: 1_500 },
    upstream: { failTimeout: 3_000 }
  })
  const sick = gate.gateway.upstream.servers[0]!
  const moves = recordMoves(gate, ids[0]!)
  const addresses = addressesOf(gate, sick)
  const child = backends[0]!.process
  // The kernel goes on to take connections for it.
  child.kill('SIGSTOP')
  const tries = await visit(t, gate, addresses)
  assert.equal(tries.filter(each => each.length === 2).length, 10)
  assert.equal(sick.state, 'down')
  assert.ok((await visit(t, gate, addresses)).every(each => each.length === 1))

  child.kill('SIGCONT')
  await until(() => sick.state === 'probation', 'its time is over')
  await visit(t, gate, addresses.slice(0, 1))
  const home = await connectAll(t, gate, 42, 60)
  for (const { address, server } of home) {
    assert.equal(server, gate.gateway.upstream.order(address)[0]!.id)
  }
  assert.deepEqual(moves, ['down by failures', 'probation by expired', 'up by traffic'])
})
