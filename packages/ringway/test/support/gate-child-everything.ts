// Run by left-behind.test.ts in a process of its own: `gate-child-everything.js <outside in JSON>`. Gateways in which all
// that has a timer or a socket is under way, each at a path of one server.
import { createHook } from 'node:async_hooks'
import dns from 'node:dns'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fromDns, fromFile } from '@ringway/balancer'
import type { Gateway, GatewayOptions } from '../../src/index.ts'
import { createGateway } from '../../src/index.ts'
import { left } from './gate-of-balancer.ts'

/** What is there outside of the process. */
export interface Outside {
  /** The port of a server on 127.0.0.1 that takes handshakes. */
  readonly good: number
  /** Of one that takes connections and says nothing. */
  readonly silent: number
  /** Of a resolver that says nothing. */
  readonly resolver: string
  /** With a list of servers. */
  readonly file: string
}

/** What each gateway has, in short: `2 tunnels, 1 handshakes, 0 waiting: a up, b down`. */
export type Known = { readonly [path: string]: string }

/** What is left after all gateways were closed. */
export interface Left {
  /** In milliseconds, of those that don't end at once; also those that would keep no process alive. */
  readonly timers: number[]
  readonly sockets: string[]
  readonly resources: string[]
}

const MINUTE = 60_000
const { good, silent, resolver, file } = JSON.parse(process.argv[2]!) as Outside

const timers = new Map<number, { _idleTimeout: number; _repeat: number | null }>()
createHook({
  init(id, type, _, timer) {
    if (type === 'Timeout') timers.set(id, timer as never)
  },
  destroy(id) {
    timers.delete(id)
  }
}).enable()
const socketsBefore = left.openSockets()

/** The system's resolver, in short: it knows one name, and has no answer for another. */
async function lookup(name: string): Promise<{ address: string; family: number }[]> {
  if (name === 'asked.test') await new Promise(() => {})
  return [{ address: '127.0.0.1', family: 4 }]
}
Object.assign(dns.promises, { lookup })

const dead = { id: 'dead', host: '127.0.0.1', port: 1 }
const well = { id: 'well', host: 'well.test', port: good }
const hangs = { id: 'hangs', host: '127.0.0.1', port: silent }
const going = { id: 'going', host: '127.0.0.1', port: good }

function probed(type: 'http' | 'tcp' | 'websocket'): GatewayOptions['upstream'] {
  return {
    servers: [well, going],
    // The silent server is probed in the place of each.
    health: { type, port: silent, interval: MINUTE, timeout: MINUTE },
    slowStart: MINUTE,
    onDown: 'close',
    rebalance: 'close',
    spread: MINUTE
  }
}

const upstreams: { [path: string]: GatewayOptions['upstream'] } = {
  '/http': probed('http'),
  '/tcp': probed('tcp'),
  '/websocket': probed('websocket'),
  '/marked': { servers: [dead, well], failTimeout: MINUTE },
  '/ejected': { servers: [dead, well], maxFails: 0, outliers: { consecutive: 1, time: MINUTE } },
  '/queued': { servers: [hangs], pendingHandshakes: 1, queue: { timeout: MINUTE } },
  '/asked': { servers: ['asked.test:80'] },
  '/request': { servers: [hangs] },
  '/listed': { servers: ['127.0.0.1:1'] }
}
const timeouts = {
  connect: MINUTE,
  handshake: MINUTE,
  read: MINUTE,
  send: MINUTE,
  linger: MINUTE,
  chain: MINUTE
}
const log = { info() {}, warn() {}, error() {} }

const server = createServer()
const gateways = new Map<string, Gateway>()
for (const [path, upstream] of Object.entries(upstreams)) {
  const gateway = createGateway({ upstream, timeouts, watch: true, log })
  gateway.attach(server, { path })
  gateways.set(path, gateway)
}
server.on('request', (request, response) => gateways.get(request.url!)!.handleRequest(request, response))

const end = new AbortController()
const asks = { host: 'ws.test', port: 80, family: 4, timeout: MINUTE, minTtl: MINUTE } as const
const sources = [
  fromFile(file, { poll: MINUTE }),
  fromDns({ ...asks, resolvers: [resolver] }),
  fromDns({ ...asks, resolvers: ['127.0.0.1:1'] })
]
const watches = sources.map(async source => {
  for await (const servers of source.watch(end.signal)) void gateways.get('/listed')!.setServers(servers)
})

process.on('message', message => {
  if (message === 'close') void close()
  else if (message === 'drain') void drain()
  else process.send!(known())
})
server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port))

function known(): Known {
  return Object.fromEntries(
    [...gateways].flatMap(([path, gateway]) => {
      // Its state depends on the time: no look-up may take more than 5 s.
      if (path === '/asked') return []
      const { active, handshakes, waiting, servers } = gateway.stats().upstream
      const states = servers.map(({ id, state }) => `${id} ${state}`).join(', ')
      return [[path, `${active} tunnels, ${handshakes} handshakes, ${waiting} waiting: ${states}`]]
    })
  )
}

/** From now on tunnels are asked to end, over a minute. */
async function drain(): Promise<void> {
  const paths = ['/http', '/tcp', '/websocket']
  await Promise.all(paths.map(async path => gateways.get(path)!.drain('going', { spread: MINUTE })))
}

async function close(): Promise<void> {
  end.abort()
  await Promise.all(Array.from(gateways.values(), async gateway => gateway.close()))
  await Promise.all(watches)
  const closed = once(server, 'close')
  server.close()
  await closed
  // The ends of timers and sockets are told behind the immediates of the turn after.
  for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate)
  const found: Left = {
    // Node's own clock for Date headers has a timer of up to a second.
    timers: Array.from(timers.values()).flatMap(({ _idleTimeout: delay, _repeat }) =>
      _repeat !== null || delay > 1000 ? [delay] : []
    ),
    sockets: left.openSockets().filter(socket => !socketsBefore.includes(socket)),
    resources: left.activeResources()
  }
  process.send!(found)
  process.disconnect()
}
