import type { Http2SecureServer, Http2Server, ServerHttp2Stream } from 'node:http2'
import { constants, Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import { guard } from './client.ts'
import type { Hooked, UpgradeServer } from './dispatcher.ts'
import { replace } from './dispatcher.ts'
import type { Owner } from './routes.ts'
import { Routes } from './routes.ts'

/** A server whose HTTP/2 clients may open tunnels. */
export type StreamServer = Http2Server | Http2SecureServer

/** An owner of the extended CONNECTs below a path. */
export interface ConnectRoute extends Owner {
  /** Takes an extended CONNECT, for good. */
  take(request: Http2ServerRequest, response: Http2ServerResponse): void
}

/** Why a CONNECT is nobody's. */
export type Unclaimed = 'ERR_RINGWAY_NOT_FOUND' | 'ERR_RINGWAY_BAD_METHOD' | 'ERR_RINGWAY_BAD_PROTOCOL'

/** Answers a CONNECT that nobody claims. */
export type RefuseConnect = (
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  code: Unclaimed
) => void

type StreamArguments = [
  stream: ServerHttp2Stream,
  headers: Http2ServerRequest['headers'],
  flags: number,
  rawHeaders: string[]
]

/** Under this symbol a server's dispatcher is found by all copies of this package: there is one per server. */
const KEY = Symbol.for('ringway.connects.1')

/**
 * Gives each extended CONNECT (RFC 8441) of one HTTP/2 server to exactly one owner, as the dispatcher does with upgrades.
 * It stands in front of the server's `emit` for 'stream', which all that comes passes: as a listener it would see a stream
 * together with others', and two that answer one stream throw. So neither a 'stream' listener of the host nor Node's layer
 * behind 'request' and 'connect' sees what has an owner here; all else is theirs, untouched.
 */
export class Connects {
  readonly #server: StreamServer
  readonly #refuse: RefuseConnect
  readonly #routes = new Routes<ConnectRoute>()
  #restoreEmit: (() => boolean) | undefined

  private constructor(server: StreamServer, refuse: RefuseConnect) {
    this.#server = server
    this.#refuse = refuse
  }

  /**
   * The server's dispatcher, made at the first call.
   *
   * @param refuse - answers a CONNECT that nobody claims
   */
  static of(server: StreamServer, refuse: RefuseConnect): Connects {
    const holder = server as unknown as Record<symbol, Connects | undefined>
    return (holder[KEY] ??= new Connects(server, refuse))
  }

  /** @throws ConfigError when the path has an owner */
  add(route: ConnectRoute): void {
    this.#routes.add(route)
    // Clients may send an extended CONNECT only where they are told that they may. It can't be taken back: the host may
    // have set it, too.
    this.#server.updateSettings({ enableConnectProtocol: true })
    const server = this.#server as unknown as Hooked
    const { emit: next } = server
    this.#restoreEmit ??= replace(server, 'emit', (event, ...args) => {
      if (event === 'stream' && this.#dispatch(args as StreamArguments)) return true
      return next.call(server, event, ...args)
    })
  }

  remove(route: ConnectRoute): void {
    this.#routes.remove(route)
    // Where somebody stands in front of us, ours stays behind and lets everything pass.
    if (this.#routes.isEmpty && this.#restoreEmit?.()) this.#restoreEmit = undefined
  }

  /** Whether the stream is dealt with, so that no listener must see it. */
  #dispatch([stream, headers, , rawHeaders]: StreamArguments): boolean {
    if (this.#routes.isEmpty || headers[':method'] !== 'CONNECT') return false
    guard(stream)
    const protocol = headers[':protocol']
    const target = headers[':path'] ?? ''
    const owner = protocol === 'websocket' ? this.#routes.find(target) : undefined
    if (!owner && this.#othersListen()) return false
    if (!owner && protocol === 'websocket' && this.#server.listenerCount('upgrade') > 1) {
      // Another WebSocket server of the host takes upgrades. The client comes back with one (RFC 9113 section 7).
      stream.close(constants.NGHTTP2_HTTP_1_1_REQUIRED)
      return true
    }
    const request = new Http2ServerRequest(stream, headers, {}, rawHeaders)
    const response = new Http2ServerResponse(stream)
    if (owner) owner.take(request, response)
    else this.#refuse(request, response, whyUnclaimed(protocol))
    return true
  }

  /** Asked at each CONNECT, since some arm their listener late. */
  #othersListen(): boolean {
    // Node's own layer listens to 'stream' for the sake of 'request', and gives CONNECTs to 'connect'.
    const ofNode = this.#server.listenerCount('request') > 0 ? 1 : 0
    return this.#server.listenerCount('connect') > 0 || this.#server.listenerCount('stream') > ofNode
  }
}

function whyUnclaimed(protocol: unknown): Unclaimed {
  if (protocol === 'websocket') return 'ERR_RINGWAY_NOT_FOUND'
  return protocol === undefined ? 'ERR_RINGWAY_BAD_METHOD' : 'ERR_RINGWAY_BAD_PROTOCOL'
}

/** Whether a server speaks HTTP/2. Its classes have no public name. */
export function isStreamServer(server: UpgradeServer | StreamServer): server is StreamServer {
  return 'updateSettings' in server
}
