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

  /** Takes one repetition, if there is one left; gives what {@link Budget.giveBack} wants to know. */
  take(): number | undefined {
    const { all, marked } = this.#counts.sum()
    const isLeft = marked < all * this.#options.share + this.#options.floor * WINDOW
    return isLeft ? this.#counts.add(0, 1) : undefined
  }

  /** What was taken wasn't needed. */
  giveBack(taken: number): void {
    this.#counts.unmark(taken)
  }
}
