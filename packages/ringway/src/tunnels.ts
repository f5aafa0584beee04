import type { Lease, Recall } from '@ringway/balancer'
import type { Splice, TunnelEnd } from '@ringway/tunnel'
import type { CloseOptions } from './options.ts'
import type { Record } from './record.ts'

/** An open tunnel. */
export interface Entry {
  readonly splice: Splice
  /** The attachment that it came by. */
  readonly owner: object
}

/** All open tunnels of a gateway. */
export class Tunnels {
  /** Tunnels opened since the start. */
  opened = 0
  /** Tunnels ended since the start. */
  closed = 0
  readonly #open = new Set<Entry>()

  /**
   * Keeps a tunnel until its end, then gives its lease back.
   *
   * @param owner - the attachment that it came by
   * @param ended - told of the end, after all counts are right
   */
  keep(splice: Splice, owner: object, lease: Lease, record: Record, ended: (end: TunnelEnd) => void): void {
    const entry = { splice, owner }
    this.#open.add(entry)
    this.opened += 1
    void this.#settle(entry, lease, record, ended)
  }

  async #settle(entry: Entry, lease: Lease, record: Record, ended: (end: TunnelEnd) => void): Promise<void> {
    const end = await entry.splice.ended
    this.#open.delete(entry)
    this.closed += 1
    lease.settle(end.by === 'backend' && end.how === 'reset' ? 'failed' : 'ok')
    record.end(101, end)
    ended(end)
  }

  /** Tunnels open now. */
  get active(): number {
    return this.#open.size
  }

  /**
   * Ends tunnels: each gets its end at its turn, evenly over `spread`, and what is left when `drain` is over is
   * destroyed. Resolves when all are gone.
   *
   * @param which - only these tunnels. Default: all
   */
  async close(
    { drain, spread, code }: Required<CloseOptions>,
    which: (tunnel: Entry) => boolean = () => true
  ): Promise<void> {
    const now = performance.now()
    const [spreadUntil, deadline] = [now + spread, now + drain]
    for (;;) {
      const entries = [...this.#open].filter(which)
      if (entries.length === 0) return
      // A handshake that was past its 101 when we began may have added one meanwhile: hence the loop.
      await endSpread(entries, { drain: timeUntil(deadline), spread: timeUntil(spreadUntil), code })
    }
  }
}

/** Ends a tunnel because of its server: in good order, or at once when there is no time left. */
export function recallTunnel(splice: Splice, { cut, code, reason }: Recall): void {
  if (cut) splice.destroy()
  else splice.close(code, reason)
}

/** Milliseconds, at least 0. */
function timeUntil(time: number): number {
  return Math.max(0, time - performance.now())
}

async function endSpread(
  entries: readonly Entry[],
  { drain, spread, code }: Required<CloseOptions>
): Promise<void> {
  const started = performance.now()
  const step = spread / entries.length
  let next = 0
  const endDue = (): void => {
    const due = step > 0 ? Math.floor((performance.now() - started) / step) + 1 : entries.length
    for (; next < entries.length && next < due; next++) entries[next]!.splice.close(code)
  }
  if (drain > 0) endDue()
  const turn = drain > 0 ? setInterval(endDue, 20) : undefined
  const deadline = setTimeout(() => {
    for (const { splice } of entries) splice.destroy()
  }, drain)
  await Promise.all(entries.map(async ({ splice }) => splice.ended))
  clearInterval(turn)
  clearTimeout(deadline)
}
