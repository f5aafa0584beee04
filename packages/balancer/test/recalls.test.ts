import assert from 'node:assert/strict'
import { once } from 'node:events'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import { boundedLoad, ketama } from '@ringway/core'
import type { Strategy } from '@ringway/core'

import type { Lease, Recall, Upstream, UpstreamOptions } from '../src/index.ts'
import type { Server } from '../src/server.ts'
import { acquired, clock, located, moves, tryOn, upstream } from './support/upstream.ts'

const servers = ['a:80', 'b:80', 'c:80']
const keys = Array.from({ length: 60 }, (_, i) => `10.0.0.${i}`)

/** A tunnel that ends when it is asked to, or only when it is cut. */
interface Tunnel {
  readonly key: string
  readonly lease: Lease
  readonly asked: (Recall & { at: number })[]
}

async function open(of: Upstream, key: string, obeys = true): Promise<Tunnel> {
  const lease = await acquired(of, key)
  const tunnel: Tunnel = { key, lease, asked: [] }
  lease.opened(recall => {
    tunnel.asked.push({ ...recall, at: performance.now() })
    if (obeys || recall.cut) lease.settle('ok')
  })
  return tunnel
}

async function scene(
  t: TestContext,
  options: Partial<UpstreamOptions> = {},
  obeys = true
): Promise<{
  set: Upstream
  time: ReturnType<typeof clock>
  tunnels: Tunnel[]
  on: (id: string) => Tunnel[]
}> {
  const time = clock(t)
  const set = upstream(t, { servers, failTimeout: 1000, ...options })
  const tunnels = await Promise.all(keys.map(async key => open(set, key, obeys)))
  return { set, time, tunnels, on: id => tunnels.filter(({ lease }) => lease.server.id === id) }
}

/** Whether they were asked one after the other, evenly over a time. */
function assertEven(tunnels: readonly Tunnel[], since: number, spread: number): void {
  for (const [i, { asked }] of tunnels.entries()) {
    const due = since + (spread / tunnels.length) * i
    assert.ok(asked[0]!.at >= due && asked[0]!.at <= due + 20, `${i}: ${asked[0]!.at - since}`)
  }
}

test('drain takes a server out, asks its tunnels to end evenly, and is done when none is left', async t => {
  const { set, time, tunnels, on } = await scene(t)
  const list = moves(set)
  const theirs = on('a:80')
  const since = performance.now()
  let done = false
  void set.drain('a:80', { spread: 1000, code: 1001 }).then(() => (done = true))
  assert.deepEqual(list, ['draining a:80 operator'])
  assert.deepEqual(
    set.servers.map(({ id, state }) => `${id} ${state}`),
    ['b:80 up', 'c:80 up', 'a:80 draining']
  )
  for (const key of keys) assert.notEqual(set.order(key)[0]!.id, 'a:80')
  time.advance(500)
  const half = theirs.filter(({ asked }) => asked.length > 0).length
  assert.ok(Math.abs(half - theirs.length / 2) <= 1, `${half} of ${theirs.length}`)
  await turn()
  assert.equal(done, false)
  time.advance(500)
  await turn()
  assert.equal(done, true)
  assertEven(theirs, since, 1000)
  for (const { asked } of theirs) {
    assert.deepEqual({ ...asked[0], at: 0 }, { reason: 'drain', code: 1001, cut: false, at: 0 })
  }
  assert.deepEqual(list, ['draining a:80 operator', 'removed a:80 drained'])
  assert.equal(tunnels.filter(({ asked }) => asked.length > 0).length, theirs.length, 'nobody else is asked')
})

