type Abort = (reason: Error) => void

/** Work that has begun and not yet ended, and how to end it before its time. */
export class UnderWay {
  readonly #work = new Map<Abort, object>()
  readonly #waiting = new Set<() => void>()

  /**
   * @param owner - the attachment, say, that the work came by
   * @returns to be called when the work has ended
   */
  add(owner: object, abort: Abort): () => void {
    this.#work.set(abort, owner)
    return () => {
      this.#work.delete(abort)
      for (const check of this.#waiting) check()
    }
  }

  /** Ends before its time what came by this owner; all of it when left out. */
  abort(reason: Error, owner?: object): void {
    for (const abort of this.#of(owner)) abort(reason)
  }

  /** Waits until nothing of it is under way; what still is after `limit` milliseconds is ended. */
  async end(limit: number, reason: Error, owner?: object): Promise<void> {
    if (this.#of(owner).length === 0) return
    await new Promise<void>(resolve => {
      const timer = setTimeout(() => this.abort(reason, owner), limit)
      const check = (): void => {
        if (this.#of(owner).length > 0) return
        clearTimeout(timer)
        this.#waiting.delete(check)
        resolve()
      }
      this.#waiting.add(check)
    })
  }

  #of(owner: object | undefined): Abort[] {
    const all = [...this.#work]
    return all.filter(([, each]) => owner === undefined || each === owner).map(([abort]) => abort)
  }
}
