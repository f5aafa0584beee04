import { Counts } from './counts.ts'
import type { Reason } from './health.ts'
import type { OutlierOptions } from './options.ts'
import type { Server } from './server.ts'

/** What is known of one server's tries. */
interface Track {
  counts: Counts
  /** Failed tries since the last one that went well. */
  failedInARow: number
  /** Ejections that make the next one longer. */
  ejections: number
  /** Since when it does well, of the monotonic clock; after now while it is out. */
  wellSince: number
}

/**
 * Finds servers that do worse than the others, though they may look well to probes, and takes them out for a time that
 * grows. After Envoy's outlier detection.
 */
export class Outliers {
  readonly #options: Required<OutlierOptions>
  readonly #servers: () => readonly Server[]
  readonly #tracks = new WeakMap<Server, Track>()

  /** @param servers - those of the set now */
  constructor(options: Required<OutlierOptions>, servers: () => readonly Server[]) {
    this.#options = options
    this.#servers = servers
  }

  /** A tunnel of it that ends within so many milliseconds may be an early death. */
  get earlyDeath(): number {
    return this.#options.earlyDeath
  }

  /** A try went well. */
  succeeded(server: Server): void {
    const track = this.#track(server)
    track.counts.add(1, 0)
    track.failedInARow = 0
    // However long it waited for its trial: it does well from now on.
    if (server.isEjected) track.wellSince = Math.max(track.wellSince, performance.now())
  }

  /** A try failed; gives whether the server is out for it. */
  failed(server: Server): boolean {
    const track = this.#track(server)
    track.counts.add(1, 1)
    track.failedInARow++
    const { consecutive } = this.#options
    const inARow = consecutive > 0 && track.failedInARow >= consecutive
    // Whose trial failed is out again at once.
    const again = server.isEjected && server.state === 'probation'
    return (inARow || again || this.#isWorse(server, track)) && this.#eject(server, track)
  }

  /** The server broke off a tunnel that had just begun: the try that went well has failed after all. */
  diedEarly(server: Server): void {
    const track = this.#track(server)
    track.counts.add(0, 1)
    if (this.#isWorse(server, track)) this.#eject(server, track)
  }

  /** The set has changed: those that are out beyond the share of what is left are back, the first of the list first. */
  pardon(reason: Reason): void {
    const ejected = this.#servers().filter(({ isEjected }) => isEjected)
    while (ejected.length > this.#mostEjected) ejected.shift()!.pardon(reason)
  }

  /** So many may be out. One alone does worse than nobody. */
  get #mostEjected(): number {
    const { length } = this.#servers()
    return length === 1 ? 0 : length * this.#options.maxEjectedShare
  }

  /** Whether its share of failures is so much larger than that of all others together, where both have enough tries. */
  #isWorse(server: Server, { counts }: Track): boolean {
    const { share, minTries } = this.#options
    if (share === 0) return false
    const own = counts.sum()
    const others = { all: 0, marked: 0 }
    for (const other of this.#servers()) {
      if (other === server) continue
      const { all, marked } = this.#track(other).counts.sum()
      others.all += all
      others.marked += marked
    }
    if (own.all < minTries || others.all < minTries) return false
    return own.marked / own.all - others.marked / others.all >= share
  }

  #eject(server: Server, track: Track): boolean {
    if (server.state === 'down' || !server.isWanted) return false
    const { time, maxTime } = this.#options
    const ejected = this.#servers().filter(each => each.isEjected && each !== server).length
    if (ejected + 1 > this.#mostEjected) return false
    // There would be nobody in its place.
    if (!this.#servers().some(each => each !== server && each.isWell)) return false

    const now = performance.now()
    // Each time that it did well for as long as a first ejection takes one off.
    const forgiven = server.isEjected ? 0 : Math.max(0, Math.floor((now - track.wellSince) / time))
    track.ejections = Math.max(0, track.ejections - forgiven) + 1
    const lasts = Math.min(time * track.ejections, maxTime)
    track.wellSince = now + lasts
    track.failedInARow = 0
    // It begins anew when it is back.
    track.counts = new Counts(this.#options.window)
    server.eject(lasts)
    return true
  }

  #track(server: Server): Track {
    let track = this.#tracks.get(server)
    if (track === undefined) {
      track = { counts: new Counts(this.#options.window), failedInARow: 0, ejections: 0, wellSince: 0 }
      this.#tracks.set(server, track)
    }
    return track
  }
}
