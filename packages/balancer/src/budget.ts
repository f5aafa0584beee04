import { Counts } from './counts.ts'
import type { RetryBudgetOptions } from './options.ts'

/** Seconds that count. */
const WINDOW = 10

/**
 * A bound on repeated requests: no more than a share of those of the last ten seconds, and so many a second besides. After
 * Finagle's RetryBudget.
 */
export class Budget {
  readonly #options: Required<RetryBudgetOptions>
  readonly #counts = new Counts(WINDOW * 1000)

  constructor(options: Required<RetryBudgetOptions>) {
    this.#options = options
  }

  /** A request has come. */
  requested(): void {
    this.#counts.add(1, 0)
  }

  /** A request is sent once more. */
  repeated(): void {
    this.#counts.add(0, 1)
  }

  /** Whether one more may be sent again. */
  allows(): boolean {
    const { all, marked } = this.#counts.sum()
    return marked < all * this.#options.share + this.#options.floor * WINDOW
  }
}
