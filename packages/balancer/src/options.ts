import type { ConnectionOptions } from 'node:tls'

import type { Strategy } from '@ringway/core'

import type { HealthOptions } from './probes/options.ts'

/** TLS towards one server. All fields are as in `tls.connect()`. */
export interface ServerTls {
  /**
   * The name sent as SNI and checked against the certificate. Default: the server's host when it is a name; none
   * when it is an IP address (RFC 6066 section 3 allows names only), so that the certificate must carry the
   * address; none for a Unix socket, whose certificate must carry `localhost`. nginx: `proxy_ssl_name`.
   */
  servername?: string
  /** Certificates to trust instead of Node's own list. nginx: `proxy_ssl_trusted_certificate`. */
  ca?: ConnectionOptions['ca']
  /** The certificate shown to the server. nginx: `proxy_ssl_certificate`. */
  cert?: ConnectionOptions['cert']
  /** The private key of `cert`. nginx: `proxy_ssl_certificate_key`. */
  key?: ConnectionOptions['key']
  /** Whether a certificate that can't be verified ends the connection. Default: true. nginx: `proxy_ssl_verify`. */
  rejectUnauthorized?: boolean
}

/** What a server may be told besides its address. */
export interface ServerSettings {
  /** What is hashed, and the server's name in events and statistics. Default: the server as written. */
  id?: string
  /** Its share of the keys relative to the other servers: an integer of 1 to 10000. Default: 1. */
  weight?: number
  /** Takes no traffic and isn't probed; its place on the ring stays its own. Default: false. */
  down?: boolean
  /**
   * Whether it takes traffic only when no server without this is usable. Backups share their keys by the same
   * strategy, so that a client keeps to its backup too. Default: false. nginx: `backup`, which it refuses with `hash`.
   */
  backup?: boolean
  /**
   * So many connections at a time, open tunnels and tries together, before the server counts as full and its keys go on
   * to the next; 0 is no limit. Default: 0. nginx: `max_conns`. HAProxy: `maxconn`.
   */
  maxConnections?: number
  /** Overrides {@link UpstreamOptions.maxFails} for this server. */
  maxFails?: number
  /** Overrides {@link UpstreamOptions.failTimeout} for this server, in milliseconds. */
  failTimeout?: number
  /** Overrides {@link UpstreamOptions.slowStart} for this server, in milliseconds. */
  slowStart?: number
  /** Overrides {@link UpstreamOptions.sendProxy} for this server. */
  sendProxy?: 'v1' | 'v2' | false
  /** Whether and how to speak TLS to it; `true` is `{}`. Default: false. */
  tls?: boolean | ServerTls
  /**
   * It is about to go: it takes nothing new and has no place on the ring, as if it weren't listed. A source of lists may
   * know that (Kubernetes' EndpointSlice word). Default: false.
   */
  terminating?: boolean
}

/** A server reached over TCP. */
export interface TcpServerOptions extends ServerSettings {
  /**
   * A name, or an IPv4 or IPv6 address (without brackets). A name is looked up by the system's resolver at once and then
   * every 30 seconds; each of its addresses is a server of its own, and all of them share the name's place on the ring.
   */
  host: string
  /** 1 to 65535. */
  port: number
  /** Not for a server that has a host. */
  socketPath?: never
}

/** A server reached over a Unix domain socket (on Windows: a named pipe). */
export interface UnixServerOptions extends ServerSettings {
  /** The socket's path. */
  socketPath: string
  /** Not for a server that has a socket. */
  host?: never
  /** Not for a server that has a socket. */
  port?: never
}

/** One server, written as an object. The text forms are `host:port`, `[::1]:port` and `unix:/path`. */
export type ServerOptions = TcpServerOptions | UnixServerOptions

/** How often and how long one request is tried on further servers. No server is tried twice by one request. */
export interface RetryOptions {
  /** Tries in all, the first one included; at least 1. Default: as many as there are servers. nginx: `proxy_next_upstream_tries`. */
  tries?: number
  /**
   * In milliseconds from the first try: later than that no further one begins; 0 is no limit. The try under way isn't cut
   * off. Default: 60000. nginx: `proxy_next_upstream_timeout`.
   */
  total?: number
  /** How many requests may be repeated; `{}` takes the defaults below. Default: false, no limit, as in nginx. Envoy: `retry_budget`. */
  budget?: RetryBudgetOptions | false
}

/**
 * Of all that were sent, so many may be sent again, so that servers that answer nobody aren't asked twice as much on top.
 * Only tries after a request was sent count: where no connection was made, the next server is always tried.
 */
export interface RetryBudgetOptions {
  /** A part of the requests of the last ten seconds, 0 to 1. Default: 0.2. */
  share?: number
  /** So many a second besides, for quiet times. Default: 10. */
  floor?: number
}

/** Where clients wait whose server has {@link UpstreamOptions.pendingHandshakes} under way. */
export interface QueueOptions {
  /** So many may wait in the upstream; others take a place on any server at once, or are refused. At least 1. Default: 1000. HAProxy: `maxqueue`. */
  size?: number
  /**
   * So long each may wait, in milliseconds; after half of it, for a place on any server. Default: 10000. HAProxy: `timeout
   * queue`.
   */
  timeout?: number
}

/**
 * Bounds of the whole upstream; beyond them requests are refused at once with `ERR_RINGWAY_LIMIT`. Envoy:
 * `circuit_breakers`.
 */
export interface LimitOptions {
  /** Open tunnels and tries together, those that wait included; 0 is no limit. Default: 0. Envoy: `max_connections`. */
  connections?: number
  /** Tries under way, those that wait included; 0 is no limit. Default: 0. Envoy: `max_pending_requests`. */
  handshakes?: number
}

