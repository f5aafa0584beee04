import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import test from 'node:test'
import { crc32, xxh64 } from '@ringway/core'
import type { Hash64 } from '@ringway/core'
import { fillTable } from '../src/maglev.ts'
import { fmix32 } from '../src/mix.ts'
import { jumpHash } from '../src/xxh64.ts'
import { reference } from './support/reference-hashes.ts'

test('CRC-32 has the values of zlib and the check value of the catalogue of CRCs', () => {
  for (const [text, hash] of reference.crc32.rows) assert.equal(crc32(text), Number.parseInt(hash, 16), text)
})

test("XXH64 has the values of Yann Collet's xxhsum, with seeds 0 and 1", () => {
  for (const [text, , seed0, seed1] of reference.xxhash.rows) {
    assert.equal(hexOf(xxh64(text)), seed0, text)
    assert.equal(hexOf(xxh64(text, 1)), seed1, text)
  }
})

test("the mix is MurmurHash3's finalizer: what its x86_32 variant makes of no bytes and the seed 1", () => {
  const [text, , seed1] = reference.murmur3.rows[0]!
  assert.equal(text, '')
  assert.equal(fmix32(1), Number.parseInt(seed1, 16))
})

test('jump has the buckets of the published rows', () => {
  for (const [key, buckets] of reference.jump.published) {
    for (const [index, bucket] of buckets.entries())
      assert.equal(jumpHash(hashOf(key), index + 1), bucket, key)
  }
})

test('jump has the reference buckets among up to 65,536', () => {
  const counts = [2, 3, 5, 10, 100, 1000, 65_536]
  for (const [key, buckets] of reference.jump.rows) {
    for (const [index, bucket] of buckets.entries()) {
      assert.equal(jumpHash(hashOf(key), counts[index]!), bucket, `${key} among ${counts[index]}`)
    }
  }
})

test("maglev has the tables of Envoy's tests", () => {
  for (const { names, weights, M, table } of reference.maglev.published) {
    assert.deepEqual(tableOf(names, weights, M), table)
  }
})

for (const row of reference.maglev.rows) {
  test(`maglev has the reference table of the set-up ${row['set-up']}`, () => {
    const table = tableOf(row.names, row.weights, row.M)
    const entries = row.names.map((_, index) => table.filter(owner => owner === index).length)
    assert.deepEqual(entries, row['entries per name'])
    assert.deepEqual(table.slice(0, 40), row['first 40'])
    assert.equal(
      createHash('sha256').update(Uint8Array.from(table)).digest('hex'),
      row['sha256 of the table as bytes']
    )
  })
}

/** The table as indexes into the names as listed. */
function tableOf(names: readonly string[], weights: readonly number[] | undefined, size: number): number[] {
  const members = names.map((id, index) => ({ id, weight: weights?.[index] ?? 1 }))
  const sorted = members.toSorted((one, other) => (one.id < other.id ? -1 : 1))
  return Array.from(fillTable(sorted, size), entry => members.indexOf(sorted[entry]!))
}

function hexOf({ high, low }: Hash64): string {
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0')
}

function hashOf(key: string): Hash64 {
  const bits = BigInt(key)
  return { high: Number(bits >> 32n), low: Number(bits & 0xffff_ffffn) }
}
