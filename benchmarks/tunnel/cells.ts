import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import type { GatewayName, Running } from './gateways.ts'
import { GATEWAYS } from './gateways.ts'
import { CORES } from './processes.ts'
import type { Processes } from './processes.ts'
import { memoryOf, treeOf } from './tree.ts'

/** What a cell's turn needs. */
export interface Bench {
  readonly processes: Processes
  /** The compiled load generator. */
  readonly wsload: string
  readonly backend: Running
  /** For one turn of the load. */
  readonly seconds: number
  /** What part of a core others had meanwhile, one for each turn. */
  readonly foreign: number[]
}

/** A kind of work that gateways are compared by. */
export interface Cell {
  readonly title: string
  readonly unit: string
  readonly gateways: readonly GatewayName[]
  /** What the others are held against. */
  readonly bases: readonly GatewayName[]
  /** One turn of one gateway. */
  measure(bench: Bench, running: Running, gateway: GatewayName): Promise<number>
}

/** What the load generator prints, as far as it's used here. */
interface Result {
  readonly seconds: number
  /** Of the gateway's process tree, over all its threads. */
  readonly gw_cpu_s: number
  /** Of all that isn't part of the benchmark. */
  readonly foreign_cpu_s: number
  readonly round_trips: number
  readonly handshakes: number
  readonly failed: number
}

const IDLE = 5_000
/** Milliseconds between the last 101 and the look at the memory. */
const SETTLED = 2_000

export const CELLS: Readonly<Record<string, Cell>> = {
  small: {
    title: '64 B there and back, 100 tunnels',
    unit: 'µs',
    gateways: ['nginx', 'by hand', 'ringway', 'ringway, watch'],
    bases: ['nginx', 'by hand', 'ringway'],
    measure: messages(100, 64)
  },
  bulk: {
    title: '64 KiB there and back, 8 tunnels',
    unit: 'µs',
    gateways: ['nginx', 'nginx, 64 KiB buffers', 'by hand', 'ringway'],
    bases: ['nginx', 'nginx, 64 KiB buffers', 'by hand'],
    measure: messages(8, 65_536)
  },
  handshake: {
    title: 'a handshake: open, 101, close; 20 at a time',
    unit: 'µs',
    gateways: ['nginx', 'by hand', 'ringway'],
    bases: ['nginx', 'by hand'],
    async measure(bench, running) {
      const { gw_cpu_s: cpu, handshakes, failed } = await run(bench, running, 'storm', ['--parallel', '20'])
      if (failed > 0) throw new Error(`${failed} of ${handshakes} handshakes failed`)
      return (cpu * 1e6) / handshakes
    }
  },
  idle: {
    title: `memory of an idle tunnel, ${IDLE.toLocaleString('en')} of them`,
    unit: 'KiB',
    gateways: ['nginx', 'by hand', 'ringway'],
    bases: ['nginx', 'by hand'],
    measure: async (bench, _, gateway) => idle(bench, gateway)
  }
}

function messages(tunnels: number, size: number): Cell['measure'] {
  return async (bench, running) => {
    const args = ['--conns', String(tunnels), '--size', String(size)]
    const { gw_cpu_s: cpu, round_trips: count } = await run(bench, running, 'load', args)
    return (cpu * 1e6) / count
  }
}

/** In a process of its own: what one had in use before, it would use again. */
async function idle({ processes, wsload, backend }: Bench, name: GatewayName): Promise<number> {
  const { child, port } = await GATEWAYS[name](processes, backend.port)
  const before = memoryOf(child.pid!)
  const args = ['--conns', String(IDLE), '--hold', '60', '--spread']
  const load = processes.start(CORES.load, wsload, ['idle', '127.0.0.1', String(port), '/', ...args])
  const [line] = (await once(createInterface(load.stdout!), 'line')) as [string]
  const { opened } = JSON.parse(line) as { opened: number }
  if (opened !== IDLE) throw new Error(`${name}: ${opened} of ${IDLE} tunnels opened`)
  await wait(SETTLED)
  const used = memoryOf(child.pid!) - before
  await processes.stop(load)
  await processes.stop(child)
  return used / IDLE
}

async function run(bench: Bench, { child, port }: Running, mode: string, more: string[]): Promise<Result> {
  const pids = ['--pids', treeOf(child.pid!).join(','), '--mine', String(bench.backend.child.pid)]
  const timed = ['--seconds', String(bench.seconds), '--warm', '0.5', '--spread']
  const args = [mode, '127.0.0.1', String(port), '/', ...more, ...timed, ...pids]
  const result = JSON.parse(await bench.processes.run(CORES.load, bench.wsload, args)) as Result
  bench.foreign.push(result.foreign_cpu_s / result.seconds)
  return result
}
