import assert from 'node:assert/strict'
import test from 'node:test'
import { canonicalAddress, crc32, ketama, order, remoteAddress } from '@ringway/core'
import type { Table } from '@ringway/core'
import { firstPoint, nginxRing } from './support/nginx-ring.ts'
import type { NginxRing } from './support/nginx-ring.ts'
import { membersOf, outOf, setUps } from './support/nginx-fixture.ts'
import type { Row, SetUp } from './support/nginx-fixture.ts'
import { decidedByRing } from './support/nginx-steps.ts'

/** What nginx's ring left open in a set-up, so what isn't compared. */
interface LeftOut {
  /** Rows of which the ring decided a part only. */
  rows: number
  /** Choices in all. */
  choices: number
  /** Rows of which it didn't decide even the first choice. */
  firstChoices: number
  /** Rows in which nginx's round robin then chose otherwise than our walk. */
  differing: number
}

const nothing: LeftOut = { rows: 0, choices: 0, firstChoices: 0, differing: 0 }

/**
 * What is left out of each set-up. Everything else must be equal. If a number here changes, the test compares
 * more or less than it did, and somebody should know why.
 */
const LEFT_OUT: Record<string, LeftOut> = {
  reference: nothing,
  weights: { rows: 45, choices: 45, firstChoices: 0, differing: 0 },
  ten: { rows: 454, choices: 678, firstChoices: 0, differing: 105 },
  noport: nothing,
  unix: nothing,
  ipv6: nothing,
  single: nothing,
  down: { rows: 18, choices: 18, firstChoices: 0, differing: 0 },
  caseful: nothing,
  fifty: nothing,
  remoteAddress: nothing,
  duplicates: nothing,
  duplicateWeights: nothing,
  onehost: nothing,
  multiaddress: nothing,
  names: { rows: 8, choices: 8, firstChoices: 0, differing: 0 },
  heavy: { rows: 472, choices: 472, firstChoices: 0, differing: 0 },
  zone: nothing,
  twoDown: nothing,
  thirty: nothing,
  dualStack: nothing,
  ipv6Clients: nothing,
  argument: { rows: 1, choices: 3, firstChoices: 1, differing: 1 }, // the empty key
  refused: nothing,
  maxFails: nothing,
  edges: nothing,
  collision1: nothing,
  collision1reversed: nothing,
  collision2: nothing,
  collision2reversed: nothing
}

for (const [name, setUp] of Object.entries(setUps)) {
  test(`nginx's picks are ours: ${name}${setUp.note === undefined ? '' : ` (${setUp.note})`}`, () => {
    assert.deepEqual(compare(setUp), LEFT_OUT[name])
  })
}

test('each set-up of the file is compared, and no other is expected', () => {
  assert.deepEqual(Object.keys(setUps).toSorted(), Object.keys(LEFT_OUT).toSorted())
})

/** Compares all rows of a set-up and counts what nginx's ring left open. */
function compare(setUp: SetUp): LeftOut {
  const members = membersOf(setUp)
  const table = ketama().build(members)
  const ring = nginxRing(members)
  const out = outOf(setUp)
  const leftOut = { ...nothing }
  for (const row of setUp.keys ?? []) compareRow(setUp, table, ring, out, row, leftOut)
  for (const [indexes, rows] of Object.entries(setUp.dead ?? {})) {
    const dead = new Set(indexes.split(',').map(index => setUp.servers[Number(index)]!.server))
    for (const row of rows) {
      compareRow(setUp, table, ring, out, row, leftOut)
      checkEnd(setUp, dead, row)
    }
  }
  return leftOut
}

