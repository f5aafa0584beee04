import type { UpstreamOptions } from '../../src/index.ts'

/** What a random upstream is made of; all times are multiples of 10. */
export interface Rules {
  readonly probes: boolean
  readonly rise: number
  readonly fall: number
  readonly waits: boolean
  readonly consecutive: number
  readonly maxEjectedShare: number
  readonly panic: number
  readonly slowStart: number
  readonly pendingHandshakes: number
}

/** How one server is listed. */
export interface Listed {
  readonly id: string
  readonly port: number
  readonly weight: number
  readonly down: boolean
  readonly backup: boolean
  readonly maxConnections: number
  readonly maxFails: number
  readonly failTimeout: number
}

/** Ejections as docs/health.md tells of them. */
export const EJECTION = { time: 300, maxTime: 900 } as const

/** A try, as the model remembers it. */
export interface ModelTry {
  readonly server: ModelServer
  readonly began: number
}

/**
 * One server by the documents: what was seen of it, and what follows from that when somebody asks. No timers, no
 * transitions: the state is worked out from what happened and from the time.
 */
export class ModelServer {
  listed: Listed
  readonly #rules: Rules
  readonly #now: () => number
  left = false
  active = 0
  handshakes = 0

  #verdict: 'starting' | 'up' | 'down'
  #good = 0
  #bad = 0
  #failures: number[] = []
  /** Since when it is out by failures, until when, and why; until Infinity where probes bring it back. */
  #out: { since: number; until: number; why: 'failures' | 'outlier' } | undefined
  /** The order of all that happens, to tell what began before what. */
  #outs = 0
  /** Those under way that began in this probation; more than one by a panic. */
  #trials: ModelTry[] = []
  /** Those of them that began at the very moment when its failures' time was over: in a panic, they may have been first. */
  #unsure: ModelTry[] = []
  #failedInARow = 0
  #ejections = 0
  #wellSince = 0
  /** When it came back into use, or joined, for the slow start; undefined when that is over or never began. */
  backSince: number | undefined
  #wasOut: boolean

  constructor(listed: Listed, rules: Rules, now: () => number, joins: boolean) {
    this.listed = listed
    this.#rules = rules
    this.#now = now
    this.#verdict = rules.probes ? 'starting' : 'up'
    this.#wasOut = joins
    this.look()
  }

