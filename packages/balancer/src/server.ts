import { isDeepStrictEqual } from 'node:util'

import type { ServerAddress } from './address.ts'
import type { ServerConfig } from './server-config.ts'
import { Health } from './health.ts'
import type { Attempt, HealthSurroundings, Reason, ServerState } from './health.ts'
import type { ServerLease } from './lease.ts'
import type { ServerTls } from './options.ts'
import type { Outliers } from './outliers.ts'
import type { ProbeReport } from './probe.ts'
import type { ServerStats } from './stats.ts'

/** One server of an upstream, as it is now. */
export interface UpstreamServer {
  /** What is hashed. Unique in its upstream, but for a name with several addresses: each is a server with that id. */
  readonly id: string
  /** Its share of the keys, 1 to 10000. */
  readonly weight: number
  /** Whether it takes traffic only when no server that isn't a backup is usable. */
  readonly backup: boolean
  /** Where to dial. A name was looked up, so this is an address, but before the first look-up has told any. */
  readonly address: ServerAddress
  /** How to speak TLS to it, with `servername` and `rejectUnauthorized` filled in; `undefined` for plain text. */
  readonly tls: ServerTls | undefined
  /** The PROXY header that a connection to it begins with; `undefined` for none. */
  readonly sendProxy: 'v1' | 'v2' | undefined
  /** What is known of its health. */
  readonly state: ServerState
  /** Whether a new try may go to it now. */
  readonly usable: boolean
  /** Open tunnels. */
  readonly active: number
  /** Tries under way whose end isn't known yet. */
  readonly handshakes: number
}

/** Open tunnels and tries under way. */
export interface Load {
  active: number
  handshakes: number
}

/** How a server is run within its upstream. */
export interface ServerSurroundings extends HealthSurroundings {
  /** So many tries may be under way on each server; 0 is no limit. */
  readonly pendingHandshakes: number
  /** What all servers carry together, kept by each of them. */
  readonly load: Load
  /** Those whose slow start is under way, kept by each of them. */
  readonly ramping: Set<Server>
  readonly outliers: Outliers | undefined
  /** Whether no other server of the set is well. */
  readonly isLast: (server: Server) => boolean
  /** Told when a try has become a tunnel. Must not throw. */
  readonly opened: (server: Server, lease: ServerLease) => void
  /**
   * Told when a try is no longer under way, or a tunnel has ended, after the counts are right; and when it can be
   * had as the last one, or can't any more. Must not throw.
   */
  readonly freed: (server: Server) => void
  /** Told of each transition, after it is done. Must not throw. */
  readonly moved: (server: Server, from: ServerState, to: ServerState, reason: Reason) => void
}

/** One server: its health, what it carries, and whether it may take more. */
export class Server implements UpstreamServer {
  readonly id: string
  readonly tls: ServerTls | undefined
  readonly sendProxy: 'v1' | 'v2' | undefined
  readonly tunnels: Set<ServerLease> = new Set()
  active = 0
  handshakes = 0

  #config: ServerConfig
  #address: ServerAddress
  readonly #around: ServerSurroundings
  readonly #health: Health
  readonly #totals = { leases: 0, opened: 0, failed: 0 }
  #lastProbe: ProbeReport | null = null
  /** Whether it takes its traffic slowly when it is in use next. */
  #isRested: boolean
  /** When its slow start began, of the monotonic clock. */
  #rampSince: number | undefined

