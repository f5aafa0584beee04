import { once } from 'node:events'
import { isIP } from 'node:net'
import type { TestContext } from 'node:test'

import { Upstream } from '../../src/index.ts'
import type { Lease, Outcome, Reason, UpstreamOptions, UpstreamServer } from '../../src/index.ts'

/** The same servers, ids included, with an address in the place of each name, so that nothing is looked up. */
export function located(servers: UpstreamOptions['servers']): UpstreamOptions['servers'] {
  return servers.map(server => {
    const [, name, port] =
      (typeof server === 'string' ? /^(?!localhost)([a-z]\w*):(\d+)$/.exec(server) : null) ?? []
    if (name !== undefined) return { id: `${name}:${port}`, host: '127.0.0.1', port: Number(port) }
    if (typeof server === 'string' || server.host === undefined || isIP(server.host) !== 0) return server
    if (server.host === 'localhost') return server
    return { id: `${server.host}:${server.port}`, ...server, host: '127.0.0.1' }
  })
}

/** An upstream that is disposed of with the test. It holds nothing open itself, so the test has to. */
export function upstream(t: TestContext, options: UpstreamOptions): Upstream {
  const made = new Upstream({ ...options, servers: located(options.servers) })
  const open = setInterval(() => {}, 60_000)
  t.after(async () => {
    clearInterval(open)
    await made[Symbol.asyncDispose]()
  })
  return made
}

/** A lease that must be there. */
export async function acquired(from: Upstream, key?: string, except?: UpstreamServer[]): Promise<Lease> {
  const lease = await from.acquire(key, except === undefined ? {} : { except: new Set(except) })
  if (lease === undefined) throw new Error('no server is usable')
  return lease
}

/** A try on one server, by its id, that ends at once. */
export async function tryOn(of: Upstream, id: string, outcome: Outcome): Promise<void> {
  const others = of.servers.filter(server => server.id !== id)
  const lease = await acquired(of, 'x', others)
  lease.settle(outcome)
}

/** The next move of any server. */
export async function moved(
  from: Upstream,
  event: 'server:up' | 'server:down'
): Promise<{ server: UpstreamServer; reason: Reason }> {
  const [server, reason] = (await once(from, event)) as [UpstreamServer, Reason]
  return { server, reason }
}

/** All moves from now on, such as `down a failures`. */
export function moves(from: Upstream): string[] {
  const list: string[] = []
  for (const state of ['starting', 'up', 'down', 'probation', 'draining', 'removed'] as const) {
    from.on(`server:${state}`, (server, reason) => list.push(`${state} ${server.id} ${reason}`))
  }
  return list
}

/**
 * A monotonic clock, and timers, that only move when they are told to.
 *
 * @param step - milliseconds that they move by at once; all times of the test are multiples of it
 */
export function clock(t: TestContext, step = 1): { advance(milliseconds: number): void } {
  // Whole, so that sums are exact and a test may stand on the very border of a time.
  let now = Math.round(performance.now())
  t.mock.method(performance, 'now', () => now)
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
  return {
    advance(milliseconds) {
      // One by one, since a timer's callback looks at the clock.
      for (let passed = 0; passed < milliseconds; passed += step) {
        now += step
        t.mock.timers.tick(step)
      }
    }
  }
}
