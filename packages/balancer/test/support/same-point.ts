import { crc32 } from '@ringway/core'

/** Characters with four bits that may be chosen freely. */
const FREE = 16

/**
 * Texts that all have the CRC-32 of `target`, so that they all belong to one point of any ring that is made by it. It is
 * linear: what a bit of the text changes in it is the same for each text of that length, and equations do the rest.
 */
export function keysForOnePoint(target: string, count: number): string[] {
  const none = crc32(text(0, 0n))
  // For each leading bit of a difference, one difference that has it and the bits of the text that make it.
  const rows = new Map<number, { difference: number; bits: bigint }>()
  const reduce = (difference: number): { difference: number; bits: bigint } => {
    let left = difference
    let bits = 0n
    for (let row = rows.get(Math.clz32(left)); row !== undefined; row = rows.get(Math.clz32(left))) {
      left = (left ^ row.difference) >>> 0
      bits ^= row.bits
    }
    return { difference: left, bits }
  }
  for (let bit = 1n; bit < 1n << BigInt(4 * FREE); bit <<= 1n) {
    const row = reduce((crc32(text(0, bit)) ^ none) >>> 0)
    if (row.difference === 0) continue
    rows.set(Math.clz32(row.difference), { difference: row.difference, bits: row.bits ^ bit })
  }
  const wanted = crc32(target)
  return Array.from({ length: count }, (_, i) => {
    const { difference, bits } = reduce((crc32(text(i, 0n)) ^ wanted) >>> 0)
    if (difference !== 0) throw new Error('no such text')
    return text(i, bits)
  })
}

function text(prefix: number, bits: bigint): string {
  const chars = Array.from({ length: FREE }, (_, i) => 0x60 + Number((bits >> BigInt(4 * i)) & 15n))
  return String(prefix).padStart(6, '0') + String.fromCharCode(...chars)
}
