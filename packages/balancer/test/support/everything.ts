// Run by left-behind.test.ts in a process of its own: `everything.js <what>`. All that has a timer is under way in it.
import dns from 'node:dns'

import { Upstream } from '../../src/index.ts'
import type { Lease } from '../../src/index.ts'

const [, , what] = process.argv

/** The system's resolver, in short: it knows all names but one. */
async function lookup(name: string): Promise<{ address: string; family: number }[]> {
  if (name === 'lost.test') throw new Error('ENOTFOUND')
  return Promise.resolve([{ address: '127.0.0.1', family: 4 }])
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

const known = set.stats().servers.map(({ id, state, ramp }) => `${id} ${state}${ramp < 1 ? ', slowly' : ''}`)
process.stdout.write(JSON.stringify({ known, waiting: set.stats().waiting }))
if (what === 'disposes') {
  await set[Symbol.asyncDispose]()
  await waiting
}
