import { ConfigError, ketama, leastConnections } from '@ringway/core'
import type { Strategy } from '@ringway/core'

import { addressText, hostProblem, parseAddress, serverName } from './address.ts'
import type { ServerAddress } from './address.ts'
import { Fields, show } from '@ringway/core/fields'
import type { QueueOptions, RetryBudgetOptions, ServerTls, UpstreamOptions } from './options.ts'
import { checkHealth } from './probes/config.ts'
import type { HealthConfig } from './probes/config.ts'
import { checkTls } from './tls.ts'

/** One server's options, checked, with every default filled in. */
export interface ServerConfig {
  readonly id: string
  readonly weight: number
  readonly down: boolean
  readonly backup: boolean
  readonly maxConnections: number
  readonly terminating: boolean
  readonly maxFails: number
  readonly failTimeout: number
  readonly address: ServerAddress
  readonly tls: ServerTls | undefined
}

/** An upstream's options, checked, with every default filled in. */
export interface UpstreamConfig {
  readonly servers: readonly ServerConfig[]
  readonly marks: Marks
  readonly strategy: Strategy
  readonly keyless: Strategy
  readonly health: HealthConfig | undefined
  readonly retry: RetryConfig
  readonly pendingHandshakes: number
  readonly queue: Readonly<Required<QueueOptions>>
}

/** How requests are tried again, checked; `tries` is Infinity for as many as there are servers. */
export interface RetryConfig {
  readonly tries: number
  readonly total: number
  readonly budget: Readonly<Required<RetryBudgetOptions>> | undefined
}

const UPSTREAM = [
  'servers',
  'strategy',
  'keyless',
  'health',
  'maxFails',
  'failTimeout',
  'retry',
  'pendingHandshakes',
  'queue'
]
const SERVER = [
  'host',
  'port',
  'socketPath',
  'id',
  'weight',
  'down',
  'backup',
  'maxConnections',
  'maxFails',
  'failTimeout',
  'tls',
  'terminating'
]

/**
 * Checks an upstream's options; the first bad field throws its ConfigError.
 *
 * @param options - as the user gave them
 * @param path - put before the fields' names; may be ''
 */
export function checkUpstream(options: UpstreamOptions, path: string): UpstreamConfig {
  const fields = new Fields(options, path, UPSTREAM)
  const marks = checkMarks(fields, { maxFails: 1, failTimeout: 10_000 })
  const servers = checkServers(fields.get('servers'), fields.path('servers'), marks)
  return {
    servers,
    marks,
    strategy: checkStrategy(fields, 'strategy') ?? ketama(),
    keyless: checkStrategy(fields, 'keyless') ?? leastConnections(),
    health: fields.has('health') ? checkHealth(fields.get('health'), fields.path('health')) : undefined,
    retry: checkRetry(fields),
    pendingHandshakes: fields.integer('pendingHandshakes', 0, 0),
    queue: checkQueue(fields)
  }
}

function checkRetry(upstream: Fields): RetryConfig {
  const fields = within(upstream, 'retry', ['tries', 'total', 'budget'])
  return {
    tries: fields.has('tries') ? fields.integer('tries', 1, 1) : Infinity,
    total: fields.milliseconds('total', 60_000, 0),
    budget: !fields.has('budget') || fields.get('budget') === false ? undefined : checkBudget(fields)
  }
}

function checkBudget(retry: Fields): Required<RetryBudgetOptions> {
  const fields = within(retry, 'budget', ['share', 'floor'])
  const share = fields.has('share') ? fields.get('share') : 0.2
  if (typeof share !== 'number' || !(share >= 0 && share <= 1))
    throw fields.mismatch('share', 'a number of 0 to 1')
  return { share, floor: fields.integer('floor', 10, 0) }
}

function checkQueue(upstream: Fields): Required<QueueOptions> {
  const fields = within(upstream, 'queue', ['size', 'timeout'])
  return { size: fields.integer('size', 1000, 1), timeout: fields.milliseconds('timeout', 10_000, 1) }
}