  get state(): string {
    if (this.left) return this.active + this.handshakes > 0 ? 'draining' : 'removed'
    if (this.listed.down || this.#verdict === 'down') return 'down'
    if (this.#out === undefined) return this.#verdict
    return this.#now() < this.#out.until ? 'down' : 'probation'
  }

  get isWell(): boolean {
    return this.state === 'up' || (this.state === 'starting' && !this.#rules.waits)
  }

  get isFull(): boolean {
    return this.listed.maxConnections > 0 && this.active + this.handshakes >= this.listed.maxConnections
  }

  get usable(): boolean {
    return !this.isFull && (this.isWell || (this.state === 'probation' && this.#trials.length === 0))
  }

  /** Whether only failures keep it out, so that it is tried where nobody else is left. */
  get usableAsLast(): boolean {
    if (this.#out === undefined || this.left || this.listed.down || this.isFull) return false
    return this.#verdict === 'up' || (this.#verdict === 'starting' && !this.#rules.waits)
  }

  /** Whether the time of its failures is over at this very moment, of which others may hear first. */
  get isJustOver(): boolean {
    return this.#out?.until === this.#now()
  }

  get ejected(): boolean {
    return this.#out?.why === 'outlier'
  }

  get fails(): number {
    return this.#failures.filter(time => time >= this.#now() - this.listed.failTimeout).length
  }

  get hasPlace(): boolean {
    return this.#rules.pendingHandshakes === 0 || this.handshakes < this.#rules.pendingHandshakes
  }

  /** The part of its keys that it takes. */
  get ramp(): number {
    if (this.backSince === undefined || this.#rules.slowStart === 0) return 1
    return Math.min(1, (this.#now() - this.backSince) / this.#rules.slowStart)
  }

  /** It is listed otherwise, or again before it was empty: nobody has probed it meanwhile. */
  list(listed: Listed): void {
    if (listed.down && !this.listed.down) this.#isOutAgain()
    this.listed = listed
    if (this.left) {
      this.left = false
      this.#good = 0
      this.#bad = 0
      if (this.#rules.probes && this.#verdict === 'up') this.#verdict = 'starting'
    }
    this.look()
  }

  /** To be called after whatever may have changed its state: notes when it comes back. */
  look(): void {
    if (this.isWell) {
      if (this.#wasOut) this.backSince = this.#now()
      this.#wasOut = false
    } else {
      if (this.state !== 'starting') this.#wasOut = true
      this.backSince = undefined
    }
  }

  /** Which of them were first is seen of whether it takes another one. */
  learn(usable: boolean): void {
    if (this.#unsure.length === 0 || this.isFull) return
    if (usable) this.#trials = this.#trials.filter(each => !this.#unsure.includes(each))
    this.#unsure = []
  }

  begin(): ModelTry {
    const attempt = { server: this, began: this.#outs }
    if (this.state === 'probation') {
      this.#trials.push(attempt)
      if (this.isJustOver) this.#unsure.push(attempt)
    }
    this.handshakes++
    return attempt
  }

  succeeded(attempt: ModelTry): void {
    this.#failures = []
    this.#failedInARow = 0
    if (this.ejected) this.#wellSince = Math.max(this.#wellSince, this.#now())
    const probesDecide = this.#out?.until === Infinity
    const isOld = (this.ejected || probesDecide) && attempt.began < this.#outs
    if (this.#out !== undefined && !isOld) this.#back()
    this.look()
  }

  cancelled(attempt: ModelTry): void {
    this.#trials = this.#trials.filter(each => each !== attempt)
  }

  failed(attempt: ModelTry, all: readonly ModelServer[]): void {
    if (attempt.began < this.#outs) return
    const { consecutive } = this.#rules
    const isTrial = this.#trials.includes(attempt)
    if (consecutive > 0) {
      this.#failedInARow++
      const again = this.ejected && this.state === 'probation'
      if ((this.#failedInARow >= consecutive || again) && this.#eject(all)) return this.look()
    }
    this.cancelled(attempt)
    const { maxFails, failTimeout } = this.listed
    const isLast = all.every(each => each === this || !each.isWell)
    const isOutNow = this.#out !== undefined && this.#now() < this.#out.until
    if (maxFails === 0 || failTimeout === 0 || isLast || isOutNow) return
    this.#failures = [...this.#failures.filter(time => time >= this.#now() - failTimeout), this.#now()]
    if (isTrial || this.#failures.length >= maxFails) {
      this.#takeOut('failures', this.#rules.probes ? Infinity : this.#now() + failTimeout)
    }
    this.look()
  }

  probed(ok: boolean, startedAt: number): void {
    const { rise, fall } = this.#rules
    if (!ok) {
      this.#good = 0
      if (++this.#bad >= fall && this.#verdict !== 'down') {
        this.#verdict = 'down'
        this.#isOutAgain()
      }
    } else {
      this.#bad = 0
      if (this.#out !== undefined && startedAt < this.#out.since) return
      this.#good++
      if (this.#verdict === 'starting' || this.#good >= rise) this.#verdict = 'up'
      if (this.#out?.until === Infinity && this.#good >= rise) this.#back()
    }
    this.look()
  }

  #eject(all: readonly ModelServer[]): boolean {
    const now = this.#now()
    const others = all.filter(each => each !== this && each.ejected).length
    if (this.state === 'down' || this.left) return false
    if (all.every(each => each === this || !each.isWell)) return false
    if (all.length === 1 || others + 1 > all.length * this.#rules.maxEjectedShare) return false
    const forgiven = this.ejected ? 0 : Math.max(0, Math.floor((now - this.#wellSince) / EJECTION.time))
    this.#ejections = Math.max(0, this.#ejections - forgiven) + 1
    this.#wellSince = now + Math.min(EJECTION.time * this.#ejections, EJECTION.maxTime)
    this.#failedInARow = 0
    this.#takeOut('outlier', this.#wellSince)
    return true
  }

  /** The set has changed, and too many of what is left are out. */
  pardon(): void {
    this.#back()
    this.look()
  }

  #takeOut(why: 'failures' | 'outlier', until: number): void {
    this.#out = { since: this.#now(), until, why }
    this.#isOutAgain()
    this.#good = 0
  }

  /** Whatever is under way tells of the time before. */
  #isOutAgain(): void {
    this.#outs++
    this.#trials = []
  }

  #back(): void {
    this.#out = undefined
    this.#trials = []
    this.#failures = []
  }
}

/** Whether so few are well that all are used. */
export function isPanic(servers: readonly ModelServer[], { panic }: Rules): boolean {
  const wanted = servers.filter(({ listed }) => !listed.down)
  const judged = wanted.filter(
    server => !server.listed.backup && (server.state !== 'starting' || server.isWell)
  )
  const well = judged.filter(({ isWell }) => isWell).length
  const backup = wanted.some(server => server.listed.backup && server.isWell)
  return panic > 0 && !backup && judged.length > 0 && well / judged.length < panic
}

/** The options that stand for the rules. */
export function optionsOf(rules: Rules, servers: readonly Listed[]): UpstreamOptions {
  return {
    servers: servers.map(listed => ({ ...listed, host: '127.0.0.1' })),
    ...(rules.probes
      ? {
          health: { type: 'tcp', rise: rules.rise, fall: rules.fall, starting: rules.waits ? 'wait' : 'take' }
        }
      : {}),
    ...(rules.consecutive > 0
      ? {
          outliers: {
            consecutive: rules.consecutive,
            share: 0,
            ...EJECTION,
            maxEjectedShare: rules.maxEjectedShare
          }
        }
      : {}),
    panic: rules.panic,
    slowStart: rules.slowStart,
    pendingHandshakes: rules.pendingHandshakes
  }
}
