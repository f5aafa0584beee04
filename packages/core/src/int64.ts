/** Arithmetic modulo 2⁶⁴ on numbers in halves, each a 32-bit integer. */

/** The upper half of the product of (high, low) and a constant; the lower one is `Math.imul(low, constantLow)`. */
export function highOf(low: number, constantHigh: number, constantLow: number, high: number): number {
  // The product of the lower halves is needed in full, and is made from 16-bit pieces.
  const a = low & 0xffff
  const b = low >>> 16
  const c = constantLow & 0xffff
  const d = constantLow >>> 16
  // Neither sum reaches 2³², so that signed arithmetic keeps all their bits.
  const middle = (Math.imul(b, c) + (Math.imul(a, c) >>> 16)) | 0
  const rest = (Math.imul(a, d) + (middle & 0xffff)) | 0
  return (
    (Math.imul(b, d) +
      (middle >>> 16) +
      (rest >>> 16) +
      Math.imul(high, constantLow) +
      Math.imul(low, constantHigh)) |
    0
  )
}

/** What the sum of two lower halves carries over to the upper ones. */
export function carry(one: number, other: number, sum: number): number {
  return ((one & other) | ((one | other) & ~sum)) >>> 31
}
