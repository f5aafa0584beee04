import type { HealthConfig } from './probes/config.ts'

/**
 * - `starting`: no probe has ended yet, or the name hasn't been looked up; takes traffic unless it has to wait for that.
 * - `up`: takes traffic.
 * - `down`: out of use, by probes, a mark, an ejection, the operator, or as its name has no address.
 * - `probation`: a mark's time is over; takes one try at a time, whose success ends the mark.
 * - `draining`: no longer in the set, but has tunnels or tries.
 * - `removed`: no longer in the set, and nothing is left of it.
 */
export type ServerState = 'starting' | 'up' | 'down' | 'probation' | 'draining' | 'removed'

/**
 * What moved a server to another state.
 *
 * - `probe`: its probes.
 * - `failures`: `maxFails` within `failTimeout`.
 * - `outlier`: it does worse than the others, see the option `outliers`.
 * - `expired`: the time of a mark or an ejection is over.
 * - `traffic`: a try that went well.
 * - `operator`: options, `setServers()` or `drain()`.
 * - `lookup`: the look-up of its name.
 * - `drained`: its last tunnel or try has ended.
 */
export type Reason =
  | 'probe'
  | 'failures'
  | 'outlier'
  | 'expired'
  | 'traffic'
  | 'operator'
  | 'lookup'
  | 'drained'

/** One try on a server, as its health remembers it. */
export interface Attempt {
  /** How often the server had been taken out when the try began. */
  readonly outs: number
}

/** What the operator may change while the server is in use. */
export interface HealthRules {
  readonly down: boolean
  readonly maxFails: number
  readonly failTimeout: number
}

/** What a server's health is part of. */
export interface HealthSurroundings {
  /** The probes' options; undefined without probes. */
  readonly health: Pick<HealthConfig, 'rise' | 'fall' | 'starting'> | undefined
}

/** Failed tries took the server out. Times are of the monotonic clock. */
interface Mark {
  readonly since: number
  readonly reason: 'failures' | 'outlier'
  /** Whether a try has to show that the server is well again, once the time is over; else probes do. */
  readonly onTrial: boolean
  over: boolean
}

/**
 * The state machine of one server, drawn in docs/health.md. Each thing that keeps a server out of use is kept by itself,
 * and the state follows from all of them: a server that both the operator and its probes hold down is back when both let
 * go of it.
 *
 * ```text
 *             ┌──────────┐  first good probe        ┌──────┐  time over, and only traffic can tell  ┌───────────┐
 *   added ───▶│ starting │─────────────────────────▶│  up  │◀────────────── a try went well ────────│ probation │
 *             └──────────┘                          └──────┘                                        └───────────┘
 *                   │    fall bad probes,            │    ▲  rise good probes,                        │     ▲
 *                   │    maxFails failures,          │    │  operator, look-up             a try failed│    │ failTimeout or
 *                   │    an outlier, operator,       ▼    │                                            ▼    │ ejection is over
 *                   │    look-up                   ┌────────────────────────────────────────────────────────┐
 *                   └─────────────────────────────▶│                          down                          │
 *                                                  └────────────────────────────────────────────────────────┘
 *   any of them ── no longer in the set ──▶ draining ── its last tunnel or try has ended ──▶ removed
 *   draining ── listed again ──▶ starting, up, down or probation
 * ```
 */
export class Health {
  readonly #around: HealthSurroundings
  readonly #moved: (from: ServerState, to: ServerState, reason: Reason) => void
  #rules: HealthRules
  #state: ServerState

  #located: 'pending' | 'yes' | 'no'
  #probed: 'starting' | 'up' | 'down'
  #good = 0
  #bad = 0

  #mark: Mark | undefined
  /** How often it was taken out, by a mark, by probes or by the operator. */
  #outs = 0
  #timer: NodeJS.Timeout | undefined
  /** Those under way that began in this probation: one, but for a panic, in which further ones are let through. */
  readonly #trials = new Set<Attempt>()
  #failures: number[] = []

  #left: 'draining' | 'removed' | undefined
  #stopped = false

  /**
   * @param moved - told of each transition, after it is done. Must not throw
   * @param located - whether it is known where the server is; if not, that is yet to be looked up
   */
  constructor(
    rules: HealthRules,
    around: HealthSurroundings,
    located: boolean,
    moved: (from: ServerState, to: ServerState, reason: Reason) => void
  ) {
    this.#rules = rules
    this.#around = around
    this.#moved = moved
    this.#located = located ? 'yes' : 'pending'
    this.#probed = around.health === undefined ? 'up' : 'starting'
    this.#state = this.#derive()
  }

  get state(): ServerState {
    return this.#state
  }

