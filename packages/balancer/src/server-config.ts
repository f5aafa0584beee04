import { ConfigError } from '@ringway/core'
import { Fields, show } from '@ringway/core/fields'

import { addressText, hostProblem, parseAddress, serverName } from './address.ts'
import type { ServerAddress } from './address.ts'
import type { ServerTls } from './options.ts'
import { checkTls } from './tls.ts'

/** What servers may leave to their upstream. */
export interface ServerDefaults {
  readonly maxFails: number
  readonly failTimeout: number
  readonly slowStart: number
  /** Undefined for no PROXY header. */
  readonly sendProxy: 'v1' | 'v2' | undefined
}

/** What an upstream leaves to us. */
export const DEFAULTS: ServerDefaults = {
  maxFails: 1,
  failTimeout: 10_000,
  slowStart: 0,
  sendProxy: undefined
}

/** One server's options, checked, with every default filled in. */
export interface ServerConfig extends ServerDefaults {
  readonly id: string
  readonly weight: number
  readonly down: boolean
  readonly backup: boolean
  readonly maxConnections: number
  readonly terminating: boolean
  readonly address: ServerAddress
  readonly tls: ServerTls | undefined
}

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
  'slowStart',
  'sendProxy',
  'tls',
  'terminating'
]

/**
 * Checks a list of servers; those that are terminating are left out.
 *
 * @param servers - as the user gave them
 * @param path - where they stand
 * @param defaults - what servers don't say themselves
 */
export function checkServers(
  servers: unknown,
  path: string,
  defaults: ServerDefaults
): readonly ServerConfig[] {
  const staying = checkEach(servers, path, defaults).filter(({ terminating }) => !terminating)
  if (isEnough(staying)) return staying
  throw new ConfigError(path, 'must have at least one that is no backup, and not terminating')
}

/** Whether there is a server that isn't a backup, which every set needs. */
export function isEnough(servers: readonly ServerConfig[]): boolean {
  return servers.some(({ backup }) => !backup)
}

/** Checks the servers of a list one by one, and that each id is there once. */
export function checkEach(servers: unknown, path: string, defaults: ServerDefaults): readonly ServerConfig[] {
  if (!Array.isArray(servers) || servers.length === 0) {
    throw new ConfigError(path, `must be an array of at least one server, not ${show(servers)}`)
  }
  const all = Array.from(servers, (server: unknown, i) => checkServer(server, `${path}[${i}]`, defaults))
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

/** Checks what an upstream says for its servers, or a server for itself. */
export function checkDefaults(fields: Fields, defaults: ServerDefaults): ServerDefaults {
  return {
    maxFails: fields.integer('maxFails', defaults.maxFails, 0),
    failTimeout: fields.milliseconds('failTimeout', defaults.failTimeout, 0),
    slowStart: fields.milliseconds('slowStart', defaults.slowStart, 0),
    sendProxy: fields.has('sendProxy') ? checkSendProxy(fields) : defaults.sendProxy
  }
}

/** Checks the field `sendProxy`, which is there; undefined when it is false. */
export function checkSendProxy(fields: Fields): 'v1' | 'v2' | undefined {
  const given = fields.get('sendProxy')
  if (given === false) return undefined
  if (given === 'v1' || given === 'v2') return given
  throw fields.mismatch('sendProxy', "'v1', 'v2' or false")
}

function checkServer(server: unknown, path: string, defaults: ServerDefaults): ServerConfig {
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
    ...checkDefaults(fields, defaults),
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
