import type { Recall, ServerLease } from './lease.ts'

/** Milliseconds between two looks at what is due. */
const TICK = 20

/** Tunnels that are asked to end, one after the other. */
interface Batch {
  readonly plan: RecallPlan
  /** Of the monotonic clock. */
  startsAt: number
  /** Milliseconds. */
  spread: number
  readonly endsAt: number
  /** Undefined before the start, and in a pause. */
  leases: ServerLease[] | undefined
  /** How many of them were asked. */
  asked: number
  /** All that were ever asked. */
  readonly told: WeakSet<ServerLease>
  isPaused: boolean
}

/** Which tunnels should end, why, how and when. */
export interface RecallPlan {
  /** Asked for when the first is due, and when a pause is over. */
  readonly leases: () => Iterable<ServerLease>
  readonly reason: Recall['reason']
  readonly code: number
  /** Milliseconds from now: the first is asked then. */
  readonly delay: number
  /** Milliseconds over which they are asked, evenly. */
  readonly spread: number
  /** Milliseconds from now: those that are there still are cut off. Infinity for never. */
  readonly deadline: number
  /** Asked now and then: false ends it. */
  readonly isWanted: () => boolean
  /**
   * Asked now and then: for as long as it is true nobody is asked, and then those that are left, over what was left of the time;
   * over all of it where nothing was. Default: never.
   */
  readonly isPaused?: () => boolean
}

/** Asks one more tunnel to end. */
export type Join = (lease: ServerLease) => void

/** Ends tunnels evenly over a time, so that their clients don't all come back in the same moment. One timer for all. */
export class Recalls {
  readonly #batches = new Set<Batch>()
  #timer: NodeJS.Timeout | undefined
  #ended = false

  /**
   * Asks tunnels to end, the first at once if there is no delay.
   *
   * @param hold - given a function that adds one more, before the first is asked: whoever is may begin others
   */
  begin(plan: RecallPlan, hold: (join: Join) => void): void {
    const now = performance.now()
    const batch: Batch = {
      plan,
      startsAt: now + plan.delay,
      spread: plan.spread,
      endsAt: now + plan.deadline,
      leases: undefined,
      asked: 0,
      told: new WeakSet(),
      isPaused: false
    }
    const follow = (): void => {
      if (this.#ended) return
      this.#batches.add(batch)
      if (this.#timer !== undefined) return
      this.#timer = setInterval(() => this.#look(), TICK)
      // It is for tunnels to keep a process, not for us.
      this.#timer.unref()
    }
    follow()
    hold(lease => {
      if (!plan.isWanted()) return
      // In a pause, those there are are asked for when it is over.
      if (!batch.isPaused && plan.isPaused?.() !== true) batch.leases?.push(lease)
      follow()
    })
    this.#ask(batch, now)
  }

  /** Asks nobody any more. */
  end(): void {
    this.#ended = true
    this.#batches.clear()
    this.#rest()
  }

  #look(): void {
    const now = performance.now()
    for (const batch of this.#batches) this.#ask(batch, now)
    this.#rest()
  }

  #rest(): void {
    if (this.#batches.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #ask(batch: Batch, now: number): void {
    const { plan, endsAt } = batch
    // Asked before each tunnel, since whoever is asked to end may change what we are doing.
    const isOver = (): boolean => this.#ended || !plan.isWanted()
    if (isOver()) return void this.#batches.delete(batch)
    if (plan.isPaused?.() === true) return pause(batch, now)
    if (batch.isPaused) {
      batch.isPaused = false
      batch.startsAt = Math.max(batch.startsAt, now)
    }
    const { startsAt, spread, told } = batch
    if (now < startsAt) return
    const leases = (batch.leases ??= [...plan.leases()].filter(lease => !told.has(lease)))
    const passed = (now - startsAt) / spread
    const due = passed < 1 ? Math.floor(passed * leases.length) + 1 : leases.length
    while (batch.asked < Math.min(due, leases.length) && !isOver()) {
      const lease = leases[batch.asked++]!
      told.add(lease)
      recall(lease, plan, false)
    }
    if (now >= endsAt) {
      for (const lease of leases) if (!isOver()) recall(lease, plan, true)
    }
    const isDone = now >= endsAt || (endsAt === Infinity && batch.asked === leases.length)
    if (!isDone) return
    this.#batches.delete(batch)
    // One more may join, long after these have ended.
    batch.leases = []
    batch.asked = 0
  }
}

/** Nobody is kept meanwhile, as a pause may last for days. */
function pause(batch: Batch, now: number): void {
  if (batch.isPaused) return
  batch.isPaused = true
  const left = Math.max(0, batch.startsAt + batch.spread - now)
  batch.spread = left > 0 ? Math.min(left, batch.spread) : batch.plan.spread
  batch.leases = undefined
  batch.asked = 0
}

function recall(lease: ServerLease, { reason, code }: RecallPlan, cut: boolean): void {
  try {
    lease.recall({ reason, code, cut })
  } catch (error) {
    // We go through all tunnels, which a bug in ending one must not stop; but nor must it be hidden.
    process.nextTick(() => {
      throw error
    })
  }
}
