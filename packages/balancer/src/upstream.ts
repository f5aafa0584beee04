import { channel } from 'node:diagnostics_channel'
import { EventEmitter } from 'node:events'

import { RingwayError, order } from '@ringway/core'
import type { Member, Strategy, Table } from '@ringway/core'

import { Budget } from './budget.ts'
import { checkUpstream } from './config.ts'
import type { RetryConfig, UpstreamConfig } from './config.ts'
import { ServerLease } from './lease.ts'
import type { Lease } from './lease.ts'
import type { UpstreamOptions } from './options.ts'
import { Probe } from './probe.ts'
import { makeCheck } from './probes/check.ts'
import { Queue } from './queue.ts'
import { Server } from './server.ts'
import type { Reason, UpstreamServer } from './server.ts'
import type { UpstreamStats } from './stats.ts'
import { Tries } from './tries.ts'

/** The events of an {@link Upstream}, with their arguments. */
export interface UpstreamEvents {
  /** A server went out of use. */
  'server:down': [server: UpstreamServer, reason: Reason]
  /** A server came back into use. */
  'server:up': [server: UpstreamServer, reason: Reason]
}

/** What {@link Upstream.acquire} may be told. */
export interface AcquireOptions {
  /** Servers not to take, as they were tried already. Default: none. */
  except?: ReadonlySet<UpstreamServer>
  /** Ends the wait for a lease: the promise rejects with the signal's reason. */
  signal?: AbortSignal
}

/** A strategy with what it made of the servers, and of the backups if there are any. */
interface Placement {
  readonly strategy: Strategy
  readonly table: Table
  readonly backups: Table | undefined
}

const channels = { 'server:up': channel('ringway:server:up'), 'server:down': channel('ringway:server:down') }

/**
 * A set of servers, what is known of their health, and who takes the next key.
 *
 * Emits `server:down` and `server:up` with the server and the reason, and publishes the same as
 * `{ upstream, server, reason }` on the diagnostics channels `ringway:server:down` and `ringway:server:up`. A
 * listener that throws is an uncaught exception, but does no harm to the upstream.
 */
export class Upstream extends EventEmitter<UpstreamEvents> {
  /** All servers, in the order of the options. */
  readonly servers: readonly UpstreamServer[]
  /** Whether the strategy looks at keys; when not, none need be computed. */
  readonly keyed: boolean

  readonly #servers: ReadonlyMap<Member, Server>
  readonly #placement: Placement
  readonly #keyless: Placement
  readonly #probes: readonly Probe[]
  readonly #queue: Queue
  readonly #retry: RetryConfig
  readonly #budget: Budget | undefined
  #disposal: Promise<void> | undefined

  /**
   * Checks the options, builds the tables and starts the probes.
   *
   * @param options - see each field; a bad one throws a `ConfigError` that names it
   * @param path - put before the names of fields in errors, such as `upstream`. Default: none
   */
  constructor(options: UpstreamOptions, path = '') {
    super()
    const config = checkUpstream(options, path)
    this.#queue = new Queue(config.queue)
    this.#retry = config.retry
    this.#budget = config.retry.budget && new Budget(config.retry.budget)
    this.#servers = this.#makeServers(config)
    this.servers = [...this.#servers.values()]
    this.#placement = this.#place(config.strategy)
    this.#keyless = this.#place(config.keyless)
    this.keyed = config.strategy.keyed !== false
    // Last, since nothing above may throw with probes running.
    this.#probes = this.#startProbes(config)
  }

  /**
   * Takes a place on the server that the key belongs to, or on the next usable one in the key's order; backups come
   * when no other server is usable. The place counts as a handshake when this call returns, unless the server has as
   * many as `pendingHandshakes` allows: then this waits for one to end. Gives `undefined` when no server is usable, or
   * after disposal.
   *
   * Rejects with the signal's reason, with what a strategy throws, and with `ERR_RINGWAY_QUEUE_FULL` or
   * `ERR_RINGWAY_QUEUE_TIMEOUT`; then no place is taken.
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
    const acquire = (except: ReadonlySet<UpstreamServer>): Promise<Lease | undefined> =>
      this.acquire(key, signal === undefined ? { except } : { except, signal })
    return new Tries(acquire, this.#retry, this.#budget)
  }

  /**
   * The key's whole order of preference, backups last, whatever the servers' state. Throws `ERR_RINGWAY_STRATEGY` when the
   * strategy looks at no key and so has no order.
   *
   * @param key - the client's key
   */
  order(key: string): UpstreamServer[] {
    const { strategy, table, backups } = this.#placement
    if (!this.keyed) throw strategyError(strategy, 'looks at no key, so a key has no order of servers')
    const members = [...order(table, key), ...(backups === undefined ? [] : order(backups, key))]
    return members.map(member => this.#serverOf(member, strategy))
  }

  /** What is known now, as plain data. */
  stats(): UpstreamStats {
    return {
      strategy: this.#placement.strategy.name,
      keyless: this.#keyless.strategy.name,
      waiting: this.#queue.waiting,
      servers: Array.from(this.#servers.values(), server => server.stats())
    }
  }

  /**
   * Ends the probes and waits until nothing is left of those under way. `acquire()` gives undefined from now on, also to
   * those who wait; no more events come; leases that are out may still be settled.
   */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposal === undefined) {
      this.#disposal = Promise.all(this.#probes.map(probe => probe.stop())).then(() => undefined)
      this.#queue.end()
    }
    return this.#disposal
  }

  #take(
    key: string | undefined,
    { except, signal }: AcquireOptions
  ): Lease | undefined | Promise<Lease | undefined> {
    signal?.throwIfAborted()
    const choose = (): Server | undefined => this.#choose(key, except)
    const server = choose()
    if (server === undefined) return undefined
    return server.hasPlace ? new ServerLease(server) : this.#queue.wait(server, choose, signal)
  }

