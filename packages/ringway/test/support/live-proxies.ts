import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { certificate } from './gate-peer.ts'

// Debian has both where only root looks for programs.
const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin` }

/** What is missing on this machine for a live HAProxy and a live nginx; undefined when nothing is. */
export function missing(): string | undefined {
  // Elsewhere the loopback has one address, unless it is told otherwise.
  if (process.platform !== 'linux') return 'Needs the addresses of 127.0.0.0/8, so Linux'
  for (const [program, pack] of [
    ['haproxy', 'haproxy'],
    ['nginx', 'nginx-light']
  ] as const) {
    const { error } = spawnSync(program, ['-v'], { env, timeout: 10_000 })
    if (error !== undefined) return `Needs ${program}: apt-get install ${pack}`
  }
  return undefined
}

/** An address of the loopback that is nobody else's: its ports below those that the system gives away are free. */
export function ownAddress(): string {
  return `127.${byte()}.${byte()}.${byte()}`
}

function byte(): number {
  return 1 + Math.floor(Math.random() * 253)
}

/** Starts HAProxy with these sections; killed behind the test. `cert.pem` is there, with its key. */
export async function startHaproxy(t: TestContext, listens: string, sections: string): Promise<void> {
  const defaults = ['connect', 'client', 'server', 'tunnel'].map(name => `  timeout ${name} 30s`)
  await start(t, listens, 'haproxy', ['-db', '-f', 'conf'], `defaults\n${defaults.join('\n')}\n${sections}`)
}

/** Starts nginx with these lines in its `http`; killed behind the test. `cert.pem` is there, with its key. */
export async function startNginx(t: TestContext, listens: string, lines: string): Promise<void> {
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(name => `${name}_temp_path ${name};`)
  const conf = `
daemon off;
master_process off;
pid nginx.pid;
lock_file nginx.lock;
error_log stderr error;
events {}
http {
  access_log off;
  ${paths.join('\n  ')}
  ${lines}
}
`
  await start(t, listens, 'nginx', ['-p', '.', '-c', 'conf'], conf)
}

/** @param listens - where it must listen before the test goes on, as `host:port` */
async function start(
  t: TestContext,
  listens: string,
  program: string,
  args: readonly string[],
  conf: string
): Promise<void> {
  const cwd = await mkdtemp(join(tmpdir(), `ringway-${program}-`))
  await writeFile(join(cwd, 'conf'), conf)
  await writeFile(join(cwd, 'cert.pem'), certificate.cert + certificate.key)
  const child = spawn(program, args, { env, cwd, stdio: ['ignore', 'ignore', 'pipe'] })
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text))
  const exited = once(child, 'close').catch(() => {})
  t.after(async () => {
    child.kill('SIGKILL')
    await exited
    await rm(cwd, { recursive: true })
  })
  const deadline = Date.now() + 20_000
  while (!(await accepts(listens))) {
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}: ${log}`)
    if (Date.now() > deadline) throw new Error(`${program} accepts no connections: ${log}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

async function accepts(listens: string): Promise<boolean> {
  const [host, port] = listens.split(':') as [string, string]
  const socket = connect(Number(port), host)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