  /**
   * @param address - undefined until the config's name is looked up
   * @param joins - whether it joins a set that has traffic already
   */
  constructor(
    config: ServerConfig,
    address: ServerAddress | undefined,
    around: ServerSurroundings,
    joins: boolean
  ) {
    this.id = config.id
    this.tls = config.tls
    this.sendProxy = config.sendProxy
    this.#config = config
    this.#address = address ?? config.address
    this.#around = around
    this.#isRested = joins
    this.#health = new Health(config, around, address !== undefined, (from, to, reason) =>
      this.#moved(from, to, reason)
    )
  }

  get address(): ServerAddress {
    return this.#address
  }

  /** Its address as it was written: a name, where `address` is what the name stands for. */
  get written(): ServerAddress {
    return this.#config.address
  }

  get weight(): number {
    return this.#config.weight
  }

  get backup(): boolean {
    return this.#config.backup
  }

  get state(): ServerState {
    return this.#health.state
  }

  get usable(): boolean {
    return this.#health.usable && !this.#isFull
  }

  /** Whether it may be used when too few are well. */
  get usableInPanic(): boolean {
    return this.#health.isReachable && !this.#isFull
  }

  /** Whether it may be tried when nobody else is left. */
  get usableAsLast(): boolean {
    return this.#health.isLastResort && !this.#isFull
  }

  /** Whether health lets it take traffic, full or not. */
  get isWell(): boolean {
    return this.#health.usable && this.state !== 'probation'
  }

  /** Whether it is in the set. */
  get isListed(): boolean {
    return this.state !== 'draining' && this.state !== 'removed'
  }

  /** Whether it is meant to take traffic. */
  get isWanted(): boolean {
    return this.#health.isWanted
  }

  /** Whether it does worse than the others. */
  get isEjected(): boolean {
    return this.#health.isEjected
  }

  /** Whether its probes have it down. */
  get probedDown(): boolean {
    return this.#health.probedDown
  }

  /** Whether it is to be probed. */
  get isProbed(): boolean {
    return this.#health.isReachable
  }

  /** Whether it was full until its last tunnel or try ended. */
  get wasFull(): boolean {
    return this.load + 1 === this.#config.maxConnections
  }

  /** Whether a try may begin at once; if not, it waits for one to end. */
  get hasPlace(): boolean {
    const { pendingHandshakes } = this.#around
    return pendingHandshakes === 0 || this.handshakes < pendingHandshakes
  }

  /** Open tunnels and handshakes: what strategies call the load. */
  get load(): number {
    return this.active + this.handshakes
  }

  /** The share of its traffic that it takes now: below 1 in a slow start. */
  get ramp(): number {
    if (this.#rampSince === undefined) return 1
    const share = (performance.now() - this.#rampSince) / this.#config.slowStart
    if (share < 1) return share
    this.#rampSince = undefined
    this.#around.ramping.delete(this)
    return 1
  }

  /** In milliseconds; 0 for none. */
  get slowStart(): number {
    return this.#config.slowStart
  }

  /** Whether other options are for the same server: what makes it another one is where and how it is reached. */
  isSame(config: ServerConfig): boolean {
    const { id, address, tls, sendProxy } = this.#config
    if (id !== config.id || sendProxy !== config.sendProxy) return false
    return isDeepStrictEqual([address, tls], [config.address, config.tls])
  }

  /** Takes other options for the same server; its counts and its health stay. */
  update(config: ServerConfig): void {
    this.#config = config
    this.#health.update(config)
  }

  /** Its name was looked up for the first time: an address, or none yet. */
  locate(address: ServerAddress | undefined): void {
    if (address !== undefined) this.#address = address
    this.#health.located(address !== undefined)
  }

  /** Whether it is known where it is. */
  get isLocated(): boolean {
    return this.#health.isLocated
  }

  /** It is in the set now. */
  join(): void {
    this.#followRamp()
  }

  /** It is no longer in the set: no new tries; what it has may end. */
  leave(reason: Reason): void {
    this.#rampSince = undefined
    this.#around.ramping.delete(this)
    this.#health.leave(reason)
  }

  /** It is in the set again, with what it still carries. */
  comeBack(reason: Reason): void {
    this.#health.comeBack(reason)
  }

  /** It has left, and nothing is left of it. */
  emptied(): void {
    this.#health.emptied()
  }

  /** No timer of its is left. */
  stop(): void {
    this.#health.stop()
  }

  /** A try begins; in probation it is the one trial. */
  begin(): Attempt {
    const attempt = this.#health.begin()
    this.handshakes++
    this.#around.load.handshakes++
    this.#totals.leases++
    return attempt
  }

  /** The try became a tunnel, which is its success: the tunnel's end may be days away. */
  opened(attempt: Attempt, lease: ServerLease): void {
    this.#endTry()
    this.active++
    this.#around.load.active++
    this.tunnels.add(lease)
    this.#totals.opened++
    this.#succeed(attempt)
    this.#around.opened(this, lease)
    this.#around.freed(this)
  }

  /**
   * The tunnel ended.
   *
   * @param openFor - milliseconds, when it was the server that broke it off
   */
  closed(attempt: Attempt, lease: ServerLease, openFor: number | undefined): void {
    this.active--
    this.#around.load.active--
    this.tunnels.delete(lease)
    const { outliers } = this.#around
    if (outliers !== undefined && openFor !== undefined && openFor < outliers.earlyDeath) {
      if (this.#health.isNews(attempt)) outliers.diedEarly(this)
    }
    this.#around.freed(this)
  }

  /** The try ended well without a tunnel: the server answered with another status, honestly. */
  answered(attempt: Attempt): void {
    this.#endTry()
    this.#succeed(attempt)
    this.#around.freed(this)
  }

  /** The try ended, and nobody can say whether the server is well. */
  cancelled(attempt: Attempt): void {
    this.#endTry()
    this.#health.cancelled(attempt)
    this.#around.freed(this)
  }

  /** The try failed by the server's fault. */
  failed(attempt: Attempt): void {
    this.#endTry()
    this.#totals.failed++
    if (this.#health.isNews(attempt) && this.#around.outliers?.failed(this) !== true) {
      this.#health.failed(attempt, this.#around.isLast(this))
    }
    this.#around.freed(this)
  }

  /** It does worse than the others: out for so many milliseconds. */
  eject(time: number): void {
    this.#health.eject(time)
  }

  /** It is back in use, though it was taken out for doing worse. */
  pardon(reason: Reason): void {
    this.#health.pardon(reason)
  }

  /** A probe ended. `startedAt` is of the monotonic clock. */
  probed(report: ProbeReport, startedAt: number): void {
    this.#lastProbe = report
    const wasLast = this.usableAsLast
    this.#health.probed(report.ok, startedAt)
    // Failures may have it down, so that nothing moves; but those are told who wait for it as the last one, or would.
    if (this.usableAsLast !== wasLast) this.#around.freed(this)
  }

  /** What is known now, as plain data. */
  stats(): ServerStats {
    return {
      id: this.id,
      address: this.address,
      weight: this.weight,
      backup: this.backup,
      maxConnections: this.#config.maxConnections,
      state: this.state,
      usable: this.usable,
      ejected: this.isEjected,
      ramp: this.ramp,
      active: this.active,
      handshakes: this.handshakes,
      fails: this.#health.fails,
      totals: { ...this.#totals },
      probe: this.#lastProbe
    }
  }

  get #isFull(): boolean {
    const { maxConnections } = this.#config
    return maxConnections > 0 && this.load >= maxConnections
  }

  #endTry(): void {
    this.handshakes--
    this.#around.load.handshakes--
  }

  #succeed(attempt: Attempt): void {
    this.#around.outliers?.succeeded(this)
    this.#health.succeeded(attempt)
  }

  #moved(from: ServerState, to: ServerState, reason: Reason): void {
    this.#followRamp()
    this.#around.moved(this, from, to, reason)
  }

  #followRamp(): void {
    if (!this.isWell) {
      // A server that only waits for its first probe, or its address, has not been out of use.
      if (this.state !== 'starting') this.#isRested = true
      this.#rampSince = undefined
      this.#around.ramping.delete(this)
    } else if (this.#isRested) {
      this.#isRested = false
      if (this.slowStart === 0) return
      this.#rampSince = performance.now()
      this.#around.ramping.add(this)
    }
  }
}
