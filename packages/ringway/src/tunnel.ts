import type { Splice } from '@ringway/tunnel'

/** What is known of a tunnel from its handshake. */
export interface TunnelAbout {
  /** The server's id. */
  readonly server: string
  /** The client's address; `undefined` on a Unix socket. */
  readonly address: string | undefined
  /** The key that chose the server; `undefined` when there was none. */
  readonly key: string | undefined
}

/** One tunnel, as the `tunnel:open` and `tunnel:close` events give it. */
export class Tunnel implements TunnelAbout {
  readonly server: string
  readonly address: string | undefined
  readonly key: string | undefined
  readonly #splice: Splice

  /** @internal */
  constructor(splice: Splice, { server, address, key }: TunnelAbout) {
    this.server = server
    this.address = address
    this.key = key
    this.#splice = splice
  }

  /** Bytes passed so far, both ways. */
  get bytes(): number {
    return this.#splice.bytes
  }

  /** Aborted when the tunnel has ended, with its {@link TunnelEnd} as the reason. */
  get signal(): AbortSignal {
    return this.#splice.signal
  }

  /**
   * Ends it in good order: with `watch` by a Close frame for both sides, behind the frame that is under way; else by a FIN.
   * What is left after `timeouts.linger` is cut off.
   *
   * @param code - of the Close frame. Default 1001, going away
   * @param reason - at most 123 bytes of UTF-8. Default none
   * @throws ConfigError for a code that may not be sent, or a reason that is too long
   */
  close(code?: number, reason?: string): void {
    this.#splice.close(code, reason)
  }

  /** Cuts both sides off at once. */
  destroy(): void {
    this.#splice.destroy()
  }

  /**
   * Asks a side for a sign of life from now on, in place of what the option `ping` says for that side.
   *
   * @param every - milliseconds without a byte of it
   * @param timeout - milliseconds that it has for an answer, before the tunnel is ended
   * @param side - whom. Default the client
   * @throws ConfigError for a bad time, or without `watch`
   */
  ping(every: number, timeout: number, side: 'client' | 'backend' = 'client'): void {
    this.#splice.ping(every, timeout, side)
  }
}
