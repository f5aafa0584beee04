import { EventEmitter } from 'node:events'
import type { IncomingMessage, RequestListener } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { ServerOptions as HttpsOptions } from 'node:https'
import type { Duplex } from 'node:stream'
import type {
  DrainOptions,
  Upstream,
  UpstreamEvents,
  UpstreamOptions,
  UpstreamStats
} from '@ringway/balancer'
import { ConfigError } from '@ringway/core'
import { Fields } from '@ringway/core/fields'
import type { TunnelEnd } from '@ringway/tunnel'
import type { AcceptProxyOptions } from './accept-proxy.ts'
import { checkAcceptProxy, readHeaders } from './accept-proxy.ts'
import type { StreamServer } from './connects.ts'
import type { UpgradeServer } from './dispatcher.ts'
import { Engine } from './engine.ts'
import { gatewayError } from './errors.ts'
import { checkClose } from './options.ts'
import type { CloseOptions, GatewayOptions } from './options.ts'
import { canServe, listening, ownServer } from './own-server.ts'
import type { AnyRequest, AnyResponse } from './peer.ts'
import { middlewareReply, plainReply } from './reply.ts'
import { isBelow } from './routes.ts'
import type { Tunnel } from './tunnel.ts'

/** The events of a {@link Gateway}, with their arguments: those of its upstream, and of its tunnels. */
export interface GatewayEvents extends UpstreamEvents {
  /** A tunnel is open. */
  'tunnel:open': [tunnel: Tunnel]
  /** A tunnel has ended. */
  'tunnel:close': [tunnel: Tunnel, end: TunnelEnd]
}

/** What {@link Gateway.attach} may be told. */
export interface AttachOptions {
  /**
   * Upgrades at and below these paths, on segment borders: `/ws` takes `/ws` and `/ws/a`, not `/wsx`. Default `/`.
   */
  readonly path?: string | readonly string[]
  /**
   * Upgrades go through the server's own 'request' listeners first, so through the app's guards, and come here by
   * {@link Gateway.middleware}. Needs `path`. Default false.
   */
  readonly through?: boolean
}

/**
 * Undoes a {@link Gateway.attach}, or an {@link acceptProxy}. May be called, or disposed, any number of times. Open tunnels
 * stay.
 */
export interface Detach extends Disposable {
  (): void
}

/** What {@link Gateway.listen} takes. */
export interface ListenOptions {
  /** Default 0: any free port. */
  readonly port?: number
  /** Default: all addresses, IPv6 and IPv4. */
  readonly host?: string
  /** Upgrades and requests at and below this path; any other is a 404. Default `/`. */
  readonly path?: string
  /** As `https.createServer` takes them; with it the server speaks TLS. */
  readonly tls?: HttpsOptions
  /**
   * Milliseconds that a client has for the whole head of a request, from its connection on or behind the request before; then
   * it gets 408. 0 is no limit. Default 60,000. On a server of your own it is that server's. nginx: `client_header_timeout`.
   * HAProxy: `timeout http-request`.
   */
  readonly headersTimeout?: number
  /**
   * Connections of trusted peers begin with a PROXY header, before TLS: see {@link acceptProxy}, which has the same fields.
   * What is refused goes to the gateway's log. Default: none does. nginx: `listen … proxy_protocol`. HAProxy: `accept-proxy`.
   */
  readonly acceptProxy?: Omit<AcceptProxyOptions, 'log'>
}

/** What {@link Gateway.stats} gives: plain data, fit for JSON. */
export interface GatewayStats {
  /** opened − closed = active, always. */
  readonly tunnels: { readonly active: number; readonly opened: number; readonly closed: number }
  /** How many clients got each error of the gateway's, by its `code`. */
  readonly failures: Readonly<Record<string, number>>
  /** The servers and their state. */
  readonly upstream: UpstreamStats
}

/** Express's and Connect's shape. */
export type Middleware = (request: AnyRequest, response: AnyResponse, next: (error?: unknown) => void) => void

