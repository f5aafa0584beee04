import * as fc from 'fast-check'
import type { Arbitrary } from 'fast-check'

/** How often each property is tried, and from which seed: a failure prints it, and `SEED` takes it. */
const RUNS = {
  numRuns: 100_000,
  ...(process.env.SEED === undefined ? {} : { seed: Number(process.env.SEED) })
}

/** Tries a property with 100,000 inputs. */
export function always<Input>(inputs: Arbitrary<Input>, holds: (input: Input) => void): void {
  fc.assert(fc.property(inputs, holds), RUNS)
}

/** The same of one that takes its time. */
export async function alwaysAsync<Input>(
  inputs: Arbitrary<Input>,
  holds: (input: Input) => Promise<void>
): Promise<void> {
  await fc.assert(fc.asyncProperty(inputs, holds), RUNS)
}

/** Where to cut bytes, whatever their number; a place that comes twice makes an empty piece. */
export const anyCuts: Arbitrary<number[]> = fc.array(fc.nat(0xffff), { maxLength: 8 })

/** The same bytes in pieces. */
export function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = cuts.map(each => each % (bytes.length + 1)).sort((a, b) => a - b)
  return [0, ...places].map((from, i) => bytes.subarray(from, places[i] ?? bytes.length))
}

/** Text of some words in any order, a character of which may be another. */
export function anyText(words: readonly string[], maxWords: number): Arbitrary<string> {
  const text = fc.array(fc.constantFrom(...words), { maxLength: maxWords }).map(all => all.join(''))
  return fc.tuple(text, spoil).map(([all, { at, by }]) => {
    if (by === undefined || all === '') return all
    const place = at % all.length
    return all.slice(0, place) + String.fromCharCode(by) + all.slice(place + 1)
  })
}

const spoil = fc.record({
  at: fc.nat(0xffff),
  by: fc.option(fc.nat(255), { freq: 2, nil: undefined })
})
