import { once } from 'node:events'
import type { TestContext } from 'node:test'

import { Upstream } from '../../src/index.ts'
import type { Lease, Reason, UpstreamOptions, UpstreamServer } from '../../src/index.ts'

/** An upstream that is disposed of with the test. It holds nothing open itself, so the test has to. */
export function upstream(t: TestContext, options: UpstreamOptions): Upstream {
  const made = new Upstream(options)
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
  from.on('server:down', (server, reason) => list.push(`down ${server.id} ${reason}`))
  from.on('server:up', (server, reason) => list.push(`up ${server.id} ${reason}`))
  return list
}

/** A monotonic clock that only moves when it is told to. */
export function clock(t: TestContext): { advance(milliseconds: number): void } {
  // Whole, so that sums are exact and a test may stand on the very border of a time.
  let now = Math.round(performance.now())
  t.mock.method(performance, 'now', () => now)
  return {
    advance(milliseconds) {
      now += milliseconds
    }
  }
}
