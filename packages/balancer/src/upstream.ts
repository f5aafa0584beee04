import { EventEmitter } from 'node:events'
import { isDeepStrictEqual } from 'node:util'

import { ConfigError, RingwayError, xxh64 } from '@ringway/core'

import type { ServerAddress } from './address.ts'
import { Afterwards } from './afterwards.ts'
import { Budget } from './budget.ts'
import { checkDrain, checkUpstream } from './config.ts'
import type { UpstreamConfig } from './config.ts'
import { Departures } from './departures.ts'
import { channels } from './events.ts'
import type { UpstreamEvents } from './events.ts'
import type { Reason, ServerState } from './health.ts'
import { ServerLease } from './lease.ts'
import type { Lease } from './lease.ts'
import { Names } from './names.ts'
import { OpenTunnels } from './open-tunnels.ts'
import type { DrainOptions, UpstreamOptions } from './options.ts'
import { Outliers } from './outliers.ts'
import { Probe } from './probe.ts'
import { makeCheck } from './probes/check.ts'
import { Queue } from './queue.ts'
import { Recalls } from './recalls.ts'
import { checkServers, isEnough } from './server-config.ts'
import type { ServerConfig } from './server-config.ts'
import { Server } from './server.ts'
import type { ServerSurroundings, UpstreamServer } from './server.ts'
import { Place, ServerSet } from './set.ts'
import type { UpstreamStats } from './stats.ts'
import { Tries } from './tries.ts'
import { settled } from './wait.ts'

/** Milliseconds that a client waits for look-ups at most. */
const LONGEST_LOOKUP = 5_000

/** What {@link Upstream.acquire} may be told. */
export interface AcquireOptions {
  /** Servers not to take, as they were tried already. Default: none. */
  except?: ReadonlySet<UpstreamServer>
  /** Ends the wait for a lease: the promise rejects with the signal's reason. */
  signal?: AbortSignal
}

/** A set of servers that is to be, next to the one that is. */
interface Change {
  readonly places: readonly Place[]
  readonly staying: ReadonlyMap<Server, ServerConfig>
  readonly added: readonly Server[]
  /** Servers whose name has its first address now. */
  readonly located: ReadonlyMap<Server, ServerAddress>
}

/**
 * A set of servers, what is known of their health, and who takes the next key.
 *
 * Emits an event for each move of a server to another state, see {@link UpstreamEvents}, and publishes the same on the
 * diagnostics channels `ringway:server:down` and so on, as `{ upstream, server, from, to, reason }`. A listener that throws
 * is an uncaught exception, but does no harm to the upstream.
 */
export class Upstream extends EventEmitter<UpstreamEvents> {
  /** Whether the strategy looks at keys; when not, none need be computed. */
  readonly keyed: boolean

  readonly #config: UpstreamConfig
  readonly #path: string
  readonly #around: ServerSurroundings
  readonly #ramping = new Set<Server>()
  readonly #load = { active: 0, handshakes: 0 }
  readonly #probes = new Map<Server, Probe>()
  readonly #names: Names
  readonly #recalls = new Recalls()
  readonly #departures = new Departures(this.#recalls)
  readonly #tunnels: OpenTunnels
  readonly #queue: Queue
  readonly #budget: Budget | undefined
  /** The servers as they are listed, with names for addresses. */
  #configs: readonly ServerConfig[] = []
  #set: ServerSet
  #panic = false
  /** What requests without a key are drawn by in a slow start. */
  #draw = 0
  /** Fulfilled when the first look-ups are done; undefined then. */
  #looking: Promise<unknown> | undefined
  /** Those who wait for a look-up: what wakes each of them. */
  readonly #lookingUp = new Set<() => void>()
  /** Whether a strategy is building its tables. */
  #isBuilding = false
  /** What is to be told and asked when the change under way is done: whoever hears of it must find us whole. */
  readonly #afterwards = new Afterwards()
  #disposal: Promise<void> | undefined

