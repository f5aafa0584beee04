import { validateHeaderName, validateHeaderValue } from 'node:http'
import { isIP } from 'node:net'
import { createSecureContext } from 'node:tls'
import type { SecureContextOptions } from 'node:tls'

import { ConfigError, ketama, leastConnections } from '@ringway/core'
import type { Strategy } from '@ringway/core'

import { addressText, hostProblem, parseAddress, serverName } from './address.ts'
import type { ServerAddress } from './address.ts'
import { Fields, show } from '@ringway/core/fields'
import type { HealthOptions, ServerTls, UpstreamOptions } from './options.ts'

/** One server's options, checked, with every default filled in. */
export interface ServerConfig {
  readonly id: string
  readonly weight: number
  readonly down: boolean
  readonly maxFails: number
  readonly failTimeout: number
  readonly address: ServerAddress
  readonly tls: ServerTls | undefined
}

/** The probes' options, checked; `expect` is undefined for any 2xx or 3xx, header names are in lower case. */
export interface HealthConfig extends Readonly<Required<Omit<HealthOptions, 'expect'>>> {
  readonly expect: readonly number[] | undefined
}

/** An upstream's options, checked, with every default filled in. */
export interface UpstreamConfig {
  readonly servers: readonly ServerConfig[]
  readonly strategy: Strategy
  readonly keyless: Strategy
  readonly health: HealthConfig | undefined
}

const UPSTREAM = ['servers', 'strategy', 'keyless', 'health', 'maxFails', 'failTimeout']
const SERVER = ['host', 'port', 'socketPath', 'id', 'weight', 'down', 'maxFails', 'failTimeout', 'tls']
const TLS = ['servername', 'ca', 'cert', 'key', 'rejectUnauthorized']
const HEALTH = ['type', 'path', 'interval', 'timeout', 'rise', 'fall', 'headers', 'expect']

/** They say how the message is framed or where it goes on, which is the probe's own affair. */
const FRAMING = new Set([
  'connection',
  'content-length',
  'expect',
  'keep-alive',
  'transfer-encoding',
  'upgrade'
])

/**
 * Checks an upstream's options; the first bad field throws its ConfigError.
 *
 * @param options - as the user gave them
 * @param path - put before the fields' names; may be ''
 */
export function checkUpstream(options: UpstreamOptions, path: string): UpstreamConfig {
  const fields = new Fields(options, path, UPSTREAM)
  const defaults = checkMarks(fields, { maxFails: 1, failTimeout: 10_000 })
  const given = fields.get('servers')
  if (!Array.isArray(given) || given.length === 0) {
    throw fields.mismatch('servers', 'an array of at least one server')
  }
  const servers = Array.from(given, (server: unknown, i) =>
    checkServer(server, fields.path(`servers[${i}]`), defaults)
  )
  checkIds(fields, servers)
  return {
    servers,
    strategy: checkStrategy(fields, 'strategy') ?? ketama(),
    keyless: checkStrategy(fields, 'keyless') ?? leastConnections(),
    health: fields.has('health') ? checkHealth(fields.get('health'), fields.path('health')) : undefined
  }
}

function checkIds(fields: Fields, servers: readonly ServerConfig[]): void {
  const seen = new Map<string, number>()
  for (const [i, { id }] of servers.entries()) {
    const first = seen.get(id)
    if (first !== undefined) {
      throw fields.error(`servers[${i}].id`, `${show(id)} is the id of servers[${first}] already`)
    }
    seen.set(id, i)
  }
}

type Marks = Pick<ServerConfig, 'maxFails' | 'failTimeout'>

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
    ...checkMarks(fields, defaults),
    address,
    tls: checkTls(fields, address)
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

function checkTls(server: Fields, address: ServerAddress): ServerTls | undefined {
  const given = server.get('tls')
  if (given === undefined || given === false) return undefined
  const fields = new Fields(given === true ? {} : given, server.path('tls'), TLS)
  const servername = fields.text('servername') ?? serverName(address)
  if (servername !== undefined && isIP(servername) !== 0) throw fields.mismatch('servername', 'a name')
  const materials: SecureContextOptions = {}
  for (const name of ['ca', 'cert', 'key'] as const) {
    if (fields.has(name)) Object.assign(materials, { [name]: fields.get(name) })
  }
  try {
    createSecureContext(materials)
  } catch (error) {
    throw server.error('tls', `ca, cert or key can't be used: ${(error as Error).message}`)
  }
  return Object.freeze({
    ...(servername === undefined ? {} : { servername }),
    ...(materials as ServerTls),
    rejectUnauthorized: fields.boolean('rejectUnauthorized', true)
  })
}

function checkStrategy(fields: Fields, name: 'strategy' | 'keyless'): Strategy | undefined {
  const given = fields.get(name) as Partial<Strategy> | null | undefined
  if (given === undefined) return undefined
  if (typeof given === 'object' && typeof given?.build === 'function' && typeof given.name === 'string') {
    return given as Strategy
  }
  throw fields.mismatch(name, 'a strategy: an object with a name and a build method, such as ketama()')
}

function checkHealth(health: unknown, path: string): HealthConfig {
  const fields = new Fields(health, path, HEALTH)
  if (fields.get('type') !== 'http') throw fields.mismatch('type', "'http'")
  return {
    type: 'http',
    path: checkTarget(fields),
    interval: fields.milliseconds('interval', 5000, 1),
    timeout: fields.milliseconds('timeout', 2000, 1),
    rise: fields.integer('rise', 2, 1),
    fall: fields.integer('fall', 3, 1),
    headers: checkHeaders(fields),
    expect: checkExpect(fields)
  }
}

function checkTarget(fields: Fields): string {
  const target = fields.text('path') ?? '/'
  if (/^\/[\x21-\x7e]*$/.test(target)) return target
  throw fields.mismatch('path', "a target beginning with '/', anything beyond plain ASCII percent-encoded")
}

function checkHeaders(fields: Fields): Record<string, string> {
  if (!fields.has('headers')) return {}
  const given = fields.get('headers')
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw fields.mismatch('headers', 'an object of names and texts')
  }
  const headers = new Map<string, string>()
  for (const [name, value] of Object.entries(given) as [string, unknown][]) {
    const lower = name.toLowerCase()
    const field = `headers[${JSON.stringify(name)}]`
    if (FRAMING.has(lower)) throw fields.error(field, 'is set by the probe itself')
    if (headers.has(lower)) throw fields.error(field, 'is there twice')
    if (typeof value !== 'string') throw fields.error(field, `must be a text, not ${show(value)}`)
    try {
      validateHeaderName(name)
      validateHeaderValue(name, value)
    } catch (error) {
      throw fields.error(field, (error as Error).message)
    }
    headers.set(lower, value)
  }
  return Object.fromEntries(headers)
}

function checkExpect(fields: Fields): readonly number[] | undefined {
  if (!fields.has('expect')) return undefined
  const given = fields.get('expect')
  if (Array.isArray(given) && given.length > 0 && given.every(isFinalStatus)) return [...(given as number[])]
  throw fields.mismatch('expect', 'an array of statuses, each an integer of 200 to 599')
}

/** No 1xx: an interim answer is no answer, and a 101 to a plain GET is an error. */
function isFinalStatus(code: unknown): boolean {
  return Number.isInteger(code) && Number(code) >= 200 && Number(code) <= 599
}
