import type { RetryBudgetOptions } from './options.ts'

/** Seconds that count. */
const WINDOW = 10

/**
 * A bound on repeated requests: no more than a share of those of the last ten seconds, and so many a second besides. After
 * Finagle's RetryBudget.
 */
export class Budget {
  readonly #options: Required<RetryBudgetOptions>
  /** For each of the last seconds, by its number modulo the window. */
  readonly #seconds = Array.from({ length: WINDOW }, () => ({ second: -1, requests: 0, repeats: 0 }))

  constructor(options: Required<RetryBudgetOptions>) {
    this.#options = options
  }

  /** A request has come. */
  requested(): void {
    this.#now().requests++
  }

  /** A request is sent once more. */
  repeated(): void {
    this.#now().repeats++
  }

  /** Whether one more may be sent again. */
  allows(): boolean {
    const oldest = this.#now().second - WINDOW + 1
    let requests = 0
    let repeats = 0
    for (const each of this.#seconds) {
      if (each.second < oldest) continue
      requests += each.requests
      repeats += each.repeats
    }
    return repeats < requests * this.#options.share + this.#options.floor * WINDOW
  }

  #now(): { second: number; requests: number; repeats: number } {
    const second = Math.floor(performance.now() / 1000)
    const now = this.#seconds[second % WINDOW]!
    if (now.second !== second) Object.assign(now, { second, requests: 0, repeats: 0 })
    return now
  }
}
