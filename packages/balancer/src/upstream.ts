import { EventEmitter } from 'node:events'

import type { Lease } from './lease.ts'
import type { UpstreamOptions } from './options.ts'
import type { Reason, ServerAddress, ServerState, UpstreamServer } from './server.ts'

/** How one probe went. */
export interface ProbeReport {
  /** Whether it was good. */
  readonly ok: boolean
  /** When it began, in milliseconds since 1970. */
  readonly at: number
  /** How long it took, in milliseconds. */
  readonly took: number
  /** The status, when there was an answer. */
  readonly status?: number
  /** What was wrong, when it wasn't good. */
  readonly error?: string
}

/** One server in {@link UpstreamStats}. */
export interface ServerStats {
  /** Its id. */
  readonly id: string
  /** Where it listens. */
  readonly address: ServerAddress
  /** Its share of the keys. */
  readonly weight: number
  /** What is known of its health. */
  readonly state: ServerState
  /** Whether a new try may go to it now. */
  readonly usable: boolean
  /** Open tunnels. */
  readonly active: number
  /** Tries under way. */
  readonly handshakes: number
  /** Failures that count now: within the last `failTimeout` and since the last success. */
  readonly fails: number
  /** Since the start. */
  readonly totals: ServerTotals
  /** The last probe; null before the first and without probes. */
  readonly probe: ProbeReport | null
}

/** Counts since the upstream's start. */
export interface ServerTotals {
  /** Leases taken. */
  readonly leases: number
  /** Leases that became tunnels. */
  readonly opened: number
  /** Leases that failed before they were tunnels. */
  readonly failed: number
}

/** What {@link Upstream.stats} gives: plain data, fit for JSON. */
export interface UpstreamStats {
  /** The strategy's name. */
  readonly strategy: string
  /** The name of the strategy for requests without a key. */
  readonly keyless: string
  /** In the order of the options. */
  readonly servers: readonly ServerStats[]
}

/** The events of an {@link Upstream}, with their arguments. */
export interface UpstreamEvents {
  /** A server went out of use. */
  'server:down': [server: UpstreamServer, reason: Reason]
  /** A server came back into use. */
  'server:up': [server: UpstreamServer, reason: Reason]
}

/** What {@link Upstream.acquire} may be told. */
export interface AcquireOptions {
  /** Servers not to take, as they were tried already. */
  except?: ReadonlySet<UpstreamServer>
  /** Ends the wait for a lease. */
  signal?: AbortSignal
}

/** A set of servers, what is known of their health, and who takes the next key. */
export class Upstream extends EventEmitter<UpstreamEvents> {
  /** All servers, in the order of the options. */
  readonly servers: readonly UpstreamServer[]
  /** Whether the strategy looks at keys; when not, none need be computed. */
  readonly keyed: boolean

  /**
   * Checks the options, builds the tables and starts the probes.
   *
   * @param options - see each field
   * @param path - put before the names of fields in errors, such as `upstream`. Default: none
   */
  constructor(options: UpstreamOptions, path?: string) {
    super()
    this.servers = []
    this.keyed = true
    throw new Error(`not written yet ${String(path)} ${String(options)}`)
  }

  /** Takes a place on the server that the key belongs to, or on the next usable one. */
  acquire(_key: string | undefined, _options: AcquireOptions = {}): Promise<Lease | undefined> {
    return Promise.resolve(undefined)
  }

  /** The key's whole order of preference, whatever the servers' state. */
  order(_key: string): UpstreamServer[] {
    return []
  }

  /** What is known now, as plain data. */
  stats(): UpstreamStats {
    return { strategy: '', keyless: '', servers: [] }
  }

  /** Ends the probes and waits for those under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.resolve()
  }
}