test('what is left at the deadline is cut, and a tunnel that opens behind it at once', async t => {
  const { set, time, on } = await scene(t, {}, false)
  const theirs = on('a:80')
  const under = [await acquired(set, theirs[0]!.key), await acquired(set, theirs[0]!.key)]
  const done = set.drain('a:80', { spread: 100, deadline: 200 })
  time.advance(160)
  const early: Recall[] = []
  under[0]!.opened(recall => early.push(recall))
  time.advance(20)
  assert.equal(early.length, 1, 'a late tunnel is asked too')
  time.advance(20)
  for (const { asked } of theirs)
    assert.deepEqual(
      asked.map(({ cut }) => cut),
      [false, true]
    )
  assert.deepEqual(
    early.map(({ cut }) => cut),
    [false, true]
  )
  under[0]!.settle('ok')
  const late: Recall[] = []
  under[1]!.opened(recall => {
    late.push(recall)
    if (recall.cut) under[1]!.settle('ok')
  })
  time.advance(20)
  assert.equal(late.at(-1)?.cut, true)
  await done
})

test('setServers with a second argument drains what goes, and what went before; without it nobody is asked', async t => {
  const { set, time, on } = await scene(t)
  void set.setServers(located(['b:80', 'c:80']))
  time.advance(60_000)
  assert.ok(on('a:80').every(({ asked }) => asked.length === 0))
  const done = set.setServers(located(['c:80']), { spread: 0 })
  await done
  for (const id of ['a:80', 'b:80'])
    assert.ok(
      on(id).every(({ asked }) => asked.length === 1),
      id
    )
  assert.ok(on('c:80').every(({ asked }) => asked.length === 0))
  assert.equal(set.servers.length, 1)
})

test('a drain that is under way is not begun again by the next list', async t => {
  const { set, time, on } = await scene(t)
  const since = performance.now()
  for (let i = 0; i < 10; i++) {
    void set.setServers(located(['b:80', 'c:80']), { spread: 1000 })
    time.advance(100)
  }
  assertEven(on('a:80'), since, 1000)
})

test('a server that is listed again while it is drained is the same one: its counts stay, and no more tunnels are asked', async t => {
  const { set, time, on } = await scene(t)
  const theirs = on('a:80')
  const [server] = set.servers
  const done = set.drain('a:80', { spread: 1000, deadline: 1000 })
  time.advance(500)
  const asked = theirs.filter(each => each.asked.length > 0).length
  assert.ok(asked > 0 && asked < theirs.length)
  const { active } = server!
  void set.setServers(located(servers))
  await done
  assert.equal(set.servers[0], server)
  assert.deepEqual([server!.state, server!.active], ['up', active])
  time.advance(2000)
  assert.equal(theirs.filter(each => each.asked.length > 0).length, asked)
  // The next drain is another one.
  void set.drain('a:80', { spread: 100 })
  time.advance(100)
  assert.equal(theirs.filter(each => each.asked.length > 0).length, theirs.length)
})

test('a later drain counts when it cuts off sooner', async t => {
  const { set, time, on } = await scene(t)
  const theirs = on('a:80')
  const first = set.drain('a:80', { spread: 60_000, deadline: 60_000 })
  time.advance(1000)
  void set.drain('a:80', { spread: 70_000, deadline: 70_000 })
  const second = set.drain('a:80', { spread: 200, deadline: 200, code: 4000 })
  time.advance(200)
  await Promise.all([first, second])
  assert.ok(theirs.every(({ asked }) => asked.length > 0))
  assert.equal(set.servers.length, 2)
})

for (const [what, act] of [
  ['change the set', (set: Upstream) => set.setServers(located(['c:80', 'd:80']))],
  ['drain a server', (set: Upstream) => set.drain('c:80', { spread: 0 })],
  ['end it all', (set: Upstream) => set[Symbol.asyncDispose]()]
] as const) {
  test(`whoever is asked to end may ${what}`, async t => {
    const time = clock(t)
    const set = upstream(t, { servers: ['b:80', 'c:80'], rebalance: 'close', spread: 0 })
    let left = keys.length
    let done: Promise<unknown> | undefined
    for (const key of keys) {
      const lease = await acquired(set, key)
      lease.opened(() => {
        done ??= act(set)
        lease.settle('ok')
        left--
      })
    }
    void set.setServers(located(servers))
    time.advance(40)
    assert.ok(done !== undefined && left < keys.length)
    const sum = set.servers.reduce((all, { active }) => all + active, 0)
    assert.deepEqual([set.stats().active, sum], [left, left])
    if (what !== 'end it all') return
    assert.equal(await set.acquire('x'), undefined)
    assert.equal(sum, left)
  })
}

