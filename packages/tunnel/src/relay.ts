import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { closeFrame, FrameTracker, pingFrame } from './frames.ts'
import { Throttle } from './rate.ts'
import type { RateLimit } from './rate.ts'
import { keepLent, lend, shareReads, unshareReads } from './shared-read.ts'

const NOTHING: Buffer = Buffer.alloc(0)

/** What a relay does besides passing bytes on. */
export interface RelayOptions {
  /** Whose frames they are, when they are followed. */
  readonly watched: 'client' | 'backend' | undefined
  /** Whether the reads of both sides are shared; both can be. */
  readonly isShared: boolean
  /** Bytes that a message may have; 0, the default, is no limit. Where nobody follows the frames there is none. */
  readonly maxMessage?: number
  /** How much may come in a second. Default: no limit. */
  readonly rate?: RateLimit | undefined
  /** Called once, when the source has ended and all it said is passed on. */
  readonly onEnd: () => void
  /** Called once, when a message is too large: nothing of that frame has passed but what came before its length. */
  readonly onTooLarge?: () => void
  /** Called when the source's Close frame comes, after {@link Relay.part}. */
  readonly onAnswer?: () => void
}

/**
 * One direction of a splice: what comes from one side is written to the other, and reading stops while the other takes no
 * more. Between plain sockets all reads share one buffer. Holds at most what the two streams' own buffers hold, and one read.
 */
export class Relay {
  /** Bytes taken from the source so far. */
  bytes = 0
  /** Whether the source has said its last (FIN). */
  ended = false
  readonly #from: Duplex
  readonly #to: Duplex
  readonly #options: RelayOptions
  readonly #frames: FrameTracker | undefined
  readonly #throttle: Throttle | undefined
  /** What was read and may not pass yet: then the source is paused. At most one read. */
  #held: Buffer = NOTHING
  /** Whether a Ping of ours waits for the end of a frame. */
  #pings = false
  /** What is said at the next frame border, and what follows then. */
  #parting: { readonly farewell: Buffer; readonly done: (isSaid: boolean) => void } | undefined
  /** Whether nothing may pass any more. */
  #parted = false
  #stopped = false
  #seenBytes = 0
  #seenWaiting = 0
  #seenTaken = 0
  /** When something last came through, and when the destination was last seen to take what there was. */
  movedAt: number = performance.now()
  takenAt: number = this.movedAt
  /** When the source was last heard of. */
  heardAt: number = this.movedAt
  /** When a Ping of ours was last put, to the destination. */
  pingedAt: number = -Infinity
  /** When a Close frame of the source passed first. */
  closedAt: number = Infinity

  /**
   * @param from - the source; its flow starts with {@link start}
   * @param to - the destination; never ended here
   */
  constructor(from: Duplex, to: Duplex, options: RelayOptions) {
    this.#from = from
    this.#to = to
    this.#options = options
    this.#frames = options.watched && new FrameTracker(options.maxMessage)
    this.#throttle = options.rate && new Throttle(options.rate, this.#frames)
  }

