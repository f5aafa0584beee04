import { RingwayError } from '@ringway/core'

import type { Lease } from './lease.ts'
import type { QueueOptions } from './options.ts'
import type { Server } from './server.ts'

/** Somebody who waits for a place on a server. */
interface Waiter {
  /** Where it waits now. */
  server: Server
  /** Whom it would go to now; undefined when no server is usable. May throw what a strategy throws. */
  readonly choose: () => Server | undefined
  /** Takes a place there. May throw too. */
  readonly take: (server: Server) => Lease
  readonly resolve: (lease: Lease | undefined) => void
  readonly reject: (error: unknown) => void
}

/**
 * Those who wait for a handshake's place on their server, the longest first. Nobody waits longer than the limit, and no
 * more than so many wait. A place that is freed is given away at once, so that nobody who comes then is quicker.
 */
export class Queue {
  readonly #options: Required<QueueOptions>
  readonly #waiters = new Set<Waiter>()

  constructor(options: Required<QueueOptions>) {
    this.#options = options
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiters.size
  }

  /**
   * Resolves with a lease when there is a place, with undefined when no server is usable any more. Rejects with
   * `ERR_RINGWAY_QUEUE_FULL`, `ERR_RINGWAY_QUEUE_TIMEOUT`, the signal's reason, or what `choose` throws.
   *
   * @param server - the one that was chosen and has no place
   * @param choose - chooses again
   * @param take - takes a place
   * @param signal - ends the wait
   */
  wait(
    server: Server,
    choose: () => Server | undefined,
    take: (server: Server) => Lease,
    signal: AbortSignal | undefined
  ): Promise<Lease | undefined> {
    const { size, timeout } = this.#options
    return new Promise((resolve, reject) => {
      if (this.#waiters.size >= size) {
        return reject(new RingwayError('ERR_RINGWAY_QUEUE_FULL', `${size} clients wait for a server already`))
      }
      const leave = (): void => {
        this.#waiters.delete(waiter)
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
      }
      const waiter: Waiter = {
        server,
        choose,
        take,
        resolve: lease => {
          leave()
          resolve(lease)
        },
        reject: error => {
          leave()
          reject(error)
        }
      }
      const abort = (): void => waiter.reject(signal!.reason)
      const timer = setTimeout(() => {
        const problem = `${waiter.server.id} had no place within ${timeout} ms`
        waiter.reject(new RingwayError('ERR_RINGWAY_QUEUE_TIMEOUT', problem))
      }, timeout)
      timer.unref()
      signal?.addEventListener('abort', abort)
      this.#waiters.add(waiter)
    })
  }

  /** A server has a place more, or can't be had any more. */
  turn(server: Server): void {
    for (const waiter of this.#waiters) {
      if (waiter.server !== server) continue
      if (server.usable && !server.hasPlace) return
      this.#chooseAgain(waiter)
    }
  }

  /** A server is back in use: some may have waited elsewhere for want of it. */
  turnAll(): void {
    for (const waiter of this.#waiters) this.#chooseAgain(waiter)
  }

  /** Nobody needs to wait any more: there are no servers. */
  end(): void {
    for (const waiter of this.#waiters) waiter.resolve(undefined)
  }

  #chooseAgain(waiter: Waiter): void {
    try {
      const server = waiter.choose()
      if (server === undefined) waiter.resolve(undefined)
      else if (server.hasPlace) waiter.resolve(waiter.take(server))
      else waiter.server = server
    } catch (error) {
      waiter.reject(error)
    }
  }
}
