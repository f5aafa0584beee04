import type { Attempt } from './health.ts'
import type { Server, UpstreamServer } from './server.ts'

/**
 * How a lease ended. `ok`: the server did as it should. `failed`: it didn't, and it is the server's fault.
 * `cancelled`: nobody knows, for example because the client went away first.
 */
export type Outcome = 'ok' | 'failed' | 'cancelled'

/** Asks for the end of a tunnel whose server isn't the right one any more. */
export interface Recall {
  /** `drain`: the server leaves the set. `down`: it went out of use. `rebalance`: the key's own server is back. */
  readonly reason: 'drain' | 'down' | 'rebalance'
  /** The WebSocket close code to end it with, where that can be sent. */
  readonly code: number
  /** Whether there is no time left: the tunnel was asked before, and should be cut off. */
  readonly cut: boolean
}

/** One place on one server, from the choice of the server to the end of the tunnel. */
export interface Lease {
  /** The server that was chosen. */
  readonly server: UpstreamServer
  /**
   * The backend's valid 101 has come: the try is a success at this moment, and from now on the lease is a
   * tunnel. A second call, or one after `settle()`, does nothing.
   *
   * @param recall - called when the tunnel should end, see {@link Recall}; may be called again, to cut it off. What it
   *   throws is an uncaught exception. Default: the tunnel is left alone
   */
  opened(recall?: (recall: Recall) => void): void
  /**
   * Gives the place back. Before `opened()` the outcome tells how the try went. After it, `failed` says that the server
   * broke the tunnel off, which counts when it does that early, see {@link OutlierOptions.earlyDeath}; else a tunnel's end
   * says nothing of the server's health. A second call does nothing.
   */
  settle(outcome: Outcome): void
}

/** A lease on a server, which is told of each step once. */
export class ServerLease implements Lease {
  readonly server: Server
  /** By which it may be asked home. */
  readonly key: string | undefined
  /** When its server was chosen, of the monotonic clock. */
  readonly since: number = performance.now()
  readonly #attempt: Attempt
  #phase: 'handshake' | 'tunnel' | 'settled' = 'handshake'
  #openedAt = 0
  #recall: ((recall: Recall) => void) | undefined

  constructor(server: Server, key: string | undefined) {
    this.server = server
    this.key = key
    this.#attempt = server.begin()
  }

  opened(recall?: (recall: Recall) => void): void {
    if (this.#phase !== 'handshake') return
    this.#phase = 'tunnel'
    this.#recall = recall
    this.#openedAt = performance.now()
    this.server.opened(this.#attempt, this)
  }

  settle(outcome: Outcome): void {
    const phase = this.#phase
    this.#phase = 'settled'
    if (phase === 'settled') return
    if (phase === 'tunnel') {
      const openFor = outcome === 'failed' ? performance.now() - this.#openedAt : undefined
      return this.server.closed(this.#attempt, this, openFor)
    }
    if (outcome === 'ok') return this.server.answered(this.#attempt)
    if (outcome === 'failed') return this.server.failed(this.#attempt)
    this.server.cancelled(this.#attempt)
  }

  /** Asks for the tunnel's end, if somebody listens. */
  recall(recall: Recall): void {
    if (this.#phase === 'tunnel') this.#recall?.(recall)
  }
}
