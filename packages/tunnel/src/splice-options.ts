import type { RateLimit } from './rate.ts'

/**
 * Limits of a splice, in milliseconds; 0 turns one off. A limit never fires early, and at most 250 ms late. `watch`, and what
 * needs it, is for tunnels that carry WebSocket frames.
 */
export interface SpliceOptions {
  /** Nothing has passed in either direction for so long: nginx's `proxy_read_timeout`. Default 60,000. */
  readonly read?: number
  /** Bytes wait for a side that has taken none for so long: nginx's `proxy_send_timeout`. Default 60,000. */
  readonly send?: number
  /** Nothing has passed for so long after one side has ended, or after `Splice.close()`. Default 5,000. */
  readonly linger?: number
  /**
   * So long a tunnel lives, give or take a tenth of it by chance, so that tunnels which opened together don't end together:
   * then it is closed with 1012. Default 0.
   */
  readonly lifetime?: number
  /** Whether a side's FIN is passed on, and the other side goes on; false closes both, as nginx does. Default true. */
  readonly halfClose?: boolean
  /**
   * Bytes of payload that a client's message may have, all fragments together and as sent, so compressed where it is; needs
   * `watch`. A larger one ends the tunnel: 1009 for the client, 1001 for the backend. Default 0.
   */
  readonly maxMessage?: number
  /** How much a client may send in a second. More is read later, never dropped. Default: no limit. */
  readonly rate?: RateLimit | undefined
  /** Ends the tunnel as `Splice.destroy()` does. */
  readonly signal?: AbortSignal | undefined
  /**
   * Follows where WebSocket frames end, so that the tunnel can be ended by a Close frame between two of them, which its
   * clients see as a code and a reason: by `Splice.close()`, with 1001 at the `read` limit, with 1011 for the client
   * when the backend was lost, with 1001 for the backend when the client was. No byte that passes is changed. Default
   * false: tunnels end by a FIN or a reset.
   */
  readonly watch?: boolean
  /**
   * Whether plain sockets read into one buffer that all tunnels share, where this Node has what that needs: about a third
   * less time for each message. Default true; false takes Node's streams, as TLS sockets do anyway.
   */
  readonly sharedReads?: boolean
}

/** How a tunnel ended: who began it, how, and what had passed. */
export interface TunnelEnd {
  /** `gateway`: a limit, `Splice.close()` or `Splice.destroy()`. */
  readonly by: 'client' | 'backend' | 'gateway'
  /**
   * What began the end: `fin` and `reset` are the peers' ways, and so is `close`, a Close frame before the FIN, seen by
   * `watch`. The limits `read`, `send`, `lifetime`, `ping` and `maxMessage` are ours, `closed` and `destroyed` the
   * caller's. `linger` only cuts an end short that has begun, so it's never the answer.
   */
  readonly how:
    | 'fin'
    | 'close'
    | 'reset'
    | 'read'
    | 'send'
    | 'lifetime'
    | 'ping'
    | 'maxMessage'
    | 'closed'
    | 'destroyed'
  /** The code of the Close frame that came first, or that we put; undefined without `watch`, or where there was none. */
  readonly code: number | undefined
  /** Bytes taken from the client for the backend, glued ones included. */
  readonly bytesToBackend: number
  /** Bytes taken from the backend for the client, glued ones included. */
  readonly bytesToClient: number
  /** Milliseconds from the splice's start to its end. */
  readonly duration: number
}

/** What `Splice.stop()` leaves: read from one side, not yet written to the other. */
export interface Rest {
  /** For the backend. */
  readonly fromClient: Buffer
  /** For the client. */
  readonly fromBackend: Buffer
}

/** A Splice's options where nothing is said. */
export const DEFAULTS: Required<SpliceOptions> = {
  read: 60_000,
  send: 60_000,
  linger: 5_000,
  lifetime: 0,
  halfClose: true,
  maxMessage: 0,
  rate: undefined,
  signal: undefined,
  watch: false,
  sharedReads: true
}
