import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import * as fc from 'fast-check'
import { xxh64 } from '@ringway/core'
import { assemble, target } from './support/wasm-module.ts'

const P1 = 0x9e3779b185ebca87n
const P2 = 0xc2b2ae3d27d4eb4fn
const P3 = 0x165667b19e3779f9n
const P4 = 0x85ebca77c2b2ae63n
const P5 = 0x27d4eb2f165667c5n

test('any text and seed has the hash that the specification gives its UTF-8 bytes', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 100 }),
    fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map(unit => String.fromCharCode(unit)) })
  )
  fc.assert(
    fc.property(text, fc.nat(0xffff_ffff), (of, seed) => {
      const { high, low } = xxh64(of, seed)
      assert.equal((BigInt(high) << 32n) | BigInt(low), specified(new TextEncoder().encode(of), BigInt(seed)))
    }),
    { numRuns: 2000 }
  )
})

test('each length has the hash that the specification gives it', () => {
  for (let length = 0; length < 130; length++) {
    const text = Array.from({ length }, (_, index) => String.fromCharCode(33 + ((index * 7) % 90))).join('')
    const { high, low } = xxh64(text)
    assert.equal((BigInt(high) << 32n) | BigInt(low), specified(new TextEncoder().encode(text), 0n))
  }
})

test('a text that is longer than any before has its hash too', () => {
  const long = 'ключ'.repeat(10_000)
  const { high, low } = xxh64(long)
  assert.equal((BigInt(high) << 32n) | BigInt(low), specified(new TextEncoder().encode(long), 0n))
})

test('the module is what its source comes to', async () => {
  assert.equal(readFileSync(target, 'utf8'), await assemble(), 'run `pnpm --filter @ringway/core wasm`')
})

/** The specification's steps, word for word, with integers of any size. */
function specified(bytes: Uint8Array, seed: bigint): bigint {
  const view = new DataView(bytes.buffer)
  let at = 0
  let hash = u64(seed + P5)
  if (bytes.length >= 32) {
    const lanes = [u64(seed + P1 + P2), u64(seed + P2), seed, u64(seed - P1)]
    for (; at + 32 <= bytes.length; at += 32) {
      for (const lane of lanes.keys())
        lanes[lane] = round(lanes[lane]!, view.getBigUint64(at + lane * 8, true))
    }
    const [a, b, c, d] = lanes as [bigint, bigint, bigint, bigint]
    hash = u64(turn(a, 1n) + turn(b, 7n) + turn(c, 12n) + turn(d, 18n))
    for (const lane of lanes) hash = u64((hash ^ round(0n, lane)) * P1 + P4)
  }
  hash = u64(hash + BigInt(bytes.length))
  for (; at + 8 <= bytes.length; at += 8) {
    hash = u64(turn(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * P1 + P4)
  }
  if (at + 4 <= bytes.length) {
    hash = u64(turn(hash ^ u64(BigInt(view.getUint32(at, true)) * P1), 23n) * P2 + P3)
    at += 4
  }
  for (; at < bytes.length; at++) hash = u64(turn(hash ^ u64(BigInt(bytes[at]!) * P5), 11n) * P1)
  hash = u64((hash ^ (hash >> 33n)) * P2)
  hash = u64((hash ^ (hash >> 29n)) * P3)
  return hash ^ (hash >> 32n)
}

function round(lane: bigint, word: bigint): bigint {
  return u64(turn(u64(lane + word * P2), 31n) * P1)
}

function turn(value: bigint, bits: bigint): bigint {
  return u64((value << bits) | (value >> (64n - bits)))
}

function u64(value: bigint): bigint {
  return BigInt.asUintN(64, value)
}
