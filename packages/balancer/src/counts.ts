/** Parts that a window is counted in: what is older than the window goes out of the count a tenth of it at a time. */
const PARTS = 10

/** How many there were in the last so many milliseconds, and how many of them were marked. */
export class Counts {
  readonly #length: number
  /** By the number of the part, modulo how many there are. */
  readonly #parts = Array.from({ length: PARTS }, () => ({ part: -1, all: 0, marked: 0 }))

  /** @param window - milliseconds */
  constructor(window: number) {
    this.#length = window / PARTS
  }

  /** Counts now; gives the part that it was counted in. */
  add(all: number, marked: number): number {
    const part = Math.floor(performance.now() / this.#length)
    const now = this.#parts[part % PARTS]!
    if (now.part !== part) Object.assign(now, { part, all: 0, marked: 0 })
    now.all += all
    now.marked += marked
    return part
  }

  /** Takes a mark back that was counted in this part, unless it doesn't count any more. */
  unmark(part: number): void {
    const then = this.#parts[part % PARTS]!
    if (then.part === part) then.marked--
  }

  /** What counts now. */
  sum(): { all: number; marked: number } {
    const oldest = Math.floor(performance.now() / this.#length) - PARTS + 1
    const sum = { all: 0, marked: 0 }
    for (const { part, all, marked } of this.#parts) {
      if (part < oldest) continue
      sum.all += all
      sum.marked += marked
    }
    return sum
  }
}
