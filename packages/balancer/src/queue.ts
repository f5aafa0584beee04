import { RingwayError } from '@ringway/core'

import type { Lease } from './lease.ts'
import type { QueueOptions } from './options.ts'
import type { Server } from './server.ts'

/** Whom a client would go to now, or who has a place for it; undefined when there is none. May throw what a strategy throws. */
type Choose = (withPlace: boolean) => Server | undefined

/** Somebody who waits for a place on a server. */
interface Waiter {
  /** Where it waits now. */
  server: Server
  /** Whether a place on any other server will do. */
  takesAny: boolean
  /** Whether some were tried, so that for it those that are out may be the last ones though others are well. */
  readonly isRetry: boolean
  readonly choose: Choose
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
  readonly #mayBeChosen: (server: Server) => boolean
  readonly #waiters = new Set<Waiter>()
  /** Servers that were full and aren't, for which not all were asked yet who wait elsewhere. */
  readonly #unasked = new WeakSet<Server>()

  /** @param mayBeChosen - whether a server may be chosen now by somebody who needs no place at once */
  constructor(options: Required<QueueOptions>, mayBeChosen: (server: Server) => boolean) {
    this.#options = options
    this.#mayBeChosen = mayBeChosen
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiters.size
  }

  /**
   * Resolves with a lease when there is a place, with undefined when no server is usable any more. Who has waited for half
   * of the limit, or can't wait as the queue is full, takes a place on any other server. Rejects with
   * `ERR_RINGWAY_QUEUE_FULL`, `ERR_RINGWAY_QUEUE_TIMEOUT`, the signal's reason, or what `choose` throws.
   *
   * @param server - the one that was chosen and has no place
   * @param choose - chooses again
   * @param take - takes a place
   * @param signal - ends the wait
   * @param until - of the monotonic clock: resolves with undefined then
   * @param isRetry - whether it may not have all servers
   */
  wait(
    server: Server,
    choose: Choose,
    take: (server: Server) => Lease,
    signal: AbortSignal | undefined,
    until: number,
    isRetry: boolean
  ): Promise<Lease | undefined> {
    const { size } = this.#options
    const timeout = Math.min(this.#options.timeout, until - performance.now())
    return new Promise((resolve, reject) => {
      if (this.#waiters.size >= size) {
        const elsewhere = choose(true)
        if (elsewhere !== undefined) return resolve(take(elsewhere))
        return reject(new RingwayError('ERR_RINGWAY_QUEUE_FULL', `${size} clients wait for a server already`))
      }
      const leave = (): void => {
        this.#waiters.delete(waiter)
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
      }
      const waiter: Waiter = {
        server,
        takesAny: false,
        isRetry,
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
      const expire = (): void => {
        if (timeout < this.#options.timeout) return waiter.resolve(undefined)
        const problem = `${waiter.server.id} had no place within ${timeout} ms`
        waiter.reject(new RingwayError('ERR_RINGWAY_QUEUE_TIMEOUT', problem))
      }
      const half = Math.ceil(timeout / 2)
      let timer = setTimeout(() => {
        timer = setTimeout(expire, timeout - half)
        timer.unref()
        waiter.takesAny = true
        this.#chooseAgain(waiter)
      }, half)
      timer.unref()
      signal?.addEventListener('abort', abort)
      this.#waiters.add(waiter)
    })
  }

  /**
   * A server has a place more.
   *
   * @param wasFull - whether it couldn't be had before: those who wait elsewhere may want it
   */
  turn(server: Server, wasFull = false): void {
    const all = this.#unasked.delete(server) || wasFull
    const wasUsable = server.usable
    for (const waiter of this.#waiters) {
      const mayBeChosen = this.#mayBeChosen(server)
      // Somebody has become its one trial meanwhile: then it is no better than others that are out.
      const isTaken = wasUsable && !server.usable
      if (mayBeChosen && !server.hasPlace && !isTaken) {
        // With many who wait it takes long to ask them all, for nothing.
        if (all) this.#unasked.add(server)
        return
      }
      const { takesAny, isRetry } = waiter
      const mayTake = mayBeChosen ? all || takesAny : (takesAny || isRetry) && isLastWithPlace(server)
      if (waiter.server === server || mayTake) this.#chooseAgain(waiter)
    }
  }

  /**
   * Other servers can be had now: some may have waited elsewhere for want of one.
   *
   * @param gone - it is only this one, which can't be had any more. Default: all who wait are asked
   */
  turnAll(gone?: Server): void {
    for (const waiter of this.#waiters) {
      if (gone === undefined || waiter.server === gone) this.#chooseAgain(waiter)
    }
  }

  /** Nobody needs to wait any more: there are no servers. */
  end(): void {
    for (const waiter of this.#waiters) waiter.resolve(undefined)
  }

  #chooseAgain(waiter: Waiter): void {
    try {
      const server = (waiter.takesAny ? waiter.choose(true) : undefined) ?? waiter.choose(false)
      if (server === undefined) waiter.resolve(undefined)
      else if (server.hasPlace) waiter.resolve(waiter.take(server))
      else waiter.server = server
    } catch (error) {
      waiter.reject(error)
    }
  }
}

/** Whether it will do for somebody who takes any place. */
function isLastWithPlace(server: Server): boolean {
  return server.usableAsLast && server.hasPlace
}