test('each server tells its events in their order, also where a listener changes the set', async t => {
  clock(t)
  const set = upstream(t, { servers })
  const list = moves(set)
  const [one, two, three] = set.servers as [Server, Server, Server]
  const held = [await acquired(set, 'x', [two, three]), await acquired(set, 'x', [one, three])]
  set.once('server:draining', () => void set.setServers(located(servers)))
  void set.setServers(located(['c:80']))
  assert.deepEqual(set.servers, [one, two, three])
  assert.deepEqual(list, [
    'draining a:80 operator',
    'draining b:80 operator',
    'up a:80 operator',
    'up b:80 operator'
  ])
  for (const lease of held) lease.settle('ok')
})

test("a server's going down is told before its tunnels are asked", async t => {
  clock(t)
  const set = upstream(t, { servers, onDown: 'close', spread: 0 })
  const list: string[] = moves(set)
  const lease = await acquired(set, 'x', set.servers.slice(1))
  lease.opened(() => {
    list.push('asked')
    lease.settle('ok')
    void set.drain('a:80', { spread: 0 })
  })
  await tryOn(set, 'a:80', 'failed')
  assert.deepEqual(list, ['down a:80 failures', 'asked', 'draining a:80 operator', 'removed a:80 drained'])
})

test("onDown: 'close' asks nobody while there is nowhere to go: the time stands still", async t => {
  const { set, time, on } = await scene(t, {
    onDown: 'close',
    spread: 1000,
    panic: 0.5,
    failTimeout: 100_000
  })
  const theirs = on('a:80')
  const asked = (): number => theirs.filter(each => each.asked.length > 0).length
  await tryOn(set, 'b:80', 'failed')
  await tryOn(set, 'a:80', 'failed')
  assert.equal(set.stats().panic, true)
  time.advance(5000)
  assert.ok(asked() <= 1, 'in a panic it is used')
  const many = ['a:80', 'b:80', 'c:80', 'd:80', 'e:80', 'f:80', 'g:80']
  void set.setServers(located(many))
  assert.equal(set.stats().panic, false)
  time.advance(500)
  const half = asked()
  assert.ok(half > 1 && half < theirs.length, `${half} of ${theirs.length}`)
  void set.setServers(located(many.map(id => ({ id, host: id[0]!, port: 80, down: id !== 'a:80' }))))
  time.advance(5000)
  assert.ok(asked() <= half + 1, 'no other one is well')
  void set.setServers(located(many))
  time.advance(250)
  assert.ok(asked() < theirs.length, 'evenly again')
  time.advance(500)
  assert.equal(asked(), theirs.length)
})

test('whoever is asked to end may drain its server sooner, which then holds for what opens later', async t => {
  const { set, time, on } = await scene(t, {}, false)
  const [one, ...others] = on('a:80')
  const late = await acquired(set, one!.key)
  one!.lease.settle('ok')
  const another = await acquired(set, one!.key)
  let done: Promise<void> | undefined
  another.opened(recall => {
    done ??= set.drain('a:80', { spread: 0, deadline: 100 })
    if (recall.cut) another.settle('ok')
  })
  // It is the last one to be asked, so that the first drain is under way still.
  void set.drain('a:80', { spread: 0, deadline: 60_000 })
  time.advance(20)
  const asked: boolean[] = []
  late.opened(({ cut }) => {
    asked.push(cut)
    if (cut) late.settle('ok')
  })
  time.advance(120)
  assert.deepEqual(asked, [false, true])
  assert.ok(others.every(each => each.asked.some(({ cut }) => cut)))
  await done
})

