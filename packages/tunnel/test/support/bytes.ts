import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'

/** What came over a stream. */
export interface Received {
  bytes: number
  sha256: string
}

export function digest(...parts: Buffer[]): Received {
  const hash = createHash('sha256')
  let bytes = 0
  for (const part of parts) {
    hash.update(part)
    bytes += part.length
  }
  return { bytes, sha256: hash.digest('hex') }
}

/** Reads up to the FIN. Rejects when the stream fails or closes without one. `slowly`: one small piece a turn. */
export async function receive(stream: Readable, slowly = false): Promise<Received> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
    for (let turns = slowly ? chunk.length / 4096 : 0; turns > 0; turns--) await setImmediate()
  }
  return { bytes, sha256: hash.digest('hex') }
}

/** Writes all of it in pieces of random sizes as fast as the stream takes them; then a FIN, unless told not to. */
export async function send(stream: Writable, bytes: Buffer, random: () => number, fin = true): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const size = 1 + Math.floor(random() ** 4 * 200_000)
    const taken = stream.write(bytes.subarray(at, at + size))
    at += size
    if (!taken) await once(stream, 'drain')
  }
  if (fin) stream.end()
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** All ways to cut bytes into two, and once into single ones. */
export function* splits(bytes: Buffer): Generator<Buffer[]> {
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)]
  yield singles(bytes)
}

export function singles(bytes: Buffer): Buffer[] {
  return Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))
}
