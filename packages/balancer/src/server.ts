import { isDeepStrictEqual } from 'node:util'

import type { ServerAddress } from './address.ts'
import type { ServerConfig } from './config.ts'
import type { ServerTls } from './options.ts'
import type { ProbeReport } from './probe.ts'
import type { HealthConfig } from './probes/config.ts'
import type { ServerStats } from './stats.ts'

/**
 * See the diagram in the README. Only `up` and `starting` take all traffic, `starting` not when the probes' options
 * say `wait`; `probation` takes one try at a time. `draining` is no longer in the set but has tunnels or tries, `removed`
 * has none any more.
 */
export type ServerState = 'starting' | 'up' | 'down' | 'probation' | 'draining' | 'removed'

/**
 * What moved a server in or out of use: its probes, failed tries, a try that went well, or the operator, who set or took
 * away `down`.
 */
export type Reason = 'probe' | 'failures' | 'traffic' | 'operator'

/** One server of an upstream, as it is now. */
export interface UpstreamServer {
  /** What is hashed; unique in its upstream. */
  readonly id: string
  /** Its share of the keys, 1 to 10000. */
  readonly weight: number
  /** Whether it takes traffic only when no server that isn't a backup is usable. */
  readonly backup: boolean
  /** Where to dial. */
  readonly address: ServerAddress
  /** How to speak TLS to it, with `servername` and `rejectUnauthorized` filled in; `undefined` for plain text. */
  readonly tls: ServerTls | undefined
  /** What is known of its health. */
  readonly state: ServerState
  /** Whether a new try may go to it now. */
  readonly usable: boolean
  /** Open tunnels. */
  readonly active: number
  /** Tries under way whose end isn't known yet. */
  readonly handshakes: number
}

/** One try on a server, as the server remembers it. */
export interface Attempt {
  /** How often the server had been marked when the try began. */
  readonly marks: number
}

/** A passive mark: failed tries took the server out at `since`. Times are of the monotonic clock. */
interface Mark {
  readonly since: number
  readonly until: number
}

/** How a server is run within its upstream. */
export interface ServerSurroundings {
  /** The probes' options; undefined without probes. */
  readonly health: Pick<HealthConfig, 'rise' | 'fall' | 'starting'> | undefined
  /** Whether it is the upstream's only server now, which is never marked: there is nothing to gain from it. */
  readonly alone: boolean
  /** So many tries may be under way; 0 is no limit. */
  readonly pendingHandshakes: number
  /** Told when a try is no longer under way, or a tunnel has ended, after the counts are right. Must not throw. */
  readonly freed: (server: Server) => void
  /** Told of each move in or out of use, after the move is done. Must not throw. */
  readonly announce: (server: Server, inUse: boolean, reason: Reason) => void
}

/**
 * The state machine of one server. Two things keep it out of use, each with its own way back:
 *
 * ```text
 * probes    starting ──1 good──▶ up ──fall bad──▶ down ──rise good──▶ up     (starting ──fall bad──▶ down)
 * traffic   no mark ──maxFails within failTimeout──▶ marked
 *           with probes:     marked ──rise good probes──▶ no mark
 *           without probes:  marked ──failTimeout──▶ probation ──a success──▶ no mark
 *                                                    probation ──a failure──▶ marked
 * ```
 *
 * Marks end by looking at the clock when somebody asks, so no timer is needed for them.
 */
export class Server implements UpstreamServer {
  readonly id: string
  readonly address: ServerAddress
  readonly tls: ServerTls | undefined
  active = 0
  handshakes = 0

  #config: ServerConfig
  readonly #around: ServerSurroundings
  readonly #totals = { leases: 0, opened: 0, failed: 0 }

  #probed: 'starting' | 'up' | 'down'
  #good = 0
  #bad = 0
  #lastProbe: ProbeReport | null = null

  #mark: Mark | undefined
  #marks = 0
  #leaving = false
  #trial: Attempt | undefined
  #failures: number[] = []
  #inUse: boolean

  constructor(config: ServerConfig, around: ServerSurroundings) {
    this.id = config.id
    this.address = config.address
    this.tls = config.tls
    this.#config = config
    this.#around = around
    this.#probed = around.health === undefined ? 'up' : 'starting'
    this.#inUse = !config.down && !this.#awaited
  }

  get weight(): number {
    return this.#config.weight
  }

