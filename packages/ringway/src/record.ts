import type { Timing, TunnelEnd } from '@ringway/tunnel'
import { TunnelError } from '@ringway/tunnel'
import type { GatewayError } from './errors.ts'
import type { Log } from './options.ts'

/** One try at one server. */
export interface Try {
  /** The server's id. */
  readonly server: string
  /** The status it answered with, or the `code` of the error. */
  readonly result: number | string
}

/** What is told of one upgrade or request: one log line, at its end. */
export class Record {
  readonly #log: Log
  readonly #failures: Map<string, number>
  readonly #kind: 'upgrade' | 'request'
  readonly #fields: { address: string | undefined; method: string; target: string }
  readonly #started = performance.now()
  readonly #tries: Try[] = []
  #timing: Timing | undefined
  #done = false

  constructor(
    { log, failures }: { readonly log: Log; readonly failures: Map<string, number> },
    kind: 'upgrade' | 'request',
    fields: { address: string | undefined; method: string; target: string }
  ) {
    this.#log = log
    this.#failures = failures
    this.#kind = kind
    this.#fields = fields
  }

  /** A try has ended; an answer, with how long it took. */
  tried(server: string, result: number | string, timing?: Timing): void {
    this.#tries.push({ server, result })
    this.#timing = timing
  }

  /** The server has answered, and the client was told; or the tunnel has ended. */
  end(status: number, end?: TunnelEnd): void {
    this.#write('info', status, end)
  }

  /**
   * The client got an error of ours, or was gone first.
   *
   * @param isTold - false for one that is counted only. Default true
   */
  fail(error: GatewayError, isTold = true): void {
    const { status, code, cause } = error
    if (!this.#done) this.#failures.set(code, (this.#failures.get(code) ?? 0) + 1)
    if (!isTold) return
    const gone = cause instanceof TunnelError && cause.side === 'client'
    // What a stranger sends is no event; what a server does is worth a look; what our own code does is a fault.
    const level = status === 500 ? 'error' : status > 500 && !gone ? 'warn' : 'info'
    this.#write(level, status, { code, error: cause ?? error })
  }

  #write(level: keyof Log, status: number, more: object = {}): void {
    if (this.#done) return
    this.#done = true
    const life = Math.round(performance.now() - this.#started)
    const fields = { ...this.#fields, status, life, tries: this.#tries, ...this.#timing, ...more }
    this.#log[level](fields, `${this.#kind} ${status}`)
  }
}