test('whoever is asked to end may have its server listed again: nobody else is asked then, or cut', async t => {
  clock(t)
  const set = upstream(t, { servers })
  let asked = 0
  const leases = await Promise.all(keys.map(async key => acquired(set, key)))
  for (const lease of leases) {
    lease.opened(() => {
      asked++
      void set.setServers(located(servers))
    })
  }
  await set.drain('a:80', { spread: 0, deadline: 0 })
  assert.equal(asked, 1)
  for (const lease of leases) lease.settle('ok')
})

test('whoever is asked to end may end it all: nobody else is asked in that turn', async t => {
  clock(t)
  const set = upstream(t, { servers })
  let asked = 0
  for (const key of keys) {
    const lease = await acquired(set, key)
    lease.opened(() => {
      asked++
      void set[Symbol.asyncDispose]()
    })
  }
  await set.drain('a:80', { spread: 0, deadline: 0 })
  assert.equal(asked, 1)
})

test('a server whose trials fail is in one outage: its tunnels are asked once, and evenly', async t => {
  const { set, time, on } = await scene(t, { onDown: 'close', spread: 10_000, failTimeout: 200 }, false)
  const theirs = on('a:80')
  const started = performance.now()
  await tryOn(set, 'a:80', 'failed')
  for (let i = 0; i < 20; i++) {
    time.advance(200)
    assert.equal(set.servers[0]!.state, 'probation')
    await tryOn(set, 'a:80', 'failed')
  }
  time.advance(8_000)
  assertEven(theirs, started, 10_000)
  assert.ok(theirs.every(({ asked }) => asked.length === 1))
})

test('what opens on a server that is down in a panic is asked when that is over, evenly', async t => {
  const health = { type: 'tcp', interval: 600_000, rise: 1, fall: 1 } as const
  const { set, time } = await scene(t, { onDown: 'close', spread: 1000, panic: 0.6, health })
  const probed = (id: string, ok: boolean): void => {
    const server = set.servers.find(each => each.id === id) as Server
    server.probed({ ok, at: 0, took: 0 }, performance.now())
  }
  for (const { id } of set.servers) probed(id, true)
  probed('a:80', false)
  time.advance(2000)
  probed('b:80', false)
  assert.equal(set.stats().panic, true)
  const opened = await Promise.all(keys.map(async key => open(set, key, false)))
  const theirs = opened.filter(({ lease }) => lease.server.id === 'a:80')
  assert.ok(theirs.length > 3)
  time.advance(5000)
  assert.ok(theirs.every(({ asked }) => asked.length === 0))
  probed('b:80', true)
  const ended = performance.now()
  time.advance(1100)
  assert.ok(theirs.every(({ asked }) => asked.length === 1))
  const gaps = theirs.map(({ asked }, i) => asked[0]!.at - ended - (1000 / theirs.length) * i)
  assert.ok(Math.min(...gaps) >= 0 && Math.max(...gaps) <= 40, gaps.join())
})

test('a server that leaves the set without a drain has its tunnels asked no more for its outage', async t => {
  const { set, time, tunnels } = await scene(t, { onDown: 'close', spread: 1000, failTimeout: 60_000 })
  await tryOn(set, 'a:80', 'failed')
  time.advance(100)
  void set.setServers(located(['b:80', 'c:80']))
  const asked = (): number => tunnels.filter(each => each.asked.length > 0).length
  const before = asked()
  assert.ok(before > 0)
  time.advance(5000)
  assert.equal(asked(), before)
})

test('a server that goes down and up many times in a moment has its strays asked once, one by one', async t => {
  const time = clock(t)
  const set = upstream(t, { servers: ['b:80', 'c:80'], rebalance: 'close', spread: 10_000 })
  const tunnels: Tunnel[] = []
  for (const key of keys) tunnels.push(await open(set, key))
  for (let i = 0; i < 20; i++) {
    void set.setServers(located(['b:80', 'c:80']))
    void set.setServers(located(servers))
  }
  time.advance(40)
  assert.equal(tunnels.filter(({ asked }) => asked.length > 0).length, 1)
})