/** The fields of an object that may be left out. */
function within(outer: Fields, name: string, known: readonly string[]): Fields {
  return new Fields(outer.has(name) ? outer.get(name) : {}, outer.path(name), known)
}

/**
 * Checks a list of servers; those that are terminating are left out.
 *
 * @param servers - as the user gave them
 * @param path - where they stand
 * @param marks - what servers don't say themselves
 */
export function checkServers(servers: unknown, path: string, marks: Marks): readonly ServerConfig[] {
  const staying = checkEach(servers, path, marks).filter(({ terminating }) => !terminating)
  if (staying.every(({ backup }) => backup)) {
    throw new ConfigError(path, 'must have at least one that is no backup, and not terminating')
  }
  return staying
}

/** Checks the servers of a list one by one, and that each id is there once. */
export function checkEach(servers: unknown, path: string, marks: Marks): readonly ServerConfig[] {
  if (!Array.isArray(servers) || servers.length === 0) {
    throw new ConfigError(path, `must be an array of at least one server, not ${show(servers)}`)
  }
  const all = Array.from(servers, (server: unknown, i) => checkServer(server, `${path}[${i}]`, marks))
  const seen = new Map<string, number>()
  for (const [i, { id }] of all.entries()) {
    const first = seen.get(id)
    if (first !== undefined) {
      throw new ConfigError(`${path}[${i}].id`, `${show(id)} is the id of servers[${first}] already`)
    }
    seen.set(id, i)
  }
  return all
}

/** What servers may leave to their upstream. */
export type Marks = Pick<ServerConfig, 'maxFails' | 'failTimeout'>

function checkMarks(fields: Fields, defaults: Marks): Marks {
  return {
    maxFails: fields.integer('maxFails', defaults.maxFails, 0),
    failTimeout: fields.milliseconds('failTimeout', defaults.failTimeout, 0)
  }
}

function checkServer(server: unknown, path: string, defaults: Marks): ServerConfig {
  if (typeof server === 'string') {
    return {
      id: server,
      weight: 1,
      down: false,
      backup: false,
      maxConnections: 0,
      terminating: false,
      ...defaults,
      address: parseAddress(server, path),
      tls: undefined
    }
  }
  if (typeof server !== 'object' || server === null) {
    throw new ConfigError(path, `must be a text or an object, not ${show(server)}`)
  }
  const fields = new Fields(server, path, SERVER)
  const address = checkAddress(fields)
  return {
    id: fields.text('id') ?? addressText(address),
    weight: fields.integer('weight', 1, 1, 10_000),
    down: fields.boolean('down', false),
    backup: fields.boolean('backup', false),
    maxConnections: fields.integer('maxConnections', 0, 0),
    terminating: fields.boolean('terminating', false),
    ...checkMarks(fields, defaults),
    address,
    tls: checkTls(fields, serverName(address))
  }
}

function checkAddress(fields: Fields): ServerAddress {
  const socketPath = fields.text('socketPath')
  const host = fields.text('host')
  if (socketPath !== undefined) {
    const extra = ['host', 'port'].find(name => fields.has(name))
    if (extra !== undefined) throw fields.error(extra, 'stands beside socketPath; a server has either')
    return Object.freeze({ socketPath })
  }
  if (host === undefined) throw fields.error('host', 'is missing; a server has host and port, or socketPath')
  const problem = hostProblem(host)
  if (problem !== undefined) throw fields.error('host', `${show(host)} ${problem}`)
  if (!fields.has('port')) throw fields.error('port', 'is missing; no port is taken for granted')
  return Object.freeze({ host, port: fields.integer('port', 0, 1, 65_535) })
}

function checkStrategy(fields: Fields, name: 'strategy' | 'keyless'): Strategy | undefined {
  const given = fields.get(name) as Partial<Strategy> | null | undefined
  if (given === undefined) return undefined
  if (typeof given === 'object' && typeof given?.build === 'function' && typeof given.name === 'string') {
    return given as Strategy
  }
  throw fields.mismatch(name, 'a strategy: an object with a name and a build method, such as ketama()')
}
