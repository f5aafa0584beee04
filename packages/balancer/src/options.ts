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
  /** Overrides {@link UpstreamOptions.maxFails} for this server. */
  maxFails?: number
  /** Overrides {@link UpstreamOptions.failTimeout} for this server, in milliseconds. */
  failTimeout?: number
  /** Whether and how to speak TLS to it; `true` is `{}`. Default: false. */
  tls?: boolean | ServerTls
}

/** A server reached over TCP. */
export interface TcpServerOptions extends ServerSettings {
  /** A name, or an IPv4 or IPv6 address (without brackets). */
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
}
