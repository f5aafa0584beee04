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

/** One set-up of `nginx-hash.json`: the same servers with `hash KEY` and with `ip_hash`. */
export interface HashSetUp extends Pick<SetUp, 'note' | 'servers'> {
  readonly plainHash: readonly Row[]
  readonly ipHash: readonly Row[]
}

/** What a real nginx picked on its ring, by set-up. */
export const setUps = read('nginx-ketama.json') as Readonly<Record<string, SetUp>>

/** What a real nginx picked without a ring, by set-up. */
export const hashSetUps = read('nginx-hash.json') as Readonly<Record<string, HashSetUp>>

function read(name: string): unknown {
  // Tests run in dist/test, where the compiler doesn't copy JSON to.
  return JSON.parse(readFileSync(new URL(`../../../test/fixtures/${name}`, import.meta.url), 'utf8'))
}

/** The servers as members: each text once, with the largest of its weights, in the order of first mention. */
export function membersOf({ servers }: Pick<SetUp, 'servers'>): Member[] {
  const weights = new Map<string, number>()
  for (const { server, weight = 1 } of servers) {
    weights.set(server, Math.max(weight, weights.get(server) ?? 0))
  }
  return [...weights].map(([id, weight]) => ({ id, weight }))
}

/** The texts of the servers that nginx stepped over without a try: down, or with `max_fails` reached. */
export function outOf({ servers, out = [] }: Pick<SetUp, 'servers' | 'out'>): Set<string> {
  return new Set(
    servers.filter((server, index) => server.down === true || out.includes(index)).map(({ server }) => server)
  )
}
