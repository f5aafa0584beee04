import { RingwayError } from './errors.ts'
import { Fields, show } from './fields.ts'
import { checkMembers } from './members.ts'
import { sampleAddresses } from './sample.ts'
import { assertStrategy, order } from './strategy.ts'
import type { Member, Strategy, Table } from './strategy.ts'

/** Options of {@link testStrategy}. */
export interface TestOptions {
  /** The set to begin with, at least three members. Default: ten of weight 1, `10.0.0.1:8080` to `10.0.0.10:8080`. */
  readonly members?: readonly Member[]
  /** The keys to try, each once; give as many as you can of the form that yours have. Default: 20,000 IPv4 addresses. */
  readonly keys?: readonly string[]
  /** How far a member's share may be from the fair one, as a part of that. Default: 0.25, which `ketama` keeps to. */
  readonly tolerance?: number
  /** The share of all keys that may move without need when the set changes. Default: 0. */
  readonly needlessMoves?: number
  /** How many members each key must come to when those before are not usable. Default: all. */
  readonly reach?: number
  /** Checks that don't apply, such as `['weights']` for a strategy that has none. Default: none. */
  readonly skip?: readonly CheckName[]
}

/**
 * What is looked at. Of a key-free strategy: `contract`, `completeness`, `spread` and `weights`.
 *
 * - `contract`: only usable members of the set are picked, and nobody when none is usable or there are no members
 * - `determinism`: two tables of the same set, asked in different orders, give the same answers; so does one that was
 *   built with an earlier table to take over from
 * - `completeness`: each member is the first choice of some key, and each key comes to as many members as `reach` says
 * - `failover`: a key goes to the first usable member of its order, whichever others are usable
 * - `spread`: shares of equal members are as even as `tolerance` says
 * - `weights`: shares follow the weights 1, 2 and 5 as closely as that
 * - `joining`: a member that is added at the end takes keys, and no other key moves
 * - `leaving`: a member that is taken away gives up its keys, and no other key moves; tried with each one
 * - `reweighting`: a larger weight takes keys, and no other key moves; tried with each member
 * - `member order`: the same members in another order give the same answers
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

/** What the checks work on. */
interface Trial {
  readonly strategy: Strategy
  readonly members: readonly Member[]
  readonly keys: readonly string[]
  readonly tolerance: number
  readonly needlessMoves: number
  readonly reach: number
}

/** A check that isn't passed: the message says why. */
class Fault extends Error {}

const WEIGHTS = [1, 2, 5]

/** Keys for the checks that take many picks each. */
const FEW = 500

const KEYED: Readonly<Record<CheckName, (trial: Trial) => string>> = {
  contract: checkContract,
  determinism: checkDeterminism,
  completeness: checkCompleteness,
  failover: checkFailover,
  spread: trial => checkShares(trial, withWeights(trial.members, [1])),
  weights: trial => checkShares(trial, withWeights(trial.members, WEIGHTS)),
  joining: checkJoining,
  leaving: checkLeaving,
  reweighting: checkReweighting,
  'member order': checkMemberOrder
}
const NAMES = Object.keys(KEYED) as CheckName[]
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
  const members = options.members ?? someMembers()
  checkMembers(members)
  if (members.length < 3) throw fields.error('members', 'must be at least three')
  const keys = options.keys ?? [...sampleAddresses(20_000)]
  if (!Array.isArray(keys) || keys.length < FEW) {
    throw fields.error('keys', `must be an array of at least ${FEW} texts`)
  }
  for (const name of ['tolerance', 'needlessMoves'] as const) {
    const value: unknown = options[name] ?? 0
    if (typeof value !== 'number' || !(value >= 0)) throw fields.mismatch(name, 'a number of at least 0')
  }
  if (fields.has('skip') && !Array.isArray(fields.get('skip'))) throw fields.mismatch('skip', 'an array')
  const unknown = options.skip?.find(name => !NAMES.includes(name))
  if (unknown !== undefined) throw fields.error('skip', `knows no check ${show(unknown)}`)
  return {
    strategy,
    // Frozen, so that a strategy that changes what it was given throws at once.
    members: freeze(members),
    keys,
    tolerance: options.tolerance ?? 0.25,
    needlessMoves: options.needlessMoves ?? 0,
    reach: fields.integer('reach', members.length, 1, members.length)
  }
}

