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
export function missingDnsmasq(): string | undefined {
  if (process.platform !== 'linux') return 'Needs the addresses of 127.0.0.0/8, so Linux'
  const { error } = spawnSync('dnsmasq', ['--version'], { env, timeout: 10_000 })
  return error === undefined ? undefined : 'Needs dnsmasq: apt-get install dnsmasq-base'
}

/** A real DNS server, with one name and its addresses, that ends with the test. */
export class Zone {
  readonly #address: string
  readonly #name: string
  readonly #folder: string
  #child: ChildProcess | undefined

  /** @param address - nobody else's, of 127.0.0.0/8 */
  static async start(t: TestContext, address: string, name: string): Promise<Zone> {
    const zone = new Zone(address, name, await mkdtemp(join(tmpdir(), 'ringway-zone-')))
    t.after(async () => {
      await zone.kill()
      await rm(zone.#folder, { recursive: true })
    })
    return zone
  }

  private constructor(address: string, name: string, folder: string) {
    this.#address = address
    this.#name = name
    this.#folder = folder
  }

  /** Below the ports that the system gives away. */
  get resolver(): string {
    return `${this.#address}:20053`
  }

  /** Changes the name's addresses; starts the server if need be. */
  async set(addresses: readonly string[]): Promise<void> {
    const hosts = join(this.#folder, 'hosts')
    await writeFile(hosts, addresses.map(each => `${each} ${this.#name}\n`).join(''))
    if (this.#child !== undefined) {
      this.#child.kill('SIGHUP')
      return
    }
    const lines = [
      `listen-address=${this.#address}`,
      'port=20053',
      `user=${userInfo().username}`,
      `addn-hosts=${hosts}`,
      'pid-file=',
      'log-facility=-',
      'bind-interfaces',
      'no-resolv',
      'no-hosts'
    ]
    const conf = join(this.#folder, 'dnsmasq.conf')
    await writeFile(conf, `${lines.join('\n')}\n`)
    const child = spawn('dnsmasq', ['--keep-in-foreground', `--conf-file=${conf}`], {
      env,
      stdio: ['ignore', 'ignore', 'pipe']
    })
    this.#child = child
    await new Promise<void>((resolve, reject) => {
      createInterface(child.stderr).on('line', line => {
        if (line.includes(': started, version')) resolve()
      })
      child.on('error', reject).on('exit', code => reject(new Error(`dnsmasq ended with ${code}`)))
    })
  }

  /** Nobody answers any more. */
  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined) return
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
  }
}
