// What a client waits for when its first choice refuses, next to when it is well: node dist/failover.js [handshakes]
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { timeToOpen } from './load.ts'
import { percentile } from './percentile.ts'

const count = Number(process.argv[2] ?? 500)
const backend = fork(new URL('echo.js', import.meta.url))
const [{ port: behind }] = (await once(backend, 'message')) as [{ port: number }]
const gateway = fork(new URL('contenders/failover.js', import.meta.url), [String(behind)])
const [{ port, ...targets }] = (await once(gateway, 'message')) as [
  { port: number; well: string; refuses: string }
]

const times = { well: [] as number[], refuses: [] as number[] }
for (let i = -100; i < count; i++) {
  for (const first of ['well', 'refuses'] as const) {
    const took = await timeToOpen(port, targets[first])
    if (i >= 0) times[first].push(took) // those before warm up
  }
}

console.log(`Node ${process.version}, ${count} handshakes each, in turn, from connect to 101`)
console.table(
  [0.5, 0.99].map(part => {
    const [well, refuses] = [percentile(times.well, part), percentile(times.refuses, part)]
    return {
      percentile: part * 100,
      'first choice well, ms': well.toFixed(2),
      'first choice refuses, ms': refuses.toFixed(2),
      ratio: (refuses / well).toFixed(2)
    }
  })
)
for (const child of [backend, gateway]) child.disconnect()