function runCheck(name: CheckName, trial: Trial): Check {
  try {
    return { name, outcome: 'passed', details: KEYED[name](trial) }
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

function checkContract(trial: Trial): string {
  const { strategy, members, keys } = trial
  const empty = strategy.build([]).pick(keys[0]!, always, noLoad)
  if (empty !== undefined) throw new Fault(`a table without members picked ${show(empty)}`)

  const table = strategy.build(members)
  for (const [index, key] of keys.slice(0, FEW).entries()) {
    const nobody = table.pick(key, () => false, noLoad)
    if (nobody !== undefined)
      throw new Fault(`key ${show(key)} got ${show(nobody)}, though nobody was usable`)
    const some = someOf(members, index)
    for (const usable of [new Set(members), some]) {
      const picked = table.pick(key, member => usable.has(member), noLoad)
      if (picked === undefined && trial.reach < members.length) continue
      if (picked === undefined)
        throw new Fault(`key ${show(key)} got nobody, though ${usable.size} members were usable`)
      if (!members.includes(picked))
        throw new Fault(`key ${show(key)} got ${show(picked)}, which is not of the set`)
      if (!usable.has(picked)) throw new Fault(`key ${show(key)} got "${picked.id}", which was not usable`)
    }
  }
  return ''
}

function checkDeterminism({ strategy, members, keys }: Trial): string {
  const expected = firstChoices(strategy.build(members), keys)
  const again = firstChoices(strategy.build(members), keys.toReversed()).toReversed()
  compare(keys, expected, again, 'by another table of the same members, asked in another order')

  const before = strategy.build(members.slice(1))
  compare(
    keys,
    expected,
    firstChoices(strategy.build(members, before), keys),
    'by a table built with an earlier one'
  )
  return ''
}

function checkCompleteness({ strategy, members, keys, reach }: Trial): string {
  const table = strategy.build(members)
  const reached = new Set(strategy.keyed === false ? spread(table, keys).keys() : firstChoices(table, keys))
  const missed = members.filter(({ id }) => !reached.has(id))
  if (missed.length > 0) {
    throw new Fault(
      `none of ${keys.length} keys has ${missed.map(({ id }) => `"${id}"`).join(', ')} as first choice`
    )
  }
  if (strategy.keyed === false) return ''
  for (const key of keys.slice(0, FEW)) {
    const { length } = order(table, key)
    if (length < reach) throw new Fault(`key ${show(key)} comes to ${length} members, not to ${reach}`)
  }
  return ''
}

function checkFailover({ strategy, members, keys }: Trial): string {
  const table = strategy.build(members)
  for (const [index, key] of keys.slice(0, FEW).entries()) {
    const preferred = order(table, key)
    const usable = someOf(members, index)
    const expected = preferred.find(member => usable.has(member))
    const picked = table.pick(key, member => usable.has(member), noLoad)
    if (picked !== expected) {
      throw new Fault(
        `key ${show(key)} prefers ${preferred.map(({ id }) => `"${id}"`).join(', ')}, but got ${named(picked?.id)} ` +
          `rather than ${named(expected?.id)} when its first choices were not usable`
      )
    }
  }
  return ''
}

function checkShares({ strategy, keys, tolerance }: Trial, members: readonly Member[]): string {
  const table = strategy.build(members)
  const counts = strategy.keyed === false ? spread(table, keys) : tally(firstChoices(table, keys))
  const weights = members.reduce((sum, { weight }) => sum + weight, 0)
  const shares = members.map(({ id, weight }) => ({
    id,
    share: ((counts.get(id) ?? 0) / keys.length) * (weights / weight)
  }))
  shares.sort((one, other) => one.share - other.share)
  const least = shares[0]!
  const most = shares.at(-1)!
  const found = `${least.share.toFixed(3)} ("${least.id}") to ${most.share.toFixed(3)} ("${most.id}") of the fair share`
  if (least.share < 1 - tolerance || most.share > 1 + tolerance) {
    throw new Fault(`${found}, which is more than ${tolerance} away from it`)
  }
  return found
}

function checkJoining(trial: Trial): string {
  const joining = { id: '192.0.2.99:8080', weight: 1 }
  return checkMoves(trial, [[trial.members, [...trial.members, joining], joining.id]])
}

function checkLeaving(trial: Trial): string {
  const { members } = trial
  return checkMoves(
    trial,
    members.map(({ id }, index) => [members, members.toSpliced(index, 1), id])
  )
}

function checkReweighting(trial: Trial): string {
  const { members } = trial
  return checkMoves(
    trial,
    members.map(({ id, weight }, index) => [members, members.with(index, { id, weight: weight + 1 }), id])
  )
}

type Change = readonly [before: readonly Member[], after: readonly Member[], of: string]

/** A key may move only to or from the member that a change is about. */
function checkMoves({ strategy, keys, needlessMoves }: Trial, changes: readonly Change[]): string {
  let worst = { share: 0, text: '' }
  for (const [before, after, of] of changes) {
    const from = firstChoices(strategy.build(before), keys)
    const to = firstChoices(strategy.build(freeze(after)), keys)
    const isNeedless = (index: number): boolean =>
      from[index] !== to[index] && (after.length < before.length ? from[index] : to[index]) !== of
    const needless = [...keys.keys()].filter(isNeedless)
    const share = needless.length / keys.length
    if (share <= worst.share) continue
    const index = needless[0]!
    const text = `when "${of}" changed, key ${show(keys[index])} moved from ${named(from[index])} to ${named(to[index])}`
    worst = { share, text }
  }
  const found = `${(worst.share * 100).toFixed(2)} % of the keys moved without need`
  if (worst.share > needlessMoves) throw new Fault(`${found}, such as this: ${worst.text}`)
  return found
}

function checkMemberOrder({ strategy, members, keys }: Trial): string {
  const expected = firstChoices(strategy.build(members), keys)
  const rotated = freeze([...members.slice(1), members[0]!])
  for (const list of [freeze(members.toReversed()), rotated]) {
    compare(
      keys,
      expected,
      firstChoices(strategy.build(list), keys),
      'when the members were listed in another order'
    )
  }
  return ''
}

function compare(
  keys: readonly string[],
  expected: readonly (string | undefined)[],
  actual: readonly (string | undefined)[],
  when: string
): void {
  const differing = [...keys.keys()].filter(index => actual[index] !== expected[index])
  if (differing.length === 0) return
  const index = differing[0]!
  throw new Fault(
    `${differing.length} of ${keys.length} keys, such as ${show(keys[index])}, were sent to another member ${when}: ` +
      `to ${named(actual[index])} rather than ${named(expected[index])}`
  )
}

/** The id of each key's first choice. */
function firstChoices(table: Table, keys: readonly string[]): (string | undefined)[] {
  return keys.map(key => table.pick(key, always, noLoad)?.id)
}

/** How often each member is picked when every pick stays as load. */
function spread(table: Table, keys: readonly string[]): Map<string, number> {
  const loads = new Map<string, number>()
  for (const key of keys) {
    const picked = table.pick(key, always, ({ id }) => loads.get(id) ?? 0)
    if (picked !== undefined) loads.set(picked.id, (loads.get(picked.id) ?? 0) + 1)
  }
  return loads
}

function tally(ids: readonly (string | undefined)[]): Map<string | undefined, number> {
  const counts = new Map<string | undefined, number>()
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1)
  return counts
}

/** A part of the members that differs from index to index; of three in a row at least one. */
function someOf(members: readonly Member[], index: number): Set<Member> {
  return new Set(members.filter((_, at) => ((index * 7 + at * 3) % 5) % 2 === 0))
}

function withWeights(members: readonly Member[], weights: readonly number[]): readonly Member[] {
  return freeze(members.map(({ id }, index) => ({ id, weight: weights[index % weights.length]! })))
}

function freeze(members: readonly Member[]): readonly Member[] {
  return Object.freeze(members.map(member => Object.freeze({ ...member })))
}

function someMembers(): Member[] {
  return Array.from({ length: 10 }, (_, index) => ({ id: `10.0.0.${index + 1}:8080`, weight: 1 }))
}

function named(id: string | undefined): string {
  return id === undefined ? 'nobody' : `"${id}"`
}

function always(): boolean {
  return true
}

function noLoad(): number {
  return 0
}
