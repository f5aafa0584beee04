import { assertText } from './text.ts'
import { MODULE } from './xxh64-module.ts'

/** 64 bits, as two unsigned 32-bit integers. */
export interface Hash64 {
  /** The upper 32 bits. */
  readonly high: number
  /** The lower 32 bits. */
  readonly low: number
}

/** What is used of WebAssembly, whose types come with those of browsers only. */
declare const WebAssembly: {
  readonly Module: new (binary: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: unknown }
}

/** What xxh64.wat exports. Integers are signed. */
interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number }
  readonly hash: (length: number, seed: number) => number
  readonly low: () => number
  readonly remainder: (divisor: number) => number
  readonly jump: (high: number, low: number, buckets: number) => number
}

const binary = Uint8Array.from(atob(MODULE), char => char.charCodeAt(0))
const { memory, hash, low, remainder, jump } = new WebAssembly.Instance(new WebAssembly.Module(binary))
  .exports as Exports

const encoder = new TextEncoder()
/** The module's memory, where it finds the text. */
let bytes = new Uint8Array(memory.buffer)

/**
 * XXH64 of a text's UTF-8 bytes. A surrogate without its partner counts as U+FFFD, as it does wherever text is
 * encoded.
 *
 * Source: the xxHash specification by Yann Collet,
 * https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md. It is done by WebAssembly, which has 64-bit integers;
 * JavaScript would have to put them together from 32-bit ones, or to use BigInt, which is far slower still.
 *
 * The memory for the longest text so far is kept: three bytes a character, beyond 64 KiB.
 *
 * @param text - any text
 * @param seed - an unsigned 32-bit integer. Default: 0
 * @throws RingwayError `ERR_RINGWAY_KEY` for what is no text
 */
export function xxh64(text: string, seed = 0): Hash64 {
  return { high: hash(write(text), seed) >>> 0, low: low() >>> 0 }
}

/** The upper half of a text's XXH64. */
export function xxh64High(text: string): number {
  return hash(write(text), 0) >>> 0
}

/** A text's XXH64 modulo a positive 31-bit integer. */
export function xxh64Modulo(text: string, divisor: number, seed = 0): number {
  hash(write(text), seed)
  return remainder(divisor)
}

/** The bucket, from 0, that a 64-bit key has among a number of buckets by jump consistent hashing. */
export function jumpHash(key: Hash64, buckets: number): number {
  return jump(key.high, key.low, buckets)
}

/** Writes the text's UTF-8 to the memory; gives the number of bytes. */
function write(text: string): number {
  assertText(text)
  const { length } = text
  if (length * 3 > bytes.length) grow(length * 3)
  const into = bytes
  for (let index = 0; index < length; index++) {
    const unit = text.charCodeAt(index)
    if (unit > 0x7f) return encoder.encodeInto(text, into).written
    into[index] = unit
  }
  return length
}

function grow(length: number): void {
  memory.grow(Math.ceil((length - bytes.length) / 0x1_0000))
  bytes = new Uint8Array(memory.buffer) // the old view has lost its buffer
}
