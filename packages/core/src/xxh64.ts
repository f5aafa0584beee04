/**
 * XXH64, the 64-bit hash of xxHash, over the UTF-8 bytes of a text. Source: the xxHash specification by Yann Collet,
 * https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md.
 *
 * JavaScript has no 64-bit integers but BigInt, which is far slower here, so each 64-bit number is two signed 32-bit ones.
 */

import { carry, highOf } from './int64.ts'

/** 64 bits, as two unsigned 32-bit integers. */
export interface Hash64 {
  /** The upper 32 bits. */
  readonly high: number
  /** The lower 32 bits. */
  readonly low: number
}

// The five primes of the specification, in halves.
const P1_HIGH = 0x9e3779b1 | 0
const P1_LOW = 0x85ebca87 | 0
const P2_HIGH = 0xc2b2ae3d | 0
const P2_LOW = 0x27d4eb4f | 0
const P3_HIGH = 0x165667b1 | 0
const P3_LOW = 0x9e3779f9 | 0
const P4_HIGH = 0x85ebca77 | 0
const P4_LOW = 0xc2b2ae63 | 0
const P5_HIGH = 0x27d4eb2f | 0
const P5_LOW = 0x165667c5 | 0

const encoder = new TextEncoder()
/** The bytes of the text at hand. Grows to the longest text so far. */
let bytes = new Uint8Array(256)
/** The four lanes of a text of 32 bytes or more, each as high and low half. */
const lanes = new Int32Array(8)
/** How far each lane is turned when they are put together. */
const TURNS = [1, 7, 12, 18]

/**
 * XXH64 of a text's UTF-8 bytes. A surrogate without its partner counts as U+FFFD, as it does wherever text is
 * encoded.
 *
 * @param text - any text
 * @param seed - an unsigned 32-bit integer. Default: 0
 */
export function xxh64(text: string, seed = 0): Hash64 {
  const length = encode(text)
  let at = 0
  let high: number
  let low: number
  if (length < 32) {
    // seed + P5
    low = (seed + P5_LOW) | 0
    high = (P5_HIGH + carry(seed, P5_LOW, low)) | 0
  } else {
    at = addStripes(length, seed)
    mergeLanes()
    high = lanes[0]!
    low = lanes[1]!
  }
  const before = low
  low = (low + length) | 0
  high = (high + carry(before, length, low)) | 0

  for (; at + 8 <= length; at += 8) {
    // hash = rotl(hash ^ round(0, word), 27) * P1 + P4, where round(0, word) = rotl(word * P2, 31) * P1
    const wordLow = word(at)
    const a = highOf(wordLow, P2_HIGH, P2_LOW, word(at + 4))
    const b = Math.imul(wordLow, P2_LOW)
    const c = (a << 31) | (b >>> 1)
    const d = (b << 31) | (a >>> 1)
    high ^= highOf(d, P1_HIGH, P1_LOW, c)
    low ^= Math.imul(d, P1_LOW)
    const e = (high << 27) | (low >>> 5)
    const f = (low << 27) | (high >>> 5)
    const product = Math.imul(f, P1_LOW)
    low = (product + P4_LOW) | 0
    high = (highOf(f, P1_HIGH, P1_LOW, e) + P4_HIGH + carry(product, P4_LOW, low)) | 0
  }
  if (at + 4 <= length) {
    // hash = rotl(hash ^ (word * P1), 23) * P2 + P3
    const half = word(at)
    high ^= highOf(half, P1_HIGH, P1_LOW, 0)
    low ^= Math.imul(half, P1_LOW)
    const e = (high << 23) | (low >>> 9)
    const f = (low << 23) | (high >>> 9)
    const product = Math.imul(f, P2_LOW)
    low = (product + P3_LOW) | 0
    high = (highOf(f, P2_HIGH, P2_LOW, e) + P3_HIGH + carry(product, P3_LOW, low)) | 0
    at += 4
  }
  for (; at < length; at++) {
    // hash = rotl(hash ^ (byte * P5), 11) * P1
    const byte = bytes[at]!
    high ^= highOf(byte, P5_HIGH, P5_LOW, 0)
    low ^= Math.imul(byte, P5_LOW)
    const e = (high << 11) | (low >>> 21)
    const f = (low << 11) | (high >>> 21)
    high = highOf(f, P1_HIGH, P1_LOW, e)
    low = Math.imul(f, P1_LOW)
  }

  // The avalanche: each bit of the result depends on all bits so far.
  low ^= high >>> 1 // hash ^= hash >> 33
  high = highOf(low, P2_HIGH, P2_LOW, high)
  low = Math.imul(low, P2_LOW)
  low ^= (low >>> 29) | (high << 3) // hash ^= hash >> 29
  high ^= high >>> 29
  high = highOf(low, P3_HIGH, P3_LOW, high)
  low = Math.imul(low, P3_LOW)
  return { high: high >>> 0, low: (low ^ high) >>> 0 } // hash ^= hash >> 32
}

