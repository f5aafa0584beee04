import type { KeyFunction, KeySource } from '@ringway/core'
import type { Fields } from '@ringway/core/fields'
import type { Forwarding } from '@ringway/tunnel'
import type { Page } from './page.ts'
import { checkHeader, toPage } from './page.ts'
import { within } from './within.ts'

/** The answer to a client that isn't let in. */
export interface Refusal {
  /** 200 to 599. */
  readonly status: number
  /** Default: `Content-Type: text/plain; charset=utf-8`. */
  readonly headers?: Readonly<Record<string, string>>
  /** Default: empty. */
  readonly body?: string | Buffer
}

/** See {@link GatewayOptions.authorize}. It may not read the request's body. */
export type Authorize = (
  source: KeySource,
  signal: AbortSignal
) => Refusal | undefined | Promise<Refusal | undefined>

/** Headers for the server, by their names: set in place of what was sent, or left out where `undefined`. */
export type HeaderChanges = Readonly<Record<string, string | undefined>>

/** See {@link GatewayOptions.request}. It may not read the request's body. */
export type RequestHook = (
  source: KeySource,
  signal: AbortSignal
) => HeaderChanges | undefined | Promise<HeaderChanges | undefined>

/** What speaks of the connection to the server, or of the handshake, is ours. */
const OURS =
  /^(?:connection|upgrade|keep-alive|te|trailer|transfer-encoding|content-length|expect|proxy-.*|http2-.*|sec-websocket-.*)$/i

/** The user's code that is asked on the way of each upgrade and request. What it throws is thrown on. */
export class Hooks {
  readonly #key: KeyFunction
  readonly #authorize: Authorize | undefined
  readonly #request: RequestHook | undefined
  readonly #limit: number

  /**
   * @param limit - milliseconds for each that is async
   * @throws ConfigError that names what is no function
   */
  constructor(fields: Fields, key: KeyFunction, limit: number) {
    this.#key = key
    this.#authorize = checkFunction(fields, 'authorize') as Authorize | undefined
    this.#request = checkFunction(fields, 'request') as RequestHook | undefined
    this.#limit = limit
  }

  /** Asks whether a client is let in; gives the answer if it isn't. */
  async refusal(source: KeySource, signal: AbortSignal): Promise<Page | undefined> {
    if (this.#authorize === undefined) return undefined
    const answer = await this.#settled(this.#authorize(source, signal), signal)
    if (answer === undefined) return undefined
    const { status, headers, body = '' } = answer
    return toPage(status, { 'Content-Type': 'text/plain; charset=utf-8' }, headers, body)
  }

  async key(source: KeySource, signal: AbortSignal): Promise<string | undefined> {
    let key = this.#key(source)
    if (typeof key === 'object') key = await this.#settled(key, signal)
    if (key === undefined || typeof key === 'string') return key
    throw new TypeError(`The key function must return a string or undefined, not ${typeof key}`)
  }

  /** What the server is told of the client, with the user's changes. */
  async forwarding(forwarding: Forwarding, source: KeySource, signal: AbortSignal): Promise<Forwarding> {
    if (this.#request === undefined) return forwarding
    const changes = await this.#settled(this.#request(source, signal), signal)
    if (changes === undefined) return forwarding
    for (const [name, value] of Object.entries(changes)) {
      if (OURS.test(name)) throw new TypeError(`The request hook may not change ${name}`)
      checkHeader(name, value ?? '')
    }
    return { ...forwarding, changes }
  }

  async #settled<T>(answer: T | Promise<T>, signal: AbortSignal): Promise<T> {
    return within(Promise.resolve(answer), signal, this.#limit)
  }
}

function checkFunction(fields: Fields, name: string): unknown {
  const value = fields.get(name)
  if (value === undefined || typeof value === 'function') return value
  throw fields.mismatch(name, 'a function')
}
