import { show } from './fields.ts'
import { order } from './strategy.ts'
import type { Member, Strategy, Table } from './strategy.ts'
import type { CheckName } from './testing.ts'

/** What the checks work on. */
export interface Trial {
  readonly strategy: Strategy
  readonly members: readonly Member[]
  readonly keys: readonly string[]
  /** Looked at for the contract only. */
  readonly oddKeys: readonly string[]
  readonly tolerance: number
  readonly needlessMoves: number
  readonly reach: number
}

/** A check that isn't passed: the message says why. */
export class Fault extends Error {}

const WEIGHTS = [1, 2, 5]
const JOINING: Member = Object.freeze({ id: '192.0.2.99:8080', weight: 1 })
/** Beside the kit's own keys: a strategy must do something with any text. */
export const ODD_KEYS: readonly string[] = ['', 'key', '::1', 'ключ', '\0', '\ud800', 'long'.repeat(1000)]

/** Keys for the checks that take many picks each. */
export const FEW = 500

/** The checks by name. Each gives what it found, or throws a {@link Fault}. */
export const CHECKS: Readonly<Record<CheckName, (trial: Trial) => string>> = {
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

function checkContract(trial: Trial): string {
  const { strategy, members, keys, oddKeys } = trial
  const empty = strategy.build([]).pick(keys[0]!, always, noLoad)
  if (empty !== undefined) throw new Fault(`a table without members picked ${show(empty)}`)

  const table = strategy.build(members)
  for (const [index, key] of [...oddKeys, ...keys].entries()) {
    const nobody = table.pick(key, () => false, noLoad)
    if (nobody !== undefined)
      throw new Fault(`key ${show(key)} got ${show(nobody)}, though nobody was usable`)
    for (const usable of [new Set(members), someOf(members, index)]) {
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
  const table = strategy.build(members)
  const expected = answers(table, keys)
  const again = answers(strategy.build(members), keys.toReversed()).toReversed()
  compare(keys, expected, again, 'by another table of the same members, asked in another order')

  const joined = [...members, JOINING]
  const raised = members.with(0, { ...members[0]!, weight: members[0]!.weight + 1 })
  const rotated = [...members.slice(1), members[0]!]
  for (const other of [members.slice(1), joined, raised, rotated].map(freeze)) {
    const taken = strategy.build(other, table)
    const picked = taken.pick(keys[0]!, always, noLoad)
    if (picked !== undefined && !other.includes(picked))
      throw new Fault(`a table built with an earlier one picked ${show(picked)}, which is not of its set`)
    const fresh = answers(strategy.build(other), keys)
    compare(keys, fresh, answers(taken, keys), 'by a table built with an earlier one')
  }
  compare(keys, expected, answers(table, keys), 'after another table took over from theirs')
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
  return checkMoves(trial, [[trial.members, [...trial.members, JOINING], JOINING.id]])
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

/** A key may move only to or from the member that a change is about, and some must. */
function checkMoves({ strategy, keys, needlessMoves }: Trial, changes: readonly Change[]): string {
  let worst = { share: 0, text: '' }
  for (const [before, after, of] of changes) {
    const from = firstChoices(strategy.build(before), keys)
    const to = firstChoices(strategy.build(freeze(after)), keys)
    const gaining = after.length < before.length ? from : to
    const moved = [...keys.keys()].filter(index => from[index] !== to[index])
    if (!moved.some(index => gaining[index] === of))
      throw new Fault(`when "${of}" changed, no key moved for it`)
    const needless = moved.filter(index => gaining[index] !== of || to[index] === undefined)
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
  const expected = answers(strategy.build(members), keys)
  for (const list of [members.toReversed(), [...members.slice(1), members[0]!]].map(freeze)) {
    compare(
      keys,
      expected,
      answers(strategy.build(list), keys),
      'when the members were listed in another order'
    )
  }
  return ''
}

function compare(
  keys: readonly string[],
  expected: readonly string[],
  actual: readonly string[],
  when: string
): void {
  const differing = [...keys.keys()].filter(index => actual[index] !== expected[index])
  if (differing.length === 0) return
  const index = differing[0]!
  throw new Fault(
    `${differing.length} of ${keys.length} keys, such as ${show(keys[index])}, were sent to other members ${when}: ` +
      `to ${actual[index]!} rather than ${expected[index]!}`
  )
}

/** For each key its first choice as text, for some their whole order. They are the same ones when keys are reversed. */
function answers(table: Table, keys: readonly string[]): string[] {
  const step = Math.ceil(keys.length / FEW)
  return keys.map((key, index) => {
    const isOneOfFew = Math.min(index, keys.length - 1 - index) % step === 0
    if (isOneOfFew)
      return (
        order(table, key)
          .map(({ id }) => named(id))
          .join(', ') || named(undefined)
      )
    return named(table.pick(key, always, noLoad)?.id)
  })
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

/** Copies, so that the caller's own stay as they are, and frozen, so that a strategy that changes them throws. */
export function freeze(members: readonly Member[]): readonly Member[] {
  return Object.freeze(members.map(member => Object.freeze({ ...member })))
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
