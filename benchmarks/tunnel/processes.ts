import type { ChildProcess, StdioOptions } from 'node:child_process'
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { text } from 'node:stream/consumers'

/** What the benchmark needs besides Node, and the package of Debian that has it. */
const PROGRAMS = { gcc: 'gcc libc6-dev', nginx: 'nginx-light', taskset: 'util-linux' } as const
type Program = keyof typeof PROGRAMS

/** Gateways have the one core for themselves, load and backend the other. */
export const CORES = { gateway: 0, load: 1 } as const

/** Milliseconds that a process has to end when it is asked to. */
const PATIENCE = 2_000

/**
 * Where a program is. Debian has nginx where only root looks.
 *
 * @throws an error that says what to install
 */
export function find(program: Program): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  const path = folders.map(folder => join(folder, program)).find(existsSync)
  if (path !== undefined) return path
  throw new Error(`${program} is missing; on Debian: apt-get install ${PROGRAMS[program]}`)
}

/** The processes of one run, each on a core of its own choice, and a folder for their files: all gone when it is disposed. */
export class Processes implements AsyncDisposable {
  readonly folder: string
  readonly #signal: AbortSignal
  readonly #running = new Set<ChildProcess>()
  readonly #taskset = find('taskset')

  private constructor(folder: string, signal: AbortSignal) {
    this.folder = folder
    this.#signal = signal
  }

  /** @param signal - ends all of them, and every wait for one with an error */
  static async open(signal: AbortSignal): Promise<Processes> {
    return new Processes(await mkdtemp(join(tmpdir(), 'ringway-tunnel-')), signal)
  }

  /** Starts a program. Its errors are shown. */
  start(
    core: number,
    program: string,
    args: readonly string[],
    stdio: StdioOptions = ['ignore', 'pipe', 'inherit']
  ): ChildProcess {
    this.#signal.throwIfAborted()
    const pinned = ['-c', String(core), program, ...args]
    const child = spawn(this.#taskset, pinned, { stdio, signal: this.#signal })
    child.on('error', () => {}) // who waits for it is told, by its exit at the latest
    this.#running.add(child)
    child.once('exit', () => this.#running.delete(child))
    return child
  }

  /** Waits for a program's end and gives what it wrote. */
  async run(core: number, program: string, args: readonly string[]): Promise<string> {
    const child = this.start(core, program, args)
    const [output, code] = await Promise.all([text(child.stdout!), exitOf(child)])
    this.#signal.throwIfAborted()
    if (code !== 0) throw new Error(`${program} ${args.join(' ')} failed (${code}): ${output}`)
    return output
  }

  /** Ends a program and waits until it is gone. */
  async stop(child: ChildProcess): Promise<void> {
    if (!this.#running.has(child)) return
    const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE)
    child.kill() // nginx takes its worker with it
    await exitOf(child)
    clearTimeout(timer)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running].map(async child => this.stop(child)))
    await rm(this.folder, { recursive: true })
  }
}

async function exitOf(child: ChildProcess): Promise<number | string | null> {
  return new Promise(resolve => {
    child.once('exit', (code, signal) => resolve(code ?? signal))
  })
}
