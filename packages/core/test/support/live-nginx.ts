import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What a live nginx balances: `server` lines with addresses of 127.0.0.0/8. */
export interface LiveServer {
  readonly address: string
  readonly weight: number
  readonly down?: boolean
}

/** How nginx balances, the header that takes the key, and the line that says so. */
const METHODS = {
  ketama: { header: 'X-Key', line: 'hash $http_x_key consistent;' },
  plainHash: { header: 'X-Key', line: 'hash $http_x_key;' },
  ipHash: { header: 'X-Real-IP', line: 'ip_hash;' }
} as const

/** How nginx balances, by the name of our strategy. */
export type Method = keyof typeof METHODS

/** A running nginx. */
export interface LiveNginx extends AsyncDisposable {
  /** For each set, its servers' texts as nginx read them: address and port. */
  readonly servers: readonly (readonly string[])[]
  /** The indexes of a set's servers in the order in which nginx tried them for a key. */
  tried(set: number, key: string): Promise<number[]>
}

// Debian has nginx where only root looks for programs.
const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/usr/local/sbin` }

/** What is missing on this machine for a live nginx; `undefined` when nothing is. */
export function missing(): string | undefined {
  // Elsewhere the loopback has one address, unless it is told otherwise.
  if (process.platform !== 'linux') return 'Needs the addresses of 127.0.0.0/8, so Linux'
  const { stderr, error } = spawnSync('nginx', ['-V'], { env, encoding: 'utf8', timeout: 10_000 })
  if (error !== undefined) return 'Needs nginx: apt-get install nginx-light'
  if (!stderr.includes('http_realip')) return 'Needs an nginx with http_realip: apt-get install nginx-light'
  return undefined
}

/**
 * Starts an nginx in front of backends that all answer 503, so that it tries each of them.
 *
 * @param method - how it balances
 * @param sets - the servers of each upstream
 */
export async function startNginx(
  method: Method,
  sets: readonly (readonly LiveServer[])[]
): Promise<LiveNginx> {
  const ends: (() => unknown)[] = []
  const end = async () => {
    for (const each of ends.splice(0).toReversed()) await each()
  }
  try {
    const directory = await mkdtemp(join(tmpdir(), 'ringway-nginx-'))
    ends.push(() => rm(directory, { recursive: true }))
    const servers: string[][] = []
    for (const set of sets) {
      const texts: string[] = []
      for (const { address } of set) {
        const backend = await startBackend(address)
        ends.push(() => backend.close())
        texts.push(`${address}:${(backend.address() as net.AddressInfo).port}`)
      }
      servers.push(texts)
    }
    await writeFile(join(directory, 'nginx.conf'), configuration(method, sets, servers))
    const socketPath = join(directory, 'socket')
    ends.push(await run(directory, socketPath))
    const agent = new http.Agent({ keepAlive: true, maxSockets: 8 })
    ends.push(() => agent.destroy())

    const tried = async (set: number, key: string): Promise<number[]> => {
      // HTTP has bytes where Node has a text of as many characters.
      const value = Buffer.from(key).toString('latin1')
      const headers = key === 'unix:' ? {} : { [METHODS[method].header]: value }
      const request = http.get({ socketPath, path: `/${set}`, agent, headers, timeout: 10_000 })
      request.on('timeout', () =>
        request.destroy(new Error(`nginx didn't answer for ${JSON.stringify(key)}`))
      )
      request.on('error', () => request.destroy()) // told by what waits below
      const [response] = (await once(request, 'response')) as [http.IncomingMessage]
      await once(response.resume(), 'end')
      return String(response.headers['x-tried'])
        .split(', ')
        .map(text => servers[set]!.indexOf(text))
    }
    return { servers, tried, [Symbol.asyncDispose]: end }
  } catch (error) {
    await end()
    throw error
  }
}

async function startBackend(address: string): Promise<net.Server> {
  const backend = net.createServer(socket => {
    socket.on('error', () => socket.destroy())
    socket.once('data', () => {
      socket.end('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
    })
  })
  backend.listen(0, address)
  await once(backend, 'listening')
  return backend
}

/** One process that stays with us, writes to its own directory only, and listens where no port can be taken. */
function configuration(
  method: Method,
  sets: readonly (readonly LiveServer[])[],
  servers: readonly (readonly string[])[]
): string {
  const upstreams = sets.map((set, index) => {
    const lines = set.map(
      ({ weight, down }, at) =>
        `server ${servers[index]![at]!} weight=${weight} max_fails=0${down === true ? ' down' : ''};`
    )
    return `upstream set${index} { ${METHODS[method].line} ${lines.join(' ')} }`
  })
  const locations = sets.map((_, index) => `location = /${index} { proxy_pass http://set${index}; }`)
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(name => `${name}_temp_path ${name};`)
  return `
daemon off;
master_process off;
pid nginx.pid;
lock_file nginx.lock;
error_log stderr error;
events {}
http {
  access_log off;
  ${paths.join('\n  ')}
  set_real_ip_from unix:;
  real_ip_header X-Real-IP;
  proxy_next_upstream error timeout http_503;
  proxy_pass_request_headers off;
  add_header X-Tried $upstream_addr always;
  ${upstreams.join('\n  ')}
  server {
    listen unix:socket;
    ${locations.join('\n    ')}
  }
}
`
}

/** Starts the process, waits until it accepts connections, and returns what ends it. */
async function run(directory: string, socketPath: string): Promise<() => Promise<void>> {
  const child = spawn('nginx', ['-p', directory, '-c', 'nginx.conf'], {
    env,
    cwd: directory,
    stdio: ['ignore', 'ignore', 'pipe']
  })
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text))
  const exited = once(child, 'close')
  // It may also fail to start, which is told below.
  exited.catch(() => {})
  const end = async () => {
    child.kill()
    const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
    await exited
    clearTimeout(timer)
  }
  const deadline = Date.now() + 10_000
  while (!(await accepts(socketPath))) {
    if (child.exitCode !== null) throw new Error(`nginx ended with ${child.exitCode}: ${log}`)
    if (Date.now() > deadline) {
      await end()
      throw new Error(`nginx accepts no connections: ${log}`)
    }
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  return end
}

async function accepts(path: string): Promise<boolean> {
  const socket = net.connect(path)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