  /** @param head - bytes of the source that were read before the splice, written first */
  start(head: Buffer): void {
    const from = this.#from.on('end', this.#end)
    if (head.length > 0) this.#read(head)
    this.#to.on('drain', this.#drained)
    if (this.#options.isShared) {
      const read = readAll(from)
      if (read.length > 0) this.#read(read)
      shareReads(from as Socket, this.#readShared)
    } else from.on('data', this.#read)
    if (from.readableEnded) this.#end()
    else if (this.#isStopped) from.pause()
    else from.resume()
  }

  /** Bytes that wait because the destination takes none. */
  get waiting(): number {
    return this.#to.writableLength
  }

  /** All bytes of the source that were read and aren't with the kernel yet, ours among them. */
  get underWay(): number {
    return this.#from.readableLength + this.#held.length + this.waiting
  }

  /** What was read and not passed on, as more would have come than may. */
  get held(): Buffer {
    return this.#held
  }

  /** The code of the source's Close frame; undefined while there is none, or without one. */
  get closeCode(): number | undefined {
    return this.#frames?.closeCode
  }

  /** Whether no more may be read now. */
  get #isStopped(): boolean {
    return this.#held.length > 0 || (this.waiting > 0 && this.#to.writableNeedDrain)
  }

  /**
   * Notes what has changed since the last call: so a message costs no look at a clock, and a time noted is never
   * before the change itself.
   *
   * @param now - milliseconds of `performance.now()`
   */
  sweep(now: number): void {
    const { bytes, waiting } = this
    const taken = bytes - waiting
    if (bytes !== this.#seenBytes) this.heardAt = now
    // What we hold back isn't idle.
    if (bytes !== this.#seenBytes || waiting !== this.#seenWaiting || this.#held.length > 0)
      this.movedAt = now
    // More that comes in doesn't count here: a trickle behind a stopped reader is no progress.
    if (taken !== this.#seenTaken || waiting === 0) this.takenAt = now
    this.#seenBytes = bytes
    this.#seenWaiting = waiting
    this.#seenTaken = taken
    this.#throttle?.fill(now)
    if (this.#held.length > 0) this.#passHeld()
  }

  /**
   * Puts a Close frame of ours where the next frame of the source ends, and lets nothing more pass. Where that can't be
   * (nobody follows the frames, the source's own Close has passed, the destination is closing) it is left out.
   *
   * @param farewell - its payload
   * @param done - called once when it is put, or left out
   */
  part(farewell: Buffer, done: (isSaid: boolean) => void): void {
    const frames = this.#frames
    if (this.#parting !== undefined || this.#parted) return
    this.#parting = { farewell, done }
    const isOver = this.ended && this.#held.length === 0
    if (frames === undefined || frames.isLost || frames.isAtBorder || isOver || !this.#to.writable)
      this.#depart()
  }

  #depart(): void {
    const { farewell, done } = this.#parting!
    this.#parting = undefined
    const isSaid = this.say(farewell)
    this.#parted = true
    done(isSaid)
  }

  /** Whether a Close frame of the source may come yet. */
  get mayClose(): boolean {
    const frames = this.#frames
    return frames !== undefined && !frames.isLost && !frames.isTooLarge && !frames.sawClose && !this.ended
  }

  /** Puts a Close frame of ours right here, or not at all; gives whether it did. */
  say(farewell: Buffer): boolean {
    const frames = this.#frames
    if (this.#parted || frames?.isAtBorder !== true || frames.sawClose || !this.#to.writable) return false
    this.#to.write(closeFrame(farewell, this.#isMasked))
    return true
  }

  /** Puts a Ping frame of ours where a frame of the source ends: now, or with what comes next. */
  ping(): void {
    const frames = this.#frames
    if (this.#parted || frames === undefined || frames.isLost || frames.sawClose || !this.#to.writable) return
    this.#pings = !frames.isAtBorder
    if (this.#pings) return
    this.#to.write(pingFrame(this.#isMasked))
    this.pingedAt = performance.now()
  }

  /** Reads the source to its end and drops what comes: what is left to do when the destination takes no more. */
  drain(): void {
    this.#from.resume()
  }

  /** Takes nothing more from the source. Bytes already written stay with the destination. */
  stop(): void {
    this.#stopped = true
    this.#from.off('data', this.#read).off('end', this.#end).pause()
    this.#to.off('drain', this.#drained)
    if (this.#options.isShared && !this.#from.destroyed) unshareReads(this.#from as Socket)
  }

  get #isMasked(): boolean {
    return this.#options.watched === 'client'
  }

  readonly #readShared = (bytes: Buffer): boolean => {
    const isFree = this.waiting === 0
    this.#read(isFree ? lend(bytes) : Buffer.from(bytes))
    if (!isFree || this.waiting === 0) return true
    const giveBack = keepLent()
    // Called back when all before it is with the kernel, or the side is gone. Behind a FIN, as when a frame was the last one,
    // nobody calls: then the garbage collector takes it.
    if (this.#to.writable) this.#to.write(NOTHING, giveBack)
    return true
  }

  readonly #read = (chunk: Buffer): void => {
    // Closing, or gone, or not to be passed on: the source is only read to see its end, and its answer to a Close.
    if (this.#parted || !this.#to.writable || this.#frames?.isTooLarge === true) {
      if (!this.mayClose) return
      this.#frames!.track(chunk)
      if (this.#frames!.sawClose) this.#options.onAnswer?.()
      return
    }
    if (this.#parting !== undefined) return this.#readLast(chunk)
    if (this.#throttle !== undefined) return this.#readThrottled(chunk, this.#throttle)
    if (this.#frames === undefined) return this.#pass(chunk)
    if (this.#pings) return this.#readAroundPing(chunk, this.#frames)
    const fit = this.#frames.track(chunk)
    if (fit === chunk.length) return this.#pass(chunk)
    if (fit > 0) this.#pass(chunk.subarray(0, fit))
    this.#options.onTooLarge?.()
  }

  /** What may pass does; the rest is held, and nothing more is read. */
  #readThrottled(chunk: Buffer, throttle: Throttle): void {
    const taken = throttle.take(chunk)
    if (taken.length > 0) this.#pass(taken)
    if (this.#pings) this.ping()
    if (this.#frames?.isTooLarge === true) return this.#options.onTooLarge?.()
    if (taken.length === chunk.length) return
    this.#held = Buffer.from(chunk.subarray(taken.length))
    this.#from.pause()
  }

  #passHeld(): void {
    const held = this.#held
    this.#held = NOTHING
    this.#read(held)
    if (this.#held.length > 0 || this.#stopped) return
    if (this.ended) this.#finish()
    else if (!this.#isStopped) this.#from.resume()
  }

  /** A Ping stands where the frame under way ends. */
  #readAroundPing(chunk: Buffer, frames: FrameTracker): void {
    const border = frames.trackToBorder(chunk)
    if (frames.isTooLarge) return this.#options.onTooLarge?.()
    if (border < 0) return this.#pass(chunk)
    this.#pass(chunk.subarray(0, border))
    this.ping()
    if (border < chunk.length) this.#read(chunk.subarray(border))
  }

  #pass(chunk: Buffer): void {
    this.bytes += chunk.length
    if (this.#frames?.sawClose === true && this.closedAt === Infinity) this.closedAt = performance.now()
    // What the kernel took at once may be more than a stream would hold, and is no reason to wait.
    if (!this.#to.write(chunk) && this.waiting > 0) this.#from.pause()
  }

  /** The frame that is half through passes, then ours. */
  #readLast(chunk: Buffer): void {
    const frames = this.#frames!
    const border = frames.trackToBorder(chunk)
    if (!frames.isTooLarge) this.#pass(border < 0 ? chunk : chunk.subarray(0, border))
    if (border < 0 && !frames.isLost && !frames.isTooLarge) return
    this.#depart()
    if (border >= 0 && border < chunk.length) this.#read(chunk.subarray(border))
  }

  readonly #drained = (): void => {
    if (!this.#stopped && this.#held.length === 0) this.#from.resume()
  }

  readonly #end = (): void => {
    if (this.ended) return
    this.ended = true
    if (this.#held.length === 0) this.#finish()
  }

  #finish(): void {
    // The frame after which ours should stand was cut short.
    if (this.#parting !== undefined) this.#depart()
    this.#options.onEnd()
  }
}

/** What a stream holds. */
export function readAll(stream: Duplex): Buffer {
  const chunks: Buffer[] = []
  for (let chunk = stream.read() as Buffer | null; chunk !== null; chunk = stream.read() as Buffer | null) {
    chunks.push(chunk)
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
}
