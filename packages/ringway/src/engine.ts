import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Lease } from '@ringway/balancer'
import { Upstream } from '@ringway/balancer'
import type { KeySource } from '@ringway/core'
import { ConfigError } from '@ringway/core'
import type { Networks } from '@ringway/core/networks'
import type { Offer, Splice, SpliceOptions, TunnelEnd } from '@ringway/tunnel'
import type { Client } from './client.ts'
import { UpgradeClient } from './client.ts'
import type { ConnectRoute, StreamServer, Unclaimed } from './connects.ts'
import { Connects, isStreamServer } from './connects.ts'
import type { Route, UpgradeServer } from './dispatcher.ts'
import { Dispatcher } from './dispatcher.ts'
import { AddressCounts } from './address-limits.ts'
import type { Admission } from './admission.ts'
import type { Pages } from './error-pages.ts'
import { gatewayError, publicError } from './errors.ts'
import type { Hooks } from './hooks.ts'
import { Lingering } from './linger.ts'
import type { CloseOptions, GatewayOptions, Log, PingOptions, Timeouts } from './options.ts'
import { checkOptions } from './options.ts'
import type { AnyRequest, AnyResponse } from './peer.ts'
import { hostOf } from './peer.ts'
import { Pools } from './pools.ts'
import { Record } from './record.ts'
import type { Reply } from './replies.ts'
import { plainReply, upgradeReply } from './reply.ts'
import { handle } from './request.ts'
import { StreamClient } from './stream-client.ts'
import { Tunnel } from './tunnel.ts'
import type { TunnelAbout } from './tunnel.ts'
import type { Entry } from './tunnels.ts'
import { Tunnels } from './tunnels.ts'
import { UnderWay } from './under-way.ts'
import { upgrade } from './upgrade.ts'

/** Runs a request through the host's own chain. */
export type Chain = (request: AnyRequest, response: AnyResponse) => void

/** One path of one server whose upgrades come to this gateway. */
export interface Attachment {
  readonly server: UpgradeServer | StreamServer
  readonly path: string
  /** Through the host's own chain. */
  readonly through: boolean
  detach(): void
}

/** What happened to a tunnel, for the gateway to tell. */
export interface Listener {
  opened(tunnel: Tunnel): void
  closed(tunnel: Tunnel, end: TunnelEnd): void
}

/** An admitted upgrade on its way through the host's chain. */
interface Pending {
  readonly client: Client
  readonly offer: Offer
  readonly owner: object
  /** The gateway has it again: what bounded the chain is over. */
  readonly claimed: () => void
}

/** Under this symbol a request carries its {@link Pending}: whichever copy of this package is mounted finds it. */
const PENDING: unique symbol = Symbol.for('ringway.upgrade.1') as never
interface Carrier {
  [PENDING]?: Pending
}

/** The works of a gateway: what its parts need of each other. */
export class Engine {
  readonly upstream: Upstream
  readonly timeouts: Required<Timeouts>
  /** What each tunnel is told. */
  readonly splice: SpliceOptions
  readonly #ping: Required<PingOptions> | undefined
  readonly hooks: Hooks
  readonly log: Log
  /** Peers that are believed; `undefined` for nobody. */
  readonly trusted: Networks | undefined
  readonly admission: Admission
  readonly pages: Pages
  /** How often clients got each error of ours, by its code. */
  readonly failures: Map<string, number> = new Map()
  readonly pools: Pools
  readonly tunnels: Tunnels = new Tunnels()
  readonly attachments: Set<Attachment> = new Set()
  /** No new upgrades or requests are taken. */
  closing = false
  readonly #counts: AddressCounts
  readonly #listener: Listener
  readonly #lingering: Lingering
  readonly #handshakes = new UnderWay()
  readonly #requests = new UnderWay()
  /** Attachments that are closed, while the gateway goes on. */
  readonly #left = new WeakSet<object>()

  constructor(options: GatewayOptions, listener: Listener) {
    const config = checkOptions(options)
    this.upstream = new Upstream(config.upstream, 'upstream')
    this.timeouts = config.timeouts
    const { read, send, linger, lifetime } = config.timeouts
    this.splice = { read, send, linger, lifetime, ...config.splice }
    this.#ping = config.ping
    this.log = config.log
    this.trusted = config.trusted
    this.admission = config.admission
    this.pages = config.pages
    this.pools = new Pools(config.timeouts)
    this.upstream.on('server:removed', server => this.pools.remove(server))
    this.#counts = new AddressCounts(config.limits)
    this.hooks = config.hooks
    this.#lingering = new Lingering(config.timeouts.linger)
    this.#listener = listener
  }

