import { createCipheriv } from 'node:crypto'
import { once } from 'node:events'
import type { Writable } from 'node:stream'

const MIB = 1 << 20

/** Where the form of a length changes, and payloads around there (RFC 6455 section 5.2). */
const EDGES = [0, 1, 125, 126, 127, 65_535, 65_536, 65_537]

/** What one peer sends. */
export interface FrameStream {
  readonly bytes: Buffer
  /** Where a frame ends, as offsets in the bytes; 0 is one too. */
  readonly borders: ReadonlySet<number>
}

/** Bytes that look like chance and are the same for the same number. */
export function noise(random: () => number, length: number): Buffer {
  const key = Buffer.from(Array.from({ length: 16 }, () => Math.floor(random() * 256)))
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length))
}

/**
 * Frames as a strict peer sends them: messages of all sizes in any fragments, empty ones too, with any RSV bits, which an
 * extension may have given a meaning, and control frames in between. A masked payload of chance is a payload of chance.
 *
 * @param largest - bytes of the one message that is larger than all others
 */
export function frameStream(random: () => number, isMasked: boolean, largest: number): FrameStream {
  const any = (end: number): number => Math.floor(random() * end)
  const parts: Buffer[] = []
  const borders = new Set([0])
  let length = 0
  const frame = (first: number, size: number): void => {
    const head = header(first, size, isMasked)
    parts.push(head, noise(random, size + (isMasked ? 4 : 0)))
    length += head.length + size + (isMasked ? 4 : 0)
    borders.add(length)
  }
  const controls = (): void => {
    // A Ping or a Pong.
    while (random() < 0.3) frame(0x80 | (9 + any(2)), any(126))
  }
  const sizes = [...EDGES, ...Array.from({ length: 24 }, () => Math.floor(random() ** 6 * MIB)), largest]
  for (let at = sizes.length - 1; at > 0; at--) {
    const other = any(at + 1)
    ;[sizes[at], sizes[other]] = [sizes[other]!, sizes[at]!]
  }
  for (const size of sizes) {
    controls()
    const opcode = 1 + any(2)
    const rsv = random() < 0.5 ? 0 : any(8) << 4
    const cuts = Array.from({ length: random() < 0.5 ? 0 : any(6) }, () => any(size + 1))
    const ends = [...cuts.sort((a, b) => a - b), size]
    for (const [i, end] of ends.entries()) {
      if (i > 0) controls()
      const fin = i === ends.length - 1 ? 0x80 : 0
      frame(fin | rsv | (i === 0 ? opcode : 0), end - (ends[i - 1] ?? 0))
    }
  }
  return { bytes: Buffer.concat(parts), borders }
}

function header(first: number, size: number, isMasked: boolean): Buffer {
  const mask = isMasked ? 0x80 : 0
  if (size < 126) return Buffer.of(first, mask | size)
  if (size < 65_536) return Buffer.of(first, mask | 126, size >> 8, size & 0xff)
  const head = Buffer.alloc(10)
  head[0] = first
  head[1] = mask | 127
  head.writeBigUInt64BE(BigInt(size), 2)
  return head
}

/** Writes all in pieces: some single bytes and the like, then some large ones, as fast as the stream takes them. */
export async function sendPieces(stream: Writable, bytes: Buffer, random: () => number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const most = random() < 0.3 ? 20 : 400_000
    for (let left = 1 + Math.floor(random() * 8); left > 0 && at < bytes.length; left--) {
      const size = 1 + Math.floor(random() * most)
      const isTaken = stream.write(bytes.subarray(at, at + size))
      at += size
      if (!isTaken) await once(stream, 'drain')
    }
  }
}