/**
 * When a server does so much worse than the others that it is better left out, though probes may find it well. It comes
 * back by one try that goes well, once its time is over; if that fails it is out again, for longer. Envoy:
 * `outlier_detection`.
 */
export interface OutlierOptions {
  /** Tries of so many milliseconds count. Default: 30000. Envoy: `interval`. */
  window?: number
  /** So many failed tries in a row take a server out; 0 never does. Default: 5. Envoy: `consecutive_gateway_failure`. */
  consecutive?: number
  /**
   * A server is taken out whose share of failed tries within the window, from 0 to 1, is by so much larger than that of
   * all others together; 0 never does. Default: 0.5. Envoy: `failure_percentage_threshold`, which looks at no others.
   */
  share?: number
  /** The share is looked at once both the server and the others have had so many tries. Default: 20. Envoy: `failure_percentage_request_volume`. */
  minTries?: number
  /**
   * A tunnel that its server breaks off within so many milliseconds (by a reset, not by a clean end) counts in the share
   * as a try that failed; 0 never does. Default: 1000.
   */
  earlyDeath?: number
  /** The first time out, in milliseconds; the next is twice as long, then three times, and so on. Default: 30000. Envoy: `base_ejection_time`. */
  time?: number
  /** The longest time out, in milliseconds. Default: 300000. Envoy: `max_ejection_time`. */
  maxTime?: number
  /** Never more than this part of the servers is out for this reason, from 0 to 1. Default: 0.5. Envoy: `max_ejection_percent`. */
  maxEjectedShare?: number
}

/** How the tunnels of a server end that leaves the set, unless it is listed again before. */
export interface DrainOptions {
  /** They are asked to end one after the other, evenly over so many milliseconds. Default: 30000. */
  spread?: number
  /** The WebSocket close code to end them with, where that can be sent. Default: 1012, service restart. */
  code?: number
  /** What is left after so many milliseconds is cut off. Default: 5000 after `spread`. */
  deadline?: number
}

/** A set of servers, and how traffic is spread over them. nginx: `upstream { … }`. */
export interface UpstreamOptions {
  /** At least one. Their order doesn't matter to keyed strategies. */
  servers: readonly (ServerOptions | string)[]
  /** Places the keys. Default: `ketama()`, nginx's `hash … consistent`. */
  strategy?: Strategy
  /** Places requests without a key. Default: `leastConnections()`. A keyed strategy is given `''`. */
  keyless?: Strategy
  /** Active probes. Default: none, only passive marks. */
  health?: HealthOptions
  /**
   * So many failures within `failTimeout` mark a server as down; 0 never does, nor is a server ever marked that
   * is the only one. Default: 1. nginx: `max_fails`.
   */
  maxFails?: number
  /**
   * In milliseconds: the window in which failures are counted, and how long a mark lasts before one try is let
   * through. With probes, probes end the mark instead. 0 never marks. Default: 10000. nginx: `fail_timeout`.
   */
  failTimeout?: number
  /**
   * In milliseconds: for so long after a server is back, or has joined a set that is in use, it takes only a growing part
   * of its traffic. With keys it is the same part of them that comes home first; the others go where they went while it was
   * away. Default: 0, all at once. nginx Plus: `slow_start`. HAProxy: `slowstart`. Envoy: `slow_start_window`.
   */
  slowStart?: number
  /**
   * The PROXY header that each connection to a server begins with, before TLS: it tells whose connection it is, and for
   * probes that it is nobody's. With it a connection is one client's, so none is kept for others. Default: false. nginx:
   * `proxy_protocol` of the stream module. HAProxy: `send-proxy`, `send-proxy-v2`.
   */
  sendProxy?: 'v1' | 'v2' | false
  /** Finds servers that do worse than the others; `{}` takes the defaults. Default: off. */
  outliers?: OutlierOptions
  /**
   * When less than this part of the servers is well, from 0 to 1, all are used, as if all were well: health that bad says
   * more of the way there than of the servers. Backups aren't counted, and while one of them is well there is no panic.
   * Default: 0, never. Envoy: `healthy_panic_threshold`.
   */
  panic?: number
  /** How often and how long one request is tried on further servers. See each field for its default. */
  retry?: RetryOptions
  /**
   * So many handshakes each server may have under way; further clients wait in the {@link UpstreamOptions.queue} for a
   * place, so that a storm of them doesn't bring down the server that gets it. An open tunnel holds no place. 0 is no
   * limit. Default: 0.
   */
  pendingHandshakes?: number
  /** Where clients wait for a place; of no effect without `pendingHandshakes`. See each field for its default. */
  queue?: QueueOptions
  /** Bounds of the whole upstream. See each field for its default. */
  limits?: LimitOptions
  /**
   * What happens to open tunnels when their server goes down: they are kept, as they may be well, or asked to end over
   * `spread`. Default: `'keep'`. HAProxy: `on-marked-down shutdown-sessions`.
   */
  onDown?: 'keep' | 'close'
  /**
   * What happens to tunnels that are elsewhere because their key's own server was out of use, once that is back, and to those
   * whose key belongs to a server that is new: they stay until their clients come again, or are asked to end over `spread`, after the server's slow start. Default: `'lazy'`.
   * HAProxy: `on-marked-up shutdown-backup-sessions`.
   */
  rebalance?: 'lazy' | 'close'
  /** In milliseconds: `onDown` and `rebalance` end tunnels evenly over so long. Default: 10000. */
  spread?: number
}
