import { readFileSync } from 'node:fs'
import type { Member } from '@ringway/core'

/** A key, the servers tried for it as indexes into `servers`, and in two set-ups the address in another form. */
export type Row = [key: string, tried: number[], address?: string]

/** One set-up of `nginx-ketama.json`; README.md beside it says what the fields are. */
export interface SetUp {
  readonly note?: string
  readonly servers: readonly { readonly server: string; readonly weight?: number; readonly down?: boolean }[]
  readonly out?: readonly number[]
  readonly keys?: readonly Row[]
  readonly dead?: Readonly<Record<string, readonly Row[]>>
}

// Tests run in dist/test, where the compiler doesn't copy JSON to.
const file = new URL('../../../test/fixtures/nginx-ketama.json', import.meta.url)

/** What a real nginx picked, by set-up. */
export const setUps: Readonly<Record<string, SetUp>> = JSON.parse(readFileSync(file, 'utf8')) as Record<
  string,
  SetUp
>

/** The servers as members: each text once, with the largest of its weights, in the order of first mention. */
export function membersOf({ servers }: SetUp): Member[] {
  const weights = new Map<string, number>()
  for (const { server, weight = 1 } of servers) {
    weights.set(server, Math.max(weight, weights.get(server) ?? 0))
  }
  return [...weights].map(([id, weight]) => ({ id, weight }))
}

/** The texts of the servers that nginx stepped over without a try: down, or with `max_fails` reached. */
export function outOf({ servers, out = [] }: SetUp): Set<string> {
  return new Set(
    servers.filter((server, index) => server.down === true || out.includes(index)).map(({ server }) => server)
  )
}
