// Run by races.test.ts in a process of its own, with no error handler of its own: `race-child.js <options in JSON>`. One
// server with a gateway at each of some paths.
import { readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { GatewayOptions, Tunnel } from '../../src/index.ts'
import { createGateway } from '../../src/index.ts'
import { certificate } from './gate-peer.ts'
import { PATHS } from './race-world.ts'

/** What the parent says. */
export interface RaceHost {
  readonly tls: boolean
  /** A Unix socket's path; undefined for a port of 127.0.0.1. */
  readonly socketPath: string | undefined
  readonly gateways: { readonly [path: string]: Omit<GatewayOptions, 'log'> }
}

/** What it is told when it asks with any message. */
export interface RaceReport {
  /** Tunnels, and leases of servers. */
  readonly active: number
  readonly opened: number
  readonly closed: number
  readonly descriptors: number
  /** What keeps the process alive: sockets, timers. */
  readonly resources: string
  readonly listeners: string
}

const { tls, socketPath, gateways: options } = JSON.parse(process.argv[2]!) as RaceHost
const log = { info() {}, warn() {}, error() {} }
const server: Server = tls ? createTlsServer(certificate) : createServer()
server.on('request', (_, response) => response.end('the app'))
const gateways = Object.entries(options).map(([path, each]) => {
  const gateway = createGateway({ ...each, log })
  gateway.attach(server, { path })
  if (path === PATHS.ended) gateway.on('tunnel:open', end)
  return gateway
})
server.listen(socketPath === undefined ? { host: '127.0.0.1', port: 0 } : { path: socketPath }, () => {
  process.send!(socketPath ?? (server.address() as AddressInfo).port)
})

process.on('message', message => {
  if (message === 'close') void close()
  else process.send!(report())
})

let tunnels = 0

/** At once or a turn later, in good order or not. */
function end(tunnel: Tunnel): void {
  tunnels += 1
  const isLater = tunnels % 3 === 0
  const way = tunnels % 2 === 0 ? (): void => tunnel.close() : (): void => tunnel.destroy()
  if (isLater) setImmediate(way)
  else way()
}

function report(): RaceReport {
  const sums = { active: 0, opened: 0, closed: 0 }
  for (const gateway of gateways) {
    const { tunnels: counts, upstream } = gateway.stats()
    sums.active += counts.active
    for (const each of upstream.servers) sums.active += each.active + each.handshakes
    sums.opened += counts.opened
    sums.closed += counts.closed
  }
  const resources = process.getActiveResourcesInfo().filter(name => /TCP|TLS|Pipe|Timeout/.test(name))
  const listeners = [server, process, ...gateways].map(emitter =>
    emitter.eventNames().map(name => `${String(name)} ${emitter.listenerCount(name as never)}`)
  )
  return {
    ...sums,
    descriptors: readdirSync('/proc/self/fd').length,
    resources: resources.sort().join(' '),
    listeners: JSON.stringify(listeners)
  }
}

async function close(): Promise<void> {
  await Promise.all(gateways.map(async gateway => gateway.close({ drain: 200 })))
  await new Promise(resolve => server.close(resolve))
  process.disconnect()
}
