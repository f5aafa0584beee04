import assert from 'node:assert/strict'
import test from 'node:test'
import * as core from '@ringway/core'
import type * as Core from '@ringway/core'
import * as testing from '@ringway/core/testing'
import type { Check, CheckName, StrategyReport, TestOptions } from '@ringway/core/testing'

/* oxlint-disable typescript/no-unnecessary-type-parameters -- this is how types are compared */

/** `true` where two types are the very same; what is `any` is only the same as `any`. */
type Same<One, Other> =
  (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false

/** Doesn't compile unless all of its parts are `true`. */
function hold<_Claims extends readonly true[]>(): void {}

type Member = Core.Member
type Key = string | undefined

test('the names that the package exports are these and no others', () => {
  assert.deepEqual(Object.keys(core).toSorted(), [
    'ConfigError',
    'RingwayError',
    'boundedLoad',
    'canonicalAddress',
    'checkMembers',
    'cookie',
    'crc32',
    'forwardedAddress',
    'header',
    'ipHash',
    'isExhausted',
    'jump',
    'ketama',
    'leastConnections',
    'maglev',
    'movedShare',
    'order',
    'path',
    'plainHash',
    'query',
    'randomTwo',
    'remoteAddress',
    'rendezvous',
    'ring',
    'roundRobin',
    'xxh64'
  ])
  assert.deepEqual(Object.keys(testing), ['testStrategy'])
})

test('the contract has the types that it says', () => {
  hold<
    [
      Same<Member, { readonly id: string; readonly weight: number }>,
      Same<keyof Core.Strategy, 'name' | 'keyed' | 'build'>,
      Same<Core.Strategy['keyed'], false | undefined>,
      Same<Parameters<Core.Strategy['build']>, [members: readonly Member[], before?: Core.Table | undefined]>,
      Same<ReturnType<Core.Strategy['build']>, Core.Table>,
      Same<
        Core.Table['pick'],
        (
          key: string,
          usable: (member: Member) => boolean,
          load: (member: Member) => number
        ) => Member | undefined
      >,
      Same<typeof core.order, (table: Core.Table, key: string) => Member[]>,
      Same<
        typeof core.movedShare,
        (before: Core.Table, after: Core.Table, keys?: Iterable<string>) => number
      >,
      Same<typeof core.checkMembers, (members: readonly Member[]) => void>
    ]
  >()
})

test('strategies have the types that they say', () => {
  hold<
    [
      Same<typeof core.ketama, () => Core.Strategy>,
      Same<typeof core.ring, (options?: Core.RingOptions) => Core.Strategy>,
      Same<Core.RingOptions, { readonly points?: number; readonly places?: number }>,
      Same<typeof core.maglev, (options?: Core.MaglevOptions) => Core.Strategy>,
      Same<Core.MaglevOptions, { readonly tableSize?: number }>,
      Same<typeof core.rendezvous, () => Core.Strategy>,
      Same<typeof core.jump, () => Core.Strategy>,
      Same<typeof core.plainHash, () => Core.Strategy>,
      Same<typeof core.ipHash, () => Core.Strategy>,
      Same<typeof core.roundRobin, () => Core.Strategy>,
      Same<typeof core.leastConnections, () => Core.Strategy>,
      Same<typeof core.randomTwo, (random?: () => number) => Core.Strategy>,
      Same<typeof core.boundedLoad, (strategy: Core.Strategy, factor: number) => Core.Strategy>
    ]
  >()
})

test('keys and hashes have the types that they say', () => {
  hold<
    [
      Same<Core.KeyFunction, (source: Core.KeySource) => Key | Promise<Key>>,
      Same<Core.KeySource['address'], string | undefined>,
      Same<Core.KeySource['headers'], Readonly<Record<string, string | string[] | undefined>>>,
      Same<Core.KeySource['request'], unknown>,
      Same<typeof core.remoteAddress, (options?: Core.RemoteAddressOptions) => Core.KeyFunction>,
      Same<typeof core.forwardedAddress, (options: Core.ForwardedAddressOptions) => Core.KeyFunction>,
      Same<Core.ForwardedAddressOptions['trust'], readonly string[]>,
      Same<Core.ForwardedAddressOptions['header'], 'x-forwarded-for' | 'forwarded' | undefined>,
      Same<typeof core.header, (name: string) => Core.KeyFunction>,
      Same<typeof core.cookie, (name: string) => Core.KeyFunction>,
      Same<typeof core.query, (name: string) => Core.KeyFunction>,
      Same<typeof core.path, (pattern: string | RegExp) => Core.KeyFunction>,
      Same<typeof core.canonicalAddress, (text: string) => string>,
      Same<typeof core.crc32, (text: string) => number>,
      Same<typeof core.xxh64, (text: string, seed?: number) => Core.Hash64>,
      Same<Core.Hash64, { readonly high: number; readonly low: number }>
    ]
  >()
})

test('errors and the kit have the types that they say', () => {
  hold<
    [
      Same<ConstructorParameters<typeof Core.ConfigError>, [field: string, problem: string]>,
      Same<Core.ConfigError['field'], string>,
      Same<Core.RingwayError['code'], string>,
      Same<typeof testing.testStrategy, (strategy: Core.Strategy, options?: TestOptions) => StrategyReport>,
      Same<StrategyReport['checks'], readonly Check[]>,
      Same<TestOptions['skip'], readonly CheckName[] | undefined>,
      Same<Check['outcome'], 'passed' | 'failed' | 'skipped'>
    ]
  >()
})

test('what would be a mistake does not compile', () => {
  const mistakes = [
    // @ts-expect-error a strategy has a build method
    (): Core.Strategy => ({ name: 'mine' }),
    // @ts-expect-error a table picks members, not ids
    (): Core.Table => ({ pick: () => 'a:1' }),
    // @ts-expect-error a member has a weight
    () => core.ketama().build([{ id: 'a:1' }]),
    // @ts-expect-error an id is a text
    () => core.checkMembers([{ id: 7, weight: 1 }]),
    // @ts-expect-error trust is required
    () => core.forwardedAddress({}),
    // @ts-expect-error no such header is known
    () => core.forwardedAddress({ trust: ['loopback'], header: 'x-real-ip' }),
    // @ts-expect-error a bound has a factor
    () => core.boundedLoad(core.ketama()),
    // @ts-expect-error the seed is a number
    () => core.xxh64('text', 1n)
  ]
  assert.equal(mistakes.length, 8)
})
