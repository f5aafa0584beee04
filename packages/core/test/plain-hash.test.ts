import assert from 'node:assert/strict'
import test from 'node:test'
import { crc32, order, plainHash } from '@ringway/core'

const hundred = Array.from({ length: 100 }, (_, index) => ({ id: `sre${index}`, weight: 1 }))

test('a key has the member that its CRC-32 names, then those that the CRC-32 of 1KEY and 2KEY add', () => {
  const table = plainHash().build(hundred)
  for (const key of ['user-42', 'ключ', '😀', '']) {
    const bits = [key, `1${key}`, `2${key}`].map(text => (crc32(text) >>> 16) & 0x7fff)
    const sums = bits.map((_, index) => bits.slice(0, index + 1).reduce((sum, each) => sum + each, 0))
    const first = order(table, key).slice(0, 3)
    assert.deepEqual(
      first.map(({ id }) => id),
      sums.map(sum => `sre${sum % 100}`)
    )
  }
})
