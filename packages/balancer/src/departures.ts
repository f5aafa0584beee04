import type { ServerLease } from './lease.ts'
import type { DrainOptions } from './options.ts'
import type { Join, RecallPlan, Recalls } from './recalls.ts'
import type { Server } from './server.ts'

/** A server that left the set and isn't empty yet. */
interface Departure {
  /** Fulfilled when nothing of it is left, or nobody asks any more. */
  readonly gone: Promise<void>
  readonly resolve: () => void
  /** Asks one more tunnel to end; undefined while none is asked. */
  join: Join | undefined
  /** When what is left is cut off, of the monotonic clock; undefined while none is asked. */
  endsAt: number | undefined
}

/** The servers that left the set and still have tunnels or tries. */
export class Departures {
  readonly #departures = new Map<Server, Departure>()
  readonly #recalls: Recalls

  constructor(recalls: Recalls) {
    this.#recalls = recalls
  }

  /** Those that aren't empty yet. */
  get servers(): Server[] {
    return [...this.#departures.keys()]
  }

  /** A server has left the set. */
  add(server: Server): void {
    let resolve!: () => void
    const gone = new Promise<void>(fulfil => {
      resolve = fulfil
    })
    this.#departures.set(server, { gone, resolve, join: undefined, endsAt: undefined })
  }

  /** A server is in the set; gives whether it had left. Its tunnels are asked no more. */
  remove(server: Server): boolean {
    return this.#forget(server)
  }

  /**
   * Asks the tunnels of these servers to end, of each evenly, unless they are asked already and would be cut off sooner.
   * Fulfilled when they are gone, or in the set again.
   */
  async drain(servers: readonly Server[], options: Required<DrainOptions>): Promise<void> {
    for (const server of servers) {
      const departure = this.#departures.get(server)
      const endsAt = performance.now() + options.deadline
      if (departure === undefined || endsAt >= (departure.endsAt ?? Infinity)) continue
      departure.endsAt = endsAt
      const plan: RecallPlan = {
        ...options,
        reason: 'drain',
        delay: 0,
        leases: () => server.tunnels,
        isWanted: () => this.#departures.get(server) === departure && departure.endsAt === endsAt
      }
      this.#recalls.begin(plan, join => {
        departure.join = join
      })
    }
    await Promise.all(servers.map(async server => this.#departures.get(server)?.gone))
  }

  /** A tunnel has opened: when its server is being drained, it must end too. */
  opened(server: Server, lease: ServerLease): void {
    this.#departures.get(server)?.join?.(lease)
  }

  /** A server has become empty; gives whether it had left. */
  emptied(server: Server): boolean {
    return this.#forget(server)
  }

  #forget(server: Server): boolean {
    const departure = this.#departures.get(server)
    this.#departures.delete(server)
    departure?.resolve()
    return departure !== undefined
  }

  /** Nobody asks any more. */
  end(): void {
    for (const [server, { resolve }] of this.#departures) {
      server.stop()
      resolve()
    }
  }
}