  /** Upgrades below `paths` of `server` come here from now on, through `chain` if one is given: all of them, or none. */
  attach(
    server: UpgradeServer | StreamServer,
    paths: readonly string[],
    chain: Chain | undefined
  ): Attachment[] {
    const made: Attachment[] = []
    try {
      return paths.map(path => {
        for (const known of this.attachments) {
          if (known.server !== server || known.path !== path) continue
          if (known.through === (chain !== undefined)) return known
          throw new ConfigError('through', `${path} of this server is attached already with the opposite`)
        }
        const attachment = this.#attach(server, path, chain)
        made.push(attachment)
        return attachment
      })
    } catch (error) {
      for (const attachment of made) attachment.detach()
      throw error
    }
  }

  #attach(server: UpgradeServer | StreamServer, path: string, chain: Chain | undefined): Attachment {
    // A server of HTTP/2 with `allowHTTP1` gives upgrades as one of node:https does.
    const upgrades = Dispatcher.of(
      server as UpgradeServer,
      (...upgraded) => void this.#refuse(new UpgradeClient(...upgraded, this.#lingering, this.trusted))
    )
    const connects = isStreamServer(server)
      ? Connects.of(server, (request, response, code) => {
          void this.#refuse(new StreamClient(request, response, this.trusted), code)
        })
      : undefined
    const route: Route = { path, take: (...upgraded) => void this.receive(...upgraded, attachment, chain) }
    const connectRoute: ConnectRoute = {
      path,
      take: (request, response) => void this.receiveConnect(request, response, attachment, chain)
    }
    const attachment: Attachment = {
      server,
      path,
      through: chain !== undefined,
      detach: () => {
        if (!this.attachments.delete(attachment)) return
        connects?.remove(connectRoute)
        upgrades.remove(route)
      }
    }
    upgrades.add(route)
    connects?.add(connectRoute)
    this.attachments.add(attachment)
    return attachment
  }

  /** Takes the server's 'upgrade' event: what is no good handshake is refused at once, before any chain runs. */
  async receive(
    request: IncomingMessage,
    stream: Duplex,
    head: Buffer,
    owner: object,
    chain?: Chain
  ): Promise<void> {
    await this.#receive(new UpgradeClient(request, stream, head, this.#lingering, this.trusted), owner, chain)
  }

  /** The same for an extended CONNECT of HTTP/2. */
  async receiveConnect(
    request: Http2ServerRequest,
    response: Http2ServerResponse,
    owner: object,
    chain?: Chain
  ): Promise<void> {
    await this.#receive(new StreamClient(request, response, this.trusted), owner, chain)
  }

  async #receive(client: Client, owner: object, chain: Chain | undefined): Promise<void> {
    const { request } = client
    const done = this.#handshakes.add(owner, () => client.socket.destroy())
    let offer: Offer
    try {
      await client.ready(this.timeouts.handshake)
      const verdict = this.#counts.enter(client.origin.address, client.socket)
      if (verdict !== 'admitted') {
        return this.#fail(client, gatewayError('ERR_RINGWAY_ADDRESS_LIMIT'), verdict === 'refused')
      }
      offer = client.admit()
      this.admission.checkHost(hostOf(request))
      this.admission.checkOrigin(client.head.rawHeaders)
      if (this.closing) throw gatewayError('ERR_RINGWAY_CLOSING')
    } catch (error) {
      return this.#fail(client, error)
    } finally {
      done()
    }
    if (!chain) {
      const reply =
        client instanceof UpgradeClient
          ? upgradeReply(client, this.pages)
          : plainReply(request, client.response, this.pages)
      return this.upgrade({ client, offer, owner, claimed: () => {} }, reply)
    }
    const timer =
      this.timeouts.chain > 0 ? setTimeout(() => this.#chainExpired(client), this.timeouts.chain) : undefined
    const passed = this.#handshakes.add(owner, reason => this.#fail(client, reason))
    const claimed = (): void => {
      clearTimeout(timer)
      passed()
    }
    void client.answered.then(claimed)
    const pending: Pending = { client, offer, owner, claimed }
    ;(request as unknown as Carrier)[PENDING] = pending
    try {
      // The app's guards are those of the page that a browser would ask for there, as with an upgrade.
      if ('stream' in request) (request as { method: string }).method = 'GET'
      chain(request, client.response)
    } catch (error) {
      this.#fail(client, error) // frameworks catch what their own chain throws; this is a bare listener's
    }
  }

  /** Carries an upgrade on that came through the host's chain. */
  async upgrade({ client, offer, owner, claimed }: Pending, reply: Reply): Promise<void> {
    claimed()
    const done = this.#handshakes.add(owner, reason => client.abort(reason))
    if (this.closing || this.#left.has(owner)) client.abort(gatewayError('ERR_RINGWAY_CLOSING'))
    await upgrade(this, client, offer, reply, owner)
    done()
  }

  /** Takes what reaches a mounted gateway: an upgrade on its way through the chain, or a plain request. */
  async enter(request: AnyRequest, response: AnyResponse, reply: Reply): Promise<void> {
    const carrier = request as unknown as Carrier
    const pending = carrier[PENDING]
    if (!pending) {
      const controller = new AbortController()
      const done = this.#requests.add(this, reason => controller.abort(reason))
      await handle(this, request, response, reply, controller)
      return done()
    }
    delete carrier[PENDING]
    return this.upgrade(pending, reply)
  }

  /** The key of a client, where servers are chosen by keys. */
  async keyOf(source: KeySource, signal: AbortSignal): Promise<string | undefined> {
    return this.upstream.keyed ? this.hooks.key(source, signal) : undefined
  }

  /** Keeps a tunnel until its end. */
  keep(splice: Splice, owner: object, lease: Lease, record: Record, about: TunnelAbout): void {
    const tunnel = new Tunnel(splice, about)
    if (this.#ping !== undefined) tunnel.ping(this.#ping.every, this.#ping.timeout, this.#ping.side)
    this.tunnels.keep(splice, owner, lease, record, end => this.#listener.closed(tunnel, end))
    this.#listener.opened(tunnel)
  }

  /** Takes nothing new, lets tunnels and requests end within `drain` milliseconds, then cuts what is left. */
  async close(options: Required<CloseOptions>): Promise<void> {
    this.closing = true
    const closing = gatewayError('ERR_RINGWAY_CLOSING')
    await Promise.all([this.#requests.end(options.drain, closing), this.#drain(options)])
    for (const attachment of this.attachments) attachment.detach()
    this.#lingering.cut()
    await Promise.all([this.pools.destroy(), this.upstream[Symbol.asyncDispose]()])
  }

  /** The same for the upgrades of one attachment, while the gateway goes on. */
  async leave(attachment: Attachment, options: Required<CloseOptions>): Promise<void> {
    attachment.detach()
    this.#left.add(attachment)
    await this.#drain(options, attachment)
  }

  async #drain(options: Required<CloseOptions>, owner?: object): Promise<void> {
    const { drain } = options
    const deadline = performance.now() + drain
    const closing = gatewayError('ERR_RINGWAY_CLOSING')
    this.#handshakes.abort(closing, owner) // their clients are told at once to come back elsewhere
    const isOurs = (tunnel: Entry): boolean => owner === undefined || tunnel.owner === owner
    await Promise.all([this.#handshakes.end(drain, closing, owner), this.tunnels.close(options, isOurs)])
    // Those whose 101 was on its way already.
    const left = Math.max(0, deadline - performance.now())
    await this.tunnels.close({ ...options, drain: left, spread: 0 }, isOurs)
  }

  /** Answers an upgrade of our server that nobody claims. */
  async #refuse(client: Client, code: Unclaimed = 'ERR_RINGWAY_NOT_FOUND'): Promise<void> {
    const turn = await client.ready(this.timeouts.handshake).catch((error: unknown) => error)
    this.#fail(client, turn ?? gatewayError(code))
  }

  /** Tells the client and the log why its upgrade goes no further. */
  #fail(client: Client, error: unknown, isTold = true): void {
    const { origin, request, socket } = client
    const { method, target } = client.head
    const failure = publicError(error)
    new Record(this, 'upgrade', { address: origin.address, method, target }).fail(failure, isTold)
    if (!socket.destroyed) plainReply(request, client.response, this.pages).fail(failure)
  }

  #chainExpired(client: Client): void {
    client.hurry(this.timeouts.send)
    plainReply(client.request, client.response, this.pages).fail(gatewayError('ERR_RINGWAY_CHAIN_TIMEOUT'))
  }
}

/** Whether a request is an upgrade on its way through the host's chain. */
export function isUpgrade(request: AnyRequest): boolean {
  return PENDING in request
}
