import { readFileSync } from 'node:fs'
import wabt from 'wabt'

// Tests run in dist/test, where the compiler doesn't copy other files to.
const sources = new URL('../../../src/', import.meta.url)

/** Where the module's source of TypeScript is. */
export const target: URL = new URL('xxh64-module.ts', sources)

/** The source of TypeScript that `xxh64.wat` comes to. */
export async function assemble(): Promise<string> {
  const assembler = await wabt()
  const { buffer } = assembler
    .parseWat('xxh64.wat', readFileSync(new URL('xxh64.wat', sources), 'utf8'))
    .toBinary({})
  const lines = Buffer.from(buffer)
    .toString('base64')
    .match(/.{1,100}/g)!
  return `/** What wabt makes of xxh64.wat, in base64. \`pnpm --filter @ringway/core wasm\` writes this file. */
export const MODULE: string =
${lines.map(line => `  '${line}'`).join(' +\n')}
`
}
