/** Acts that are put off until what is under way is done, and then done in their order: also what they put off in turn. */
export class Afterwards {
  readonly #acts: (() => void)[] = []
  #depth = 0
  #runs = false

  /** Whether something is under way. */
  get isWithin(): boolean {
    return this.#depth > 0
  }

  /** Does something, and what was put off behind it. */
  within(work: () => void): void {
    this.#depth++
    try {
      work()
    } finally {
      this.#depth--
      this.#run()
    }
  }

  /** Does it now, or when what is under way is done. */
  add(act: () => void): void {
    this.#acts.push(act)
    this.#run()
  }

  #run(): void {
    if (this.#depth > 0 || this.#runs) return
    this.#runs = true
    try {
      for (let act = this.#acts.shift(); act !== undefined; act = this.#acts.shift()) act()
    } finally {
      this.#runs = false
    }
  }
}
