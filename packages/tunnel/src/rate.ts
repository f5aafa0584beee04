import type { FrameTracker } from './frames.ts'

/** How much may come from a client in a second; 0 is no limit. What is too much waits, and nothing is dropped. */
export interface RateLimit {
  /** Bytes in a second, as much at once. Default 0. */
  readonly bytes?: number
  /** WebSocket messages in a second, as many at once; needs `watch`. Default 0. */
  readonly messages?: number
}

/** What is left of a rate: filled evenly with time, up to what a second gives. */
class Bucket {
  readonly #rate: number
  #tokens: number
  #filledAt = performance.now()

  constructor(rate: number) {
    this.#rate = rate
    this.#tokens = rate
  }

  /** Whole ones that may be taken now. */
  get tokens(): number {
    return this.#rate === 0 ? Infinity : Math.floor(this.#tokens)
  }

  take(count: number): void {
    this.#tokens -= count
  }

  fill(now: number): void {
    this.#tokens = Math.min(this.#rate, this.#tokens + (this.#rate * (now - this.#filledAt)) / 1000)
    this.#filledAt = now
  }
}

/** Says how much of what has come may pass now: token buckets for bytes and for messages. */
export class Throttle {
  readonly #bytes: Bucket
  readonly #messages: Bucket
  readonly #frames: FrameTracker | undefined

  /** @param frames - of the same direction; without it messages are not counted */
  constructor({ bytes = 0, messages = 0 }: RateLimit, frames: FrameTracker | undefined) {
    this.#bytes = new Bucket(bytes)
    this.#messages = new Bucket(frames === undefined ? 0 : messages)
    this.#frames = frames
  }

  /** To be called now and then. */
  fill(now: number): void {
    this.#bytes.fill(now)
    this.#messages.fill(now)
  }

  /** Takes as much of a chunk as may pass now, and tracks that. */
  take(chunk: Buffer): Buffer {
    const allowed = chunk.subarray(0, this.#bytes.tokens)
    const taken = this.#frames === undefined ? allowed : this.#whole(allowed, this.#frames)
    this.#bytes.take(taken.length)
    return taken
  }

  /** As many messages as may pass, up to the end of a frame; what isn't limited goes as it is. */
  #whole(chunk: Buffer, frames: FrameTracker): Buffer {
    if (this.#messages.tokens === Infinity) return chunk.subarray(0, Math.max(0, frames.track(chunk)))
    if (this.#messages.tokens <= 0 && frames.isAtBorder) return chunk.subarray(0, 0)
    const before = frames.messages
    let at = 0
    while (at < chunk.length && !frames.isLost && !frames.isTooLarge) {
      const border = frames.trackToBorder(chunk.subarray(at))
      if (border >= 0) at += border
      else if (!frames.isTooLarge) at = chunk.length
      if (frames.messages - before >= this.#messages.tokens) break
    }
    this.#messages.take(frames.messages - before)
    return chunk.subarray(0, at)
  }
}
