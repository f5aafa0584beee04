// What a message, a handshake and an idle tunnel cost a gateway, next to a real nginx and to a hand-written one. All
// gateways take turns in each round, each alone on one core, with the load and the backend on another. A ratio is the median
// of the ratios of the rounds, so that what slows the machine down for a while slows both.
//
//   node dist/tunnel/run.js [--rounds N] [--seconds N] [--cells small,bulk,handshake,idle]
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { percentile } from '../percentile.ts'
import type { Bench, Cell } from './cells.ts'
import { CELLS } from './cells.ts'
import type { GatewayName, Running } from './gateways.ts'
import { GATEWAYS } from './gateways.ts'
import { CORES, find, Processes } from './processes.ts'

/** What each gateway came to in each round. */
type Samples = ReadonlyMap<GatewayName, number[]>

interface Options {
  readonly rounds: number
  readonly seconds: number
  readonly cells: readonly Cell[]
}

const stopped = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => stopped.abort(new Error(`stopped by ${signal}`)))
}
try {
  await main(options())
} catch (error) {
  console.error((stopped.signal.aborted ? (stopped.signal.reason as Error) : (error as Error)).message)
  process.exitCode = 1
}

function options(): Options {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      cells: { type: 'string', default: Object.keys(CELLS).join(',') }
    }
  })
  const [rounds, seconds] = [values.rounds, values.seconds].map(Number) as [number, number]
  if (!(rounds >= 1 && seconds > 0)) throw new Error('--rounds and --seconds must be numbers above 0')
  const cells = values.cells.split(',').map(name => {
    const cell = CELLS[name]
    if (cell === undefined) throw new Error(`--cells: ${name} is none of ${Object.keys(CELLS).join(', ')}`)
    return cell
  })
  return { rounds, seconds, cells }
}

async function main({ rounds, seconds, cells }: Options): Promise<void> {
  await using processes = await Processes.open(stopped.signal)
  const wsload = await compiled(processes)
  const backend = await echo(processes, wsload)
  const bench: Bench = { processes, wsload, backend, seconds, foreign: [] }
  const running = new Map<GatewayName, Running>()
  for (const name of new Set(cells.flatMap(cell => cell.gateways))) {
    running.set(name, await GATEWAYS[name](processes, backend.port))
  }

  const samples = new Map(
    cells.map(cell => [cell, new Map(cell.gateways.map(name => [name, [] as number[]]))])
  )
  for (let round = 0; round <= rounds; round++) {
    for (const [cell, of] of samples) {
      for (const [name, values] of of) {
        const value = await cell.measure(bench, running.get(name)!, name)
        if (round > 0) values.push(value) // the first round warms up
      }
    }
  }
  report(rounds, samples, bench.foreign)
}

async function compiled(processes: Processes): Promise<string> {
  const file = join(processes.folder, 'wsload')
  const source = fileURLToPath(new URL('../../tunnel/wsload.c', import.meta.url))
  await processes.run(CORES.load, find('gcc'), ['-O2', '-o', file, source])
  return file
}

async function echo(processes: Processes, wsload: string): Promise<Running> {
  const child = processes.start(CORES.load, wsload, ['echo', '0'])
  const [line] = (await once(createInterface(child.stdout!), 'line')) as [string]
  return { child, port: (JSON.parse(line) as { port: number }).port }
}

function report(rounds: number, samples: ReadonlyMap<Cell, Samples>, foreign: readonly number[]): void {
  const versions = `Node ${process.version}, nginx ${nginxVersion()}`
  console.log(
    `${versions}, median of ${rounds} interleaved rounds; CPU time is that of the gateway's processes`
  )
  for (const [cell, of] of samples) {
    console.log(`\n${cell.title}`)
    console.table(
      Object.fromEntries(
        Array.from(of, ([name, values]) => [
          name,
          {
            [cell.unit]: percentile(values, 0.5).toFixed(1),
            ...Object.fromEntries(cell.bases.map(base => [`to ${base}`, ratio(values, of.get(base)!)]))
          }
        ])
      )
    )
  }
  const others = percentile(foreign, 0.5)
  if (foreign.length > 0)
    console.log(`\nOther processes had ${others.toFixed(2)} of a core in the median turn.`)
}

/** The median of each round's ratio. */
function ratio(values: readonly number[], bases: readonly number[]): string {
  const ratios = values.map((value, round) => value / bases[round]!)
  return percentile(ratios, 0.5).toFixed(2)
}

function nginxVersion(): string {
  return /[\d.]+/.exec(spawnSync(find('nginx'), ['-v']).stderr.toString())?.[0] ?? 'of unknown version'
}