/** Asserts that we choose as nginx did wherever its ring decided, and adds up where it didn't. */
function compareRow(
  setUp: SetUp,
  table: Table,
  ring: NginxRing,
  out: ReadonlySet<string>,
  [key, tried]: Row,
  leftOut: LeftOut
): void {
  const nginx = tried.map(index => setUp.servers[index]!.server)
  const decided = Math.min(decidedByRing(ring, key, out), nginx.length)
  const ours = failover(table, key, out)
  assert.deepEqual(ours.slice(0, decided), nginx.slice(0, decided), `order of ${JSON.stringify(key)}`)

  // The order for displays is the same one, with the servers that are out still in it.
  const shown = order(table, key).map(({ id }) => id)
  assert.deepEqual(
    shown.filter(id => !out.has(id)),
    ours
  )
  assert.equal(shown.length, ring.members.length)
  for (const server of nginx) assert.ok(ours.includes(server), `${server} is reached in the end`)

  if (decided === nginx.length) return
  leftOut.rows++
  leftOut.choices += nginx.length - decided
  if (decided === 0) leftOut.firstChoices++
  if (nginx.some((server, index) => server !== ours[index])) leftOut.differing++
}

/** All servers in the order in which we would try them, if each of them failed. */
function failover(table: Table, key: string, out: ReadonlySet<string>): string[] {
  const tried: string[] = []
  for (;;) {
    const next = table.pick(
      key,
      ({ id }) => !out.has(id) && !tried.includes(id),
      () => 0
    )
    if (next === undefined) return tried
    tried.push(next.id)
  }
}

/** The last server of a row answered, unless all are dead; those before it are dead. */
function checkEnd({ servers }: SetUp, dead: ReadonlySet<string>, [, tried]: Row): void {
  const texts = tried.map(index => servers[index]!.server)
  const last = texts.pop()!
  assert.ok(texts.every(text => dead.has(text)))
  assert.ok(!dead.has(last) || dead.size === servers.length)
}

test('the keys of the edges equal a point, lie next above or below one, or past the last', () => {
  const { points } = nginxRing(membersOf(setUps.edges!))
  const isPoint = (value: number) => points.includes(value)
  const hashes = setUps.edges!.keys!.map(([key]) => crc32(key))
  assert.ok(hashes.slice(0, 10).every(hash => isPoint(hash)))
  assert.ok(hashes.slice(10, 20).every(hash => isPoint(hash - 1) && !isPoint(hash)))
  assert.ok(hashes.slice(20, 30).every(hash => isPoint(hash + 1) && !isPoint(hash)))
  assert.ok(hashes.slice(30).every(hash => hash > points.at(-1)!))
})

for (const [name, shared] of [
  ['collision1', 4_141_035_165],
  ['collision1reversed', 4_141_035_165],
  ['collision2', 4_112_472_420],
  ['collision2reversed', 4_112_472_420]
] as const) {
  test(`both servers of ${name} have the point ${shared}, and the earlier one keeps it`, () => {
    const setUp = setUps[name]!
    const members = membersOf(setUp)
    for (const member of members) assert.ok(nginxRing([member]).points.includes(shared))
    const ring = nginxRing(members)
    assert.equal(ring.points.length, 2 * 160 - 1)
    for (const [key] of setUp.keys!) {
      const point = firstPoint(ring, crc32(key))
      assert.equal(ring.points[point], shared)
      assert.equal(ring.owners[point], 0)
    }
  })
}

test('a server that is written twice has the points of the larger weight, once', () => {
  assert.equal(nginxRing(membersOf(setUps.duplicates!)).points.length, 3 * 160)
  assert.equal(nginxRing(membersOf(setUps.duplicateWeights!)).points.length, (3 + 1) * 160)
})

test('the source addresses that nginx hashed are our client-address keys', () => {
  for (const [address] of setUps.remoteAddress!.keys!) assert.equal(addressKey(address), address)
})

test('an IPv4 client of a dual-stack listener has its plain address as key', () => {
  for (const [mapped, , plain] of setUps.dualStack!.keys!) assert.equal(addressKey(mapped), plain)
})

test('IPv6 addresses are written as nginx wrote them, however they were sent', () => {
  for (const [key, , sent] of setUps.ipv6Clients!.keys!) {
    assert.equal(addressKey(sent!), key)
    assert.equal(canonicalAddress(key), key)
  }
})

function addressKey(address: string) {
  return remoteAddress()({ address, method: 'GET', target: '/', headers: {}, request: undefined })
}
