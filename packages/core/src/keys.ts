import { canonicalAddress } from './address.ts'

/** What a key function may look at. The same for HTTP/1.1 and HTTP/2, for upgrades and plain requests. */
export interface KeySource {
  /**
   * The client's address: the socket's, or the one that a trusted proxy told. `undefined` where there is none,
   * as on a Unix socket.
   */
  readonly address: string | undefined
  /** `GET` for an upgrade over HTTP/1.1. */
  readonly method: string
  /** Path and query as the client sent them, nothing decoded. */
  readonly target: string
  /**
   * Names in lower case. Node reads values as latin1: for the bytes that a client sent as UTF-8, use
   * `Buffer.from(value, 'latin1').toString()`.
   */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** The host's own object: Node's `IncomingMessage` or `Http2ServerRequest`, or a framework's request. */
  readonly request: unknown
}

/**
 * Names the key of a request: what must go to the same server has the same key. Keys are hashed as UTF-8,
 * byte by byte: no folding of case, no normalisation. `undefined` and the empty text mean that the request has no
 * key; it then goes to the upstream's key-free strategy. A throw or a rejection makes the gateway answer 500.
 */
export type KeyFunction = (source: KeySource) => string | undefined | Promise<string | undefined>

/**
 * The client's address as key, like nginx's `hash $remote_addr consistent`, in the form of
 * {@link canonicalAddress}: one client has one key, on IPv4 and on dual-stack listeners.
 */
export function remoteAddress(): KeyFunction {
  return ({ address }) => (address === undefined ? undefined : canonicalAddress(address))
}
