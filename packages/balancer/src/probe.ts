import { isExhausted } from '@ringway/core/errors'

import type { HealthConfig } from './probes/config.ts'
import { jittered } from './wait.ts'

/** How one probe went. */
export interface ProbeReport {
  /** Whether it was good. */
  readonly ok: boolean
  /** When it began, in milliseconds since 1970. */
  readonly at: number
  /** How long it took, in milliseconds. */
  readonly took: number
  /** The status, when there was an answer; 101 for a WebSocket. None from a TCP probe. */
  readonly status?: number
  /** What was wrong, when it wasn't good. */
  readonly error?: string
}

/** What one kind of probe finds out. It rejects when there is no whole answer, at the latest at the abort. */
export type Check = (signal: AbortSignal) => Promise<Pick<ProbeReport, 'ok' | 'status' | 'error'>>

/** Who is probed. */
export interface Probed {
  /** Told of each probe that ended by itself. `startedAt` is of the monotonic clock. Must not throw. */
  probed(report: ProbeReport, startedAt: number): void
  /** Whether its probes have it down. */
  readonly probedDown: boolean
}

type Times = Pick<HealthConfig, 'interval' | 'downInterval' | 'timeout'>

/** Probes one server again and again, one probe at a time. How it is done is the check's affair, when is ours. */
export class Probe {
  readonly #check: Check
  readonly #times: Times
  readonly #server: Probed
  #timer: NodeJS.Timeout | undefined
  #stop: AbortController = new AbortController()
  #running: Promise<void> | undefined

  constructor(check: Check, times: Times, server: Probed) {
    this.#check = check
    this.#times = times
    this.#server = server
  }

  /**
   * The first probe comes within the first second, at a random moment: a fleet of gateways that starts together
   * shouldn't knock at one server together.
   */
  start(): void {
    this.#schedule(Math.random() * Math.min(this.#times.interval, 1000))
  }

  /** No more probes, and no report of the one under way; resolves when nothing of it is left. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer)
    this.#stop.abort()
    await this.#running
  }

  #schedule(delay: number): void {
    this.#timer = setTimeout(() => {
      this.#running = this.#run()
    }, delay)
    this.#timer.unref()
  }

  async #run(): Promise<void> {
    const startedAt = performance.now()
    const report = await this.#probe(startedAt)
    if (this.#stop.signal.aborted) return
    if (report !== undefined) this.#server.probed(report, startedAt)
    // Who heard of it may have disposed of the upstream.
    if (this.#stop.signal.aborted) return
    // After the report, which says how long the pause is.
    this.#schedule(Math.max(0, this.#pause() - (performance.now() - startedAt)))
  }

  /** Gives nothing when it was for want of what this process has run out of: that says nothing of the server. */
  async #probe(startedAt: number): Promise<ProbeReport | undefined> {
    const { timeout } = this.#times
    const at = Date.now()
    const took = (): number => Math.round(performance.now() - startedAt)
    const limit = new AbortController()
    const abort = (): void => limit.abort()
    const timer = setTimeout(abort, timeout)
    timer.unref()
    this.#stop.signal.addEventListener('abort', abort)
    try {
      return { ...(await this.#check(limit.signal)), at, took: took() }
    } catch (error) {
      if (isExhausted(error)) return undefined
      const problem = limit.signal.aborted ? `no whole answer within ${timeout} ms` : describe(error)
      return { ok: false, at, took: took(), error: problem }
    } finally {
      clearTimeout(timer)
      this.#stop.signal.removeEventListener('abort', abort)
    }
  }

  /** ± 10 %, new each time, so that gateways that happen to be in step don't stay so. */
  #pause(): number {
    const { interval, downInterval } = this.#times
    return jittered(this.#server.probedDown ? downInterval : interval, 0.9, 1.1)
  }
}

/** An error in a few words. A refused connect to a name with several addresses has a code, but no message. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.message || String((error as NodeJS.ErrnoException).code)
}
