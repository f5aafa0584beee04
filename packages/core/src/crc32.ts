import { assertText } from './text.ts'

/**
 * CRC-32 as IEEE 802.3 and zlib compute it (reflected polynomial 0xEDB88320, start and final xor 0xFFFFFFFF):
 * the hash that nginx uses for keys and for the points of its ring.
 *
 * The `crc32Add…` functions carry a state on, so that the ring can hash a server's text once and go on from
 * there for each point. Start with {@link CRC32_START}, end with {@link crc32Finish}. States are signed 32-bit
 * integers, which engines keep without a heap object.
 */

const POLYNOMIAL = 0xedb88320

/** What each value of the lowest byte does to the rest of the state. */
const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let state = byte
  for (let bit = 0; bit < 8; bit++) state = state & 1 ? (state >>> 1) ^ POLYNOMIAL : state >>> 1
  return state
})

/**
 * The same for a byte with one, two or three more bytes behind it, so that four are taken at once without waiting for
 * each other ("slicing by four", Kounavis and Berry, A Systematic Approach to Building High Performance CRC
 * Generators, 2005).
 */
const TABLE_1 = TABLE.map(state => TABLE[state & 0xff]! ^ (state >>> 8))
const TABLE_2 = TABLE_1.map(state => TABLE[state & 0xff]! ^ (state >>> 8))
const TABLE_3 = TABLE_2.map(state => TABLE[state & 0xff]! ^ (state >>> 8))

/** The state before the first byte. */
export const CRC32_START = -1

/**
 * The CRC-32 of a text's UTF-8 bytes, as an unsigned 32-bit integer. A surrogate without its partner counts as
 * U+FFFD, as it does wherever text is encoded.
 *
 * @param text - any text; the empty one gives 0
 * @throws RingwayError `ERR_RINGWAY_KEY` for what is no text
 */
export function crc32(text: string): number {
  return crc32Finish(crc32AddText(CRC32_START, text))
}

/** The state after the UTF-8 bytes of a text. Allocates nothing. Throws as {@link crc32} does. */
export function crc32AddText(state: number, text: string): number {
  assertText(text)
  const { length } = text
  let index = 0
  for (; index + 4 <= length; index += 4) {
    const a = text.charCodeAt(index)
    const b = text.charCodeAt(index + 1)
    const c = text.charCodeAt(index + 2)
    const d = text.charCodeAt(index + 3)
    if ((a | b | c | d) > 0x7f) break
    state = crc32AddUint32(state, a | (b << 8) | (c << 16) | (d << 24))
  }
  for (; index < length; index++) {
    const unit = text.charCodeAt(index)
    if (unit < 0x80) {
      state = crc32AddByte(state, unit)
      continue
    }
    const codePoint = text.codePointAt(index)!
    if (codePoint > 0xffff) index++ // it took two units
    state = addBeyondAscii(state, codePoint)
  }
  return state
}

/** The state after one byte; of a greater number the lowest eight bits are taken. */
export function crc32AddByte(state: number, byte: number): number {
  return TABLE[(state ^ byte) & 0xff]! ^ (state >>> 8)
}

/** The state after the four bytes of a 32-bit integer, the least significant first. */
export function crc32AddUint32(state: number, value: number): number {
  state ^= value
  return (
    TABLE_3[state & 0xff]! ^
    TABLE_2[(state >>> 8) & 0xff]! ^
    TABLE_1[(state >>> 16) & 0xff]! ^
    TABLE[state >>> 24]!
  )
}

/** The checksum that a state stands for, as an unsigned 32-bit integer. */
export function crc32Finish(state: number): number {
  return ~state >>> 0
}

/** UTF-8 of what takes more than one byte (RFC 3629, section 3). */
function addBeyondAscii(state: number, codePoint: number): number {
  if (codePoint >= 0xd800 && codePoint <= 0xdfff) codePoint = 0xfffd
  if (codePoint < 0x800) {
    state = crc32AddByte(state, 0xc0 | (codePoint >> 6))
  } else {
    if (codePoint < 0x10000) {
      state = crc32AddByte(state, 0xe0 | (codePoint >> 12))
    } else {
      state = crc32AddByte(state, 0xf0 | (codePoint >> 18))
      state = crc32AddByte(state, 0x80 | ((codePoint >> 12) & 0x3f))
    }
    state = crc32AddByte(state, 0x80 | ((codePoint >> 6) & 0x3f))
  }
  return crc32AddByte(state, 0x80 | (codePoint & 0x3f))
}
