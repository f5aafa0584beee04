import { watch } from 'node:fs'
import type { FSWatcher } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { ConfigError } from '@ringway/core'
import { Fields, show } from '@ringway/core/fields'

import type { DiscoveredServer, Discovery, DiscoveryHooks } from './discovery.ts'
import { checkHooks } from './hooks.ts'
import { checkList } from './list.ts'
import { watchSource } from './watch.ts'
import type { Source } from './watch.ts'
import { jittered } from '../wait.ts'

/** How a file of servers is watched. */
export interface FileOptions extends DiscoveryHooks {
  /**
   * The file is read again after so many milliseconds (± 10 %) even if no change was noticed: on network file systems,
   * and behind symbolic links into other directories, none is. Default: 5000.
   */
  poll?: number
  /**
   * In milliseconds: how long after a change the file is read, and how long a text that can't be used must stay as it
   * is to be called bad, since it may be half written. Default: 100.
   */
  settle?: number
}

const OPTIONS = ['poll', 'settle', 'onError']

/** A file that is written all the time, and never well, must come to an end too. */
const MOST_READS = 20

/**
 * A watched JSON file: an array of servers, each as text or object, or `{ "servers": [ … ] }`. Besides the fields of
 * `servers` an object may have `backup` and `terminating`.
 *
 * It may be written in place, replaced by a rename, or swapped behind a symbolic link, as Kubernetes swaps a
 * ConfigMap's `..data`. A file that is missing, no JSON, or has a bad or no server is a failure, the first one too: it
 * is told to `onError`, and the list of before stays. So nothing is yielded until the file is good for the first time.
 *
 * @param path - of the file; a relative one is taken from the working directory of this moment
 * @param options - see each field; a bad one throws a `ConfigError`
 */
export function fromFile(path: string | URL, options: FileOptions = {}): Discovery {
  const fields = new Fields(options, '', OPTIONS)
  const poll = fields.milliseconds('poll', 5000, 1)
  const settle = fields.milliseconds('settle', 100, 0)
  const hooks = checkHooks(fields)
  const file = checkPath(path)
  const discovery: Discovery = {
    name: `file ${file}`,
    watch: signal =>
      watchSource(discovery, hooks, signal, changed => new ServersFile(file, poll, settle, changed))
  }
  return discovery
}

function checkPath(path: unknown): string {
  if (path instanceof URL && path.protocol === 'file:') return fileURLToPath(path)
  if (typeof path === 'string' && path !== '' && !path.includes('\0')) return resolve(path)
  throw new ConfigError('path', `must be a path or a file: URL, not ${show(path)}`)
}

class ServersFile implements Source {
  readonly #path: string
  readonly #poll: number
  readonly #settle: number
  readonly #changed: () => void

  /** The last good text, and what it says. */
  #good: { text: string; servers: readonly DiscoveredServer[] } | undefined
  #watcher: FSWatcher | undefined
  /** Device and inode of the watched directory. */
  #watched: string | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(path: string, poll: number, settle: number, changed: () => void) {
    this.#path = path
    this.#poll = poll
    this.#settle = settle
    this.#changed = changed
  }

  /**
   * Reads the whole file each time, whatever its times and inode say: they tell nothing after `cp -p` or within one
   * tick of the file system's clock, and a list is small.
   */
  async read(signal: AbortSignal): Promise<{ servers: readonly DiscoveredServer[]; next: number }> {
    // First, so that no change between the read and the watch is missed.
    await this.#followDirectory()
    let before: string | undefined
    for (let reads = 1; ; reads++) {
      const { text, problem } = await this.#readOnce(signal)
      if (problem === undefined) break
      if (text === before || reads === MOST_READS) throw problem
      before = text
      await sleep(this.#settle, undefined, { signal, ref: false })
    }
    return { servers: this.#good!.servers, next: this.#next() }
  }

  /** A look at a local file costs next to nothing, so it needs no back-off beyond the poll itself. */
  retry(): number {
    return this.#next()
  }

  close(): void {
    this.#closed = true
    this.#unwatch()
  }

  #next(): number {
    return jittered(this.#poll, 0.9, 1.1)
  }

  /** Renews `#good`, or says what is wrong and what was seen, so that two looks can be compared. */
  async #readOnce(signal: AbortSignal): Promise<{ text: string; problem?: Error }> {
    let text = ''
    try {
      // Nobody may ever write into a pipe, and the read of it can't be called off.
      if (!(await stat(this.#path)).isFile()) throw new Error('is no regular file')
      text = await readFile(this.#path, { encoding: 'utf8', signal })
      if (text !== this.#good?.text) this.#good = { text, servers: parse(text) }
      return { text }
    } catch (error) {
      const problem = error as Error
      return { text: text || problem.message, problem }
    }
  }

  /**
   * Watches the directory, since a watch of the file would stay with the inode when another takes its name. The
   * directory may be another by now, too. What can't be watched is still polled.
   */
  async #followDirectory(): Promise<void> {
    const directory = dirname(this.#path)
    let found: string | undefined
    try {
      const { dev, ino } = await stat(directory, { bigint: true })
      found = `${dev}:${ino}`
    } catch {
      // Gone for now; that the file is gone with it is told by the read.
    }
    if (found === this.#watched || this.#closed) return
    this.#unwatch()
    if (found === undefined) return
    try {
      this.#watcher = watch(directory, { persistent: false }, (_, name) => this.#noticed(name))
      this.#watcher.on('error', () => this.#unwatch())
      this.#watched = found
    } catch {
      // No watches are left on this machine, or none are possible here.
    }
  }

  /** Kubernetes swaps `..data`, next to the file's own name. Some systems give no name. */
  #noticed(name: string | null): void {
    if (name !== null && name !== basename(this.#path) && !name.startsWith('..')) return
    // Not put off by what comes meanwhile: a file that changes all the time must be read now and then.
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#changed()
    }, this.#settle).unref()
  }

  #unwatch(): void {
    this.#watcher?.close()
    this.#watcher = undefined
    this.#watched = undefined
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}

function parse(text: string): readonly DiscoveredServer[] {
  // Some editors put a byte order mark first.
  const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ''))
  const list = Array.isArray(value) ? value : new Fields(value, '', ['servers']).get('servers')
  return checkList(list)
}
