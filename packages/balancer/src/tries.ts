import { Budget } from './budget.ts'
import type { RetryConfig } from './config.ts'
import type { Lease } from './lease.ts'
import type { UpstreamServer } from './server.ts'

/**
 * How {@link Tries} gets its leases.
 *
 * @param until - of the monotonic clock: `undefined` is the answer then
 */
export type Acquire = (except: ReadonlySet<UpstreamServer>, until: number) => Promise<Lease | undefined>

/**
 * The tries of one request, each on another server, within the upstream's `retry`. Make one for a request with
 * `upstream.tries()`, and ask it for a lease until one of them has answered.
 */
export class Tries {
  readonly #acquire: Acquire
  readonly #retry: RetryConfig
  readonly #budget: Budget | undefined
  readonly #tried = new Set<UpstreamServer>()
  /** Of the monotonic clock; unknown before the first try. */
  #deadline = Infinity

  /** @internal */
  constructor(acquire: Acquire, retry: RetryConfig, budget: Budget | undefined) {
    this.#acquire = acquire
    this.#retry = retry
    this.#budget = budget
  }

  /**
   * A lease on the next server, or `undefined` when none is usable or no further try is allowed. Rejects as
   * `upstream.acquire()` does.
   *
   * @param sent - whether the last try had sent the request to its server, so that this one repeats it. Default: false
   */
  async next(sent = false): Promise<Lease | undefined> {
    const { tries, total } = this.#retry
    const isFirst = this.#tried.size === 0
    if (isFirst) this.#budget?.requested()
    else if (this.#tried.size >= tries || performance.now() >= this.#deadline) return undefined
    // Counted before the wait for a place, or all who wait would be allowed by what was left for one.
    const budget = sent && !isFirst ? this.#budget : undefined
    const taken = budget?.take()
    if (budget !== undefined && taken === undefined) return undefined
    let lease: Lease | undefined
    try {
      lease = await this.#acquire(this.#tried, this.#deadline)
    } finally {
      if (taken !== undefined && lease === undefined) budget?.giveBack(taken)
    }
    if (lease === undefined) return undefined
    if (isFirst && total > 0) this.#deadline = performance.now() + total
    this.#tried.add(lease.server)
    return lease
  }
}
