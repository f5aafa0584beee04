import { Budget } from './budget.ts'
import type { RetryConfig } from './config.ts'
import type { Lease } from './lease.ts'
import type { UpstreamServer } from './server.ts'

/** How {@link Tries} gets its leases. */
export type Acquire = (except: ReadonlySet<UpstreamServer>) => Promise<Lease | undefined>

/**
 * The tries of one request, each on another server, within the upstream's `retry`. Make one for a request with
 * `upstream.tries()`, and ask it for a lease until one of them has answered.
 */
export class Tries {
  readonly #acquire: Acquire
  readonly #retry: RetryConfig
  readonly #budget: Budget | undefined
  readonly #tried = new Set<UpstreamServer>()
  readonly #deadline: number

  /** @internal */
  constructor(acquire: Acquire, retry: RetryConfig, budget: Budget | undefined) {
    this.#acquire = acquire
    this.#retry = retry
    this.#budget = budget
    this.#deadline = retry.total === 0 ? Infinity : performance.now() + retry.total
  }

  /**
   * A lease on the next server, or `undefined` when none is usable or no further try is allowed. Rejects as
   * `upstream.acquire()` does.
   *
   * @param sent - whether the last try had sent the request to its server, so that this one repeats it. Default: false
   */
  async next(sent = false): Promise<Lease | undefined> {
    const isFirst = this.#tried.size === 0
    if (isFirst) this.#budget?.requested()
    else if (this.#tried.size >= this.#retry.tries || performance.now() >= this.#deadline) return undefined
    else if (sent && this.#budget?.allows() === false) return undefined
    const lease = await this.#acquire(this.#tried)
    if (lease === undefined) return undefined
    if (sent && !isFirst) this.#budget?.repeated()
    this.#tried.add(lease.server)
    return lease
  }
}
