import type { UpstreamServer } from '@ringway/balancer'
import type { Target } from '@ringway/tunnel'
import { dial, nameOf } from '@ringway/tunnel'
import type { Dispatcher } from 'undici'
import { Client, Pool } from 'undici'
import type { Timeouts } from './options.ts'
import type { AnyRequest } from './peer.ts'
import { targetFor } from './target.ts'

/** One keep-alive pool per server for plain HTTP. */
export class Pools {
  readonly #pools = new Map<UpstreamServer, Pool>()
  /** With `sendProxy` a connection is one client's: they carry one request each. */
  readonly #singles = new Set<Client>()
  readonly #timeouts: Required<Timeouts>

  constructor(timeouts: Required<Timeouts>) {
    this.#timeouts = timeouts
  }

  /**
   * Asks a server.
   *
   * @param request - the client's
   * @param options - of the same request as it is sent
   */
  async request(
    server: UpstreamServer,
    request: AnyRequest,
    options: Dispatcher.RequestOptions
  ): Promise<Dispatcher.ResponseData> {
    const target = targetFor(server, request)
    if (server.sendProxy === undefined) return this.#of(server, target).request(options)
    const single = new Client(originOf(target), this.#optionsFor(target))
    this.#singles.add(single)
    const answer = single.request({ ...options, reset: true })
    const forget = (): void => void this.#singles.delete(single)
    single.close().then(forget, forget) // waits for the end of the answer
    return answer
  }

  /** Ends what is left of a server that was removed: connections that are kept alive. */
  remove(server: UpstreamServer): void {
    const pool = this.#pools.get(server)
    this.#pools.delete(server)
    void pool?.close()
  }

  /** Destroys all pools, and the requests in them. */
  async destroy(): Promise<void> {
    const all = [...this.#pools.values(), ...this.#singles]
    await Promise.all(all.map(async each => each.destroy()))
  }

  /** The server's pool, made at the first request to it. */
  #of(server: UpstreamServer, target: Target): Pool {
    let pool = this.#pools.get(server)
    if (!pool) {
      pool = new Pool(originOf(target), this.#optionsFor(target))
      this.#pools.set(server, pool)
    }
    return pool
  }

  /** Connections are dialled by us, as tunnels' are. */
  #optionsFor(target: Target): Client.Options {
    return {
      connect: (_, connected) => {
        dial(target, { timeout: this.#timeouts.connect }).then(
          socket => connected(null, socket),
          (error: Error) => connected(error, null)
        )
      },
      headersTimeout: this.#timeouts.handshake,
      bodyTimeout: this.#timeouts.read
    }
  }
}

/** For the Host header of a client that sent none. */
function originOf(target: Target): string {
  return `http://${'host' in target ? nameOf(target) : 'localhost'}`
}
