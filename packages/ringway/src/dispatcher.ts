import type { IncomingMessage } from 'node:http'
import { Server as HttpServer } from 'node:http'
import { Server as HttpsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { guard, turn } from './client.ts'
import type { Owner } from './routes.ts'
import { Routes } from './routes.ts'

/** A server that upgrades come from. */
export type UpgradeServer = HttpServer | HttpsServer

/** An owner of the upgrades below a path. */
export interface Route extends Owner {
  /** Takes an upgrade, for good. */
  take(request: IncomingMessage, stream: Duplex, head: Buffer): void
}

type UpgradeArguments = [request: IncomingMessage, stream: Duplex, head: Buffer]
type Emit = (this: unknown, event: string | symbol, ...args: unknown[]) => boolean
type ShouldUpgrade = (request: IncomingMessage) => boolean
export interface Hooked {
  emit: Emit
  /** Since Node 22.23 and 24; not in the types of Node 20. */
  shouldUpgradeCallback?: ShouldUpgrade
}

/** Under this symbol a server's dispatcher is found by all copies of this package: there is one per server. */
const KEY = Symbol.for('ringway.dispatcher.1')

/**
 * Gives each upgrade of one server to exactly one owner. A plain 'upgrade' listener can't: a `ws` server with a
 * `path` answers 400 to every other path, whoever listens first. So this stands in front of the server's `emit`:
 * an upgrade that has an owner here is never shown to other listeners, and any other goes to them untouched.
 */
export class Dispatcher {
  readonly #server: UpgradeServer
  readonly #refuse: Route['take']
  readonly #routes = new Routes<Route>()
  /** Seen by our `emit` and left to others, so the plain listener must leave them too. */
  readonly #left = new WeakSet<IncomingMessage>()
  #restoreEmit: (() => boolean) | undefined
  #restoreShould: (() => boolean) | undefined

  private constructor(server: UpgradeServer, refuse: Route['take']) {
    this.#server = server
    this.#refuse = refuse
  }

  /**
   * The server's dispatcher, made at the first call.
   *
   * @param refuse - answers 404 to an upgrade that nobody claims
   */
  static of(server: UpgradeServer, refuse: Route['take']): Dispatcher {
    const holder = server as unknown as Record<symbol, Dispatcher | undefined>
    return (holder[KEY] ??= new Dispatcher(server, refuse))
  }

  /** @throws ConfigError when the path has an owner */
  add(route: Route): void {
    const isFirst = this.#routes.isEmpty
    this.#routes.add(route)
    if (isFirst) this.#install()
  }

  remove(route: Route): void {
    if (!this.#routes.remove(route) || !this.#routes.isEmpty) return
    this.#server.off('upgrade', this.#listener)
    // Where somebody stands in front of us, ours stays behind and lets everything pass.
    if (this.#restoreEmit?.()) this.#restoreEmit = undefined
    if (this.#restoreShould?.()) this.#restoreShould = undefined
  }

  #install(): void {
    const server = this.#server as unknown as Hooked
    const { emit: next, shouldUpgradeCallback: shouldUpgrade } = server
    this.#restoreEmit ??= replace(server, 'emit', (event, ...args) => {
      if (event === 'upgrade' && this.#dispatch(...(args as UpgradeArguments))) return true
      return next.call(server, event, ...args)
    })
    if (shouldUpgrade !== undefined) {
      this.#restoreShould ??= replace(server, 'shouldUpgradeCallback', request => {
        if (!this.#routes.isEmpty) {
          if (isWebSocket(request)) {
            if (this.#ownerOf(request)) return true
          } else if (this.#isAlone()) {
            // Node's answer would be "yes" because of our listener, and then a page asked for with h2c had no answer.
            return false
          }
        }
        return shouldUpgrade.call(server, request)
      })
    }
    // Node looks at the listener count. And a host may have bound the old `emit` (Fastify, for a second address).
    this.#server.on('upgrade', this.#listener)
  }

  readonly #listener = (request: IncomingMessage, stream: Duplex, head: Buffer): void => {
    if (!this.#left.has(request)) this.#dispatch(request, stream, head)
  }

  /** Whether the upgrade is dealt with, so that no other listener must see it. */
  #dispatch(request: IncomingMessage, stream: Duplex, head: Buffer): boolean {
    if (this.#routes.isEmpty) return false
    // Also for the upgrades of others: a socket whose owner has no listener would end the process at a reset.
    guard(stream)
    guard(request.socket)
    const webSocket = isWebSocket(request)
    const owner = webSocket ? this.#ownerOf(request) : undefined
    if (owner) {
      owner.take(request, stream, head)
      return true
    }
    if (!this.#isAlone()) {
      this.#left.add(request)
      return false
    }
    if (webSocket || stream !== request.socket) this.#refuse(request, stream, head)
    else void asPlainRequest(this.#server, request, request.socket, head)
    return true
  }

  /** Asked at each upgrade, since some arm their listener late. */
  #isAlone(): boolean {
    return this.#server.listeners('upgrade').every(listener => listener === this.#listener)
  }

  #ownerOf(request: IncomingMessage): Route | undefined {
    return this.#routes.find(request.url ?? '')
  }
}

/** Puts a function of ours in the place of a server's own. The function given back undoes it, or says that it can't. */
export function replace<Name extends keyof Hooked>(
  server: Hooked,
  name: Name,
  ours: Hooked[Name]
): () => boolean {
  const own = Object.getOwnPropertyDescriptor(server, name)
  server[name] = ours
  return () => {
    if (server[name] !== ours) return false
    if (own) Object.defineProperty(server, name, own)
    else delete (server as Partial<Hooked>)[name]
    return true
  }
}

/** Whether `Upgrade` names `websocket` at all. Whether it is a good handshake is for its owner to say. */
function isWebSocket(request: IncomingMessage): boolean {
  return (request.headers.upgrade ?? '').split(',').some(token => token.trim().toLowerCase() === 'websocket')
}

/**
 * A request with an `Upgrade` that nobody wants is the plain request that it also is (RFC 9110 section 7.8). Node 20
 * has no way to say so: the head goes back into the socket without the offer, and the socket to the server anew.
 */
async function asPlainRequest(
  server: UpgradeServer,
  request: IncomingMessage,
  socket: Socket,
  rest: Buffer
): Promise<void> {
  let head = `${request.method} ${request.url} HTTP/${request.httpVersion}\r\n`
  const raw = request.rawHeaders
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase()
    let value = raw[i + 1]!
    if (name === 'upgrade' || name === 'http2-settings') continue
    if (name === 'connection') {
      const options = value.split(',').map(option => option.trim())
      value = options.filter(option => !/^(?:upgrade|http2-settings)?$/i.test(option)).join(', ')
      if (value === '') continue
    }
    head += `${raw[i]!}: ${value}\r\n`
  }
  await turn(socket) // the server wouldn't know of a response that is under way
  if (socket.destroyed) return
  socket.setTimeout(0) // the keep-alive limit that the response before has set
  socket.unshift(Buffer.concat([Buffer.from(`${head}\r\n`, 'latin1'), rest]))
  server.emit('encrypted' in socket ? 'secureConnection' : 'connection', socket)
}
