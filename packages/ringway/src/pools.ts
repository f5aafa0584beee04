import type { UpstreamServer } from '@ringway/balancer'
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
      const { address, tls } = server
      const scheme = tls ? 'https' : 'http'
      const host =
        'host' in address ? (address.host.includes(':') ? `[${address.host}]` : address.host) : 'localhost'
      const path = 'socketPath' in address ? { socketPath: address.socketPath } : {}
      pool = new Pool(`${scheme}://${host}:${'port' in address ? address.port : 80}`, {
        ...path,
        connect: { timeout: this.#timeouts.connect, ...tls, ...path },
        headersTimeout: this.#timeouts.handshake,
        bodyTimeout: this.#timeouts.read
      })
      this.#pools.set(server, pool)
    }
    return pool
  }

  /** Destroys all pools, and the requests in them. */
  async destroy(): Promise<void> {
    await Promise.all([...this.#pools.values()].map(async pool => pool.destroy()))
  }
}
