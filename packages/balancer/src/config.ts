import { ketama, leastConnections } from '@ringway/core'
import type { Strategy } from '@ringway/core'
import { Fields } from '@ringway/core/fields'

import type {
  DrainOptions,
  LimitOptions,
  OutlierOptions,
  QueueOptions,
  RetryBudgetOptions,
  UpstreamOptions
} from './options.ts'
import { checkHealth } from './probes/config.ts'
import type { HealthConfig } from './probes/config.ts'
import { checkDefaults, checkServers, DEFAULTS } from './server-config.ts'
import type { ServerConfig, ServerDefaults } from './server-config.ts'

/** An upstream's options, checked, with every default filled in. */
export interface UpstreamConfig {
  readonly servers: readonly ServerConfig[]
  readonly defaults: ServerDefaults
  readonly strategy: Strategy
  readonly keyless: Strategy
  readonly health: HealthConfig | undefined
  readonly retry: RetryConfig
  readonly pendingHandshakes: number
  readonly queue: Readonly<Required<QueueOptions>>
  readonly limits: Readonly<Required<LimitOptions>>
  readonly outliers: Readonly<Required<OutlierOptions>> | undefined
  readonly panic: number
  readonly onDown: 'keep' | 'close'
  readonly rebalance: 'lazy' | 'close'
  readonly spread: number
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
  'slowStart',
  'sendProxy',
  'outliers',
  'panic',
  'retry',
  'pendingHandshakes',
  'queue',
  'limits',
  'onDown',
  'rebalance',
  'spread'
]
/**
 * Checks an upstream's options; the first bad field throws its ConfigError.
 *
 * @param options - as the user gave them
 * @param path - put before the fields' names; may be ''
 */
export function checkUpstream(options: UpstreamOptions, path: string): UpstreamConfig {
  const fields = new Fields(options, path, UPSTREAM)
  const defaults = checkDefaults(fields, DEFAULTS)
  const servers = checkServers(fields.get('servers'), fields.path('servers'), defaults)
  return {
    servers,
    defaults,
    strategy: checkStrategy(fields, 'strategy') ?? ketama(),
    keyless: checkStrategy(fields, 'keyless') ?? leastConnections(),
    health: fields.has('health') ? checkHealth(fields.get('health'), fields.path('health')) : undefined,
    retry: checkRetry(fields),
    pendingHandshakes: fields.integer('pendingHandshakes', 0, 0),
    queue: checkQueue(fields),
    limits: checkLimits(fields),
    outliers: fields.has('outliers') ? checkOutliers(fields) : undefined,
    panic: share(fields, 'panic', 0),
    onDown: oneOf(fields, 'onDown', ['keep', 'close']),
    rebalance: oneOf(fields, 'rebalance', ['lazy', 'close']),
    spread: fields.milliseconds('spread', 10_000, 0)
  }
}

/**
 * Checks how tunnels are to be drained.
 *
 * @param drain - as the user gave it
 */
export function checkDrain(drain: DrainOptions): Readonly<Required<DrainOptions>> {
  const fields = new Fields(drain, '', ['spread', 'code', 'deadline'])
  const spread = fields.milliseconds('spread', 30_000, 0)
  const code = fields.closeCode('code', 1012)
  return { spread, code, deadline: fields.milliseconds('deadline', spread + 5_000, 0) }
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
  return { share: share(fields, 'share', 0.2), floor: fields.integer('floor', 10, 0) }
}

function checkQueue(upstream: Fields): Required<QueueOptions> {
  const fields = within(upstream, 'queue', ['size', 'timeout'])
  return { size: fields.integer('size', 1000, 1), timeout: fields.milliseconds('timeout', 10_000, 1) }
}

function checkLimits(upstream: Fields): Required<LimitOptions> {
  const fields = within(upstream, 'limits', ['connections', 'handshakes'])
  return { connections: fields.integer('connections', 0, 0), handshakes: fields.integer('handshakes', 0, 0) }
}

function checkOutliers(upstream: Fields): Required<OutlierOptions> {
  const fields = within(upstream, 'outliers', [
    'window',
    'consecutive',
    'share',
    'minTries',
    'earlyDeath',
    'time',
    'maxTime',
    'maxEjectedShare'
  ])
  const time = fields.milliseconds('time', 30_000, 1)
  return {
    window: fields.milliseconds('window', 30_000, 10),
    consecutive: fields.integer('consecutive', 5, 0),
    share: share(fields, 'share', 0.5),
    minTries: fields.integer('minTries', 20, 1),
    earlyDeath: fields.milliseconds('earlyDeath', 1_000, 0),
    time,
    maxTime: fields.milliseconds('maxTime', Math.max(300_000, time), time),
    maxEjectedShare: share(fields, 'maxEjectedShare', 0.5)
  }
}

/** A part of a whole. */
function share(fields: Fields, name: string, otherwise: number): number {
  const value = fields.has(name) ? fields.get(name) : otherwise
  if (typeof value === 'number' && value >= 0 && value <= 1) return value
  throw fields.mismatch(name, 'a number of 0 to 1')
}

/** One of a few words, the first of them by default. */
function oneOf<Word extends string>(fields: Fields, name: string, words: readonly [Word, ...Word[]]): Word {
  const value = fields.has(name) ? fields.get(name) : words[0]
  const word = words.find(each => each === value)
  if (word !== undefined) return word
  throw fields.mismatch(name, words.map(each => `'${each}'`).join(' or '))
}

/** The fields of an object that may be left out. */
function within(outer: Fields, name: string, known: readonly string[]): Fields {
  return new Fields(outer.has(name) ? outer.get(name) : {}, outer.path(name), known)
}

function checkStrategy(fields: Fields, name: 'strategy' | 'keyless'): Strategy | undefined {
  const given = fields.get(name) as Partial<Strategy> | null | undefined
  if (given === undefined) return undefined
  if (typeof given === 'object' && typeof given?.build === 'function' && typeof given.name === 'string') {
    return given as Strategy
  }
  throw fields.mismatch(name, 'a strategy: an object with a name and a build method, such as ketama()')
}