const SERVER_EVENTS = [
  'server:added',
  'server:starting',
  'server:up',
  'server:down',
  'server:probation',
  'server:draining',
  'server:removed'
] as const

/** For the package's own mounts. */
const engines = new WeakMap<Gateway, Engine>()

/** The works behind a gateway of this copy of the package. */
export function engineOf(gateway: Gateway): Engine {
  const engine = engines.get(gateway)
  if (engine) return engine
  throw new ConfigError('gateway', 'must be made by createGateway of this copy of ringway')
}

/**
 * Makes a gateway: it probes its servers from now on, and takes upgrades once it is attached, mounted or listening.
 *
 * @param options - see each field
 * @throws {@link ConfigError} `ERR_RINGWAY_CONFIG`, with the path of the first bad option as its `field`
 */
export function createGateway(options: GatewayOptions): Gateway {
  return new Gateway(options)
}

/** A load-balancing gateway in front of WebSocket servers. Made by {@link createGateway}. */
export class Gateway extends EventEmitter<GatewayEvents> {
  readonly #engine: Engine
  /** Those of {@link Gateway.listen}, and what ends their waiting for PROXY headers. */
  readonly #servers = new Map<UpgradeServer, () => void>()
  #mounted = false
  #unguarded = false
  #closed: Promise<void> | undefined

