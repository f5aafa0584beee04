import type { RingwayError } from '@ringway/core'

import type { ServerOptions } from '../options.ts'

/** One server of a discovered list: what `servers` takes as an object, with its id and weight filled in. */
export type DiscoveredServer = ServerOptions

/** A source of server lists. Write your own for whatever knows your servers. */
export interface Discovery {
  /** What is watched, for messages: `file /etc/ringway/servers.json`, `dns _ws._tcp.example.com`. */
  readonly name: string
  /**
   * Yields the whole list at first and each time it has changed; a list that equals the last one isn't yielded
   * again, and what changed while nobody asked comes as one list. A list has at least one server.
   *
   * A failure of the source never rejects: the last list stays good, and the source is tried again. Ends without
   * an error when the signal is aborted or `return()` is called; sockets, watchers and timers are gone then. None
   * of them keeps the process alive before. Each call is a watch of its own.
   *
   * @param signal - ends the watch
   */
  watch(signal: AbortSignal): AsyncIterable<readonly DiscoveredServer[]>
}

/** What every built-in source that can fail may be told. */
export interface DiscoveryHooks {
  /**
   * Called with each failure of the source, and how many there were in a row with it; log the first. The error's
   * `code` is `ERR_RINGWAY_DISCOVERY`, its message names the source, its `cause` is what went wrong: a bad list's is
   * the `ConfigError` with the field. The channel `ringway:discovery:error` carries `{ discovery, error, failures }`.
   * What the hook throws is an uncaught exception, but does no harm to the watch. Default: none.
   */
  onError?: (error: RingwayError, failures: number) => void
}