test('a strategy that fails later harms no tunnel that opens', async t => {
  clock(t)
  const plain = ketama()
  let fails = false
  const strategy: Strategy = {
    name: 'moody',
    build(members) {
      const table = plain.build(members)
      return {
        pick(...args) {
          if (fails) throw new Error('no idea')
          return table.pick(...args)
        }
      }
    }
  }
  const set = upstream(t, { servers, strategy, rebalance: 'close' })
  const lease = await acquired(set, 'x')
  fails = true
  lease.opened()
  await assert.rejects(async () => set.acquire('x'), /no idea/)
  void set.setServers(located([...servers, 'd:80']))
  fails = false
  lease.settle('ok')
  assert.equal(set.stats().active, 0)
})

test("a tunnel that opens after its server has left isn't asked for an outage before", async t => {
  const { set, time, on } = await scene(t, { onDown: 'close', spread: 100 })
  await tryOn(set, 'a:80', 'failed')
  time.advance(1000)
  await tryOn(set, 'a:80', 'ok')
  assert.equal(set.servers[0]!.state, 'up')
  const late = await acquired(set, 'x', set.servers.slice(1))
  void set.setServers(located(['b:80', 'c:80']))
  const asked: Recall[] = []
  late.opened(recall => asked.push(recall))
  time.advance(1000)
  assert.deepEqual(asked, [])
  late.settle('ok')
  assert.ok(on('a:80').every(each => each.asked.length > 0))
})

test('a handshake that opens late is asked home, though a server of that id has left and is empty since', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, rebalance: 'close', spread: 100, failTimeout: 1000 })
  const key = keys.find(each => set.order(each)[0]!.id === 'a:80')!
  const old = await acquired(set, key)
  void set.setServers(located(['b:80', 'c:80']))
  const late = await acquired(set, key)
  // At another address it is another server.
  void set.setServers(located([{ id: 'a:80', host: '127.0.0.1', port: 81 }, 'b:80', 'c:80']))
  old.settle('ok')
  const asked: Recall[] = []
  late.opened(recall => asked.push(recall))
  time.advance(1000)
  assert.deepEqual(asked, [{ reason: 'rebalance', code: 1012, cut: false }])
})

test('an id that nobody has, the last server, and bad options are refused, and nothing is changed', async t => {
  clock(t)
  const set = upstream(t, { servers: ['a:80', { host: 'b', port: 80, backup: true }] })
  assert.throws(() => set.drain('z:80'), { code: 'ERR_RINGWAY_CONFIG', field: 'id' })
  assert.throws(() => set.drain('a:80'), { field: 'id' })
  for (const [field, options] of [
    ['spread', { spread: -1 }],
    ['code', { code: 1006 }],
    ['deadline', { deadline: 'soon' }],
    ['drain', { drain: 5 }]
  ] as const) {
    assert.throws(() => set.drain('b:80', options as object), { field })
    assert.throws(() => set.setServers(located(['c:80']), options as object), { field })
  }
  assert.equal(set.servers.length, 2)
  await set.drain('b:80')
  assert.equal(set.servers.length, 1)
})

test("onDown: 'close' asks the tunnels of a server that went down, until it is back", async t => {
  const { set, time, on } = await scene(t, { onDown: 'close', spread: 2000 })
  const theirs = on('a:80')
  const since = performance.now()
  await tryOn(set, 'a:80', 'failed')
  time.advance(1500)
  assert.equal(set.stats().servers[0]!.state, 'probation', 'which is still out')
  await tryOn(set, 'a:80', 'ok')
  time.advance(10_000)
  const asked = theirs.filter(each => each.asked.length > 0)
  assertEven(asked, since, (2000 / theirs.length) * asked.length)
  assert.ok(Math.abs(asked.length - theirs.length * 0.75) <= 1, `${asked.length} of ${theirs.length}`)
  assert.equal(asked[0]!.asked[0]!.reason, 'down')
  assert.equal(asked[0]!.asked[0]!.code, 1012)
  for (const id of ['b:80', 'c:80']) assert.ok(on(id).every(each => each.asked.length === 0))
})

