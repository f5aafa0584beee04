// What a look-up costs next to the hash of its key, which it can't go below, and next to two packages from npm; what a
// table costs to build and to keep; and whether a cache would pay. All contenders take turns, several rounds in one
// run. Read the ratios: absolute times are those of one machine at one moment.
//
//   node --expose-gc dist/core/run.js [rounds]
import {
  boundedLoad,
  canonicalAddress,
  crc32,
  ketama,
  leastConnections,
  maglev,
  randomTwo
} from '@ringway/core'
import { rendezvous, ring, roundRobin, xxh64 } from '@ringway/core'
import type { Strategy } from '@ringway/core'
import { LRUCache } from 'lru-cache'
import { Bench } from 'tinybench'

import { CONTENDERS, STRATEGIES, membersOf, serversOf } from './contenders.js'
import type { Contender } from './contenders.js'

const ROUNDS = Number(process.argv[2] ?? 7)
const COUNTS = [3, 100, 1000]
/** Look-ups in a task's turn, so that the clock is read once for many. A power of two, as are the keys. */
const BATCH = 1024
/** More than hashring's own cache of 5000 look-ups holds, and different ones, as clients are. */
const KEYS = addresses(2 ** 17)
/** What the loop around each task costs by itself; it is taken off. */
const LOOP = 'the loop'

/** What each task came to, in nanoseconds for one look-up: the median over all rounds. */
type Costs = ReadonlyMap<string, number>

let sink: unknown

await lookUps()
await keyFree()
await builds()
memory()
await caches()
if (sink === KEYS) throw new Error('nothing was looked up')

/** Look-ups against the hash alone and against npm's packages. */
async function lookUps(): Promise<void> {
  for (const count of COUNTS) {
    const servers = serversOf(count)
    const tasks = new Map<string, (key: string) => unknown>([
      ['crc32 alone', crc32],
      ['xxh64 alone', key => xxh64(key)],
      ...CONTENDERS.map(contender => [contender.name, contender.build(servers)] as const)
    ])
    const costs = await measure(tasks)
    title(`Look-ups, ${count} servers, addresses as keys`)
    console.table(
      Object.fromEntries(
        Array.from(costs, ([name, cost]) => [
          name,
          {
            ns: cost.toFixed(0),
            'million/s': (1000 / cost).toFixed(2),
            'to its hash': ratio(name, costs),
            'faster than hashring': `${(costs.get('hashring')! / cost).toFixed(1)} ×`,
            'faster than consistent-hash': `${(costs.get('consistent-hash')! / cost).toFixed(1)} ×`
          }
        ])
      )
    )
  }
}

/** The strategies that look at load, which look at all servers. */
async function keyFree(): Promise<void> {
  const strategies: Strategy[] = [roundRobin(), leastConnections(), randomTwo(), boundedLoad(ketama(), 1.25)]
  const rows: Record<string, Record<string, string>> = {}
  for (const count of COUNTS) {
    const members = membersOf(serversOf(count))
    const loads = new Map(members.map((member, index) => [member, (index * 7) % 13]))
    const tasks = strategies.map(strategy => {
      const table = strategy.build(members)
      return [
        strategy.name,
        (key: string) =>
          table.pick(
            key,
            () => true,
            member => loads.get(member)!
          )
      ] as const
    })
    for (const [name, cost] of await measure(new Map(tasks))) {
      rows[name] = { ...rows[name], [`${count} servers`]: `${cost.toFixed(0)} ns` }
    }
  }
  title('Picks that look at load')
  console.table(rows)
}

async function builds(): Promise<void> {
  const rows: Record<string, Record<string, string>> = {}
  for (const count of COUNTS) {
    const servers = serversOf(count)
    const members = membersOf(servers)
    const tasks = new Map<string, () => unknown>(
      CONTENDERS.map(contender => [contender.name, () => contender.build(servers)] as const)
    )
    for (const strategy of STRATEGIES.filter(({ name }) => name === 'ketama')) {
      const before = strategy.build(members)
      const fewer = members.slice(1)
      tasks.set(`${strategy.name}, one server leaves`, () => strategy.build(fewer, before))
    }
    for (const [name, cost] of await measure(tasks, { batch: 1, rounds: count === 1000 ? 3 : ROUNDS })) {
      rows[name] = { ...rows[name], [`${count} servers`]: `${(cost / 1e6).toFixed(3)} ms` }
    }
  }
  title('To build a table', `median of ${ROUNDS} interleaved rounds, of 3 with 1000 servers`)
  console.table(rows)
}

function memory(): void {
  const rows: Record<string, Record<string, string>> = {}
  for (const count of COUNTS) {
    const servers = serversOf(count)
    const bytes = new Map(CONTENDERS.map(contender => [contender.name, bytesOf(contender, servers)]))
    for (const [name, own] of bytes) {
      const times = (bytes.get('hashring')! / own).toFixed(1)
      rows[name] = {
        ...rows[name],
        [`${count} servers`]: `${(own / 1024).toFixed(1)} KiB, hashring ${times} ×`
      }
    }
  }
  title('Memory of a table (heap and buffers)', 'one measurement')
  console.table(rows)
}

