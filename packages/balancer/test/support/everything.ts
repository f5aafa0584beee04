// Run by left-behind.test.ts in a process of its own: `everything.js <what> <outside>`, the latter as JSON. All that has
// a timer or a socket is under way in it.
import { createHook } from 'node:async_hooks'
import { subscribe } from 'node:diagnostics_channel'
import dns from 'node:dns'
import { once } from 'node:events'

import { Upstream, fromDns, fromFile } from '../../src/index.ts'
import type { Lease } from '../../src/index.ts'
import { activeResources, openSockets } from './left.ts'

/** What is there outside of the process. */
export interface Outside {
  /** Of a server on 127.0.0.1 that takes connections and says nothing. */
  readonly port: number
  /** Of a resolver that says nothing. */
  readonly resolver: string
  /** With a list of servers. */
  readonly file: string
}

/** What the process writes: a line when all is under way, and another when it has disposed of it. */
export interface Known {
  /** Each server's state. */
  readonly servers: string[]
  readonly waiting: number
  /** Each upstream's last probe, of the servers that aren't silent. */
  readonly probes: (string | undefined)[]
  /** Discoveries that failed. */
  readonly failed: string[]
  /** The ids that the file had. */
  readonly listed: (string | undefined)[]
}

/** What is left after that. */
export interface Left {
  /** Timers of all kinds, also those that would keep no process alive. */
  readonly timers: number
  readonly sockets: string[]
  readonly resources: string[]
}

const [, , what, given = ''] = process.argv
const outside = JSON.parse(given) as Outside

const timers = new Set<number>()
createHook({
  init(id, type) {
    if (type === 'Timeout') timers.add(id)
  },
  destroy(id) {
    timers.delete(id)
  }
}).enable()
const socketsBefore = openSockets()

/** The system's resolver, in short: it knows all names but one, and has no answer for another. */
async function lookup(name: string): Promise<{ address: string; family: number }[]> {
  if (name === 'lost.test') throw new Error('ENOTFOUND')
  if (name === 'asked.test') await new Promise(() => {})
  return [{ address: '127.0.0.1', family: 4 }]
}
Object.assign(dns.promises, { lookup })

const servers = ['marked', 'ejected', 'back', 'drained', 'well', 'lost'].map((id, i) => ({
  id,
  host: `${id}.test`,
  port: i + 1,
  maxFails: id === 'marked' ? 1 : 0
}))
const set = new Upstream({
  servers,
  failTimeout: 60_000,
  slowStart: 60_000,
  outliers: { consecutive: 3, time: 60_000 },
  panic: 0.1,
  limits: { connections: 100 },
  pendingHandshakes: 1,
  queue: { timeout: 60_000 },
  onDown: 'close',
  rebalance: 'close',
  spread: 60_000
})
set.on('lookup:error', () => {})

/** A try on one of the servers. */
async function on(id: string): Promise<Lease> {
  const others = set.servers.filter(server => server.id !== id)
  const lease = await set.acquire('x', { except: new Set(others) })
  if (lease === undefined) throw new Error(`${id} is not usable`)
  return lease
}

for (const { id } of servers.slice(0, 5)) for (let i = 0; i < 5; i++) (await on(id)).opened(() => {})
for (let i = 0; i < 3; i++) (await on('ejected')).settle('failed')
;(await on('marked')).settle('failed')
void set.setServers(servers.map(server => ({ ...server, down: server.id === 'back' })))
void set.setServers(servers)
void set.drain('drained', { spread: 60_000 })
await on('well')
const waiting = on('well').catch(() => {})

/** Clients of this one wait for its first look-up. */
const asked = new Upstream({ servers: ['asked.test:80'] })
const asking = asked.acquire('x')

/** In each of them a probe is under way, and another server's next one is a minute away. */
const dialled: unknown[] = []
subscribe('net.client.socket', message => dialled.push(message))
const probed = (['http', 'tcp', 'websocket'] as const).map(
  type =>
    new Upstream({
      servers: [`127.0.0.1:${outside.port}`, 'unix:/nobody/is/here'],
      health: { type, interval: 1, downInterval: 60_000, timeout: 60_000, fall: 1 }
    })
)

/** One asks, one waits to ask again, one waits for a change. */
const end = new AbortController()
const failed: string[] = []
const asks = { host: 'ws.test', port: 80, family: 4, minTtl: 60_000, timeout: 60_000 } as const
const sources = [
  fromDns({ ...asks, resolvers: [outside.resolver] }),
  fromDns({ ...asks, resolvers: ['127.0.0.1:1'], onError: error => failed.push(error.code) }),
  fromFile(outside.file, { poll: 60_000 })
]
const watches = sources.map(source => source.watch(end.signal)[Symbol.asyncIterator]())
const listed = watches[2]!.next()
const lists = [watches[0]!.next(), watches[1]!.next(), listed.then(async () => watches[2]!.next())]
const file = await listed

const hasReports = (): boolean => probed.every(each => each.stats().servers[1]!.probe !== null)
while (dialled.length < 6 || !hasReports() || failed.length === 0) await new Promise(setImmediate)
write({
  servers: set.stats().servers.map(({ id, state, ramp }) => `${id} ${state}${ramp < 1 ? ', slowly' : ''}`),
  waiting: set.stats().waiting,
  probes: probed.map(each => each.stats().servers[1]!.probe?.error),
  failed,
  listed: file.done === true ? [] : file.value.map(({ id }) => id)
})

if (what === 'disposes') {
  // Our input is what keeps this process alive; its end says that all of it was seen outside.
  await once(process.stdin.resume(), 'end')
  end.abort()
  await Promise.all([set, asked, ...probed].map(async each => each[Symbol.asyncDispose]()))
  await Promise.all([waiting, asking, ...lists])
  // The ends of timers and sockets are told behind the immediates of the turn after.
  for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate)
  write({
    timers: timers.size,
    sockets: openSockets().filter(socket => !socketsBefore.includes(socket)),
    resources: activeResources()
  })
}

function write(line: Known | Left): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}
