import type { Member } from '@ringway/core'
import { placeKetama } from '../../src/ketama.ts'

/** nginx's ring: points in ascending order, each value once, with the server that has it. */
export interface NginxRing {
  readonly members: readonly Member[]
  readonly points: readonly number[]
  readonly owners: readonly number[]
}

/** Our points without those that another member has, which we keep for later and nginx drops. */
export function nginxRing(members: readonly Member[]): NginxRing {
  const { values, owners, count } = placeKetama(members)
  const kept = Array.from({ length: count }, (_, at) => at).filter(
    at => at === 0 || values[at] !== values[at - 1]
  )
  return { members, points: kept.map(at => values[at]!), owners: kept.map(at => owners[at]!) }
}

/** The index of the first point at or after a hash; beyond the last one the ring begins again. Not the fast way. */
export function firstPoint({ points }: NginxRing, hash: number): number {
  const at = points.findIndex(point => point >= hash)
  return at === -1 ? 0 : at
}
