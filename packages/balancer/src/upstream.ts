import { channel } from 'node:diagnostics_channel'
import { EventEmitter } from 'node:events'

import { Budget } from './budget.ts'
import { checkServers, checkUpstream } from './config.ts'
import type { ServerConfig, UpstreamConfig } from './config.ts'
import { ServerLease } from './lease.ts'
import type { Lease } from './lease.ts'
import type { UpstreamOptions } from './options.ts'
import { Probe } from './probe.ts'
import { makeCheck } from './probes/check.ts'
import { Queue } from './queue.ts'
import { Server } from './server.ts'
import type { Reason, ServerSurroundings, UpstreamServer } from './server.ts'
import { ServerSet } from './set.ts'
import type { UpstreamStats } from './stats.ts'
import { Tries } from './tries.ts'

/** The events of an {@link Upstream}, with their arguments. */
export interface UpstreamEvents {
  /** A server went out of use. */
  'server:down': [server: UpstreamServer, reason: Reason]
  /** A server came back into use. */
  'server:up': [server: UpstreamServer, reason: Reason]
  /** A server joined the set. */
  'server:added': [server: UpstreamServer]
  /** A server left the set, and takes nothing new. */
  'server:draining': [server: UpstreamServer]
  /** A server that left the set has no tunnel and no try any more. */
  'server:removed': [server: UpstreamServer]
}

/** What {@link Upstream.acquire} may be told. */
export interface AcquireOptions {
  /** Servers not to take, as they were tried already. Default: none. */
  except?: ReadonlySet<UpstreamServer>
  /** Ends the wait for a lease: the promise rejects with the signal's reason. */
  signal?: AbortSignal
}

const channels = {
  'server:up': channel('ringway:server:up'),
  'server:down': channel('ringway:server:down'),
  'server:added': channel('ringway:server:added'),
  'server:draining': channel('ringway:server:draining'),
  'server:removed': channel('ringway:server:removed')
}

/**
 * A set of servers, what is known of their health, and who takes the next key.
 *
 * Emits `server:down` and `server:up` with the server and the reason, `server:added`, `server:draining` and
 * `server:removed` with the server, and publishes the same as `{ upstream, server, reason }` on the diagnostics channels
 * `ringway:server:down` and so on. A listener that throws is an uncaught exception, but does no harm to the upstream.
 */
export class Upstream extends EventEmitter<UpstreamEvents> {
  /** Whether the strategy looks at keys; when not, none need be computed. */
  readonly keyed: boolean

  readonly #config: UpstreamConfig
  readonly #path: string
  readonly #around: ServerSurroundings
  /** Those that left the set and still have tunnels or tries. */
  readonly #draining = new Set<Server>()
  readonly #probes = new Map<Server, Probe>()
  #set: ServerSet
  readonly #queue: Queue
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
    this.#config = config
    this.#path = path
    this.#queue = new Queue(config.queue)
    this.#budget = config.retry.budget && new Budget(config.retry.budget)
    this.#around = this.#makeSurroundings()
    this.keyed = config.strategy.keyed !== false
    this.#set = new ServerSet(
      config.servers.map(server => new Server(server, this.#around)),
      config
    )
    // Last, since nothing above may throw with probes running.
    this.#followProbes()
  }

  /** All servers: those of the set in the order of the options, then those that are draining. */
  get servers(): readonly UpstreamServer[] {
    return [...this.#set.servers, ...this.#draining]
  }

  /**
   * Changes the set while traffic runs. A server that stays, by its id, keeps its tunnels, counts and health, whatever
   * its weight and limits are now; one with another address or TLS is another server. Keys move only as the strategy
   * needs. A server that isn't listed any more takes nothing new: its tunnels stay until they end, and then it is removed.
   *
   * @param servers - as in the options; a bad one throws a `ConfigError` that names it, or a strategy throws, and nothing
   *   is changed
   */
  setServers(servers: UpstreamOptions['servers']): void {
    const path = this.#path === '' ? 'servers' : `${this.#path}.servers`
    const configs = checkServers(servers, path, this.#config.marks)
    if (this.#disposal !== undefined) return
    const known = new Map(this.#set.servers.map(server => [server.id, server]))
    const staying = new Map<Server, ServerConfig>()
    const next = configs.map(config => {
      const server = known.get(config.id)
      if (server?.isSame(config) !== true) return new Server(config, this.#around)
      staying.set(server, config)
      return server
    })
    // What could throw is tried out on copies, since a server's weight is its own.
    const members = configs.map(({ id, weight }) => ({ id, weight }))
    this.#config.strategy.build(members)
    this.#config.keyless.build(members)

    const before = this.#set
    for (const [server, config] of staying) server.update(config)
    this.#set = new ServerSet(next, this.#config, before)
    const added = next.filter(server => !staying.has(server))
    const gone = before.servers.filter(server => !staying.has(server))
    for (const server of gone) {
      server.leave()
      this.#draining.add(server)
    }
    this.#followProbes()
    this.#queue.turnAll()
    for (const server of added) this.#tell('server:added', server)
    for (const server of gone) this.#tell('server:draining', server)
    for (const server of gone) this.#freed(server)
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
      waiting: this.#queue.waiting,
      servers: [...this.#set.servers, ...this.#draining].map(server => server.stats())
    }
  }

  /**
   * Ends the probes and waits until nothing is left of those under way. `acquire()` gives undefined from now on, also to
   * those who wait; no more events come; leases that are out may still be settled.
   */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposal === undefined) {
      this.#disposal = Promise.all(Array.from(this.#probes.values(), async probe => probe.stop())).then(
        () => undefined
      )
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
    return this.#set.choose(key, server => server.usable && !except?.has(server))
  }

  #makeSurroundings(): ServerSurroundings {
    const set = (): ServerSet => this.#set
    return {
      health: this.#config.health,
      get alone() {
        return set().servers.length === 1
      },
      pendingHandshakes: this.#config.pendingHandshakes,
      freed: server => this.#freed(server),
      announce: (server, inUse, reason) => this.#announce(server, inUse, reason)
    }
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
    this.#queue.turn(server)
    if (server.load > 0 || !this.#draining.delete(server)) return
    this.#tell('server:removed', server)
  }

  #announce(server: Server, inUse: boolean, reason: Reason): void {
    if (this.#disposal !== undefined) return
    // Whoever waits must look elsewhere, or may look here.
    if (inUse) this.#queue.turnAll()
    else this.#queue.turn(server)
    this.#tell(inUse ? 'server:up' : 'server:down', server, reason)
  }

  #tell(name: keyof UpstreamEvents, server: Server, reason?: Reason): void {
    if (this.#disposal !== undefined) return
    channels[name].publish(
      reason === undefined ? { upstream: this, server } : { upstream: this, server, reason }
    )
    try {
      // The events' own types say which of them have a reason.
      ;(this as EventEmitter).emit(name, server, ...(reason === undefined ? [] : [reason]))
    } catch (error) {
      // We are called from within probes and settled leases, which a listener's bug must not stop; but nor must it
      // be hidden. Channels treat their subscribers the same.
      process.nextTick(() => {
        throw error
      })
    }
  }
}
