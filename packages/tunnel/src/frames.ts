import { randomBytes } from 'node:crypto'
import { ConfigError } from '@ringway/core/errors'

/** The longest reason of a Close frame, in bytes: 125 less the code (RFC 6455 section 5.5). */
const LONGEST_REASON = 123

/**
 * Knows where the frames of one direction end, by reading their headers only (RFC 6455 section 5.2). It looks at no
 * payload, changes nothing and allocates nothing, and comes to the same for each way in which the bytes are cut.
 */
export class FrameTracker {
  /** Whether a Close frame has begun: nothing may be put behind it. */
  sawClose = false
  /** Whether the bytes are no frames: then nobody knows where one ends. */
  isLost = false
  /** Bytes of the header that were read, and bytes of the length that are to come. */
  #read = 0
  #lengthLeft = 0
  #length = 0
  #isControl = false
  #isMasked = false
  /** Bytes of the masking key and the payload that are to come. */
  #left = 0

  /** Whether all that was tracked ends where a frame ends. */
  get isAtBorder(): boolean {
    return this.#read === 0 && this.#left === 0 && !this.isLost
  }

  /** Goes through bytes of the stream. */
  track(chunk: Buffer): void {
    for (let at = 0; at < chunk.length && !this.isLost;) at = this.#step(chunk, at)
  }

  /**
   * Goes through bytes of the stream up to the first place where a frame ends.
   *
   * @returns how many bytes there are before it; -1 when there is no such place
   */
  trackToBorder(chunk: Buffer): number {
    for (let at = 0; at < chunk.length && !this.isLost;) {
      at = this.#step(chunk, at)
      if (this.isAtBorder) return at
    }
    return -1
  }

  /** Goes through one byte of a header, or through as much of a payload as there is. */
  #step(chunk: Buffer, at: number): number {
    if (this.#left > 0) {
      const step = Math.min(this.#left, chunk.length - at)
      this.#left -= step
      return at + step
    }
    const byte = chunk[at]!
    if (this.#read === 0) {
      this.#isControl = (byte & 0x08) !== 0
      if ((byte & 0x0f) === 0x08) this.sawClose = true
      this.#read = 1
    } else if (this.#read === 1) {
      this.#isMasked = (byte & 0x80) !== 0
      this.#length = byte & 0x7f
      this.#read = 2
      if (this.#length > 125) {
        // A control frame has no long form (section 5.5).
        this.isLost = this.#isControl
        this.#lengthLeft = this.#length === 126 ? 2 : 8
        this.#length = 0
      }
    } else {
      this.#length = this.#length * 256 + byte
      this.#lengthLeft--
    }
    if (this.#read === 2 && this.#lengthLeft === 0) {
      this.isLost ||= this.#length > Number.MAX_SAFE_INTEGER
      this.#left = this.#length + (this.#isMasked ? 4 : 0)
      this.#read = 0
    }
    return at + 1
  }
}

/**
 * The payload of a Close frame.
 *
 * @param code - one that may be sent: 1000 to 1014 but for 1004 to 1006, or 3000 to 4999
 * @param reason - at most 123 bytes of UTF-8
 * @throws ConfigError whose `field` is `code` or `reason`
 */
export function farewell(code: number, reason: string): Buffer {
  const isRegistered = code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)
  if (!Number.isInteger(code) || !(isRegistered || (code >= 3000 && code <= 4999))) {
    throw new ConfigError('code', `must be one that may be sent in a Close frame, not ${code}`)
  }
  const text = Buffer.from(reason)
  if (text.length > LONGEST_REASON) {
    throw new ConfigError('reason', `must have at most ${LONGEST_REASON} bytes, not ${text.length}`)
  }
  return Buffer.concat([Buffer.of(code >> 8, code & 0xff), text])
}

/**
 * A Close frame.
 *
 * @param payload - of {@link farewell}
 * @param isMasked - towards servers
 */
export function closeFrame(payload: Buffer, isMasked: boolean): Buffer {
  if (!isMasked) return Buffer.concat([Buffer.of(0x88, payload.length), payload])
  const key = randomBytes(4)
  const masked = payload.map((byte, i) => byte ^ key[i % 4]!)
  return Buffer.concat([Buffer.of(0x88, 0x80 | payload.length), key, masked])
}
