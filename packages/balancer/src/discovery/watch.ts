import { channel } from 'node:diagnostics_channel'
import { isDeepStrictEqual } from 'node:util'

import { RingwayError } from '@ringway/core'

import type { DiscoveredServer, Discovery, DiscoveryHooks } from './discovery.ts'

/** What one watch reads its lists from. Made when the first list is asked for. */
export interface Source {
  /** Reads the list once. May reject; must, soon, when the signal is aborted. `next`: read again in so many ms. */
  read(signal: AbortSignal): Promise<{ servers: readonly DiscoveredServer[]; next: number }>
  /** In how many milliseconds to try again after so many failures in a row. */
  retry(failures: number): number
  /** Ends all that the source holds between reads. May be called twice, and while a read is under way. */
  close?(): void
}

const failed = channel('ringway:discovery:error')

/**
 * The watch behind every source that can fail: reads now, and again when it is time or the source says so.
 *
 * It reads only when it is asked for a list, so a slow consumer holds back nothing but itself, and gets the newest.
 *
 * @param open - makes the source; it calls what it is given when a read would be worth it
 */
export function watchSource(
  discovery: Discovery,
  hooks: DiscoveryHooks,
  signal: AbortSignal,
  open: (changed: () => void) => Source
): AsyncIterableIterator<readonly DiscoveredServer[]> {
  // A generator alone would let return() wait for the next list.
  const end = new AbortController()
  const lists = readLists(discovery, hooks, signal, end, open)
  return {
    next: () => lists.next(),
    return: () => {
      end.abort()
      return lists.return(undefined)
    },
    [Symbol.asyncIterator]() {
      return this
    }
  }
}

async function* readLists(
  discovery: Discovery,
  { onError }: DiscoveryHooks,
  given: AbortSignal,
  end: AbortController,
  open: (changed: () => void) => Source
): AsyncGenerator<readonly DiscoveredServer[], undefined> {
  if (given.aborted) return
  const { signal } = end
  const bell = new Bell()
  const source = open(() => bell.ring())
  // The consumer may never ask again, so the abort itself has to end what is open.
  const stop = (): void => {
    end.abort()
    source.close?.()
  }
  given.addEventListener('abort', stop)
  try {
    let last: readonly DiscoveredServer[] | undefined
    let failures = 0
    while (!aborted(signal)) {
      let servers = last
      let wait: number
      try {
        const read = await source.read(signal)
        servers = read.servers
        wait = read.next
        failures = 0
      } catch (error) {
        if (aborted(signal)) return
        failures++
        wait = source.retry(failures)
        report(discovery, onError, error as Error, failures)
      }
      const due = performance.now() + wait
      if (aborted(signal)) return
      if (servers !== undefined && !isDeepStrictEqual(servers, last)) {
        last = servers
        yield servers
      }
      await bell.heard(due - performance.now(), signal)
    }
  } finally {
    given.removeEventListener('abort', stop)
    stop()
  }
}

/** A call, since the compiler takes a property for what it was before an await. */
function aborted(signal: AbortSignal): boolean {
  return signal.aborted
}

function report(
  discovery: Discovery,
  onError: DiscoveryHooks['onError'],
  cause: Error,
  failures: number
): void {
  const message = `${discovery.name}: ${cause.message}`
  const error = new RingwayError('ERR_RINGWAY_DISCOVERY', message, { cause })
  failed.publish({ discovery, error, failures })
  try {
    onError?.(error, failures)
  } catch (thrown) {
    // A hook's bug must not stop the watch, but nor must it be hidden. Channels treat their subscribers the same.
    process.nextTick(() => {
      throw thrown
    })
  }
}

/** Wakes the loop early. What rang while nobody listened is heard by the next who does. */
class Bell {
  #rung = false
  #wake: (() => void) | undefined

  ring(): void {
    this.#rung = true
    this.#wake?.()
  }

  /** Waits for the bell, for so many milliseconds, or for the abort, whichever is first. */
  async heard(milliseconds: number, signal: AbortSignal): Promise<void> {
    if (!this.#rung && !signal.aborted && milliseconds > 0) {
      await new Promise<void>(resolve => {
        const wake = (): void => {
          clearTimeout(timer)
          signal.removeEventListener('abort', wake)
          resolve()
        }
        const timer = setTimeout(wake, milliseconds).unref()
        signal.addEventListener('abort', wake)
        this.#wake = wake
      })
    }
    this.#wake = undefined
    this.#rung = false
  }
}
