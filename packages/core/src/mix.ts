/**
 * A 64-bit hash and a number of 32 bits, mixed to 32 bits that look like chance: many values out of one hash, at a
 * fraction of the cost of hashing a text for each.
 *
 * For one hash, different numbers give different results. Source: the finalizer of MurmurHash3 by Austin Appleby
 * (`fmix32`), once for each half.
 *
 * @param high - the upper half of the hash
 * @param low - the lower half
 * @param number - any 32 bits
 */
export function mix(high: number, low: number, number: number): number {
  return fmix32(fmix32(low ^ number) ^ high)
}

/** MurmurHash3's finalizer, which is one to one. */
export function fmix32(value: number): number {
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35)
  return (value ^ (value >>> 16)) >>> 0
}
