import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { CORES, find } from './processes.ts'
import type { Processes } from './processes.ts'

/** A gateway that runs, as a process of its own. */
export interface Running {
  readonly child: ChildProcess
  readonly port: number
}

/** Starts a gateway in front of the backend's port. */
type Start = (processes: Processes, backend: number) => Promise<Running>

/** All that is compared. */
export type GatewayName = 'nginx' | 'nginx, 64 KiB buffers' | 'by hand' | 'ringway' | 'ringway, watch'

export const GATEWAYS: Readonly<Record<GatewayName, Start>> = {
  nginx: async (...where) => nginx(...where),
  'nginx, 64 KiB buffers': async (...where) =>
    nginx(...where, 'proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;'),
  'by hand': async (...where) => node(...where, 'by-hand'),
  ringway: async (...where) => node(...where, 'ringway'),
  'ringway, watch': async (...where) => node(...where, 'ringway', 'watch')
}

/** Milliseconds in which nginx must listen. */
const PATIENCE = 5_000

async function node(
  processes: Processes,
  backend: number,
  contender: string,
  ...more: string[]
): Promise<Running> {
  const file = fileURLToPath(new URL(`../contenders/${contender}.js`, import.meta.url))
  const args = [file, String(backend), ...more]
  const child = processes.start(CORES.gateway, process.execPath, args, [
    'ignore',
    'inherit',
    'inherit',
    'ipc'
  ])
  const [{ port }] = (await Promise.race([once(child, 'message'), died(child)])) as [{ port: number }]
  return { child, port }
}

async function nginx(processes: Processes, backend: number, buffers = ''): Promise<Running> {
  const port = await freePort()
  const folder = join(processes.folder, String(port))
  const file = `${folder}.conf`
  await writeFile(file, nginxConfig(folder, port, backend, buffers))
  const child = processes.start(CORES.gateway, find('nginx'), ['-c', file, '-e', 'stderr'])
  await Promise.race([listening(port), died(child)])
  return { child, port }
}

/** One worker; the key, the headers and the time limits are what Ringway does by itself. */
function nginxConfig(folder: string, port: number, backend: number, buffers: string): string {
  return `
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid ${folder}.pid;
error_log stderr crit;
events { worker_connections 20000; }
http {
  access_log off;
  client_body_temp_path ${folder}-body;
  proxy_temp_path ${folder}-proxy;
  fastcgi_temp_path ${folder}-fastcgi;
  uwsgi_temp_path ${folder}-uwsgi;
  scgi_temp_path ${folder}-scgi;
  map $http_upgrade $connection_upgrade { default upgrade; "" close; }
  upstream backend {
    hash $remote_addr consistent;
    server 127.0.0.1:${backend};
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      ${buffers}
    }
  }
}
`
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

/** Waits until a port takes connections. */
async function listening(port: number): Promise<void> {
  for (const deadline = performance.now() + PATIENCE; ; await wait(20)) {
    const socket = connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return
    } catch (error) {
      if (performance.now() > deadline) throw error
    } finally {
      socket.destroy()
    }
  }
}

async function died(child: ChildProcess): Promise<never> {
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
  throw new Error(`A gateway ended before it listened (${code ?? signal})`)
}
