// CPU time of the gateway process per unit of work, all contenders interleaved in one run: node dist/run.js [rounds]
import type { ChildProcess } from 'node:child_process'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { handshakes, roundTrips } from './load.ts'

interface Cell {
  readonly name: string
  readonly units: number
  run(port: number): Promise<void>
}

const cells: Cell[] = [
  { name: 'handshake (open, 101, close)', units: 3_000, run: async port => handshakes(port, 3_000, 20) },
  { name: '64 B round trip, 50 tunnels', units: 50_000, run: async port => roundTrips(port, 1_000, 50, 64) },
  { name: '64 KiB round trip, 8 tunnels', units: 4_000, run: async port => roundTrips(port, 500, 8, 65_536) }
]
const rounds = Number(process.argv[2] ?? 5)

interface Started {
  readonly name: string
  readonly child: ChildProcess
  readonly port: number
}

async function start(file: string, name: string, ...args: string[]): Promise<Started> {
  const child = fork(new URL(file, import.meta.url), args)
  const [{ port }] = (await once(child, 'message')) as [{ port: number }]
  return { name, child, port }
}

async function cpuOf(child: ChildProcess): Promise<number> {
  child.send('cpu')
  const [{ cpu }] = (await once(child, 'message')) as [{ cpu: number }]
  return cpu
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1]!
}

const backend = await start('echo.js', 'backend')
const contenders = await Promise.all(
  ['by-hand', 'ringway'].map(async name => start(`contenders/${name}.js`, name, String(backend.port)))
)
const samples = new Map<string, number[]>()
for (let round = 0; round <= rounds; round++) {
  for (const cell of cells) {
    for (const { name, child, port } of contenders) {
      const before = await cpuOf(child)
      await cell.run(port)
      const perUnit = ((await cpuOf(child)) - before) / cell.units
      if (round === 0) continue // warms up
      const key = `${cell.name}\t${name}`
      samples.set(key, [...(samples.get(key) ?? []), perUnit])
    }
  }
}
console.log(
  `Node ${process.version}, median of ${rounds} interleaved rounds, CPU time of the gateway process`
)
console.table(
  cells.map(cell => {
    const [hand, ringway] = contenders.map(({ name }) => median(samples.get(`${cell.name}\t${name}`)!))
    return {
      cell: cell.name,
      'by hand, µs': hand!.toFixed(1),
      'ringway, µs': ringway!.toFixed(1),
      'ringway / by hand': (ringway! / hand!).toFixed(2)
    }
  })
)
for (const { child } of [backend, ...contenders]) child.disconnect()
