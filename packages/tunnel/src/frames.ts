import { randomBytes } from 'node:crypto'
import { ConfigError } from '@ringway/core/errors'
import { isCloseCode } from '@ringway/core/fields'

/** The opcode of a Close frame, the lowest of the control frames. */
const CLOSE = 0x8
const PING = 0x9

/** The longest reason of a Close frame, in bytes: 125 less the code (RFC 6455 section 5.5). */
const LONGEST_REASON = 123

/** So many payload bytes of a Close frame are its code. */
const CODE_LENGTH = 2

/**
 * Knows where the frames of one direction end, by reading their headers only (RFC 6455 section 5.2), and the code of a Close
 * frame. It looks at no other payload, changes nothing and allocates nothing, and comes to the same for each way in which the
 * bytes are cut.
 */
export class FrameTracker {
  /** Whether a Close frame has begun: nothing may be put behind it. */
  sawClose = false
  /** Its code; undefined while it hasn't come, or when there is none in it. */
  closeCode: number | undefined
  /** Messages that have begun: fragments and control frames don't count. */
  messages = 0
  /** Whether the bytes are no frames: then nobody knows where one ends. */
  isLost = false
  /** Whether a message is larger than it may be: from that frame on nothing should pass. */
  isTooLarge = false
  readonly #maxMessage: number
  /** Payload bytes of the message under way, by its frames' headers. */
  #message = 0
  /** Bytes of the header that were read, and bytes of the length that are to come. */
  #read = 0
  #lengthLeft = 0
  #length = 0
  #opcode = 0
  #isMasked = false
  /** Bytes of the masking key and the payload that are to come. */
  #left = 0
  /** Of a Close frame: its masking key and code as they come, as one number, and how many bytes of them. */
  #taken = 0
  #takenBytes = 0

  /** @param maxMessage - bytes of payload that a message may have, all of its fragments together. Default 0: no limit */
  constructor(maxMessage = 0) {
    this.#maxMessage = maxMessage
  }

  /** Whether all that was tracked ends where a frame ends. */
  get isAtBorder(): boolean {
    return this.#read === 0 && this.#left === 0 && !this.isLost
  }

  /**
   * Goes through bytes of the stream.
   *
   * @returns how many of them may pass: all, or those before the frame that makes a message too large; -1 when its header
   * has begun before
   */
  track(chunk: Buffer): number {
    let border = -1
    for (let at = 0; at < chunk.length && !this.isLost;) {
      if (this.isAtBorder) border = at
      at = this.#step(chunk, at)
      if (this.isTooLarge) return this.#giveUp(border)
    }
    return chunk.length
  }

  /**
   * Goes through bytes of the stream up to the first place where a frame ends.
   *
   * @returns how many bytes there are before it; -1 when there is no such place
   */
  trackToBorder(chunk: Buffer): number {
    const border = this.isAtBorder ? 0 : -1
    for (let at = 0; at < chunk.length && !this.isLost;) {
      at = this.#step(chunk, at)
      if (this.isTooLarge) return this.#giveUp(border)
      if (this.isAtBorder) return at
    }
    return -1
  }

  /** Nothing passes from the frame on that is too large: what has passed ends before it, or in the middle of its header. */
  #giveUp(border: number): number {
    this.#left = 0
    this.isLost = border < 0
    return border
  }

  /** Goes through one byte of a header, or through as much of a payload as there is. */
  #step(chunk: Buffer, at: number): number {
    if (this.#left > 0) {
      const step = Math.min(this.#left, chunk.length - at)
      if (this.#opcode === CLOSE) this.#takeCode(chunk, at, step)
      this.#left -= step
      return at + step
    }
    const byte = chunk[at]!
    if (this.#read === 0) {
      this.#opcode = byte & 0x0f
      if (this.#opcode === CLOSE) this.sawClose = true
      this.#read = 1
    } else if (this.#read === 1) {
      this.#isMasked = (byte & 0x80) !== 0
      this.#length = byte & 0x7f
      this.#read = 2
      if (this.#length > 125) {
        // A control frame has no long form (section 5.5).
        this.isLost = this.#opcode >= CLOSE
        this.#lengthLeft = this.#length === 126 ? 2 : 8
        this.#length = 0
      }
    } else {
      this.#length = this.#length * 256 + byte
      this.#lengthLeft--
    }
    if (this.#read === 2 && this.#lengthLeft === 0) this.#beginPayload()
    return at + 1
  }

  #beginPayload(): void {
    this.isLost ||= this.#length > Number.MAX_SAFE_INTEGER
    this.#left = this.#length + (this.#isMasked ? 4 : 0)
    this.#read = 0
    this.#taken = 0
    this.#takenBytes = 0
    if (this.#opcode >= CLOSE) return
    if (this.#opcode > 0) {
      this.messages++
      this.#message = 0
    }
    this.#message += this.#length
    this.isTooLarge = this.#maxMessage > 0 && this.#message > this.#maxMessage
  }

  #takeCode(chunk: Buffer, at: number, bytes: number): void {
    const wanted = CODE_LENGTH + (this.#isMasked ? 4 : 0)
    for (let i = at; i < at + bytes && this.#takenBytes < wanted; i++) {
      this.#taken = this.#taken * 256 + chunk[i]!
      if (++this.#takenBytes < wanted) continue
      // The first two bytes of the key hide the code.
      const key = this.#isMasked ? Math.floor(this.#taken / 2 ** 32) : 0
      this.closeCode ??= (this.#taken & 0xffff) ^ key
    }
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
  if (!isCloseCode(code)) {
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
  return controlFrame(CLOSE, payload, isMasked)
}

/**
 * A Ping frame without payload.
 *
 * @param isMasked - towards servers
 */
export function pingFrame(isMasked: boolean): Buffer {
  return controlFrame(PING, Buffer.alloc(0), isMasked)
}

function controlFrame(opcode: number, payload: Buffer, isMasked: boolean): Buffer {
  if (!isMasked) return Buffer.concat([Buffer.of(0x80 | opcode, payload.length), payload])
  const key = randomBytes(4)
  const masked = payload.map((byte, i) => byte ^ key[i % 4]!)
  return Buffer.concat([Buffer.of(0x80 | opcode, 0x80 | payload.length), key, masked])
}