  /** Whether it takes a try now, as far as health goes. */
  get usable(): boolean {
    if (this.#state === 'up') return true
    if (this.#state === 'probation') return this.#trials.size === 0
    return this.#state === 'starting' && this.#located === 'yes' && this.#around.health?.starting !== 'wait'
  }

  /** Whether it is no more than bad health that keeps it out of use: in a panic it is used all the same. */
  get isReachable(): boolean {
    return this.#left === undefined && !this.#rules.down && this.#located === 'yes'
  }

  /** Whether it is no more than failures of earlier tries that keep it out of use: where nobody else is left, it is tried. */
  get isLastResort(): boolean {
    if (this.#mark === undefined || !this.isReachable || this.#probed === 'down') return false
    return this.#probed === 'up' || this.#around.health?.starting !== 'wait'
  }

  /** Whether it has a part in traffic, or would have one if it were well. */
  get isWanted(): boolean {
    return this.#left === undefined && !this.#rules.down
  }

  /** Whether it is known where it is. */
  get isLocated(): boolean {
    return this.#located === 'yes'
  }

  /** Whether probes have it down, whatever traffic met: then they come at their other interval. */
  get probedDown(): boolean {
    return this.#probed === 'down'
  }

  /** Whether it was taken out for doing worse than the others. */
  get isEjected(): boolean {
    return this.#mark?.reason === 'outlier'
  }

  /** Failures that count now. */
  get fails(): number {
    return this.#recentFailures().length
  }

  /** A try begins; in probation it is the one trial. */
  begin(): Attempt {
    const attempt = { outs: this.#outs }
    if (this.#state === 'probation') this.#trials.add(attempt)
    return attempt
  }

  /** A try went well. */
  succeeded(attempt: Attempt): void {
    this.#failures = []
    if (this.#mark === undefined) return
    // With probes a try that began before the mark proves less than they do. And some tries of an outlier do go well.
    // Only those count that began after it was marked: as the last resort, or in a panic.
    const mustBeNews = this.isEjected || !this.#mark.onTrial
    if (!mustBeNews || this.isNews(attempt)) this.#clearMark('traffic')
  }

  /** A try ended, and nobody can say how the server is. */
  cancelled(attempt: Attempt): void {
    this.#trials.delete(attempt)
  }

  /** Whether a failed try tells anything new: one that began before the server was last taken out tells of that outage. */
  isNews(attempt: Attempt): boolean {
    return attempt.outs === this.#outs
  }

  /**
   * A try failed by the server's fault, and it is news.
   *
   * @param isLast - whether no other server is well: then there is nothing to gain from a mark
   */
  failed(attempt: Attempt, isLast: boolean): void {
    const { maxFails, failTimeout } = this.#rules
    // Another one may be tried next, where failures put no mark.
    const isTrial = this.#trials.delete(attempt)
    if (maxFails === 0 || failTimeout === 0 || isLast) return
    // It is marked, and tried all the same: in a panic.
    if (this.#mark?.over === false) return
    this.#failures = [...this.#recentFailures(), performance.now()]
    if (isTrial || this.#failures.length >= maxFails) this.#putMark('failures', failTimeout)
  }

  /** It does worse than the others. Probes can't see that, so that a try has to show when it is over. */
  eject(time: number): void {
    this.#putMark('outlier', time)
  }

  /** It is no longer one of too many that do worse than the others. */
  pardon(reason: Reason): void {
    if (this.isEjected) this.#clearMark(reason)
  }

  /**
   * A probe ended.
   *
   * @param startedAt - of the monotonic clock
   */
  probed(ok: boolean, startedAt: number): void {
    const { health } = this.#around
    if (health === undefined) return
    if (!ok) {
      this.#good = 0
      this.#bad++
      if (this.#bad >= health.fall && this.#probed !== 'down') {
        this.#probed = 'down'
        this.#takenOut()
      }
      return this.#move('probe')
    }
    this.#bad = 0
    if (this.#mark !== undefined && startedAt < this.#mark.since) return
    this.#good++
    if (this.#probed === 'starting' || this.#good >= health.rise) this.#probed = 'up'
    if (this.#mark?.onTrial === false && this.#good >= health.rise) this.#clearMark('probe')
    else this.#move('probe')
  }

  /** Other rules by the operator. */
  update(rules: HealthRules): void {
    if (rules.down && !this.#rules.down) this.#takenOut()
    this.#rules = rules
    this.#move('operator')
  }

  /** Its name was looked up, and has an address or none. */
  located(found: boolean): void {
    this.#located = found ? 'yes' : 'no'
    this.#move('lookup')
  }

  /** It is no longer in the set. */
  leave(reason: Reason): void {
    this.#left = 'draining'
    this.#move(reason)
  }

  /** It is in the set again, before it was empty. Nobody has probed it meanwhile. */
  comeBack(reason: Reason): void {
    this.#left = undefined
    this.#good = 0
    this.#bad = 0
    if (this.#probed === 'up' && this.#around.health !== undefined) this.#probed = 'starting'
    this.#move(reason)
  }

  /** Nothing is left of it. */
  emptied(): void {
    this.#left = 'removed'
    this.stop()
    this.#move('drained')
  }

  /** Nobody asks any more: no timer is left. */
  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  #derive(): ServerState {
    if (this.#left !== undefined) return this.#left
    if (this.#rules.down || this.#located === 'no' || this.#probed === 'down') return 'down'
    if (this.#mark !== undefined) return this.#mark.over ? 'probation' : 'down'
    return this.#located === 'pending' ? 'starting' : this.#probed
  }

  /** The only place where the state changes. */
  #move(reason: Reason): void {
    const from = this.#state
    const to = this.#derive()
    if (from === to) return
    this.#state = to
    this.#moved(from, to, reason)
  }

  #putMark(reason: Mark['reason'], lasts: number): void {
    clearTimeout(this.#timer)
    const onTrial = reason === 'outlier' || this.#around.health === undefined
    const mark: Mark = { since: performance.now(), reason, onTrial, over: false }
    this.#mark = mark
    this.#takenOut()
    this.#good = 0
    // Without a trial it is probes that end it.
    if (onTrial && !this.#stopped) {
      this.#timer = setTimeout(() => {
        mark.over = true
        this.#move('expired')
      }, lasts)
      this.#timer.unref()
    }
    this.#move(reason)
  }

  /** What was under way tells of the time before. */
  #takenOut(): void {
    this.#outs++
    this.#trials.clear()
  }

  #clearMark(reason: Reason): void {
    clearTimeout(this.#timer)
    this.#mark = undefined
    this.#trials.clear()
    this.#failures = []
    this.#move(reason)
  }

  #recentFailures(): number[] {
    const oldest = performance.now() - this.#rules.failTimeout
    return this.#failures.filter(time => time >= oldest)
  }
}
