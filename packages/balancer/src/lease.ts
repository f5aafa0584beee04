import type { UpstreamServer } from './server.ts'

/**
 * How a lease ended. `ok`: the server answered as it should. `failed`: it didn't, and it is the server's fault.
 * `cancelled`: nobody knows, for example because the client went away first.
 */
export type Outcome = 'ok' | 'failed' | 'cancelled'

/** One place on one server, from the choice of the server to the end of the tunnel. */
export interface Lease {
  /** The server that was chosen. */
  readonly server: UpstreamServer
  /** The backend's valid 101 has come: the try is a success, and from now on the lease is a tunnel. */
  opened(): void
  /**
   * Gives the place back. Before `opened()` the outcome tells how the try went; after it the outcome says
   * nothing of the server's health: a tunnel's death isn't a failed try. A second call does nothing.
   */
  settle(outcome: Outcome): void
}