  /** Use {@link createGateway}. */
  constructor(options: GatewayOptions) {
    super()
    this.#engine = new Engine(options, {
      opened: tunnel => this.#tell('tunnel:open', tunnel),
      closed: (tunnel, end) => this.#tell('tunnel:close', tunnel, end)
    })
    engines.set(this, this.#engine)
    this.#follow()
  }

  /** The servers and their state. */
  get upstream(): Upstream {
    return this.#engine.upstream
  }

  /**
   * Takes the upgrades of a server that your app made. Everything else stays the app's, and so do upgrades outside of
   * the path; one that nobody claims is answered 404 when there is no other 'upgrade' listener. Idempotent.
   *
   * Of a server of `node:http2` come the extended CONNECTs of RFC 8441, for which its setting `enableConnectProtocol` is
   * turned on for connections made from now on; with `allowHTTP1` the upgrades of HTTP/1.1 clients as well. Where nobody
   * listens to 'connect' or 'stream', another CONNECT is answered 405, and one of another `:protocol` 501.
   *
   * @param server - of node:http, node:https or node:http2, listening or not
   * @param options - where, and whether through the app's chain
   * @returns undoes it
   * @throws {@link ConfigError} when a gateway has that path of that server already, when `through` has no path, or
   * when {@link Gateway.middleware} is mounted and `through` isn't said; a GatewayError `ERR_RINGWAY_CLOSING`
   * after {@link Gateway.close}
   */
  attach(server: UpgradeServer | StreamServer, options: AttachOptions = {}): Detach {
    const fields = new Fields(options, '', ['path', 'through'])
    if (!(server instanceof EventEmitter))
      throw new ConfigError('server', 'must be a server of node:http, node:https or node:http2')
    const through = fields.has('through') ? fields.boolean('through', false) : undefined
    if (through && !fields.has('path')) throw fields.error('path', 'must be given with through')
    if (this.#closed) throw gatewayError('ERR_RINGWAY_CLOSING')
    if (through === undefined) {
      this.#checkGuard(this.#mounted)
      this.#unguarded = true
    }
    const chain = through
      ? (request: AnyRequest, response: AnyResponse) => void server.emit('request', request, response)
      : undefined
    const attached = this.#engine.attach(server, pathsOf(options.path), chain)
    const detach = (): void => {
      for (const attachment of attached) attachment.detach()
    }
    return Object.assign(detach, { [Symbol.dispose]: detach })
  }

  /**
   * Takes one upgrade by hand.
   *
   * @param request - of the server's 'upgrade' event
   * @param stream - of the same event
   * @param head - of the same event
   */
  handleUpgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    void this.#engine.receive(request, stream, head, this)
  }

  /**
   * Takes one extended CONNECT of HTTP/2 by hand: that of a WebSocket, as RFC 8441 has it.
   *
   * @param request - of the server's 'connect' event
   * @param response - of the same event, nothing of it sent
   */
  handleConnect(request: Http2ServerRequest, response: Http2ServerResponse): void {
    void this.#engine.receiveConnect(request, response, this)
  }

  /**
   * Takes one plain HTTP request by hand: to the server that its key belongs to, and the answer back.
   *
   * @param request - nothing of its body read
   * @param response - nothing of it sent
   */
  handleRequest(request: AnyRequest, response: AnyResponse): void {
    void this.#engine.enter(request, response, plainReply(request, response, this.#engine.pages))
  }

  /**
   * A middleware for Express, Connect and what mounts like them: takes plain requests, and the upgrades of an
   * {@link Gateway.attach} with `through`. Errors of the gateway's own go to `next`, with `status` and `code`.
   *
   * @throws {@link ConfigError} when the gateway is attached with nothing said of `through`: upgrades would pass
   * around the app's guards
   */
  middleware(): Middleware {
    this.#checkGuard(this.#unguarded)
    this.#mounted = true
    return (request, response, next) => {
      void this.#engine.enter(request, response, middlewareReply(request, response, this.#engine.pages, next))
    }
  }

  /**
   * Runs a server of its own, for upgrades and plain requests.
   *
   * @param options - where
   * @returns the server, listening; {@link Gateway.close} closes it
   * @throws the server's error when it can't listen; {@link ConfigError} for `tls` that can't be used;
   * a GatewayError `ERR_RINGWAY_CLOSING` when the gateway is closed, or closed meanwhile
   */
  async listen(options: ListenOptions = {}): Promise<UpgradeServer> {
    const fields = new Fields(options, '', ['port', 'host', 'path', 'tls', 'headersTimeout', 'acceptProxy'])
    const port = fields.integer('port', 0, 0, 65_535)
    const headersTimeout = fields.milliseconds('headersTimeout', 60_000, 0)
    const [path] = pathsOf(fields.text('path')) as [string]
    const proxied = fields.has('acceptProxy')
      ? checkAcceptProxy(new Fields(options.acceptProxy, 'acceptProxy', ['from', 'timeout']))
      : undefined
    const handler: RequestListener = (request, response) => {
      if (isBelow(request.url ?? '', path)) this.handleRequest(request, response)
      else plainReply(request, response, this.#engine.pages).fail(gatewayError('ERR_RINGWAY_NOT_FOUND'))
    }
    if (this.#engine.closing) throw gatewayError('ERR_RINGWAY_CLOSING')
    if (options.tls !== undefined && !canServe(options.tls)) {
      throw fields.mismatch('tls', 'an object with cert and key, pfx, or SNICallback')
    }
    const server = ownServer(options.tls, headersTimeout, handler)
    const detach = this.attach(server, { path, through: false })
    this.#servers.set(server, proxied ? readHeaders(server, proxied, this.#engine.log) : () => {})
    try {
      await listening(server, port, fields.text('host'))
      // A name is looked up before Node listens, which close() can't stop.
      if (this.#engine.closing) throw gatewayError('ERR_RINGWAY_CLOSING')
    } catch (error) {
      detach()
      this.#servers.delete(server)
      server.close()
      throw error
    }
    server.on('error', error => this.#engine.log.error({ error }, 'server error'))
    return server
  }

  /**
   * Changes the servers while traffic runs: see {@link Upstream.setServers}. Tunnels of servers that stay are untouched.
   *
   * @param servers - as `upstream.servers`
   * @param drain - how the tunnels of servers end that are no longer listed. Default: they stay until they end
   * @returns with `drain` resolves when nothing of those servers is left, or they are listed again; else at once
   * @throws {@link ConfigError} that names the first bad server, or what a strategy throws; then nothing is changed
   */
  setServers(servers: UpstreamOptions['servers'], drain?: DrainOptions): Promise<void> {
    return this.upstream.setServers(servers, drain)
  }

  /**
   * Takes a server out for good: see {@link Upstream.drain}. Its tunnels are ended evenly over `spread`, and what is left
   * at the `deadline` is cut off.
   *
   * @param id - the server's
   * @param options - how its tunnels end
   * @returns resolves when nothing of the server is left, or it is listed again
   * @throws {@link ConfigError} for an id that no server has, or that of the last server that is no backup
   */
  drain(id: string, options: DrainOptions = {}): Promise<void> {
    return this.upstream.drain(id, options)
  }

  /** What is known now, as plain data. */
  stats(): GatewayStats {
    const { tunnels, failures } = this.#engine
    const { active, opened, closed } = tunnels
    return {
      tunnels: { active, opened, closed },
      failures: Object.fromEntries(failures),
      upstream: this.upstream.stats()
    }
  }

  /**
   * Closes for good: new upgrades and requests get 503, tunnels are ended evenly over `spread`, what is left when `drain`
   * is over is cut off, probes stop, all servers are detached, and those of {@link Gateway.listen} are closed. A second call
   * waits for the first.
   *
   * @param options - how long it may take, and how tunnels end
   * @throws {@link ConfigError} for a bad option; nothing is closed then
   */
  async close(options: CloseOptions = {}): Promise<void> {
    const checked = checkClose(options)
    this.#closed ??= this.#close(checked)
    return this.#closed
  }

  /** The same as {@link Gateway.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(options: Required<CloseOptions>): Promise<void> {
    const closed = [...this.#servers.keys()].map(
      server => new Promise<void>(resolve => void server.close(() => resolve()))
    )
    await this.#engine.close(options)
    for (const [server, cutWaiting] of this.#servers) {
      cutWaiting() // those of which the server doesn't know yet
      server.closeAllConnections()
    }
    await Promise.all(closed)
  }

  /** What happens to the servers is told here too, and written down. */
  #follow(): void {
    const { log, upstream } = this.#engine
    const bad = new Set(['server:down', 'panic:start'])
    for (const name of SERVER_EVENTS) {
      upstream.on(name, (server, reason) => {
        log[bad.has(name) ? 'warn' : 'info']({ server: server.id, reason }, name.replace(':', ' '))
        this.#tell(name, server, reason)
      })
    }
    for (const name of ['panic:start', 'panic:end'] as const) {
      upstream.on(name, () => {
        log[bad.has(name) ? 'warn' : 'info']({}, name.replace(':', ' '))
        this.#tell(name)
      })
    }
    upstream.on('lookup:error', (host, error) => {
      log.warn({ host, error }, 'lookup error')
      this.#tell('lookup:error', host, error)
    })
  }

  #checkGuard(otherWay: boolean): void {
    if (!otherWay) return
    const problem =
      'upgrades would pass around the app that mounts middleware(): say true to guard them, or false'
    throw new ConfigError('through', problem)
  }

  /** A listener that throws is the user's fault, and no tunnel's. */
  #tell<Event extends keyof GatewayEvents>(event: Event, ...args: GatewayEvents[Event]): void {
    try {
      ;(this as EventEmitter).emit(event, ...args)
    } catch (error) {
      this.#engine.log.error({ error }, `a listener of ${event} failed`)
    }
  }
}

function pathsOf(path: string | readonly string[] = '/'): string[] {
  const paths: readonly unknown[] = Array.isArray(path) ? path : [path]
  if (paths.length === 0) throw new ConfigError('path', 'must name at least one path')
  return paths.map(each => {
    if (typeof each !== 'string' || !/^\/[^?#\s]*$/.test(each)) {
      throw new ConfigError(
        'path',
        `must begin with '/' and hold no '?', '#' or space, not ${JSON.stringify(each)}`
      )
    }
    return each.length > 1 && each.endsWith('/') ? each.slice(0, -1) : each
  })
}