  get state(): ServerState {
    if (this.#leaving) return this.load > 0 ? 'draining' : 'removed'
    if (this.#config.down || this.#probed === 'down') return 'down'
    if (this.#mark === undefined) return this.#probed
    if (this.#around.health !== undefined) return 'down'
    return performance.now() < this.#mark.until ? 'down' : 'probation'
  }

  get usable(): boolean {
    if (this.#leaving) return false
    const { maxConnections } = this.#config
    if (maxConnections > 0 && this.load >= maxConnections) return false
    const state = this.state
    return state === 'probation' ? this.#trial === undefined : state !== 'down' && !this.#awaited
  }

  /** Whether a try may begin at once; if not, it waits for one to end. */
  get hasPlace(): boolean {
    const { pendingHandshakes } = this.#around
    return pendingHandshakes === 0 || this.handshakes < pendingHandshakes
  }

  /** Whether it takes traffic only when no other server does. */
  get backup(): boolean {
    return this.#config.backup
  }

  /** Whether probes have it down, whatever traffic met: then they come at their other interval. */
  get probedDown(): boolean {
    return this.#probed === 'down'
  }

  /** Open tunnels and handshakes: what strategies call the load. */
  get load(): number {
    return this.active + this.handshakes
  }

  /** Whether it is to be probed. */
  get isProbed(): boolean {
    return !this.#config.down && !this.#leaving
  }

  /** Whether other options are for the same server: what makes it another one is where and how it is reached. */
  isSame(config: ServerConfig): boolean {
    const { id, address, tls } = this.#config
    return id === config.id && isDeepStrictEqual([address, tls], [config.address, config.tls])
  }

  /** Takes other options for the same server; its counts and its health stay. */
  update(config: ServerConfig): void {
    this.#config = config
    this.#tell('operator')
  }

  /** It is no longer in the set: no new tries; what it has may end. */
  leave(): void {
    this.#leaving = true
    this.#inUse = false
  }

  /** A try begins; in probation it is the one trial. */
  begin(): Attempt {
    const attempt = { marks: this.#marks }
    if (this.state === 'probation') this.#trial = attempt
    this.handshakes++
    this.#totals.leases++
    return attempt
  }

  /** The try became a tunnel, which is its success: the tunnel's end may be days away. */
  opened(): void {
    this.handshakes--
    this.active++
    this.#totals.opened++
    this.#succeed()
    this.#around.freed(this)
  }

  /** The tunnel ended, however it did. */
  closed(): void {
    this.active--
    this.#around.freed(this)
  }

  /** The try ended well without a tunnel: the server answered with another status, honestly. */
  answered(): void {
    this.handshakes--
    this.#succeed()
    this.#around.freed(this)
  }

  /** The try ended, and nobody can say whether the server is well. */
  cancelled(attempt: Attempt): void {
    this.handshakes--
    if (attempt === this.#trial) this.#trial = undefined
    this.#around.freed(this)
  }

  /** The try failed by the server's fault. */
  failed(attempt: Attempt): void {
    this.handshakes--
    this.#totals.failed++
    this.#countFailure(attempt)
    this.#around.freed(this)
  }

  #countFailure(attempt: Attempt): void {
    const { maxFails, failTimeout } = this.#config
    if (maxFails === 0 || failTimeout === 0 || this.#around.alone) return
    // It began before the last mark, so it tells of the outage that the mark is about, not of the server since.
    // A silent server's handshakes fail a minute later, maybe long after it came back.
    if (attempt.marks !== this.#marks) return

    this.#failures = [...this.#recentFailures(), performance.now()]
    if (attempt !== this.#trial && this.#failures.length < maxFails) return
    this.#putMark()
  }

  /** A probe ended. `startedAt` is of the monotonic clock. */
  probed(report: ProbeReport, startedAt: number): void {
    const { health } = this.#around
    if (health === undefined) return
    this.#lastProbe = report
    if (!report.ok) {
      this.#good = 0
      this.#bad++
      if (this.#bad >= health.fall) this.#probed = 'down'
      return this.#tell('probe')
    }
    this.#bad = 0
    if (this.#mark !== undefined && startedAt < this.#mark.since) return
    this.#good++
    if (this.#probed === 'starting' || this.#good >= health.rise) this.#probed = 'up'
    if (this.#mark !== undefined && this.#good >= health.rise) this.#clearMark()
    this.#tell('probe')
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
      active: this.active,
      handshakes: this.handshakes,
      fails: this.#recentFailures().length,
      totals: { ...this.#totals },
      probe: this.#lastProbe
    }
  }

  /** Whether its first good probe has to come before any traffic does. */
  get #awaited(): boolean {
    return this.#probed === 'starting' && this.#around.health?.starting === 'wait'
  }

  #succeed(): void {
    this.#failures = []
    // With probes a mark is theirs to clear: a try that began before the mark proves less than `rise` probes.
    if (this.#mark === undefined || this.#around.health !== undefined) return
    this.#clearMark()
    this.#tell('traffic')
  }

  #putMark(): void {
    const now = performance.now()
    this.#mark = { since: now, until: now + this.#config.failTimeout }
    this.#marks++
    this.#good = 0
    this.#trial = undefined
    this.#tell('failures')
  }

  #clearMark(): void {
    this.#mark = undefined
    this.#trial = undefined
    this.#failures = []
  }

  #recentFailures(): number[] {
    const oldest = performance.now() - this.#config.failTimeout
    return this.#failures.filter(time => time >= oldest)
  }

  /** Probation is still out of use: it is one try, whose success ends it. */
  #tell(reason: Reason): void {
    if (this.#leaving) return
    const held = this.#config.down || this.#probed === 'down' || this.#awaited
    const inUse = !held && this.#mark === undefined
    if (inUse === this.#inUse) return
    this.#inUse = inUse
    this.#around.announce(this, inUse, reason)
  }
}
