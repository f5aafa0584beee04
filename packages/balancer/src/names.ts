import dns from 'node:dns'
import { isIP } from 'node:net'

import { RingwayError } from '@ringway/core'

/** How often a name is looked up. */
const INTERVAL = 30_000
/** The same while nothing is known of it yet. */
const FIRST_INTERVAL = 1_000
/** The longest that a look-up may take. The system's resolver can't be interrupted, but needn't be waited for. */
const TIMEOUT = 5_000

/**
 * The look-ups under way, by name. Each holds one of the few threads that there are for such things, for as long as it
 * hangs, so that no second one begins meanwhile.
 */
const lookups = new Map<string, Promise<dns.LookupAddress[]>>()

/** One name, looked up again and again. */
class Name {
  /** Sorted, so that a resolver that turns them round changes nothing. Undefined before the first good look-up. */
  addresses: readonly string[] | undefined
  /** Settled when the first look-up has ended, however it did. Never rejects. */
  readonly first: Promise<void>
  /** Whether it hasn't. */
  isFirst = true
  readonly #host: string
  readonly #changed: () => void
  readonly #failed: (error: RingwayError) => void
  readonly #end = new AbortController()
  #timer: NodeJS.Timeout | undefined
  /** Whether the last look-up has failed. */
  isFailing = false

  constructor(host: string, changed: () => void, failed: (error: RingwayError) => void) {
    this.#host = host
    this.#changed = changed
    this.#failed = failed
    this.first = this.#look().finally(() => {
      this.isFirst = false
    })
  }

  /** It isn't looked up any more, and who waits for the first look-up waits no longer. */
  stop(): void {
    this.#end.abort()
    clearTimeout(this.#timer)
  }

  async #look(): Promise<void> {
    const { signal } = this.#end
    try {
      const found = await within(lookUp(this.#host), TIMEOUT, signal)
      if (signal.aborted) return
      this.isFailing = false
      const before = this.addresses?.join()
      this.addresses = [...new Set(found.map(({ address }) => address))].toSorted()
      if (this.addresses.join() !== before) this.#changed()
    } catch (error) {
      if (signal.aborted) return
      this.#fail(error)
    }
    // Who heard of it may have ended it all.
    if (signal.aborted) return
    const pause = this.addresses === undefined ? FIRST_INTERVAL : INTERVAL
    this.#timer = setTimeout(() => void this.#look(), pause)
    this.#timer.unref()
  }

  /** Told once, until a look-up has gone well. */
  #fail(error: unknown): void {
    if (this.isFailing) return
    this.isFailing = true
    const problem = `${this.#host} was not found: ${error instanceof Error ? error.message : String(error)}`
    this.#failed(new RingwayError('ERR_RINGWAY_LOOKUP', problem, { cause: error }))
  }
}

/**
 * The addresses of names, by the system's resolver: at once and then every 30 s, so that no dial waits for a look-up. A
 * look-up that fails leaves the last addresses as they are.
 */
export class Names {
  readonly #names = new Map<string, Name>()
  readonly #changed: (host: string) => void
  readonly #failed: (host: string, error: RingwayError) => void

  /**
   * @param changed - a name's addresses are others now
   * @param failed - a look-up failed, the first one since one has gone well
   */
  constructor(changed: (host: string) => void, failed: (host: string, error: RingwayError) => void) {
    this.#changed = changed
    this.#failed = failed
  }

  /** Looks these hosts up from now on, those of them that are names, and no others. */
  follow(hosts: ReadonlySet<string>): void {
    for (const [host, name] of this.#names) {
      if (hosts.has(host)) continue
      name.stop()
      this.#names.delete(host)
    }
    for (const host of hosts) {
      if (isIP(host) !== 0 || this.#names.has(host)) continue
      const changed = (): void => this.#changed(host)
      this.#names.set(host, new Name(host, changed, error => this.#failed(host, error)))
    }
  }

  /** Whether the last look-up of a host has failed. */
  isFailing(host: string): boolean {
    return this.#names.get(host)?.isFailing === true
  }

  /** A host's addresses; undefined while none is known. */
  addresses(host: string): readonly string[] | undefined {
    return isIP(host) === 0 ? this.#names.get(host)?.addresses : [host]
  }

  /** Settled when each name has been looked up once; undefined when each of them has. */
  get first(): Promise<unknown> | undefined {
    const looking = [...this.#names.values()].filter(({ isFirst }) => isFirst)
    return looking.length === 0 ? undefined : Promise.all(looking.map(({ first }) => first))
  }
}

function lookUp(host: string): Promise<dns.LookupAddress[]> {
  let lookup = lookups.get(host)
  if (lookup === undefined) {
    lookup = dns.promises.lookup(host, { all: true }).finally(() => lookups.delete(host))
    lookups.set(host, lookup)
  }
  return lookup
}

async function within<T>(promise: Promise<T>, limit: number, signal: AbortSignal): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  let stop!: () => void
  const over = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error)
    signal.addEventListener('abort', stop)
    timer = setTimeout(() => reject(new Error(`no answer within ${limit} ms`)), limit)
    timer.unref()
  })
  try {
    return await Promise.race([promise, over])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
  }
}
