import * as fc from 'fast-check'
import type { Member } from '@ringway/core'

/** Sets of one to eight members with different ids, of the forms that servers have. */
export function anyMembers(largestWeight = 3): fc.Arbitrary<Member[]> {
  const port = fc.integer({ min: 1, max: 65_535 })
  const id = fc.oneof(
    fc.tuple(fc.domain(), port).map(([host, at]) => `${host}:${at}`),
    fc.tuple(fc.ipV4(), port).map(([host, at]) => `${host}:${at}`),
    fc.tuple(fc.ipV6(), port).map(([host, at]) => `[${host}]:${at}`),
    fc.uuid().map(name => `unix:/run/${name}.sock`)
  )
  return fc.uniqueArray(fc.record({ id, weight: fc.integer({ min: 1, max: largestWeight }) }), {
    minLength: 1,
    maxLength: 8,
    selector: member => member.id
  })
}

/** Lists of keys. */
export function anyKeys(): fc.Arbitrary<string[]> {
  return fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string({ unit: 'grapheme' })), {
    minLength: 1,
    maxLength: 50
  })
}
