import type { UpstreamConfig } from './config.ts'
import type { ServerLease } from './lease.ts'
import type { Join, RecallPlan, Recalls } from './recalls.ts'
import type { Server, UpstreamServer } from './server.ts'
import type { ServerSet } from './set.ts'

/** What is to be known of the upstream, as it is now. */
interface Surroundings {
  readonly set: () => ServerSet
  readonly isPanic: () => boolean
}

/** What becomes of open tunnels when their server goes down, and when the server that they belong to is back. */
export class OpenTunnels {
  readonly #config: Pick<UpstreamConfig, 'onDown' | 'rebalance' | 'spread'>
  readonly #recalls: Recalls
  readonly #around: Surroundings
  /** What asks one more tunnel to end: of a server that was down, and of those that belong to an id, last. */
  readonly #joins = new Map<Server | string, Join>()

  constructor(
    config: Pick<UpstreamConfig, 'onDown' | 'rebalance' | 'spread'>,
    recalls: Recalls,
    around: Surroundings
  ) {
    this.#config = config
    this.#recalls = recalls
    this.#around = around
  }

  /** What tells later where a tunnel belongs; not for one that is elsewhere though its own server is well, but has enough. */
  keyToKeep(
    key: string | undefined,
    server: Server,
    except: ReadonlySet<UpstreamServer> | undefined
  ): string | undefined {
    const set = this.#around.set()
    if (this.#config.rebalance === 'lazy' || !set.isKeyed(key)) return undefined
    const home = set.home(key)
    const isThere = (each: Server): boolean =>
      each.id === home && each.isWell && each.ramp === 1 && except?.has(each) !== true
    return home !== server.id && set.servers.some(isThere) ? undefined : key
  }

  /** A tunnel has opened whose handshake may have begun before others like it were asked to end: so must it. */
  opened(server: Server, lease: ServerLease): void {
    this.#joins.get(server)?.(lease)
    const home = this.#homeOf(lease)
    if (home !== undefined && home !== server.id) this.#joins.get(home)?.(lease)
  }

  /** A server went down. */
  down(server: Server): void {
    const { onDown, spread } = this.#config
    // One at a time: it isn't back before a trial has gone well.
    if (onDown === 'keep' || server.state !== 'down' || this.#joins.has(server)) return
    const plan: RecallPlan = {
      leases: () => server.tunnels,
      reason: 'down',
      code: 1012,
      delay: 0,
      spread,
      deadline: Infinity,
      isWanted: () => !server.isWell && server.isListed,
      // It is used all the same then.
      isPaused: () => this.#around.isPanic() || this.#isLast(server)
    }
    this.#recalls.begin(plan, join => this.#joins.set(server, join))
  }

  /** A server takes traffic: the tunnels that belong to it and are elsewhere are asked to end. */
  up(home: Server): void {
    const { rebalance, spread } = this.#config
    if (rebalance === 'lazy' || !home.isWell) return
    const strayed = (): ServerLease[] =>
      this.#around
        .set()
        .servers.filter(({ id }) => id !== home.id)
        .flatMap(({ tunnels }) => [...tunnels].filter(lease => this.#homeOf(lease) === home.id))
    // Not in this very moment, in which it may be down and up again many times.
    const delay = home.slowStart + 1
    const startsAt = performance.now() + delay
    const { id } = home
    let own: Join | undefined
    const plan: RecallPlan = {
      leases: strayed,
      reason: 'rebalance',
      code: 1012,
      delay,
      spread,
      deadline: Infinity,
      // A later one takes its place.
      isWanted: () => home.isWell && this.#joins.get(id) === own
    }
    this.#recalls.begin(plan, join => {
      // Who chose later went elsewhere for other reasons.
      own = lease => {
        if (lease.since <= startsAt) join(lease)
      }
      this.#joins.set(id, own)
    })
  }

  /** A server is well, or has left the set, where a drain says how its tunnels end: its outage is no tunnel's end any more. */
  over(server: Server): void {
    this.#joins.delete(server)
  }

  /** Nothing is left of a server that had left the set, where another one of its id may be. */
  gone(server: Server): void {
    if (!this.#around.set().servers.some(({ id }) => id === server.id)) this.#joins.delete(server.id)
  }

  /** Whether no other server is well, so that its clients have nowhere to go. */
  #isLast(server: Server): boolean {
    return !this.#around.set().servers.some(each => each !== server && each.isWell)
  }

  #homeOf({ key }: ServerLease): string | undefined {
    const set = this.#around.set()
    try {
      return set.isKeyed(key) ? set.home(key) : undefined
    } catch {
      // A strategy that throws is told of where somebody asks for a server.
      return undefined
    }
  }
}