/**
 * Whether to remember what was looked up: `lru-cache` with room for 10,000 keys, of which 8192 come again and again. Each
 * time the key is a new text, as it is with each request, so that what a cache hashes isn't known from the last time.
 */
async function caches(): Promise<void> {
  const known = KEYS.slice(0, 8192)
  const cache = new LRUCache<string, string>({ max: 10_000 })
  const counts = new LRUCache<string, number>({ max: 10_000 })
  for (const key of known) cache.set(key, key)
  const count = (key: string): unknown => counts.set(key, (counts.get(key) ?? 0) + 1)
  const members = membersOf(serversOf(1000))
  const tasks = new Map<string, (key: string) => unknown>([
    ['lru-cache, get', key => cache.get(key)],
    ['lru-cache, get and set of a count', count]
  ])
  for (const strategy of [ketama(), ring(), maglev(), rendezvous()]) {
    const table = strategy.build(members)
    tasks.set(`${strategy.name}, 1000 servers`, key =>
      table.pick(
        key,
        () => true,
        () => 0
      )
    )
  }
  tasks.set('remoteAddress, IPv4', canonicalAddress)
  const ipv6 = new Map([['remoteAddress, IPv6', canonicalAddress]])
  const unknown = new Map([['lru-cache, get and set of a count, all keys new', count]])
  title('A cache, or the thing itself; 8192 keys again and again')
  const costs = [
    ...(await measure(tasks, { keyOf: texts(known) })),
    ...(await measure(ipv6, {
      keyOf: texts(known.map((_, index) => `2001:db8:${(index * 7).toString(16)}::1`))
    })),
    ...(await measure(unknown, { keyOf: texts(KEYS) }))
  ]
  console.table(Object.fromEntries(costs.map(([name, cost]) => [name, { ns: cost.toFixed(0) }])))
}

/** A new text for each turn, from a number of them that is a power of two. */
function texts(all: readonly string[]): (turn: number) => string {
  const buffers = all.map(text => Buffer.from(text))
  return turn => buffers[turn & (all.length - 1)]!.toString('latin1')
}

/** Runs all tasks in turn, round after round. */
async function measure(
  tasks: ReadonlyMap<string, (key: string) => unknown>,
  { batch = BATCH, rounds = ROUNDS, keyOf = (turn: number) => KEYS[turn & (KEYS.length - 1)]! } = {}
): Promise<Costs> {
  const all = new Map<string, (key: string) => unknown>([[LOOP, key => key], ...tasks])
  const costs = new Map<string, number[]>([...all.keys()].map(name => [name, []]))
  for (let round = 0; round <= rounds; round++) {
    const bench = new Bench({
      time: 60,
      iterations: 3,
      warmup: round === 0,
      warmupTime: 60,
      warmupIterations: 3
    })
    for (const [name, task] of all) {
      let turn = 0
      bench.add(name, () => {
        let last: unknown
        for (const end = turn + batch; turn < end; turn++) last = task(keyOf(turn))
        sink = last
      })
    }
    await bench.run()
    for (const { name, result } of bench.tasks) {
      if (result.state !== 'completed') throw new Error(`${name} did not complete`)
      if (round > 0) costs.get(name)!.push((result.latency.p50 * 1e6) / batch) // the first round warms up
    }
  }
  const loop = median(costs.get(LOOP)!)
  return new Map([...tasks.keys()].map(name => [name, median(costs.get(name)!) - loop]))
}

function bytesOf(contender: Contender, servers: readonly string[]): number {
  const kept: unknown[] = [contender.build(servers)]
  const copies = Math.ceil(3000 / servers.length)
  const before = heap()
  for (let copy = 0; copy < copies; copy++) kept.push(contender.build(servers))
  const bytes = (heap() - before) / copies
  sink = kept
  return bytes
}

function heap(): number {
  if (globalThis.gc === undefined) throw new Error('Run with --expose-gc')
  for (let round = 0; round < 3; round++) globalThis.gc()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

function addresses(count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const bits = Math.imul(index + 1, 0x9e3779b1) >>> 0
    const text = `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}`
    // In one piece, as Node has the addresses of sockets, and not put together of parts.
    return Buffer.from(text).toString('latin1')
  })
}

function ratio(name: string, costs: Costs): string {
  const strategy = STRATEGIES.find(each => each.name === name)
  if (strategy === undefined || name === 'ip-hash') return '' // which has a hash of its own
  const hash = name === 'ketama' || name === 'plain-hash' ? 'crc32 alone' : 'xxh64 alone'
  return (costs.get(name)! / costs.get(hash)!).toFixed(2)
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1]!
}

function title(text: string, how = `median of ${ROUNDS} interleaved rounds`): void {
  console.log(`\n${text} (Node ${process.version}, ${how})`)
}