  #choose(key: string | undefined, except: ReadonlySet<UpstreamServer> | undefined): Server | undefined {
    if (this.#disposal !== undefined) return undefined
    const { strategy, table, backups } = this.keyed && !key ? this.#keyless : this.#placement
    const usable = (member: Member): boolean => {
      const server = this.#serverOf(member, strategy)
      return server.usable && !except?.has(server)
    }
    const load = (member: Member): number => this.#serverOf(member, strategy).load
    const picked = table.pick(key ?? '', usable, load) ?? backups?.pick(key ?? '', usable, load)
    if (picked === undefined) return undefined
    // A strategy of the user's that ignores `usable` would send the same client to a dead server for ever.
    if (!usable(picked)) throw strategyError(strategy, `picked ${picked.id}, which is not usable now`)
    return this.#serverOf(picked, strategy)
  }

  #serverOf(member: Member, strategy: Strategy): Server {
    const server = this.#servers.get(member)
    if (server === undefined)
      throw strategyError(strategy, 'made a member of its own; use those given to build()')
    return server
  }

  #place(strategy: Strategy): Placement {
    const isBackup = (member: Member): boolean => this.#servers.get(member)!.backup
    const members = [...this.#servers.keys()]
    const backups = members.filter(isBackup)
    return {
      strategy,
      table: strategy.build(members.filter(member => !isBackup(member))),
      backups: backups.length === 0 ? undefined : strategy.build(backups)
    }
  }

  #makeServers({ servers, health, pendingHandshakes }: UpstreamConfig): ReadonlyMap<Member, Server> {
    const around = {
      health,
      alone: servers.length === 1,
      pendingHandshakes,
      freed: (server: Server) => this.#queue.turn(server),
      announce: this.#announce.bind(this)
    }
    return new Map(
      servers.map(server => [
        Object.freeze({ id: server.id, weight: server.weight }),
        new Server(server, around)
      ])
    )
  }

  #startProbes({ servers, health }: UpstreamConfig): Probe[] {
    if (health === undefined) return []
    const probes = [...this.#servers.values()]
      .filter((_, i) => servers[i]?.down === false)
      .map(server => new Probe(makeCheck(server, health), health, server))
    for (const probe of probes) probe.start()
    return probes
  }

  #announce(server: Server, inUse: boolean, reason: Reason): void {
    if (this.#disposal !== undefined) return
    // Whoever waits must look elsewhere, or may look here.
    if (inUse) this.#queue.turnAll()
    else this.#queue.turn(server)
    const name = inUse ? 'server:up' : 'server:down'
    channels[name].publish({ upstream: this, server, reason })
    try {
      this.emit(name, server, reason)
    } catch (error) {
      // We are called from within probes and settled leases, which a listener's bug must not stop; but nor must it
      // be hidden. Channels treat their subscribers the same.
      process.nextTick(() => {
        throw error
      })
    }
  }
}

function strategyError(strategy: Strategy, problem: string): RingwayError {
  return new RingwayError('ERR_RINGWAY_STRATEGY', `strategy ${strategy.name} ${problem}`)
}
