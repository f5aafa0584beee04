import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('backend.js', import.meta.url))

/** A backend in a process of its own, so that it can die a real death. */
export class Backend {
  /** What the ring hashes. */
  id
  /** Any free one at the first start, the same one ever after. */
  port = 0
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #child

  /** @param {string} id */
  constructor(id) {
    this.id = id
  }

  /** While its process lives. */
  get pid() {
    return this.#child?.pid
  }

  /** Resolves when it listens. */
  async start() {
    if (this.#child) return
    const child = fork(PROGRAM, [this.id, String(this.port)])
    this.#child = child
    child.once('exit', () => {
      this.#child = undefined
    })
    /** @type {unknown} */
    const port = await new Promise((resolve, reject) => {
      child.once('message', resolve)
      child.once('exit', code => reject(new Error(`${this.id} ended before it listened (exit code ${code})`)))
    })
    this.port = Number(port)
  }

  /** SIGKILL: no goodbye to anybody, its connections just break. Resolves when it is gone. */
  async kill() {
    await this.#end(child => child.kill('SIGKILL'))
  }

  /** Resolves when it is gone. */
  async stop() {
    await this.#end(child => {
      if (child.connected) child.disconnect()
    })
  }

  /** @param {(child: import('node:child_process').ChildProcess) => void} how */
  async #end(how) {
    const child = this.#child
    if (!child) return
    const gone = once(child, 'exit')
    how(child)
    await gone
  }
}
