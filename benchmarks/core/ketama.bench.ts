// What a pick costs next to the hash of its key alone, which it can't go below.
import { crc32, ketama } from '@ringway/core'
import { Bench } from 'tinybench'

const keys = Array.from({ length: 4096 }, (_, i) => `10.${i % 7}.${i >> 8}.${i & 255}`)
let turn = 0
const nextKey = (): string => keys[turn++ & 4095]!

const all = (): boolean => true
const none = (): number => 0

const bench = new Bench({ time: 1_000, warmupTime: 200 })
let sink = 0
bench.add('crc32 of the key alone', () => {
  sink += crc32(nextKey())
})
for (const count of [3, 100, 1_000]) {
  const members = Array.from({ length: count }, (_, i) => ({
    id: `10.0.${i >> 8}.${i & 255}:8080`,
    weight: 1
  }))
  const table = ketama().build(members)
  bench.add(`ketama pick, ${count} servers`, () => {
    sink += table.pick(nextKey(), all, none)!.weight
  })
}
await bench.run()
const [hash, ...picks] = bench.tasks.map(task => {
  if (task.result.state !== 'completed') throw new Error(`${task.name} did not complete`)
  return { name: task.name, nanoseconds: task.result.latency.p50 * 1e6 }
})
console.table(
  [hash!, ...picks].map(({ name, nanoseconds }) => ({
    name,
    'median ns': nanoseconds.toFixed(0),
    'to the hash': (nanoseconds / hash!.nanoseconds).toFixed(2)
  }))
)
if (Number.isNaN(sink)) throw new Error('nothing was picked')
