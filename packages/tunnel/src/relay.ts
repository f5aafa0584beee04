import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { closeFrame, FrameTracker } from './frames.ts'
import { keepLent, lend, shareReads, unshareReads } from './shared-read.ts'

const NOTHING: Buffer = Buffer.alloc(0)

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
  readonly #onEnd: () => void
  readonly #frames: FrameTracker | undefined
  readonly #isMasked: boolean
  /** What is said at the next frame border, and what follows then. */
  #parting: { readonly farewell: Buffer; readonly done: () => void } | undefined
  readonly #isShared: boolean
  #stopped = false
  #seenBytes = 0
  #seenWaiting = 0
  #seenTaken = 0
  /** When something last came through, and when the destination was last seen to take what there was. */
  movedAt: number = performance.now()
  takenAt: number = this.movedAt

  /**
   * @param from - the source; its flow starts with {@link start}
   * @param to - the destination; never ended here
   * @param onEnd - called once, when the source has ended
   * @param watched - whose frames they are, when they are followed
   * @param isShared - whether the reads of both are shared; both can be
   */
  constructor(
    from: Duplex,
    to: Duplex,
    onEnd: () => void,
    watched: 'client' | 'backend' | undefined,
    isShared: boolean
  ) {
    this.#from = from
    this.#to = to
    this.#onEnd = onEnd
    this.#frames = watched && new FrameTracker()
    this.#isMasked = watched === 'client'
    this.#isShared = isShared
  }

  /** @param head - bytes of the source that were read before the splice, written first */
  start(head: Buffer): void {
    const from = this.#from.on('end', this.#end)
    if (head.length > 0) this.#read(head)
    this.#to.on('drain', this.#drained)
    if (this.#isShared) {
      const held = readAll(from)
      if (held.length > 0) this.#read(held)
      shareReads(from as Socket, this.#readShared)
    } else from.on('data', this.#read)
    if (from.readableEnded) this.#end()
    else if (this.waiting > 0 && this.#to.writableNeedDrain) from.pause()
    else from.resume()
  }

  /** Bytes that wait because the destination takes none. */
  get waiting(): number {
    return this.#to.writableLength
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
    if (bytes !== this.#seenBytes || waiting !== this.#seenWaiting) this.movedAt = now
    // More that comes in doesn't count here: a trickle behind a stopped reader is no progress.
    if (taken !== this.#seenTaken || waiting === 0) this.takenAt = now
    this.#seenBytes = bytes
    this.#seenWaiting = waiting
    this.#seenTaken = taken
  }

  /**
   * Puts a Close frame of ours where the next frame of the source ends, and lets nothing more pass. Where that can't be
   * (nobody follows the frames, the source's own Close has passed, the destination is closing) it is left out.
   *
   * @param farewell - its payload
   * @param done - called when it is put, or left out
   */
  part(farewell: Buffer, done: () => void): void {
    const frames = this.#frames
    if (this.#parting !== undefined) return
    if (frames === undefined || frames.isLost || !this.#to.writable) done()
    else if (frames.isAtBorder) {
      this.say(farewell)
      done()
    } else this.#parting = { farewell, done }
  }

  /** Puts a Close frame of ours right here, or not at all; gives whether it did. */
  say(farewell: Buffer): boolean {
    const frames = this.#frames
    if (frames?.isAtBorder !== true || frames.sawClose || !this.#to.writable) return false
    this.#to.write(closeFrame(farewell, this.#isMasked))
    return true
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
    if (this.#isShared && !this.#from.destroyed) unshareReads(this.#from as Socket)
  }

  readonly #readShared = (bytes: Buffer): boolean => {
    const isFree = this.waiting === 0
    this.#read(isFree ? lend(bytes) : Buffer.from(bytes))
    // Called back when all before it is with the kernel, or the side is gone.
    if (isFree && this.waiting > 0 && this.#to.writable) this.#to.write(NOTHING, keepLent())
    return true
  }

  readonly #read = (chunk: Buffer): void => {
    if (!this.#to.writable) return // closing, or gone: the source is only read to see its end
    if (this.#parting !== undefined) return this.#readLast(chunk, this.#parting)
    this.#frames?.track(chunk)
    this.#pass(chunk)
  }

  #pass(chunk: Buffer): void {
    this.bytes += chunk.length
    // What the kernel took at once may be more than a stream would hold, and is no reason to wait.
    if (!this.#to.write(chunk) && this.waiting > 0) this.#from.pause()
  }

  /** The frame that is half through passes, then ours. */
  #readLast(chunk: Buffer, { farewell, done }: { farewell: Buffer; done: () => void }): void {
    const frames = this.#frames!
    const border = frames.trackToBorder(chunk)
    const last = border < 0 ? chunk : chunk.subarray(0, border)
    this.#pass(last)
    if (border < 0 && !frames.isLost) return
    this.#parting = undefined
    this.say(farewell)
    done()
  }

  readonly #drained = (): void => {
    if (!this.#stopped) this.#from.resume()
  }

  readonly #end = (): void => {
    if (this.ended) return
    this.ended = true
    this.#onEnd()
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