test("onDown: 'keep', the default, asks nobody", async t => {
  const { set, time, tunnels } = await scene(t)
  await tryOn(set, 'a:80', 'failed')
  time.advance(60_000)
  assert.ok(tunnels.every(({ asked }) => asked.length === 0))
})

test("rebalance: 'close' asks strayed tunnels home, when their own server is back, and nobody else", async t => {
  const { set, time, tunnels, on } = await scene(t, { rebalance: 'close', spread: 1000 })
  await tryOn(set, 'a:80', 'failed')
  const strayed = await Promise.all(
    on('a:80').map(async ({ key, lease }) => {
      lease.settle('ok')
      return open(set, key)
    })
  )
  time.advance(1000)
  assert.ok(strayed.every(({ asked }) => asked.length === 0))
  const since = performance.now()
  await tryOn(set, 'a:80', 'ok')
  time.advance(1000)
  assert.deepEqual(new Set(strayed.map(({ asked }) => asked[0]?.reason)), new Set(['rebalance']))
  assertEven(
    strayed.toSorted((a, b) => a.asked[0]!.at - b.asked[0]!.at),
    since,
    1000
  )
  assert.ok(tunnels.every(({ asked }) => asked.length === 0))
  for (const { key } of strayed) assert.equal((await acquired(set, key)).server.id, 'a:80')
})

test('after a slow start those are asked too whom it sent away', async t => {
  const { set, time, on } = await scene(t, { rebalance: 'close', spread: 100, slowStart: 1000 })
  await tryOn(set, 'a:80', 'failed')
  for (const { lease } of on('a:80')) lease.settle('ok')
  time.advance(1000)
  await tryOn(set, 'a:80', 'ok')
  const sent = await Promise.all(on('a:80').map(async ({ key }) => open(set, key)))
  assert.ok(sent.every(({ lease }) => lease.server.id !== 'a:80'))
  time.advance(999)
  assert.ok(sent.every(({ asked }) => asked.length === 0))
  time.advance(101)
  assert.ok(sent.every(({ asked }) => asked.length === 1))
})

test("rebalance: 'close' asks those home too whose server was drained and is listed again, or is new", async t => {
  const { set, time, tunnels, on } = await scene(t, { rebalance: 'close', spread: 1000 })
  const drained = on('a:80')
  await set.drain('a:80', { spread: 0 })
  const others = tunnels.filter(tunnel => !drained.includes(tunnel))
  const strayed = await Promise.all(drained.map(async ({ key }) => open(set, key)))
  time.advance(10_000)
  const since = performance.now()
  void set.setServers(located([...servers, 'd:80']))
  time.advance(1000)
  const belong = (id: string, list: Tunnel[]): Tunnel[] =>
    list.filter(({ key }) => set.order(key)[0]!.id === id)
  const home = belong('a:80', strayed).toSorted((a, b) => a.asked[0]!.at - b.asked[0]!.at)
  assertEven(home, since, 1000)
  const asked = [...strayed, ...others].filter(each => each.asked.length > 0)
  const homeless = [...belong('d:80', others), ...home, ...belong('d:80', strayed)]
  assert.ok(homeless.length > drained.length)
  assert.deepEqual(new Set(asked), new Set(homeless))
})

