import { readFileSync } from 'node:fs'

interface MaglevRow {
  readonly names: readonly string[]
  readonly weights?: readonly number[]
  readonly M: number
}

/** `hashes.json`; each block names its source. Hash values are hexadecimal. */
interface ReferenceHashes {
  readonly crc32: { readonly rows: readonly (readonly [text: string, crc32: string])[] }
  readonly xxhash: {
    readonly rows: readonly (readonly [
      text: string,
      xxh32: string,
      seed0: string,
      seed1: string,
      xxh3: string
    ])[]
  }
  readonly murmur3: {
    readonly rows: readonly (readonly [text: string, seed0: string, seed1: string, x64: string])[]
  }
  readonly jump: {
    /** The buckets of a key among 1, 2, 3, … */
    readonly published: readonly (readonly [key: string, buckets: readonly number[]])[]
    /** The buckets of a key among 2, 3, 5, 10, 100, 1000 and 65536. */
    readonly rows: readonly (readonly [key: string, buckets: readonly number[]])[]
  }
  readonly maglev: {
    readonly published: readonly (MaglevRow & { readonly table: readonly number[] })[]
    readonly rows: readonly (MaglevRow & {
      readonly 'set-up': string
      readonly 'entries per name': readonly number[]
      readonly 'first 40': readonly number[]
      readonly 'sha256 of the table as bytes': string
    })[]
  }
}

// Tests run in dist/test, where the compiler doesn't copy JSON to.
const file = new URL('../../../test/fixtures/hashes.json', import.meta.url)

/** Reference values of hashes. */
export const reference = JSON.parse(readFileSync(file, 'utf8')) as ReferenceHashes
