/** Work that has begun and not yet ended, and how to end it before its time. */
export class UnderWay {
  readonly #aborts = new Set<(reason: Error) => void>()
  #idle: (() => void) | undefined

  /** @returns to be called when the work has ended */
  add(abort: (reason: Error) => void): () => void {
    this.#aborts.add(abort)
    return () => {
      this.#aborts.delete(abort)
      if (this.#aborts.size === 0) this.#idle?.()
    }
  }

  /** Ends all of it before its time. */
  abort(reason: Error): void {
    for (const abort of this.#aborts) abort(reason)
  }

  /** Waits until nothing is under way; what still is after `limit` milliseconds is ended. */
  async end(limit: number, reason: Error): Promise<void> {
    if (this.#aborts.size === 0) return
    await new Promise<void>(resolve => {
      const timer = setTimeout(() => this.abort(reason), limit)
      this.#idle = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
