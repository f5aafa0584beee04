import type { ServerTls } from '../options.ts'

/** What every kind of probe may be told. All times are in milliseconds. */
export interface ProbeOptions {
  /**
   * From the start of one probe to the start of the next, in milliseconds, ± 10 %; the first comes within the first
   * second, at a random moment. Default: 5000. nginx Plus: `interval`; HAProxy: `inter`; Envoy: `interval`.
   */
  interval?: number
  /**
   * The same while probes have the server down, to see sooner that it is back, in milliseconds, ± 10 %. Default:
   * `interval`. HAProxy: `downinter`; Envoy: `unhealthy_interval`.
   */
  downInterval?: number
  /**
   * For the whole probe, from the connect to its end, in milliseconds. Default: 2000. HAProxy: `timeout check`;
   * Envoy: `timeout`.
   */
  timeout?: number
  /**
   * So many good probes in a row bring a server back. Default: 2. nginx Plus: `passes`; HAProxy: `rise`; Envoy:
   * `healthy_threshold`.
   */
  rise?: number
  /**
   * So many bad probes in a row take it out. Default: 3. nginx Plus: `fails`; HAProxy: `fall`; Envoy:
   * `unhealthy_threshold`.
   */
  fall?: number
  /**
   * Whether a server takes traffic before its first probe has ended. `take`: at once, and until `fall` bad probes in
   * a row. `wait`: only from its first good probe on. Default: `take`. nginx Plus: `wait` is `mandatory`; HAProxy:
   * `init-state fully-up` and `init-state down`; Envoy always waits.
   */
  starting?: 'take' | 'wait'
  /**
   * Where to probe, when that isn't the server's own port; 1 to 65535. A server on a Unix socket has no ports and is
   * probed on its socket. Default: the server's port. nginx Plus: `port`; HAProxy: `port`; Envoy: `port_value`.
   */
  port?: number
  /**
   * TLS for the probe, in the place of the whole of the server's `tls`: nothing is taken over from there, but
   * `servername` has the same default. `true` is `{}`, `false` is plain text. Default: the server's `tls`. HAProxy:
   * `check-ssl`, `check-sni`, `no-check-ssl`; Envoy: `transport_socket_match_criteria`.
   */
  tls?: boolean | ServerTls
  /**
   * The PROXY header that the probe begins with, which says that it stands for nobody (`UNKNOWN`, `LOCAL`). Default: the
   * server's `sendProxy`, but none on another `port`. HAProxy: `check-send-proxy`.
   */
  sendProxy?: 'v1' | 'v2' | false
}

/** An answer's headers by their names in lower case; a name that came several times has a list. */
export type ProbeHeaders = Readonly<Record<string, string | string[] | undefined>>

/** A probe by HTTP, or HTTPS where TLS is on. nginx Plus: `health_check`; HAProxy: `option httpchk`. */
export interface HttpHealthOptions extends ProbeOptions {
  /** One request on a connection of its own; redirects aren't followed. Envoy: `http_health_check`. */
  type: 'http'
  /** Sent without a body. Default: `GET`. HAProxy: `http-check send meth`; Envoy: `method`. */
  method?: 'GET' | 'HEAD' | 'OPTIONS' | 'POST'
  /**
   * The request's target, beginning with `/`. Default: `/`. nginx Plus: `uri`; HAProxy: `http-check send uri`; Envoy:
   * `path`.
   */
  path?: string
  /**
   * Sent with the request. `host` replaces our own, which is the address that is dialled. Default: none. HAProxy:
   * `http-check send hdr`; Envoy: `request_headers_to_add`.
   */
  headers?: Record<string, string>
  /**
   * The statuses that are good, or a function that says so. What the function throws, and any other result than
   * true, is a bad probe. Default: any 2xx or 3xx. nginx Plus: `match { status … }`; HAProxy: `http-check expect
   * status`; Envoy: `expected_statuses`.
   */
  expect?: readonly number[] | ((status: number, headers: ProbeHeaders) => boolean)
  /**
   * What the body, read as UTF-8, must hold within its first `maxBody` bytes. Not with `HEAD`. Default: anything.
   * nginx Plus: `match { body ~ … }`; HAProxy: `http-check expect string` and `rstring`; Envoy: `receive`.
   */
  match?: string | RegExp
  /**
   * So many bytes of the body are read, 1 to 16777216; then the probe ends, whatever is still to come. Default: 65536.
   * HAProxy: `tune.bufsize`; Envoy: `response_buffer_size`.
   */
  maxBody?: number
}

/** A probe by a mere connect. HAProxy: `check` without more. */
export interface TcpHealthOptions extends ProbeOptions {
  /**
   * A connection, with its TLS handshake where TLS is on, which is ended at once. nginx Plus: `health_check` of the
   * stream module; Envoy: `tcp_health_check`.
   */
  type: 'tcp'
}

/** A probe by a whole WebSocket. Neither nginx Plus nor HAProxy nor Envoy has its like. */
export interface WebSocketHealthOptions extends ProbeOptions {
  /**
   * A handshake, a ping, its pong, and a close with code 1000. It is good when the pong is there. Messages of the
   * server are ignored, but one of more than 1 MiB, or 16 MiB altogether, make a bad probe.
   */
  type: 'websocket'
  /** The handshake's target, beginning with `/`. Default: `/`. */
  path?: string
  /** Sent with the handshake, such as `origin`. `host` replaces our own, which is the address that is dialled. */
  headers?: Record<string, string>
  /** Subprotocols to offer, one of which the server must choose. Default: none. */
  protocols?: readonly string[]
}

/** Active probes: a connection of our own to each server, now and then. nginx Plus: `health_check`. */
export type HealthOptions = HttpHealthOptions | TcpHealthOptions | WebSocketHealthOptions
