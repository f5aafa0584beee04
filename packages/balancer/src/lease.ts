import type { Attempt, Server, UpstreamServer } from './server.ts'

/**
 * How a lease ended. `ok`: the server answered as it should. `failed`: it didn't, and it is the server's fault.
 * `cancelled`: nobody knows, for example because the client went away first.
 */
export type Outcome = 'ok' | 'failed' | 'cancelled'

/** One place on one server, from the choice of the server to the end of the tunnel. */
export interface Lease {
  /** The server that was chosen. */
  readonly server: UpstreamServer
  /**
   * The backend's valid 101 has come: the try is a success at this moment, and from now on the lease is a
   * tunnel. A second call, or one after `settle()`, does nothing.
   */
  opened(): void
  /**
   * Gives the place back. Before `opened()` the outcome tells how the try went; after it the outcome says
   * nothing of the server's health: a tunnel's death isn't a failed try. A second call does nothing.
   */
  settle(outcome: Outcome): void
}

/** A lease on a server, which is told of each step once. */
export class ServerLease implements Lease {
  readonly server: Server
  readonly #attempt: Attempt
  #phase: 'handshake' | 'tunnel' | 'settled' = 'handshake'

  constructor(server: Server) {
    this.server = server
    this.#attempt = server.begin()
  }

  opened(): void {
    if (this.#phase !== 'handshake') return
    this.#phase = 'tunnel'
    this.server.opened()
  }

  settle(outcome: Outcome): void {
    const phase = this.#phase
    this.#phase = 'settled'
    if (phase === 'settled') return
    if (phase === 'tunnel') return this.server.closed()
    if (outcome === 'ok') return this.server.answered()
    if (outcome === 'failed') return this.server.failed(this.#attempt)
    this.server.cancelled(this.#attempt)
  }
}
