import type { ServerAddress } from './address.ts'
import type { ProbeReport } from './probe.ts'
import type { ServerState } from './health.ts'

/** Counts since the upstream's start. */
export interface ServerTotals {
  /** Leases taken. */
  readonly leases: number
  /** Leases that became tunnels, or got another answer that takes time. */
  readonly opened: number
  /** Leases that failed before they were tunnels. */
  readonly failed: number
}

/** One server in the upstream's statistics. */
export interface ServerStats {
  /** Its id. */
  readonly id: string
  /** Where it listens. */
  readonly address: ServerAddress
  /** Its share of the keys. */
  readonly weight: number
  /** Whether it takes traffic only when no other server does. */
  readonly backup: boolean
  /** So many connections make it full; 0 is no limit. */
  readonly maxConnections: number
  /** What is known of its health. */
  readonly state: ServerState
  /** Whether a new try may go to it now. */
  readonly usable: boolean
  /** Whether it is out for doing worse than the others. */
  readonly ejected: boolean
  /** The part of its traffic that it takes now, 0 to 1: below 1 in a slow start. */
  readonly ramp: number
  /** Open tunnels. */
  readonly active: number
  /** Tries under way. */
  readonly handshakes: number
  /** Failures that count now: within the last `failTimeout`, and since the last success. */
  readonly fails: number
  /** Since the start. */
  readonly totals: ServerTotals
  /** The last probe; null before the first, and without probes. */
  readonly probe: ProbeReport | null
}

/** What `upstream.stats()` gives: plain data, fit for JSON. */
export interface UpstreamStats {
  /** The strategy's name. */
  readonly strategy: string
  /** The name of the strategy for requests without a key. */
  readonly keyless: string
  /** Clients that wait for a handshake's place. */
  readonly waiting: number
  /** Open tunnels of all servers. */
  readonly active: number
  /** Tries under way on all servers. */
  readonly handshakes: number
  /** Whether all servers are used, well or not, as too few are well. */
  readonly panic: boolean
  /** In the order of the options, then those that are draining. */
  readonly servers: readonly ServerStats[]
}
