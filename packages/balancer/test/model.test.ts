import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import { ketama, leastConnections, roundRobin, xxh64 } from '@ringway/core'

import { Upstream } from '../src/index.ts'
import type { Lease, Recall, UpstreamServer } from '../src/index.ts'
import { Probe } from '../src/probe.ts'
import type { Server } from '../src/server.ts'
import { isPanic, ModelServer, optionsOf } from './support/model.ts'
import type { Listed, ModelTry, Rules } from './support/model.ts'
import { clock } from './support/upstream.ts'

/** Runs one seed again, or more of them: RINGWAY_SEED=7 RINGWAY_SEEDS=100 RINGWAY_STEPS=2000. */
const { RINGWAY_SEED, RINGWAY_SEEDS, RINGWAY_STEPS } = process.env
const first = Number(RINGWAY_SEED ?? Math.floor(Math.random() * 2 ** 31))

const KEYS = Array.from({ length: 12 }, (_, i) => `10.0.0.${i}`)
const QUEUE = { size: 6, timeout: 400 }

/** The diagram of docs/health.md. */
const MOVES: Readonly<Record<string, RegExp>> = {
  starting: /^(?:up|down|draining)$/,
  up: /^(?:down|draining)$/,
  down: /^(?:starting|up|probation|draining)$/,
  probation: /^(?:starting|up|down|draining)$/,
  draining: /^(?:removed|starting|up|down|probation)$/,
  removed: /^$/
}

/** Numbers from 0 to 1, the same for the same seed. */
function randomFrom(seed: number): () => number {
  let count = 0
  return () => xxh64(String(count++), seed).high / 2 ** 32
}

interface Held {
  readonly lease: Lease
  readonly model: ModelTry
  opened: boolean
  gone: boolean
}

/** What the channels carry. */
interface Move {
  readonly upstream: Upstream
  readonly server: UpstreamServer
  readonly from: string
  readonly to: string
}

interface Waiter {
  readonly key: string | undefined
  readonly except: ReadonlySet<UpstreamServer>
  readonly since: number
}

/** One upstream, and what is known of it by the documents. */
class Run {
  readonly #random: () => number
  readonly #time: ReturnType<typeof clock>
  readonly #rules: Rules
  readonly #keyed: boolean
  readonly upstream: Upstream
  readonly #models = new Map<UpstreamServer, ModelServer>()
  readonly #told = new Map<UpstreamServer, string>()
  #held: Held[] = []
  readonly #waiters = new Set<Waiter>()
  readonly #drained = new Map<string, boolean>()
  #port = 1
  readonly log: string[] = []
  #failure: Error | undefined

