// How evenly strategies spread keys, and what a change of the set moves: the shares of 1,000,000 keys over 400 random
// sets of ten servers. Exits with 1 when a bound that the README states isn't kept.
//
//   node dist/core/spread.js [--seed N] [--sets N] [--keys N]
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'

import { movedShare } from '@ringway/core'
import type { Member, Strategy, Table } from '@ringway/core'

import { STRATEGIES } from './contenders.js'
import { percentile } from '../percentile.ts'

interface Task {
  readonly seed: number
  /** Numbers of the sets; each has chance of its own, so that a seed gives the same sets with any number of threads. */
  readonly sets: readonly number[]
  readonly keys: number
}

/** What one set came to: smallest and largest share as a part of the fair one, and needless moves as parts of all keys. */
interface Row {
  readonly strategy: string
  readonly weights: string
  readonly least: number
  readonly most: number
  readonly needlessJoin: number
  readonly needlessLeave: number
}

const WEIGHTS: Readonly<Record<string, readonly number[]>> = { equal: [1], '1/2/5': [1, 2, 5] }
const SERVERS = 10
/** Keys to look for needless moves with; a part of all is enough, as there are none or some. */
const MOVED_KEYS = 50_000

const NO_BOUND = { least: 0, most: Infinity, inside: 0, needless: 1 }

/**
 * What must hold: in 95 % of the sets the smallest share is above the one bound, in 95 % the largest is below the other,
 * and a part of the sets keeps to both. In 95 % of the changes no more keys than that move without need; where the bound is
 * 0, in all.
 */
const BOUNDS: Readonly<Record<string, typeof NO_BOUND>> = {
  ketama: { least: 0.8, most: 1.22, inside: 0.85, needless: 0 },
  ring: { least: 0.92, most: 1.08, inside: 0.95, needless: 0 },
  maglev: { least: 0.985, most: 1.015, inside: 0.95, needless: 0.03 },
  rendezvous: { least: 0.985, most: 1.015, inside: 0.95, needless: 0 },
  // Servers join and leave at the end of the list here, which is what it is for. It doesn't look at their ids, so that
  // all sets are the same to it.
  jump: { least: 0.98, most: 1.02, inside: 1, needless: 0 }
}

if (isMainThread) await main()
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- that is for windows
else parentPort!.postMessage(measure(workerData as Task))

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      sets: { type: 'string', default: '400' },
      keys: { type: 'string', default: '1000000' }
    }
  })
  const [seed, sets, keys] = [values.seed, values.sets, values.keys].map(Number) as [number, number, number]
  console.log(`${sets} sets of ${SERVERS} servers, ${keys} keys each; seed ${seed}`)
  const threads = Math.min(availableParallelism(), sets)
  const rows = await Promise.all(
    Array.from({ length: threads }, (_, thread) =>
      run({
        seed,
        sets: Array.from({ length: sets }, (__, set) => set).filter(set => set % threads === thread),
        keys
      })
    )
  )
  report(rows.flat())
}

function run(task: Task): Promise<Row[]> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: task, argv: [] })
    worker.once('message', resolve)
    worker.once('error', reject)
  })
}

function report(rows: readonly Row[]): void {
  const lines = STRATEGIES.flatMap(({ name }) =>
    Object.keys(WEIGHTS).map(weights => {
      const own = rows.filter(row => row.strategy === name && row.weights === weights)
      const least = percentile(
        own.map(row => row.least),
        0.05
      )
      const most = percentile(
        own.map(row => row.most),
        0.95
      )
      const moved = own.flatMap(row => [row.needlessJoin, row.needlessLeave])
      const bound = BOUNDS[name] ?? NO_BOUND // those of nginx are as they are
      const inside = own.filter(row => row.least >= bound.least && row.most <= bound.most).length / own.length
      const kept =
        least >= bound.least &&
        most <= bound.most &&
        inside >= bound.inside &&
        percentile(moved, 0.95) <= bound.needless &&
        (bound.needless > 0 || Math.max(...moved) === 0)
      if (!kept) process.exitCode = 1
      return {
        strategy: name,
        weights,
        'smallest share, 5th percentile': least.toFixed(4),
        'largest share, 95th percentile': most.toFixed(4),
        'sets within both bounds':
          bound === NO_BOUND ? '' : `${bound.least} to ${bound.most}: ${(inside * 100).toFixed(1)} %`,
        'needless moves: median, 95th percentile, most': [
          percentile(moved, 0.5),
          percentile(moved, 0.95),
          Math.max(...moved)
        ]
          .map(part => `${(part * 100).toFixed(2)} %`)
          .join(', '),
        kept: bound === NO_BOUND ? '' : kept
      }
    })
  )
  console.table(lines)
}

function measure({ seed, sets, keys }: Task): Row[] {
  const randomKeys = generator(seed)
  const all = Array.from({ length: keys }, () => randomAddress(randomKeys))
  const rows: Row[] = []
  for (const set of sets) {
    const random = generator(seed + 1 + set)
    const ids = new Set<string>()
    while (ids.size < SERVERS + 1) ids.add(`${randomAddress(random)}:${1024 + Math.floor(random() * 60_000)}`)
    for (const [name, weights] of Object.entries(WEIGHTS)) {
      const members = Array.from(ids, (id, index) => ({ id, weight: weights[index % weights.length]! }))
      for (const strategy of STRATEGIES) rows.push(measureSet(strategy, name, members, all))
    }
  }
  return rows
}

/** The last member joins, and then the first one leaves; with strategies that go by position, the last one leaves. */
function measureSet(
  strategy: Strategy,
  weights: string,
  members: readonly Member[],
  keys: readonly string[]
): Row {
  const small = members.slice(0, -1)
  const table = strategy.build(small)
  const counts = new Map<Member, number>(small.map(member => [member, 0]))
  for (const key of keys) {
    const member = first(table, key)
    counts.set(member, counts.get(member)! + 1)
  }
  const total = small.reduce((sum, { weight }) => sum + weight, 0)
  const shares = Array.from(counts, ([{ weight }, count]) => (count / keys.length / weight) * total)
  const large = strategy.build(members)
  const gone = members.at(strategy.name === 'jump' ? -1 : 0)!
  const left = members.filter(member => member !== gone)
  return {
    strategy: strategy.name,
    weights,
    least: Math.min(...shares),
    most: Math.max(...shares),
    needlessJoin: needless(table, large, keys, members.at(-1)!),
    needlessLeave: needless(large, strategy.build(left), keys, gone)
  }
}

/** The share of keys that moved though the member that joined or left has no part in it. */
function needless(before: Table, after: Table, keys: readonly string[], changed: Member): number {
  let needed = 0
  const some = keys.slice(0, MOVED_KEYS)
  for (const key of some) if ((first(before, key) === changed) !== (first(after, key) === changed)) needed++
  return movedShare(before, after, some) - needed / some.length
}

function first(table: Table, key: string): Member {
  return table.pick(
    key,
    () => true,
    () => 0
  )!
}

function randomAddress(random: () => number): string {
  return Array.from({ length: 4 }, () => Math.floor(random() * 256)).join('.')
}

/** Numbers from 0 to 1 that a seed decides: Mulberry32 by Tommy Ettinger, which is in the public domain. */
function generator(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
