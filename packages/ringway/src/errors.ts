import { STATUS_CODES } from 'node:http'
import { RingwayError } from '@ringway/core/errors'
import { TunnelError } from '@ringway/tunnel'

/** What the client is told for each fault that is found here and not in a tunnel. */
const TABLE = {
  ERR_RINGWAY_NO_SERVER: { status: 503, message: 'No server is available', retryAfter: true },
  ERR_RINGWAY_QUEUE_FULL: { status: 503, message: 'Too many clients are waiting', retryAfter: true },
  ERR_RINGWAY_QUEUE_TIMEOUT: { status: 503, message: 'No server had room in time', retryAfter: true },
  ERR_RINGWAY_LIMIT: { status: 503, message: 'Too many clients are connected', retryAfter: true },
  ERR_RINGWAY_ADDRESS_LIMIT: {
    status: 429,
    message: 'Too many connections of this address',
    retryAfter: true
  },
  ERR_RINGWAY_CLOSING: { status: 503, message: 'The gateway is closing', retryAfter: true },
  ERR_RINGWAY_CHAIN_TIMEOUT: {
    status: 503,
    message: 'The application did not answer in time',
    retryAfter: false
  },
  ERR_RINGWAY_ORIGIN: { status: 403, message: 'This page may not connect here', retryAfter: false },
  ERR_RINGWAY_HOST: { status: 403, message: 'This host is not served here', retryAfter: false },
  ERR_RINGWAY_NOT_FOUND: { status: 404, message: 'Nothing answers upgrades here', retryAfter: false },
  ERR_RINGWAY_BAD_METHOD: { status: 405, message: 'CONNECT is for WebSockets here', retryAfter: false },
  ERR_RINGWAY_BAD_PROTOCOL: {
    status: 501,
    message: 'The :protocol of a CONNECT must be websocket',
    retryAfter: false
  },
  ERR_RINGWAY_BAD_REQUEST: {
    status: 400,
    message: 'The target must be a path, Host must be given once, and no header may be malformed',
    retryAfter: false
  },
  ERR_RINGWAY_BODY_TIMEOUT: { status: 408, message: 'The request body stopped coming', retryAfter: false },
  ERR_RINGWAY_HOOK: { status: 500, message: 'A hook of the gateway failed', retryAfter: false },
  ERR_RINGWAY_BODY_CONSUMED: {
    status: 500,
    message: 'The request body was read before it came to the gateway: mount the gateway before body parsers',
    retryAfter: false
  }
} as const

/** Seconds after which a client may come back: long enough for a probe or a restart to change something. */
const RETRY_AFTER = '5'

/**
 * What a client is told, and what Express's `next(error)` and Fastify's error handler get. Its message names no
 * inner address; `cause` does.
 */
export class GatewayError extends RingwayError {
  /** The HTTP status. */
  readonly status: number
  /** The same, under Fastify's name. */
  readonly statusCode: number
  /** Headers that belong to the answer, such as `Retry-After`: Express and Fastify set them. */
  readonly headers: Readonly<Record<string, string>>

  /**
   * @param code - stable, of the form `ERR_RINGWAY_…`
   * @param status - the HTTP status
   * @param message - fit for strangers
   * @param headers - of the answer
   * @param options - `cause`: the error behind this one, for the log only
   */
  constructor(
    code: string,
    status: number,
    message: string,
    headers: Readonly<Record<string, string>> = {},
    options?: ErrorOptions
  ) {
    super(code, message, options)
    this.status = status
    this.statusCode = status
    this.headers = headers
  }
}

/** An error of the table above. */
export function gatewayError(code: keyof typeof TABLE, cause?: unknown): GatewayError {
  const { status, message, retryAfter } = TABLE[code]
  const headers = retryAfter ? { 'Retry-After': RETRY_AFTER } : {}
  return new GatewayError(code, status, message, headers, cause === undefined ? {} : { cause })
}

/** Any error as a client may see it. What we don't know was thrown by the user's code. */
export function publicError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  if (isLimit(error)) return gatewayError(error.code, error)
  if (!(error instanceof TunnelError)) return gatewayError('ERR_RINGWAY_HOOK', error)
  const { code, status } = error
  const headers: Record<string, string> =
    status === 426 ? { 'Sec-WebSocket-Version': '13', Upgrade: 'websocket' } : {}
  // The client's own fault is named; a backend's name is nobody's business.
  const message = error.side === 'client' ? error.message : STATUS_CODES[status]!
  return new GatewayError(code, status, message, headers, { cause: error })
}

/** Whether the upstream had no room: in its queue, in time, or at all. */
function isLimit(
  error: unknown
): error is { code: 'ERR_RINGWAY_QUEUE_FULL' | 'ERR_RINGWAY_QUEUE_TIMEOUT' | 'ERR_RINGWAY_LIMIT' } {
  return error instanceof RingwayError && /^ERR_RINGWAY_(?:QUEUE_|LIMIT$)/.test(error.code)
}