  constructor(t: TestContext, seed: number) {
    this.#random = randomFrom(seed)
    this.#time = clock(t, 10)
    const strategy = this.#pick([ketama(), ketama(), roundRobin(), leastConnections()])
    this.#keyed = strategy.keyed !== false
    this.#rules = {
      probes: this.#chance(0.5),
      rise: this.#int(1, 3),
      fall: this.#int(1, 3),
      waits: this.#chance(0.3),
      consecutive: this.#pick([0, 0, 2, 4]),
      maxEjectedShare: this.#pick([0.3, 0.5, 1]),
      panic: this.#pick([0, 0, 0.4, 1]),
      slowStart: this.#pick([0, 0, 200, 1000]),
      pendingHandshakes: this.#pick([0, 0, 1, 2])
    }
    const listed = Array.from({ length: this.#int(1, 5) }, (_, i) => this.#list(`s${i}`, i > 0))
    this.upstream = new Upstream({
      ...optionsOf(this.#rules, listed),
      strategy,
      queue: QUEUE,
      onDown: this.#pick(['keep', 'close']),
      rebalance: this.#pick(['lazy', 'close']),
      spread: 200
    })
    this.#follow(listed, false)
    this.#listen(t)
  }

  get stats(): string {
    return JSON.stringify({ rules: this.#rules, ...this.upstream.stats() }, undefined, 1)
  }

  async step(): Promise<void> {
    const steps: [number, () => void | Promise<void>][] = [
      [30, () => this.#acquire()],
      [25, () => this.#settle()],
      [12, () => this.#open()],
      [this.#rules.probes ? 15 : 0, () => this.#probe()],
      [15, () => this.#advance()],
      [3, () => this.#change()],
      [1, () => this.#drain()]
    ]
    let at = this.#random() * steps.reduce((sum, [weight]) => sum + weight, 0)
    const [, act] = steps.find(([weight]) => (at -= weight) < 0) ?? steps[0]!
    await act()
    for (let i = 0; i < 3; i++) await turn()
    if (this.#failure !== undefined) throw this.#failure
    this.check()
  }

  /** All that can be seen is as the model says. */
  check(): void {
    const { servers, waiting, active, handshakes, panic } = this.upstream.stats()
    const seen = [...this.#models].filter(([, { state }]) => state !== 'removed')
    assert.deepEqual(new Set(this.upstream.servers), new Set(seen.map(([server]) => server)))
    for (const [server, model] of seen) {
      model.learn(server.usable)
      const stats = servers[this.upstream.servers.indexOf(server)]!
      const is = [server.state, server.usable, server.active, server.handshakes, stats.fails, stats.ejected]
      const should = [model.state, model.usable, model.active, model.handshakes, model.fails, model.ejected]
      assert.deepEqual(is, should, `${server.id}: state, usable, active, handshakes, fails, ejected`)
      assert.ok(Math.abs(stats.ramp - model.ramp) < 1e-9, `${server.id}: ramp`)
      assert.equal(this.#told.get(server), server.state, `${server.id}: the last event`)
    }
    assert.deepEqual([active, handshakes], [this.#sum('active'), this.#sum('handshakes')])
    assert.equal(panic, isPanic(this.#inSet(), this.#rules))
    this.#checkWaiters(waiting)
    for (const [id, done] of this.#drained) {
      const isThere = seen.some(([server, { left }]) => server.id === id && left)
      if (!isThere) assert.ok(done, `${id} is drained`)
    }
  }

  /** Everything ends. */
  async end(): Promise<void> {
    await this.upstream[Symbol.asyncDispose]()
    for (let i = 0; i < 3; i++) await turn()
    assert.equal(this.#waiters.size, 0)
    for (const held of this.#held) held.lease.settle('cancelled')
    for (const { active, handshakes } of this.upstream.servers) assert.deepEqual([active, handshakes], [0, 0])
  }

  #acquire(): void {
    const key = this.#chance(0.9) ? this.#pick(KEYS) : undefined
    const except = new Set(this.upstream.servers.filter(() => this.#chance(0.1)))
    const waiter: Waiter = { key, except, since: performance.now() }
    const isFull = this.#waiters.size === QUEUE.size
    const wanted = this.#choose(waiter)
    const expected = isFull && wanted?.hasPlace === false ? this.#choose(waiter, true) : wanted
    this.#waiters.add(waiter)
    this.log.push(`acquire ${key} (${expected?.listed.id}) except ${[...except].map(({ id }) => id).join()}`)
    // Whoever waits is judged when it is done, by then others have come and gone.
    const isSure = this.#keyed && key !== undefined && (wanted === undefined || expected?.hasPlace === true)
    this.#await(waiter, isSure ? { expected } : undefined, isFull).catch((error: unknown) => {
      // Told by the step.
      this.#failure ??= error as Error
    })
  }

  async #await(
    waiter: Waiter,
    sure: { expected: ModelServer | undefined } | undefined,
    isFull: boolean
  ): Promise<void> {
    const { key, except, since } = waiter
    let lease: Lease | undefined
    try {
      lease = await this.upstream.acquire(key, { except })
    } catch (error) {
      const { code } = error as { code?: string }
      assert.equal(code, isFull ? 'ERR_RINGWAY_QUEUE_FULL' : 'ERR_RINGWAY_QUEUE_TIMEOUT')
      const other = this.#choose(waiter, true)
      if (other?.isJustOver !== true) assert.equal(other, undefined, 'no other server has a place')
      if (!isFull) assert.ok(performance.now() - since >= QUEUE.timeout)
      return
    } finally {
      this.#waiters.delete(waiter)
    }
    if (sure !== undefined)
      assert.equal(lease && this.#models.get(lease.server), sure.expected, `the choice for ${key}`)
    if (lease === undefined) return
    this.log.push(`got ${lease.server.id} for ${key}`)
    const model = this.#models.get(lease.server)!
    assert.ok(!except.has(lease.server) && !model.left && !model.listed.down)
    this.#held.push({ lease, model: model.begin(), opened: false, gone: false })
  }

  #open(): void {
    const held = this.#pick(this.#held.filter(each => !each.opened))
    if (held === undefined) return
    this.log.push(`open ${held.lease.server.id}`)
    const obeys = this.#chance(0.7)
    held.opened = true
    held.model.server.handshakes--
    held.model.server.active++
    held.model.server.succeeded(held.model)
    held.lease.opened(recall => this.#recalled(held, recall, obeys))
  }

  #recalled(held: Held, { reason, cut }: Recall, obeys: boolean): void {
    const { server } = held.model
    this.log.push(`recall ${held.lease.server.id} ${reason} ${cut}`)
    if (reason === 'drain') assert.ok(server.left, 'only those that left are drained')
    if (reason === 'down') assert.ok(!(held.lease.server as Server).isWell)
    if (reason === 'rebalance') assert.ok(this.#keyed)
    if (obeys || cut) this.#end(held, 'ok')
  }

  #settle(): void {
    const held = this.#pick(this.#held)
    if (held !== undefined) this.#end(held, this.#pick(['ok', 'failed', 'failed', 'cancelled']))
  }

  #end(held: Held, outcome: 'ok' | 'failed' | 'cancelled'): void {
    if (held.gone) return
    this.log.push(`settle ${held.lease.server.id} ${outcome}`)
    held.gone = true
    this.#held = this.#held.filter(each => each !== held)
    const { server } = held.model
    if (held.opened) server.active--
    else {
      server.handshakes--
      if (outcome === 'ok') server.succeeded(held.model)
      if (outcome === 'failed') server.failed(held.model, this.#inSet())
      if (outcome === 'cancelled') server.cancelled(held.model)
    }
    held.lease.settle(outcome)
  }

  #probe(): void {
    const wanted = [...this.#models].filter(([, each]) => !each.left && !each.listed.down)
    if (wanted.length === 0) return
    const [server, model] = this.#pick(wanted)
    const ok = this.#chance(0.6)
    const startedAt = performance.now() - this.#pick([0, 10, 100])
    this.log.push(`probe ${server.id} ${ok}`)
    model.probed(ok, startedAt)
    ;(server as Server).probed({ ok, at: 0, took: 0 }, startedAt)
  }

  async #advance(): Promise<void> {
    const milliseconds = this.#pick([10, 10, 50, 200, 1000])
    this.log.push(`advance ${milliseconds}`)
    for (let passed = 0; passed < milliseconds; passed += 10) {
      this.#time.advance(10)
      for (const model of this.#models.values()) model.look()
      // Whoever has waited, and now has a lease, has it from now on.
      await turn()
    }
  }

  #change(): void {
    const known = this.#inSet().map(({ listed }) => listed)
    const next = known.filter((_, i) => i === 0 || this.#chance(0.8)).map(listed => this.#vary(listed))
    if (next.length < 5 && this.#chance(0.6)) next.push(this.#list(`s${this.#int(0, 9)}`, true))
    // One that has left may not be empty yet, and then it is the same one.
    const gone = [...this.#models.values()].filter(({ left }) => left).slice(-3)
    if (gone.length > 0 && next.length < 5 && this.#chance(0.6))
      next.push(this.#vary(this.#pick(gone).listed))
    const listed = [...new Map(next.map(each => [each.id, each])).values()]
    if (listed.every(({ backup }) => backup)) return
    this.log.push(`set ${listed.map(({ id, port }) => `${id}:${port}`).join()}`)
    this.#leave(({ id, port }) => !listed.some(each => each.id === id && each.port === port))
    const same = new Map(listed.map(each => [each, this.#known(each)]))
    void this.upstream.setServers(optionsOf(this.#rules, listed).servers)
    this.#follow(listed, true, same)
  }

  #drain(): void {
    // In the order of the list, which counts where some are pardoned.
    const models = this.upstream.servers.map(server => this.#models.get(server)!)
    const listed = models.filter(({ left }) => !left).map(each => each.listed)
    const gone = this.#pick(listed)
    if (listed.every(each => each === gone || each.backup)) return
    this.log.push(`drain ${gone.id}`)
    this.#leave(({ id }) => id === gone.id)
    this.#drained.set(gone.id, false)
    const options = { spread: this.#pick([0, 100, 500]), deadline: this.#pick([0, 300, 600]) }
    void this.upstream.drain(gone.id, options).then(() => this.#drained.set(gone.id, true))
    const staying = listed.filter(each => each !== gone)
    this.#follow(staying, true, new Map(staying.map(each => [each, this.#known(each)])))
  }

  #leave(isGone: (listed: Listed) => boolean): void {
    for (const model of this.#inSet()) {
      if (!isGone(model.listed)) continue
      model.left = true
      model.look()
    }
  }

  /** The one that is listed again, before it was empty. */
  #known({ id, port }: Listed): ModelServer | undefined {
    return [...this.#models.values()].find(
      ({ listed, state }) => listed.id === id && listed.port === port && state !== 'removed'
    )
  }

  /** The model's servers are those of the set again. */
  #follow(
    listed: readonly Listed[],
    joins: boolean,
    known = new Map<Listed, ModelServer | undefined>()
  ): void {
    for (const each of listed) {
      const server = this.upstream.servers.find(({ id, state }) => id === each.id && state !== 'draining')!
      const model = this.#models.get(server)
      if (joins) assert.equal(model, known.get(each), `${each.id} is the same one, or a new one`)
      if (model === undefined) {
        this.#models.set(server, new ModelServer(each, this.#rules, () => performance.now(), joins))
        this.#told.set(server, this.#models.get(server)!.state)
      } else {
        model.list(each)
      }
    }
    const followed = listed.map(({ id }) => this.#inSet().find(each => each.listed.id === id)!)
    const ejected = followed.filter(each => each.ejected)
    const allowed = listed.length === 1 ? 0 : listed.length * this.#rules.maxEjectedShare
    while (ejected.length > allowed) ejected.shift()!.pardon()
  }

  /** Whom a key goes to. */
  #choose({ key, except }: Waiter, withPlace = false): ModelServer | undefined {
    const panic = isPanic(this.#inSet(), this.#rules)
    const isLeft = (each: ModelServer): boolean => !this.#isIn(each, except)
    const isHealthy = (each: ModelServer): boolean =>
      panic ? !each.listed.down && !each.isFull : each.usable
    const isOpen = (each: ModelServer): boolean => isLeft(each) && (!withPlace || each.hasPlace)
    const isAnyHealthy = this.#inSet().some(each => isOpen(each) && isHealthy(each))
    const isUsable = (each: ModelServer): boolean =>
      isOpen(each) && (isAnyHealthy ? isHealthy(each) : each.usableAsLast)
    if (!this.#keyed || key === undefined) return this.#inSet().find(isUsable)
    const order = this.upstream.order(key).map(server => this.#models.get(server)!)
    const usable = order.filter(isUsable)
    const position = xxh64(key).high / 2 ** 32
    const isRamping = order.some(({ ramp }) => ramp < 1)
    const home = usable.find(each => !each.listed.backup && position < each.ramp)
    return (isRamping ? home : undefined) ?? usable[0]
  }

  #checkWaiters(waiting: number): void {
    assert.equal(waiting, this.#waiters.size)
    assert.ok(waiting <= QUEUE.size)
    for (const waiter of this.#waiters) {
      assert.ok(performance.now() - waiter.since < QUEUE.timeout, 'nobody waits too long')
      if (!this.#keyed || waiter.key === undefined) continue
      // Who waits is not sent home by a slow start that goes on or ends meanwhile, nor to be a trial.
      const { slowStart } = this.#rules
      if (this.#inSet().some(({ backSince = -Infinity }) => backSince + slowStart >= waiter.since)) continue
      const choice = this.#choose(waiter)
      if (choice?.state === 'probation') continue
      assert.equal(choice?.hasPlace, false, `${waiter.key} waits for nothing`)
      if (performance.now() - waiter.since < QUEUE.timeout / 2) continue
      assert.equal(this.#choose(waiter, true), undefined, `${waiter.key} has waited long enough for its own`)
    }
  }

  #isIn(model: ModelServer, servers: ReadonlySet<UpstreamServer>): boolean {
    return [...servers].some(server => this.#models.get(server) === model)
  }

  #inSet(): ModelServer[] {
    return [...this.#models.values()].filter(({ left }) => !left)
  }

  #sum(what: 'active' | 'handshakes'): number {
    return [...this.#models.values()].reduce((sum, model) => sum + model[what], 0)
  }

  #list(id: string, mayBeBackup: boolean): Listed {
    const fresh = {
      id,
      port: this.#port++,
      weight: 1,
      down: false,
      backup: mayBeBackup && this.#chance(0.2),
      maxConnections: 0,
      maxFails: 1,
      failTimeout: 100
    }
    return this.#vary(fresh)
  }

  #vary(listed: Listed): Listed {
    return {
      ...listed,
      weight: this.#int(1, 3),
      down: this.#chance(0.1),
      maxConnections: this.#pick([0, 0, 1, 5]),
      maxFails: this.#int(0, 3),
      failTimeout: this.#pick([0, 100, 300])
    }
  }

  /** Each move is one event, begins where the last one ended, and is one of the diagram's. */
  #listen(t: TestContext): void {
    const listener = (message: unknown): void => {
      const { upstream, server, from, to } = message as Move
      if (upstream !== this.upstream) return
      const before = this.#told.get(server) ?? from
      assert.equal(from, before, `${server.id} moved from where it was`)
      assert.match(to, MOVES[from]!, `${server.id}: ${from} to ${to}`)
      this.#told.set(server, to)
    }
    for (const state of Object.keys(MOVES)) {
      subscribe(`ringway:server:${state}`, listener)
      t.after(() => unsubscribe(`ringway:server:${state}`, listener))
    }
  }

  #int(from: number, to: number): number {
    return from + Math.floor(this.#random() * (to - from + 1))
  }

  #chance(of: number): boolean {
    return this.#random() < of
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)]!
  }
}

/** Counts the timers that are set and neither cleared nor, once, called. */
function countTimers(t: TestContext): Set<unknown> {
  const live = new Set<unknown>()
  for (const [set, clear, again] of [
    ['setTimeout', 'clearTimeout', false],
    ['setInterval', 'clearInterval', true]
  ] as const) {
    const [make, end] = [globalThis[set] as typeof setTimeout, globalThis[clear]]
    t.mock.method(globalThis, set, (call: () => void, after: number) => {
      const timer = make(() => {
        if (!again) live.delete(timer)
        call()
      }, after)
      live.add(timer)
      return timer
    })
    t.mock.method(globalThis, clear, (timer: NodeJS.Timeout) => {
      live.delete(timer)
      end(timer)
    })
  }
  return live
}

async function play(t: TestContext, seed: number, steps: number): Promise<void> {
  t.mock.method(Probe.prototype, 'start', () => {})
  const run = new Run(t, seed)
  const timers = countTimers(t)
  try {
    for (let step = 0; step < steps; step++) await run.step()
    await run.end()
    assert.equal(timers.size, 0, 'no timer is left')
  } catch (error) {
    const tail = run.log.slice(-25).join('\n')
    throw new Error(`seed ${seed}, step ${run.log.length}: ${String(error)}\n${tail}\n${run.stats}`, {
      cause: error
    })
  }
}

const seeds = Number(RINGWAY_SEEDS ?? (RINGWAY_SEED === undefined ? 20 : 1))
for (let seed = first; seed < first + seeds; seed++) {
  test(`whatever happens, the upstream is as the model says (seed ${seed})`, async t => {
    await play(t, seed, Number(RINGWAY_STEPS ?? 500))
  })
}

test(`the same in 10,000 steps (seed ${first})`, { skip: RINGWAY_STEPS !== undefined }, async t => {
  await play(t, first, 10_000)
})
