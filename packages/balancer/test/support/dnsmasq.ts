import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'

// Debian has dnsmasq where only root looks for programs.
const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/usr/local/sbin` }

/** What is missing on this machine for a real DNS server; undefined when nothing is. */
export function missing(): string | undefined {
  // Elsewhere the loopback has one address, unless it is told otherwise.
  if (process.platform !== 'linux') return 'Needs the addresses of 127.0.0.0/8, so Linux'
  const { error } = spawnSync('dnsmasq', ['--version'], { env, timeout: 10_000 })
  return error === undefined ? undefined : 'Needs dnsmasq: apt-get install dnsmasq-base'
}

/** Below the ports that the system gives away, on an address of our own: nobody else takes it between two starts. */
const PORT = 20_053

/** A real DNS server that ends with the test. */
export class Dnsmasq {
  /** Its address and port, as a resolver. */
  readonly resolver: string
  /** The queries that it has seen, such as `A ws.test`. */
  readonly queries: string[] = []
  readonly #address: string
  readonly #folder: string
  #child: ChildProcess | undefined
  #waiting: (() => void)[] = []

  private constructor(folder: string) {
    this.#address = `127.${byte()}.${byte()}.${byte()}`
    this.resolver = `${this.#address}:${PORT}`
    this.#folder = folder
  }

  /**
   * @param records - lines of dnsmasq's configuration, such as `srv-host=…`
   * @param hosts - lines of a hosts file, which {@link Dnsmasq.reload} can replace
   */
  static async start(
    t: TestContext,
    records: readonly string[],
    hosts: readonly string[] = []
  ): Promise<Dnsmasq> {
    const folder = await mkdtemp(join(tmpdir(), 'ringway-dnsmasq-'))
    const server = new Dnsmasq(folder)
    t.after(async () => {
      await server.stop()
      await rm(folder, { recursive: true })
    })
    await writeFile(server.#hosts, hosts.join('\n'))
    await server.start(records)
    return server
  }

  get #hosts(): string {
    return join(this.#folder, 'hosts')
  }

  /** Starts it again, perhaps with other records: a reload doesn't read them. */
  async start(records: readonly string[]): Promise<void> {
    const conf = join(this.#folder, 'dnsmasq.conf')
    const lines = [
      `listen-address=${this.#address}`,
      `port=${PORT}`,
      `user=${userInfo().username}`,
      `addn-hosts=${this.#hosts}`,
      'pid-file=',
      'log-facility=-',
      'bind-interfaces',
      'no-resolv',
      'no-poll',
      'no-hosts',
      'log-queries',
      // What isn't there in this zone doesn't exist; about anything else it refuses to answer.
      'local=/test/',
      ...records
    ]
    await writeFile(conf, `${lines.join('\n')}\n`)
    const child = spawn('dnsmasq', ['--keep-in-foreground', `--conf-file=${conf}`], {
      env,
      stdio: ['ignore', 'ignore', 'pipe']
    })
    this.#child = child
    const log: string[] = []
    await new Promise<void>((resolve, reject) => {
      createInterface(child.stderr).on('line', line => {
        log.push(line)
        if (/: started, version/.test(line)) resolve()
        const [, type, name] = /: query\[(\w+)\] (\S+) from/.exec(line) ?? []
        if (type !== undefined) this.queries.push(`${type} ${name}`)
        for (const look of this.#waiting.splice(0)) look()
      })
      child.on('error', reject)
      child.on('exit', code => reject(new Error(`dnsmasq ended with ${code}: ${log.join('\n')}`)))
    })
  }

  /** Replaces the hosts file's lines. Comes back when the signal is sent, maybe before the new ones are read. */
  async reload(hosts: readonly string[]): Promise<void> {
    await writeFile(this.#hosts, hosts.join('\n'))
    this.#child?.kill('SIGHUP')
  }

  /** Kills it; nobody answers any more. */
  async stop(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
  }

  /** Waits until so many queries of a kind were seen. */
  async seen(query: string, times: number): Promise<void> {
    while (this.count(query) < times) await new Promise<void>(resolve => this.#waiting.push(resolve))
  }

  /** How many queries of a kind were seen. */
  count(query: string): number {
    return this.queries.filter(each => each === query).length
  }
}

function byte(): number {
  return 1 + Math.floor(Math.random() * 253)
}