  /**
   * Checks the options, builds the tables, begins to look up names, and starts the probes.
   *
   * @param options - see each field; a bad one throws a `ConfigError` that names it
   * @param path - put before the names of fields in errors, such as `upstream`. Default: none
   */
  constructor(options: UpstreamOptions, path = '') {
    super()
    const config = checkUpstream(options, path)
    this.#config = config
    this.#path = path
    this.#tunnels = new OpenTunnels(config, this.#recalls, {
      set: () => this.#set,
      isPanic: () => this.#panic
    })
    this.#queue = new Queue(config.queue, server => this.#mayBeChosen(server))
    this.#budget = config.retry.budget && new Budget(config.retry.budget)
    this.#around = this.#makeSurroundings()
    this.keyed = config.strategy.keyed !== false
    this.#names = new Names(
      () => this.#lookedUp(),
      (host, error) => this.#lookupFailed(host, error)
    )
    const change = this.#plan(config.servers, false)
    this.#set = new ServerSet(change.places, config)
    this.#configs = config.servers
    for (const server of change.added) server.join()
    // Last, since nothing above may throw with probes running.
    this.#followNames()
    this.#followProbes()
    this.#looking = this.#names.first?.finally(() => {
      this.#looking = undefined
    })
  }

  /** All servers: those of the set in the order of the options, then those that are draining. */
  get servers(): readonly UpstreamServer[] {
    return [...this.#set.servers, ...this.#departures.servers]
  }

  /**
   * Changes the set while traffic runs. A server that stays, by its id, keeps its tunnels, counts and health, whatever
   * its weight and limits are now; one with another address or TLS is another server. Keys move only as the strategy
   * needs. A server that isn't listed any more takes nothing new, and is removed when its last tunnel has ended.
   *
   * @param servers - as in the options; a bad one throws a `ConfigError` that names it, or a strategy throws
   *   (`ERR_RINGWAY_STRATEGY` when it calls this itself while it builds its tables), and nothing is changed
   * @param drain - how the tunnels of servers end that aren't listed any more, by this call or an earlier one; `{}` takes
   *   the defaults. Default: they stay until they end by themselves
   * @returns with `drain` fulfilled when nothing of those servers is left, or they are listed again; else at once
   */
  setServers(servers: UpstreamOptions['servers'], drain?: DrainOptions): Promise<void> {
    const path = this.#path === '' ? 'servers' : `${this.#path}.servers`
    const configs = checkServers(servers, path, this.#config.defaults)
    const plan = drain && checkDrain(drain)
    if (this.#disposal !== undefined) return Promise.resolve()
    this.#change(configs, 'operator')
    return plan === undefined ? Promise.resolve() : this.#departures.drain(this.#departures.servers, plan)
  }

  /**
   * Takes a server out of the set for good: nothing new goes to it, and its tunnels are asked to end. A handshake that is
   * under way isn't cut off, but the tunnel that it comes to is ended too.
   *
   * @param id - of a server of the set, or of one that has left it; no such one, or the last one that is no backup, is a
   *   `ConfigError`
   * @param options - how its tunnels end
   * @returns fulfilled when nothing of it is left, or it is listed again
   */
  drain(id: string, options: DrainOptions = {}): Promise<void> {
    const plan = checkDrain(options)
    const remaining = this.#configs.filter(config => config.id !== id)
    const isListed = remaining.length < this.#configs.length
    if (!isListed && !this.#departures.servers.some(server => server.id === id)) {
      throw new ConfigError('id', `${JSON.stringify(id)} is no server's`)
    }
    if (this.#disposal !== undefined) return Promise.resolve()
    if (isListed) {
      if (!isEnough(remaining)) throw new ConfigError('id', 'is that of the last server that is no backup')
      this.#change(remaining, 'operator')
    }
    return this.#departures.drain(
      this.#departures.servers.filter(server => server.id === id),
      plan
    )
  }

  /**
   * Takes a place on the server that the key belongs to, or on the next usable one in the key's order; backups come
   * when no other server is usable. The place counts as a handshake when this call returns, unless the server has as
   * many as `pendingHandshakes` allows: then this waits for one to end. It waits too while the names of the options are
   * looked up for the first time, and while later ones are when no server is usable, 5 s at most. Where nobody else is
   * left, those are taken too that are out of use by failures alone. Gives `undefined` when there is none, or after
   * disposal.
   *
   * Rejects with the signal's reason, with what a strategy throws, and with `ERR_RINGWAY_QUEUE_FULL`,
   * `ERR_RINGWAY_QUEUE_TIMEOUT` or `ERR_RINGWAY_LIMIT`; then no place is taken.
   *
   * @param key - the client's key; without one (undefined or '') the keyless strategy chooses
   * @param options - servers to leave out, and a signal
   */
  acquire(key: string | undefined, options: AcquireOptions = {}): Promise<Lease | undefined> {
    return new Promise(resolve => resolve(this.#take(key, options)))
  }

  /**
   * The tries of one request within `retry`, each on another server.
   *
   * @param key - as for {@link Upstream.acquire}
   * @param signal - ends the wait for a lease
   */
  tries(key: string | undefined, signal?: AbortSignal): Tries {
    const acquire = async (except: ReadonlySet<UpstreamServer>, until: number): Promise<Lease | undefined> =>
      this.#take(key, signal === undefined ? { except } : { except, signal }, until)
    return new Tries(acquire, this.#config.retry, this.#budget)
  }

  /**
   * The key's whole order of preference, backups last, whatever the servers' state. Throws `ERR_RINGWAY_STRATEGY` when the
   * strategy looks at no key and so has no order.
   *
   * @param key - the client's key
   */
  order(key: string): UpstreamServer[] {
    return this.#set.order(key)
  }

  /** What is known now, as plain data. */
  stats(): UpstreamStats {
    return {
      strategy: this.#config.strategy.name,
      keyless: this.#config.keyless.name,
      waiting: this.#queue.waiting + this.#lookingUp.size,
      ...this.#load,
      panic: this.#panic,
      servers: [...this.#set.servers, ...this.#departures.servers].map(server => server.stats())
    }
  }

  /**
   * Ends the probes and waits until nothing is left of those under way. `acquire()` gives undefined from now on, also to
   * those who wait; no more events come, and no tunnel is asked to end; leases that are out may still be settled.
   */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposal === undefined) {
      const probes = Array.from(this.#probes.values(), async probe => probe.stop())
      this.#disposal = Promise.all(probes).then(() => undefined)
      this.#names.follow(new Set())
      this.#recalls.end()
      this.#departures.end()
      for (const server of this.#set.servers) server.stop()
      this.#queue.end()
    }
    return this.#disposal
  }

  #take(
    key: string | undefined,
    options: AcquireOptions,
    until = Infinity,
    lookUntil?: number
  ): Lease | undefined | Promise<Lease | undefined> {
    const { except, signal } = options
    signal?.throwIfAborted()
    if (this.#disposal !== undefined) return undefined
    this.#checkLimits()
    const takeAfter = async (looking: Promise<unknown> | undefined): Promise<Lease | undefined> => {
      const now = performance.now()
      const end = lookUntil ?? now + LONGEST_LOOKUP
      const limit = Math.min(end, until) - now
      if (looking === undefined || limit <= 0) return undefined
      let wake!: () => void
      const woken = new Promise<void>(resolve => {
        wake = resolve
      })
      this.#lookingUp.add(wake)
      try {
        await settled(Promise.race([looking, woken]), limit, signal)
      } finally {
        this.#lookingUp.delete(wake)
      }
      return performance.now() < until ? this.#take(key, options, until, end) : undefined
    }
    const isLate = lookUntil !== undefined && performance.now() >= lookUntil
    if (this.#looking !== undefined && !isLate) return takeAfter(this.#looking)
    const server = this.#choose(key, except)
    if (server === undefined) return takeAfter(this.#names.first)
    const take = (chosen: Server): Lease =>
      new ServerLease(chosen, this.#tunnels.keyToKeep(key, chosen, except))
    if (server.hasPlace) return take(server)
    const choose = (withPlace: boolean): Server | undefined => this.#choose(key, except, withPlace)
    const waiting = this.#queue.wait(
      server,
      choose,
      take,
      signal,
      until,
      except !== undefined && except.size > 0
    )
    return waiting.then(async lease => lease ?? takeAfter(this.#names.first))
  }

  /**
   * Whom a client goes to, or waits for.
   *
   * @param withPlace - whether only those will do on which it needn't wait
   */
  #choose(
    key: string | undefined,
    except: ReadonlySet<UpstreamServer> | undefined,
    withPlace = false
  ): Server | undefined {
    if (this.#disposal !== undefined) return undefined
    const isOpen = (server: Server): boolean =>
      except?.has(server) !== true && (!withPlace || server.hasPlace)
    const isAnyUsable = this.#set.servers.some(server => isOpen(server) && this.#isUsable(server))
    const isUsable = (server: Server): boolean =>
      isOpen(server) && (isAnyUsable ? this.#isUsable(server) : server.usableAsLast)
    if (this.#ramping.size > 0) {
      // The same keys each time, so that whoever is home stays there; the share of all grows with the ramp.
      const position = this.#set.isKeyed(key) ? xxh64(key).high / 2 ** 32 : this.#nextDraw()
      const server = this.#set.choose(key, each => isUsable(each) && position < each.ramp, false)
      // Where all that could take it are slow to start, one of them has to.
      if (server !== undefined) return server
    }
    // Who has no server of its own has no reason to wait where another one has a place.
    const free = this.#set.isKeyed(key)
      ? undefined
      : this.#set.choose(key, each => isUsable(each) && each.hasPlace, false)
    return free ?? this.#set.choose(key, isUsable, true)
  }

  /** Whether it may be chosen by somebody who has tried no server. */
  #mayBeChosen(server: Server): boolean {
    if (this.#isUsable(server)) return true
    return server.usableAsLast && !this.#set.servers.some(each => this.#isUsable(each))
  }

  #isUsable(server: Server): boolean {
    return this.#panic ? server.usableInPanic : server.usable
  }

  /** Numbers of 0 to 1 that are even in each stretch of them: multiples of the golden ratio. */
  #nextDraw(): number {
    this.#draw = (this.#draw + 0.618_033_988_749_894_9) % 1
    return this.#draw
  }

  #checkLimits(): void {
    const { connections, handshakes } = this.#config.limits
    const tries = this.#load.handshakes + this.#queue.waiting + this.#lookingUp.size
    if (handshakes > 0 && tries >= handshakes) {
      throw new RingwayError('ERR_RINGWAY_LIMIT', `${handshakes} handshakes are under way`)
    }
    if (connections > 0 && this.#load.active + tries >= connections) {
      throw new RingwayError('ERR_RINGWAY_LIMIT', `${connections} connections are open`)
    }
  }

  #makeSurroundings(): ServerSurroundings {
    const { health, pendingHandshakes, outliers } = this.#config
    return {
      health,
      isLast: server => !this.#set.servers.some(each => each !== server && each.isWell),
      pendingHandshakes,
      load: this.#load,
      ramping: this.#ramping,
      outliers: outliers && new Outliers(outliers, () => this.#set.servers),
      opened: (server, lease) => {
        this.#departures.opened(server, lease)
        this.#tunnels.opened(server, lease)
      },
      freed: server => this.#freed(server),
      moved: (server, from, to, reason) => this.#moved(server, from, to, reason)
    }
  }

  /** What another list of servers means for those there are. */
  #plan(configs: readonly ServerConfig[], joins: boolean): Change {
    const staying = new Map<Server, ServerConfig>()
    const located = new Map<Server, ServerAddress>()
    const added: Server[] = []
    const candidates = joins ? [...this.#set.servers, ...this.#departures.servers] : []
    // While names are looked up for the first time nobody has been let in.
    const late = joins && this.#looking === undefined
    const places = configs.map(config => {
      const known = candidates.filter(server => server.isSame(config))
      const servers = this.#addressesOf(config).map(address => {
        const same = known.find(({ isLocated, address: at }) =>
          address === undefined ? !isLocated : isLocated && isDeepStrictEqual(at, address)
        )
        const server = same ?? known.find(each => !each.isLocated && !staying.has(each))
        if (server === undefined) {
          const one = new Server(config, address, this.#around, late)
          added.push(one)
          return one
        }
        staying.set(server, config)
        if (address !== undefined && !server.isLocated) located.set(server, address)
        return server
      })
      return new Place(config, joins ? this.#set.member(config) : undefined, servers)
    })
    return { places, staying, added, located }
  }

  /** Where a server is; undefined when that isn't known yet. */
  #addressesOf({ address }: ServerConfig): readonly (ServerAddress | undefined)[] {
    if ('socketPath' in address) return [address]
    const hosts = this.#names.addresses(address.host)
    return hosts?.map(host => Object.freeze({ host, port: address.port })) ?? [undefined]
  }

  /** Puts another set in the place of this one, or throws and changes nothing. */
  #change(configs: readonly ServerConfig[], reason: Reason): void {
    if (this.#isBuilding) {
      const problem = 'changes the set of servers while it builds its tables'
      throw new RingwayError('ERR_RINGWAY_STRATEGY', `strategy ${this.#config.strategy.name} ${problem}`)
    }
    const { places, staying, added, located } = this.#plan(configs, true)
    const before = this.#set
    this.#isBuilding = true
    try {
      this.#set = new ServerSet(places, this.#config, before)
    } finally {
      this.#isBuilding = false
    }
    // It may have been a strategy that disposed of us.
    if (this.#disposal !== undefined) return
    this.#configs = configs
    this.#afterwards.within(() => this.#follow(before, { staying, added, located }, reason))
  }

  /** The servers that there were, and those that there are, learn of the change. */
  #follow(before: ServerSet, { staying, added, located }: Omit<Change, 'places'>, reason: Reason): void {
    for (const server of added) this.#tell('server:added', [server, reason], { server, reason })
    for (const [server, config] of staying) {
      server.update(config)
      if (this.#departures.remove(server)) server.comeBack(reason)
    }
    for (const [server, address] of located) server.locate(address)
    for (const server of added) {
      server.join()
      if (!server.isLocated && 'host' in server.written && this.#names.isFailing(server.written.host)) {
        server.locate(undefined)
      }
      if (server.state === 'up') this.#afterwards.add(() => this.#tunnels.up(server))
    }
    const gone = before.servers.filter(server => !staying.has(server))
    for (const server of gone) {
      this.#departures.add(server)
      this.#tunnels.over(server)
      server.leave(reason)
    }
    for (const server of gone) this.#freed(server)
    this.#around.outliers?.pardon(reason)
    this.#followNames()
    this.#followProbes()
    this.#checkPanic()
    this.#turnAll()
  }

  /** Looks up the names that are listed, and those of servers that may be listed again before they are empty. */
  #followNames(): void {
    const written = [
      ...this.#configs.map(({ address }) => address),
      ...this.#departures.servers.map(server => server.written)
    ]
    this.#names.follow(new Set(written.flatMap(address => ('host' in address ? [address.host] : []))))
  }

  #lookedUp(): void {
    this.#change(this.#configs, 'lookup')
  }

  #lookupFailed(host: string, error: RingwayError): void {
    for (const server of this.#set.servers) {
      const { written, isLocated } = server
      if ('host' in written && written.host === host && !isLocated) server.locate(undefined)
    }
    this.#tell('lookup:error', [host, error], { host, error })
  }

  /** Probes run for the servers that are to be probed, and for no others. */
  #followProbes(): void {
    const { health } = this.#config
    if (health === undefined) return
    for (const [server, probe] of this.#probes) {
      if (server.isProbed) continue
      this.#probes.delete(server)
      void probe.stop()
    }
    for (const server of this.#set.servers) {
      if (!server.isProbed || this.#probes.has(server)) continue
      const probe = new Probe(makeCheck(server, health), health, server)
      this.#probes.set(server, probe)
      probe.start()
    }
  }

  #freed(server: Server): void {
    const { isWithin } = this.#afterwards
    // A trial that is over lets the next one through, whoever that is; and so may one that is out, as the last.
    if (!isWithin) {
      this.#queue.turn(server, server.wasFull || !server.isWell)
      if (this.#lookingUp.size > 0 && this.#mayBeChosen(server)) this.#wake()
    }
    if (server.load > 0 || !this.#departures.emptied(server)) return
    this.#tunnels.gone(server)
    server.emptied()
    if (!isWithin) this.#followNames()
  }

  #moved(server: Server, from: ServerState, to: ServerState, reason: Reason): void {
    if (this.#disposal !== undefined) return
    const { isWithin } = this.#afterwards
    this.#afterwards.within(() => {
      this.#tell(`server:${to}`, [server, reason], { server, from, to, reason })
      if (server.isWell) this.#tunnels.over(server)
      if (to === 'down') this.#afterwards.add(() => this.#tunnels.down(server))
      if (to === 'up') this.#afterwards.add(() => this.#tunnels.up(server))
      if (isWithin) return
      this.#checkPanic()
      // Whoever waits must look elsewhere, or may look here.
      if (this.#isUsable(server)) this.#turnAll()
      else this.#queue.turnAll(server)
    })
  }

  /** Whoever waits, for whatever, looks for a server again. */
  #turnAll(): void {
    this.#queue.turnAll()
    this.#wake()
  }

  /** Those who wait for a look-up as there was no server for them look again. */
  #wake(): void {
    for (const wake of this.#lookingUp) wake()
  }

  #checkPanic(): void {
    const { panic } = this.#config
    if (panic === 0) return
    const servers = this.#set.servers.filter(server => server.isWanted)
    // What waits for its first probe isn't known to be ill.
    const judged = servers.filter(({ backup, state, isWell }) => !backup && (state !== 'starting' || isWell))
    const well = judged.filter(({ isWell }) => isWell).length
    const hasBackup = servers.some(({ backup, isWell }) => backup && isWell)
    const isPanic = !hasBackup && judged.length > 0 && well / judged.length < panic
    if (isPanic === this.#panic) return
    this.#panic = isPanic
    this.#turnAll()
    this.#tell(isPanic ? 'panic:start' : 'panic:end', [], {})
  }

  #tell<Name extends keyof UpstreamEvents>(name: Name, args: UpstreamEvents[Name], message: object): void {
    this.#afterwards.add(() => this.#emit(name, args, message))
  }

  #emit<Name extends keyof UpstreamEvents>(name: Name, args: UpstreamEvents[Name], message: object): void {
    if (this.#disposal !== undefined) return
    channels[name].publish({ upstream: this, ...message })
    try {
      // The events' own types say which arguments each of them has.
      ;(this as EventEmitter).emit(name, ...args)
    } catch (error) {
      // We are called from within probes and settled leases, which a listener's bug must not stop; but nor must it
      // be hidden. Channels treat their subscribers the same.
      process.nextTick(() => {
        throw error
      })
    }
  }
}
