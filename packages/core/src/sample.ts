import { fmix32 } from './mix.ts'

/**
 * IPv4 addresses all over the address space, each once and always the same ones, as keys to try a table with: they are
 * what clients have, and every keyed strategy takes them.
 *
 * @param count - how many, up to 2³²
 * @param seed - how far on to begin. Default: 0
 */
export function* sampleAddresses(count: number, seed = 0): Generator<string, void> {
  for (let index = 0; index < count; index++) {
    // fmix32 is one to one, so no address comes twice.
    const bits = fmix32((index + seed + 1) | 0)
    yield `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}`
  }
}
