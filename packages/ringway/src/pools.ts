import type { UpstreamServer } from '@ringway/balancer'
import { dial, nameOf } from '@ringway/tunnel'
import { Pool } from 'undici'
import type { Timeouts } from './options.ts'

/** One keep-alive pool per server for plain HTTP. */
export class Pools {
  readonly #pools = new Map<UpstreamServer, Pool>()
  readonly #timeouts: Required<Timeouts>

  constructor(timeouts: Required<Timeouts>) {
    this.#timeouts = timeouts
  }

  /** The server's pool, made at the first request to it. */
  of(server: UpstreamServer): Pool {
    let pool = this.#pools.get(server)
    if (!pool) {
      const target = { ...server.address, tls: server.tls }
      // The name is for the Host header of a client that sent none: connections are dialled by us, as tunnels' are.
      pool = new Pool(`http://${'host' in target ? nameOf(target) : 'localhost'}`, {
        connect: (_, connected) => {
          dial(target, { timeout: this.#timeouts.connect }).then(
            socket => connected(null, socket),
            (error: Error) => connected(error, null)
          )
        },
        headersTimeout: this.#timeouts.handshake,
        bodyTimeout: this.#timeouts.read
      })
      this.#pools.set(server, pool)
    }
    return pool
  }

  /** Ends what is left of a server that was removed: connections that are kept alive. */
  remove(server: UpstreamServer): void {
    const pool = this.#pools.get(server)
    this.#pools.delete(server)
    void pool?.close()
  }

  /** Destroys all pools, and the requests in them. */
  async destroy(): Promise<void> {
    await Promise.all([...this.#pools.values()].map(async pool => pool.destroy()))
  }
}
