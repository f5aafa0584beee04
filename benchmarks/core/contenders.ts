import { ipHash, jump, ketama, maglev, plainHash, rendezvous, ring } from '@ringway/core'
import type { Member, Strategy } from '@ringway/core'
import ConsistentHash from 'consistent-hash'
import HashRing from 'hashring'

/** Something that says which of a number of servers a key belongs to. */
export interface Contender {
  readonly name: string
  /** Makes its table; what it gives looks a key up. */
  build(servers: readonly string[]): (key: string) => unknown
}

const isUsable = (): boolean => true
const noLoad = (): number => 0

export const STRATEGIES: readonly Strategy[] = [
  ketama(),
  ring(),
  maglev(),
  rendezvous(),
  jump(),
  plainHash(),
  ipHash()
]

export const CONTENDERS: readonly Contender[] = [
  ...STRATEGIES.map(ours),
  { name: 'hashring', build: servers => lookUp(new HashRing(servers)) },
  { name: 'consistent-hash', build: servers => lookUp(consistentHash(servers)) }
]

export function serversOf(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `10.0.${index >> 8}.${index & 255}:8080`)
}

export function membersOf(servers: readonly string[]): Member[] {
  return servers.map(id => ({ id, weight: 1 }))
}

function ours(strategy: Strategy): Contender {
  return {
    name: strategy.name,
    build(servers) {
      const table = strategy.build(membersOf(servers))
      return key => table.pick(key, isUsable, noLoad)
    }
  }
}

function lookUp(table: { get(key: string): string }): (key: string) => string {
  return key => table.get(key)
}

function consistentHash(servers: readonly string[]): ConsistentHash {
  const table = new ConsistentHash()
  for (const server of servers) table.add(server)
  table.get('') // it sorts when it is first asked
  return table
}
