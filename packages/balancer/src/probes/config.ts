import { validateHeaderName, validateHeaderValue } from 'node:http'

import { Fields, show } from '@ringway/core/fields'

import type { ServerTls } from '../options.ts'
import { checkSendProxy } from '../server-config.ts'
import { checkTls } from '../tls.ts'
import type { HttpHealthOptions } from './options.ts'

/** What every kind of probe is told, checked, with every default filled in. */
interface ProbeConfig {
  readonly interval: number
  readonly downInterval: number
  readonly timeout: number
  readonly rise: number
  readonly fall: number
  readonly starting: 'take' | 'wait'
  /** Undefined for the server's own. */
  readonly port: number | undefined
  /** Undefined for the server's own, false for none. */
  readonly tls: ServerTls | false | undefined
  /** Undefined for the server's own, false for none. */
  readonly sendProxy: 'v1' | 'v2' | false | undefined
}

/** `expect` is undefined for any 2xx or 3xx; header names are in lower case. */
export interface HttpHealthConfig extends ProbeConfig {
  readonly type: 'http'
  readonly method: NonNullable<HttpHealthOptions['method']>
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly expect: HttpHealthOptions['expect']
  readonly match: string | RegExp | undefined
  readonly maxBody: number
}

export interface TcpHealthConfig extends ProbeConfig {
  readonly type: 'tcp'
}

export interface WebSocketHealthConfig extends ProbeConfig {
  readonly type: 'websocket'
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly protocols: readonly string[]
}

/** The probes' options, checked, with every default filled in. */
export type HealthConfig = HttpHealthConfig | TcpHealthConfig | WebSocketHealthConfig

const COMMON = ['interval', 'downInterval', 'timeout', 'rise', 'fall', 'starting', 'port', 'tls', 'sendProxy']
const NAMES = {
  http: ['type', 'method', 'path', 'headers', 'expect', 'match', 'maxBody', ...COMMON],
  tcp: ['type', ...COMMON],
  websocket: ['type', 'path', 'headers', 'protocols', ...COMMON]
}

const METHODS = ['GET', 'HEAD', 'OPTIONS', 'POST'] as const

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
 * Checks the field `health`; the first bad field throws its ConfigError.
 *
 * @param health - as the user gave it
 * @param path - where it stands
 */
export function checkHealth(health: unknown, path: string): HealthConfig {
  const type = (health as { type?: unknown } | null)?.type
  if (type !== 'http' && type !== 'tcp' && type !== 'websocket') {
    // All names pass: which of them are known is the type's to say.
    const fields = new Fields(health, path, Object.keys(Object(health) as object))
    throw fields.mismatch('type', "'http', 'tcp' or 'websocket'")
  }
  const fields = new Fields(health, path, NAMES[type])
  const common = checkCommon(fields)
  if (type === 'tcp') return { type, ...common }
  const target = checkTarget(fields)
  if (type === 'websocket') {
    return {
      type,
      ...common,
      path: target,
      headers: checkHeaders(fields, isWebSocketOwn),
      protocols: checkProtocols(fields)
    }
  }
  const method = checkMethod(fields)
  return {
    type,
    ...common,
    method,
    path: target,
    headers: checkHeaders(fields, name => FRAMING.has(name)),
    expect: checkExpect(fields),
    match: checkMatch(fields, method),
    maxBody: fields.integer('maxBody', 65_536, 1, 2 ** 24)
  }
}

function checkCommon(fields: Fields): ProbeConfig {
  const interval = fields.milliseconds('interval', 5000, 1)
  const starting = fields.has('starting') ? fields.get('starting') : 'take'
  if (starting !== 'take' && starting !== 'wait') throw fields.mismatch('starting', "'take' or 'wait'")
  return {
    interval,
    downInterval: fields.milliseconds('downInterval', interval, 1),
    timeout: fields.milliseconds('timeout', 2000, 1),
    rise: fields.integer('rise', 2, 1),
    fall: fields.integer('fall', 3, 1),
    starting,
    port: fields.has('port') ? fields.integer('port', 0, 1, 65_535) : undefined,
    tls: fields.get('tls') === false ? false : checkTls(fields, undefined),
    sendProxy: fields.has('sendProxy') ? (checkSendProxy(fields) ?? false) : undefined
  }
}

function checkMethod(fields: Fields): HttpHealthConfig['method'] {
  if (!fields.has('method')) return 'GET'
  const method = METHODS.find(name => name === fields.get('method'))
  if (method === undefined) throw fields.mismatch('method', "'GET', 'HEAD', 'OPTIONS' or 'POST'")
  return method
}

/** A fragment is no part of a target (RFC 9112 section 3.2.1). */
function checkTarget(fields: Fields): string {
  const target = fields.text('path') ?? '/'
  if (/^\/[\x21\x22\x24-\x7e]*$/.test(target)) return target
  throw fields.mismatch(
    'path',
    "a target beginning with '/', '#' and anything beyond plain ASCII percent-encoded"
  )
}

function checkHeaders(fields: Fields, ours: (name: string) => boolean): Record<string, string> {
  if (!fields.has('headers')) return {}
  const given = fields.get('headers')
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw fields.mismatch('headers', 'an object of names and texts')
  }
  const headers = new Map<string, string>()
  for (const [name, value] of Object.entries(given) as [string, unknown][]) {
    const lower = name.toLowerCase()
    const field = `headers[${JSON.stringify(name)}]`
    if (ours(lower)) throw fields.error(field, 'is set by the probe itself')
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

function isWebSocketOwn(name: string): boolean {
  return FRAMING.has(name) || name.startsWith('sec-websocket-')
}

function checkExpect(fields: Fields): HttpHealthConfig['expect'] {
  if (!fields.has('expect')) return undefined
  const given = fields.get('expect')
  if (typeof given === 'function') return given as HttpHealthConfig['expect']
  if (Array.isArray(given) && given.length > 0 && given.every(isFinalStatus)) return [...(given as number[])]
  throw fields.mismatch('expect', 'an array of statuses, each an integer of 200 to 599, or a function')
}

/** No 1xx: an interim answer is no answer, and a 101 to a plain request is an error. */
function isFinalStatus(code: unknown): boolean {
  return Number.isInteger(code) && Number(code) >= 200 && Number(code) <= 599
}

function checkMatch(fields: Fields, method: string): string | RegExp | undefined {
  if (!fields.has('match')) return undefined
  if (method === 'HEAD') throw fields.error('match', 'has no body to look at: the method is HEAD')
  const given = fields.get('match')
  // A copy, as a global or sticky one remembers where it stopped, and the user's is the user's.
  if (given instanceof RegExp) return new RegExp(given)
  if (typeof given === 'string' && given !== '') return given
  throw fields.mismatch('match', 'a text that is not empty, or a RegExp')
}

/** Tokens, none of them twice (RFC 6455 section 4.1). */
function checkProtocols(fields: Fields): readonly string[] {
  if (!fields.has('protocols')) return []
  const given = fields.get('protocols')
  if (!Array.isArray(given)) throw fields.mismatch('protocols', 'an array of names')
  for (const [i, name] of (given as unknown[]).entries()) {
    const field = `protocols[${i}]`
    if (typeof name !== 'string' || !/^[\w!#$%&'*+.^`|~-]+$/.test(name)) {
      throw fields.error(field, `must be a token, not ${show(name)}`)
    }
    if (given.indexOf(name) !== i) throw fields.error(field, 'is there twice')
  }
  return [...(given as string[])]
}
