import { RingwayError } from '@ringway/core/errors'

/** Whose fault an error is. */
export type Side = 'client' | 'backend' | 'gateway'

/** The `code` of a {@link TunnelError}. */
export type TunnelErrorCode =
  | 'ERR_RINGWAY_BAD_HANDSHAKE'
  | 'ERR_RINGWAY_BAD_VERSION'
  | 'ERR_RINGWAY_HEAD_TOO_LARGE'
  | 'ERR_RINGWAY_BAD_PROXY_HEADER'
  | 'ERR_RINGWAY_PROXY_HEADER_TIMEOUT'
  | 'ERR_RINGWAY_CLIENT_GONE'
  | 'ERR_RINGWAY_CONNECT_FAILED'
  | 'ERR_RINGWAY_CONNECT_TIMEOUT'
  | 'ERR_RINGWAY_EXHAUSTED'
  | 'ERR_RINGWAY_ANSWER_MISSING'
  | 'ERR_RINGWAY_ANSWER_TIMEOUT'
  | 'ERR_RINGWAY_BAD_ANSWER'
  | 'ERR_RINGWAY_TUNNEL_ENDED'

/** Whose fault each error is, what the client is told, whether another server may be tried. */
const TABLE: Record<TunnelErrorCode, { side: Side; status: number; retryable: boolean }> = {
  ERR_RINGWAY_BAD_HANDSHAKE: { side: 'client', status: 400, retryable: false },
  ERR_RINGWAY_BAD_VERSION: { side: 'client', status: 426, retryable: false },
  ERR_RINGWAY_HEAD_TOO_LARGE: { side: 'client', status: 431, retryable: false },
  // Never sent: what came may not even be HTTP.
  ERR_RINGWAY_BAD_PROXY_HEADER: { side: 'client', status: 400, retryable: false },
  ERR_RINGWAY_PROXY_HEADER_TIMEOUT: { side: 'client', status: 408, retryable: false },
  // Never sent either: the client isn't there any more. 499 is nginx's number for it in the log.
  ERR_RINGWAY_CLIENT_GONE: { side: 'client', status: 499, retryable: false },
  ERR_RINGWAY_CONNECT_FAILED: { side: 'backend', status: 502, retryable: true },
  ERR_RINGWAY_CONNECT_TIMEOUT: { side: 'backend', status: 504, retryable: true },
  // The same would meet any other server.
  ERR_RINGWAY_EXHAUSTED: { side: 'gateway', status: 503, retryable: false },
  ERR_RINGWAY_ANSWER_MISSING: { side: 'backend', status: 502, retryable: true },
  ERR_RINGWAY_ANSWER_TIMEOUT: { side: 'backend', status: 504, retryable: true },
  // Not retryable: a server that answers nonsense may have acted on the request.
  ERR_RINGWAY_BAD_ANSWER: { side: 'backend', status: 502, retryable: false },
  ERR_RINGWAY_TUNNEL_ENDED: { side: 'gateway', status: 502, retryable: false }
}

/** An upgrade that did not become a tunnel, or a tunnel that is not there any more. */
export class TunnelError extends RingwayError {
  /** One of the table's: match on it. */
  declare readonly code: TunnelErrorCode
  /** Whose fault it is: a client's fault never counts against a server. */
  readonly side: Side
  /** The HTTP status that tells the client. */
  readonly status: number
  /** Whether the same upgrade may be tried on another server. */
  readonly retryable: boolean
  /** Whether the backend may have seen the request: false where there was no connection. */
  readonly sent: boolean

  /**
   * @param code - one of the table's
   * @param message - what happened, to whom
   * @param options - `cause`: the error behind this one
   */
  constructor(code: TunnelErrorCode, message: string, options?: ErrorOptions) {
    super(code, message, options)
    const row = TABLE[code]
    this.side = row.side
    this.status = row.status
    this.retryable = row.retryable
    this.sent = row.side === 'backend' && !code.startsWith('ERR_RINGWAY_CONNECT_')
  }
}
