import assert from 'node:assert/strict'
import test from 'node:test'
import * as fc from 'fast-check'
import { canonicalAddress, ipHash, ketama, order, plainHash } from '@ringway/core'
import type { Member, Strategy } from '@ringway/core'
import { nginxRing } from './support/nginx-ring.ts'
import { missing, startNginx } from './support/live-nginx.ts'
import type { LiveServer, Method } from './support/live-nginx.ts'
import { decidedByNumbers, decidedByRing, ipNumbers, plainNumbers } from './support/nginx-steps.ts'

const SETS = 5
const KEYS = 100

/** Set `SEED` to the one of a failure to get its sets and keys again. The ports are others, so the ring too. */
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))

const anyServers: fc.Arbitrary<LiveServer[]> = fc.array(
  fc.record({
    // Neither the network's own address nor the one that it broadcasts to.
    address: fc.integer({ min: 1, max: 2 ** 24 - 2 }).map(host => {
      return `127.${host >> 16}.${(host >> 8) & 0xff}.${host & 0xff}`
    }),
    weight: fc.integer({ min: 1, max: 5 })
  }),
  { minLength: 3, maxLength: 10 }
)

// What can be a header's value: no control characters, and no space at the ends.
const anyKey = fc
  .oneof(
    fc.string({ unit: 'grapheme-ascii', maxLength: 30 }),
    fc.string({ unit: 'grapheme', maxLength: 30 }),
    fc.string({ unit: fc.constantFrom('é', 'ж', '日', '😀', '👩‍👩‍👧'), maxLength: 10 }),
    fc.ipV4(),
    fc.ipV6()
  )
  .filter(key => /^\P{Cc}+$/u.test(key) && key.trim() === key)

// As sockets name them. Of other forms nginx reads no '::' after seven groups, and never 255.255.255.255.
const anyAddress = fc
  .oneof(
    fc.ipV4(),
    fc.ipV6().map(address => canonicalAddress(address)),
    fc.ipV4().map(address => `::ffff:${address}`)
  )
  .filter(address => !address.endsWith('255.255.255.255'))

interface Compared {
  readonly strategy: Strategy
  readonly keys: fc.Arbitrary<string>
  /** How many choices are nginx's strategy's own, before it goes on by round robin. */
  readonly decided: (members: readonly Member[]) => (key: string) => number
}

const compared: Record<Method, Compared> = {
  ketama: {
    strategy: ketama(),
    keys: anyKey,
    decided: members => {
      const ring = nginxRing(members)
      return key => decidedByRing(ring, key, new Set())
    }
  },
  plainHash: {
    strategy: plainHash(),
    keys: anyKey,
    decided: members => key => decidedByNumbers(plainNumbers(key), members, new Set())
  },
  ipHash: {
    strategy: ipHash(),
    keys: anyAddress,
    decided: members => address => decidedByNumbers(ipNumbers(address), members, new Set())
  }
}

const lack = missing()
// Where everything must be tested, nothing is skipped.
const skip = process.env.CI === undefined && lack !== undefined ? lack : false

for (const [method, { strategy, keys: anyOfThem, decided: decidedOf }] of Object.entries(compared)) {
  test(`a real nginx picks as ${method} does, for random servers and keys`, { skip }, async t => {
    assert.equal(lack, undefined, lack)
    t.diagnostic(`SEED=${seed}`)
    const sets = fc.sample(
      fc.record({
        servers: anyServers,
        keys: fc.uniqueArray(anyOfThem, { minLength: KEYS, maxLength: KEYS })
      }),
      { seed, numRuns: SETS }
    )
    await using nginx = await startNginx(
      method as Method,
      sets.map(({ servers }) => servers)
    )
    const counts = { keys: 0, choices: 0, compared: 0 }
    for (const [index, { servers, keys }] of sets.entries()) {
      const members = servers.map(({ weight }, at) => ({ id: nginx.servers[index]![at]!, weight }))
      const table = strategy.build(members)
      const decided = decidedOf(members)
      const rows = await Promise.all(keys.map(async key => [key, await nginx.tried(index, key)] as const))
      for (const [key, tried] of rows) {
        const theirs = tried.map(at => nginx.servers[index]![at])
        const ours = order(table, key).map(({ id }) => id)
        const told = `${JSON.stringify(key)} of ${JSON.stringify(members)}, SEED=${seed}`
        assert.deepEqual(new Set(theirs), new Set(ours), `nginx tries all for ${told}`)
        const count = Math.min(decided(key), ours.length)
        assert.ok(count >= 1)
        assert.deepEqual(ours.slice(0, count), theirs.slice(0, count), `the order for ${told}`)
        counts.keys++
        counts.choices += ours.length
        counts.compared += count
      }
    }
    t.diagnostic(`${counts.compared} of ${counts.choices} choices for ${counts.keys} keys compared`)
    assert.equal(counts.keys, SETS * KEYS)
    assert.ok(counts.compared > 0.6 * counts.choices)
  })
}