/** Writes the text's UTF-8 to `bytes`; gives their number. */
function encode(text: string): number {
  const { length } = text
  if (bytes.length < length * 3) bytes = new Uint8Array(length * 3)
  for (let index = 0; index < length; index++) {
    const unit = text.charCodeAt(index)
    if (unit > 0x7f) return encoder.encodeInto(text, bytes).written
    bytes[index] = unit
  }
  return length
}

/** The 32-bit integer at an offset, the least significant byte first. */
function word(at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}

/** Takes in the text's whole stripes of 32 bytes, eight to each lane; gives the offset behind them. */
function addStripes(length: number, seed: number): number {
  // The lanes begin at seed + P1 + P2, seed + P2, seed and seed - P1.
  startLane(0, seed, (P1_HIGH + P2_HIGH + carry(P1_LOW, P2_LOW, P1_LOW + P2_LOW)) | 0, (P1_LOW + P2_LOW) | 0)
  startLane(1, seed, P2_HIGH, P2_LOW)
  startLane(2, seed, 0, 0)
  startLane(3, seed, ~P1_HIGH, -P1_LOW | 0)
  let at = 0
  for (; at + 32 <= length; at += 32) {
    for (let lane = 0; lane < 4; lane++) {
      // lane = rotl(lane + word * P2, 31) * P1
      const wordLow = word(at + lane * 8)
      const product = Math.imul(wordLow, P2_LOW)
      const lowBefore = lanes[lane * 2 + 1]!
      const low = (lowBefore + product) | 0
      const high =
        (lanes[lane * 2]! +
          highOf(wordLow, P2_HIGH, P2_LOW, word(at + lane * 8 + 4)) +
          carry(lowBefore, product, low)) |
        0
      const c = (high << 31) | (low >>> 1)
      const d = (low << 31) | (high >>> 1)
      lanes[lane * 2] = highOf(d, P1_HIGH, P1_LOW, c)
      lanes[lane * 2 + 1] = Math.imul(d, P1_LOW)
    }
  }
  return at
}

function startLane(lane: number, seed: number, high: number, low: number): void {
  const sum = (seed + low) | 0
  lanes[lane * 2] = high + carry(seed, low, sum)
  lanes[lane * 2 + 1] = sum
}

/** What the four lanes come to, left in the first one. */
function mergeLanes(): void {
  // hash = rotl(lane 0, 1) + rotl(lane 1, 7) + rotl(lane 2, 12) + rotl(lane 3, 18)
  let high = 0
  let low = 0
  for (let lane = 0; lane < 4; lane++) {
    const turn = TURNS[lane]!
    const laneHigh = lanes[lane * 2]!
    const laneLow = lanes[lane * 2 + 1]!
    const turnedLow = (laneLow << turn) | (laneHigh >>> (32 - turn))
    const sum = (low + turnedLow) | 0
    high = (high + ((laneHigh << turn) | (laneLow >>> (32 - turn))) + carry(low, turnedLow, sum)) | 0
    low = sum
  }
  for (let lane = 0; lane < 4; lane++) {
    // hash = (hash ^ round(0, lane)) * P1 + P4
    const laneLow = lanes[lane * 2 + 1]!
    const a = highOf(laneLow, P2_HIGH, P2_LOW, lanes[lane * 2]!)
    const b = Math.imul(laneLow, P2_LOW)
    const c = (a << 31) | (b >>> 1)
    const d = (b << 31) | (a >>> 1)
    high ^= highOf(d, P1_HIGH, P1_LOW, c)
    low ^= Math.imul(d, P1_LOW)
    const product = Math.imul(low, P1_LOW)
    const sum = (product + P4_LOW) | 0
    high = (highOf(low, P1_HIGH, P1_LOW, high) + P4_HIGH + carry(product, P4_LOW, sum)) | 0
    low = sum
  }
  lanes[0] = high
  lanes[1] = low
}
