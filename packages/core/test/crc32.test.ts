import assert from 'node:assert/strict'
import test from 'node:test'
import * as fc from 'fast-check'
import { crc32 } from '@ringway/core'
import { CRC32_START, crc32AddByte, crc32AddText, crc32AddUint32, crc32Finish } from '../src/crc32.ts'

test('texts have the checksums that zlib gives them', () => {
  // The third is the check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRCs; the rest is zlib's.
  const known: [string, number][] = [
    ['', 0],
    ['a', 0xe8b7be43],
    ['123456789', 0xcbf43926],
    ['abc', 0x352441c2],
    ['203.0.113.7', 0x5cb67576],
    ['2001:db8::1', 0x00b4af0e],
    ['sre1:8080', 0x1cd9d3b7],
    ['ключ', 0x0caf961a],
    ['x'.repeat(31), 0xc157f85e],
    ['x'.repeat(32), 0x00ce3d88],
    ['x'.repeat(33), 0x6fbfd3ac]
  ]
  for (const [text, checksum] of known) assert.equal(crc32(text), checksum, JSON.stringify(text))
})

test('any text, broken surrogates too, has the checksum of its UTF-8 bytes', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: codeUnit() })), text => {
      let state = CRC32_START
      for (const byte of new TextEncoder().encode(text)) state = crc32AddByte(state, byte)
      assert.equal(crc32(text), crc32Finish(state))
    })
  )
})

test('a state is carried on over parts', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (before, after) => {
      const state = crc32AddText(crc32AddText(CRC32_START, before), after)
      assert.equal(crc32Finish(state), crc32(before + after))
    })
  )
})

test('an integer counts as its four bytes, the least significant first', () => {
  fc.assert(
    fc.property(fc.integer(), fc.nat(0xffffffff), (state, value) => {
      let expected = state
      for (const byte of [value, value >>> 8, value >>> 16, value >>> 24]) {
        expected = crc32AddByte(expected, byte)
      }
      assert.equal(crc32AddUint32(state, value), expected)
    })
  )
})

/** Single UTF-16 units, so that surrogates come without partners. */
function codeUnit() {
  return fc.integer({ min: 0, max: 0xffff }).map(unit => String.fromCharCode(unit))
}