test('a tunnel that is elsewhere for another reason than bad health has not strayed', async t => {
  const strategy = boundedLoad(ketama(), 1.2)
  const { set, time, tunnels } = await scene(t, { rebalance: 'close', spread: 0, strategy })
  const spilled = tunnels.filter(({ key, lease }) => set.order(key)[0] !== lease.server)
  assert.ok(spilled.length > 0)
  await tryOn(set, 'a:80', 'failed')
  time.advance(1000)
  await tryOn(set, 'a:80', 'ok')
  time.advance(100)
  assert.ok(spilled.every(({ asked }) => asked.length === 0))
})

test('a recall that throws is an uncaught exception, and the next tunnels are asked all the same', async t => {
  clock(t)
  const set = upstream(t, { servers })
  const bug = new Error('bug')
  let asked = 0
  for (let i = 0; i < 3; i++) {
    const lease = await acquired(set, 'x', set.servers.slice(1))
    lease.opened(() => {
      asked++
      lease.settle('ok')
      throw bug
    })
  }
  const uncaught: unknown[] = []
  const handlers = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', error => uncaught.push(error))
  t.after(() => {
    process.removeAllListeners('uncaughtException')
    for (const handler of handlers) process.on('uncaughtException', handler)
  })
  await set.drain('a:80', { spread: 0 })
  await turn()
  assert.equal(asked, 3)
  assert.deepEqual(uncaught, [bug, bug, bug])
})

test('disposal ends a drain that is under way: nobody is asked any more, and who waits for it goes on', async t => {
  const { set, time, on } = await scene(t)
  const done = set.drain('a:80', { spread: 1000 })
  time.advance(100)
  const before = on('a:80').filter(({ asked }) => asked.length > 0).length
  await set[Symbol.asyncDispose]()
  await done
  time.advance(10_000)
  assert.equal(on('a:80').filter(({ asked }) => asked.length > 0).length, before)
  await set.drain('b:80')
  await set.setServers(located(['c:80']), {})
})

test('a listener of server:draining finds the change already done', async t => {
  clock(t)
  const set = upstream(t, { servers })
  const told = once(set, 'server:draining')
  set.on('server:draining', () => {
    assert.equal(set.servers.length, 3)
    assert.equal(set.order('x').length, 2)
  })
  ;(await acquired(set, 'x', set.servers.slice(1))).opened()
  void set.drain('a:80')
  await told
})

test('a strayed handshake whose tunnel opens when its own server is back already is asked too', async t => {
  const time = clock(t)
  const set = upstream(t, { servers, failTimeout: 1000, rebalance: 'close', spread: 100 })
  const key = keys.find(each => set.order(each)[0]!.id === 'a:80')!
  await tryOn(set, 'a:80', 'failed')
  const strayed = await acquired(set, key)
  time.advance(1000)
  await tryOn(set, 'a:80', 'ok')
  time.advance(1000)
  const asked: string[] = []
  strayed.opened(({ reason }) => void asked.push(reason))
  time.advance(20)
  assert.deepEqual(asked, ['rebalance'])
})

test('who was on its way to a server that is down by probes is asked as soon as its tunnel opens', async t => {
  const time = clock(t)
  const health = { type: 'tcp', interval: 1_000_000, fall: 1 } as const
  const set = upstream(t, { servers, health, onDown: 'close', spread: 100 })
  const lease = await acquired(set, 'x')
  const asked: string[] = []
  ;(lease.server as Server).probed({ ok: false, at: 0, took: 0 }, performance.now())
  time.advance(1000)
  lease.opened(({ reason }) => void asked.push(reason))
  time.advance(20)
  assert.deepEqual(asked, ['down'])
  // Not so once it is back.
  ;(lease.server as Server).probed({ ok: true, at: 0, took: 0 }, performance.now())
  ;(lease.server as Server).probed({ ok: true, at: 0, took: 0 }, performance.now())
  const others = set.servers.filter(server => server !== lease.server)
  ;(await acquired(set, 'x', others)).opened(({ reason }) => void asked.push(reason))
  time.advance(1000)
  assert.deepEqual(asked, ['down'])
})
