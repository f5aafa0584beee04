import { CHECKS, FEW, Fault, freeze, ODD_KEYS } from './checks.ts'
import type { Trial } from './checks.ts'
import { RingwayError } from './errors.ts'
import { Fields, show } from './fields.ts'
import { checkMembers } from './members.ts'
import { sampleAddresses } from './sample.ts'
import { assertStrategy } from './strategy.ts'
import type { Member, Strategy } from './strategy.ts'

/** Options of {@link testStrategy}. */
export interface TestOptions {
  /** The set to begin with, at least three members. Default: ten of weight 1, `10.0.0.1:8080` to `10.0.0.10:8080`. */
  readonly members?: readonly Member[]
  /** The keys to try, each once; give as many as you can of the form that yours have. Default: 20,000 IPv4 addresses, and a few odd texts. */
  readonly keys?: readonly string[]
  /**
   * How far a member's share may be from the fair one, as a part of that. Default: 0.25, which `ketama` keeps to with ten
   * members and 20,000 keys. With many members chance alone needs more keys: some 1000 for each.
   */
  readonly tolerance?: number
  /** The share of all keys that may move without need when the set changes. Default: 0. */
  readonly needlessMoves?: number
  /** How many members each key must come to when those before are not usable. Default: all. */
  readonly reach?: number
  /** Checks that don't apply, such as `['weights']` for a strategy that has none. Default: none. */
  readonly skip?: readonly CheckName[]
}

/**
 * What is looked at, in one process and with nothing carried: whether a strategy is the same in another process, or
 * looks at load, isn't. Of a key-free strategy: `contract`, `completeness`, `spread` and `weights`.
 *
 * - `contract`: only usable members of the set are picked, and nobody when none is usable or there are no members
 * - `determinism`: two tables of the same set, asked in different orders, give the same answers, failover included; so
 *   does one that was built with an earlier table to take over from, which is itself left as it was
 * - `completeness`: each member is the first choice of some key, and each key comes to as many members as `reach` says
 * - `failover`: a key goes to the first usable member of its order, whichever others are usable
 * - `spread`: shares of equal members are as even as `tolerance` says
 * - `weights`: shares follow the weights 1, 2 and 5 as closely as that
 * - `joining`: a member that is added at the end takes keys, and no other key moves
 * - `leaving`: a member that is taken away gives up its keys, and no other key moves; tried with each one
 * - `reweighting`: a larger weight takes keys, and no other key moves; tried with each member
 * - `member order`: the same members in another order give the same answers, failover included (two members of
 *   `ketama` that share a point are an exception, which large sets show)
 */
export type CheckName =
  | 'contract'
  | 'determinism'
  | 'completeness'
  | 'failover'
  | 'spread'
  | 'weights'
  | 'joining'
  | 'leaving'
  | 'reweighting'
  | 'member order'

/** One check and what came of it. */
export interface Check {
  readonly name: CheckName
  readonly outcome: 'passed' | 'failed' | 'skipped'
  /** What was found: figures, or the first key that shows the fault. Empty if there is nothing to say. */
  readonly details: string
}

/** What {@link testStrategy} found. */
export interface StrategyReport {
  /** Whether no check failed. */
  readonly passed: boolean
  readonly checks: readonly Check[]
  /** The report for people: a line for the whole, and one a check. */
  toString(): string
}

const NAMES = Object.keys(CHECKS) as CheckName[]
const KEY_FREE: ReadonlySet<CheckName> = new Set(['contract', 'completeness', 'spread', 'weights'])

/**
 * Puts a strategy through what a gateway and its operators take for granted. Takes a second or so; nothing in it is
 * left to chance, so a strategy that passes once passes always.
 *
 * A strategy that throws fails the check at hand; one that never returns hangs the test.
 *
 * @param strategy - one of your own, most likely
 * @param options - see each field
 * @throws ConfigError whose `field` is the option that can't be used, or `strategy`
 */
export function testStrategy(strategy: Strategy, options: TestOptions = {}): StrategyReport {
  const trial = prepare(strategy, options)
  const applicable = strategy.keyed === false ? NAMES.filter(name => KEY_FREE.has(name)) : NAMES
  const checks = applicable.map((name): Check =>
    options.skip?.includes(name) === true ? { name, outcome: 'skipped', details: '' } : runCheck(name, trial)
  )
  const failed = checks.filter(({ outcome }) => outcome === 'failed').length
  return { passed: failed === 0, checks, toString: () => write(strategy.name, checks, failed) }
}

function prepare(strategy: Strategy, options: TestOptions): Trial {
  assertStrategy(strategy)
  const fields = new Fields(options, '', ['members', 'keys', 'tolerance', 'needlessMoves', 'reach', 'skip'])
  const members = options.members === undefined ? someMembers() : options.members
  checkMembers(members)
  if (members.length < 3) throw fields.error('members', 'must be at least three')
  const keys = options.keys === undefined ? [...sampleAddresses(20_000)] : options.keys
  if (!Array.isArray(keys) || keys.length < FEW) {
    throw fields.error('keys', `must be an array of at least ${FEW} texts`)
  }
  for (const name of ['tolerance', 'needlessMoves'] as const) {
    const value: unknown = fields.has(name) ? options[name] : 0
    if (typeof value !== 'number' || !(value >= 0)) throw fields.mismatch(name, 'a number of at least 0')
  }
  if (fields.has('skip') && !Array.isArray(fields.get('skip'))) throw fields.mismatch('skip', 'an array')
  const unknown = options.skip?.find(name => !NAMES.includes(name))
  if (unknown !== undefined) throw fields.error('skip', `knows no check ${show(unknown)}`)
  return {
    strategy,
    members: freeze(members),
    keys,
    oddKeys: options.keys === undefined ? ODD_KEYS : [],
    tolerance: options.tolerance ?? 0.25,
    needlessMoves: options.needlessMoves ?? 0,
    reach: fields.integer('reach', members.length, 1, members.length)
  }
}

function runCheck(name: CheckName, trial: Trial): Check {
  try {
    return { name, outcome: 'passed', details: CHECKS[name](trial) }
  } catch (error) {
    const isFinding = error instanceof Fault || error instanceof RingwayError
    return { name, outcome: 'failed', details: isFinding ? error.message : `threw ${String(error)}` }
  }
}

function write(strategy: string, checks: readonly Check[], failed: number): string {
  const lines = checks.map(
    ({ name, outcome, details }) =>
      `  ${outcome === 'failed' ? 'FAILED ' : outcome.padEnd(7)}  ${name}${details === '' ? '' : `: ${details}`}`
  )
  return [`strategy "${strategy}": ${failed} of ${checks.length} checks failed`, ...lines].join('\n')
}

function someMembers(): Member[] {
  return Array.from({ length: 10 }, (_, index) => ({ id: `10.0.0.${index + 1}:8080`, weight: 1 }))
}
