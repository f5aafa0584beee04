import type { ServerTls } from './options.ts'

/** Where a server listens. */
export type ServerAddress = { readonly host: string; readonly port: number } | { readonly socketPath: string }

/** See the diagram in the README. Only `up` and `starting` take all traffic; `probation` takes one try at a time. */
export type ServerState = 'starting' | 'up' | 'down' | 'probation'

/** What moved a server in or out of use: its probes, failed tries, or a try that went well. */
export type Reason = 'probe' | 'failures' | 'traffic'

/** One server of an upstream, as it is now. */
export interface UpstreamServer {
  /** What is hashed; unique in its upstream. */
  readonly id: string
  /** Its share of the keys, 1 to 10000. */
  readonly weight: number
  /** Where to dial. */
  readonly address: ServerAddress
  /** How to speak TLS to it, with `servername` and `rejectUnauthorized` filled in; `undefined` for plain text. */
  readonly tls: ServerTls | undefined
  /** What is known of its health. */
  readonly state: ServerState
  /** Whether a new try may go to it now. */
  readonly usable: boolean
  /** Open tunnels. */
  readonly active: number
  /** Tries under way whose end isn't known yet. */
  readonly handshakes: number
}
