/** What has limits in time. */
export interface Swept {
  /** Called each {@link TICK} with the time now, in milliseconds of `performance.now()`. */
  sweep(now: number): void
}

/** Milliseconds between two sweeps: a limit is noticed at most two of them late. */
export const TICK = 100

const watched = new Set<Swept>()
let timer: NodeJS.Timeout | undefined

/**
 * Sweeps `swept` until {@link unwatch}. One timer for all tunnels of the process, none per tunnel and no clock
 * read per message. It doesn't keep the process alive: the sockets do.
 */
export function watch(swept: Swept): void {
  watched.add(swept)
  timer ??= setInterval(() => {
    // Immediates run behind the sockets' reads: when the process was held up for longer than a limit, what came
    // meanwhile is counted first.
    setImmediate(sweepAll).unref()
  }, TICK).unref()
}

function sweepAll(): void {
  const now = performance.now()
  for (const each of watched) each.sweep(now)
}

/** Ends the sweeping of `swept`, and the timer with the last one. */
export function unwatch(swept: Swept): void {
  watched.delete(swept)
  if (watched.size > 0) return
  clearInterval(timer)
  timer = undefined
}
