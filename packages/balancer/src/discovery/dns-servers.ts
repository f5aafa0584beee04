import { isIP } from 'node:net'

import type { SrvData } from 'dns-packet'

import type { ServerTls } from '../options.ts'
import type { DiscoveredServer } from './discovery.ts'
import { lookUp } from './dns-records.ts'
import type { Asking, Records } from './dns-records.ts'

/** Servers that a name's records make, and for how many seconds they hold. Rejects when there are none. */
export type Find = (
  asking: Asking,
  signal: AbortSignal
) => Promise<{ servers: readonly DiscoveredServer[]; ttl: number }>

/** What the weight of a server may be. */
const MOST_WEIGHT = 10_000

const TYPES = { 4: 'A', 6: 'AAAA' } as const

/** Each address of the host is a server. */
export function byAddress(host: string, port: number, family: 0 | 4 | 6, tls: ServerTls | undefined): Find {
  const types = ([4, 6] as const).filter(each => family === 0 || family === each).map(each => TYPES[each])
  // An address is where the server is found; what its certificate names is the host.
  const named = tls === undefined ? false : { servername: host, ...tls }
  return async (asking, signal) => {
    const looked = types.map(type => lookUp(host, type, asking, signal))
    // Waits for both, so that neither is under way any more when one has failed.
    const settled = await Promise.allSettled(looked)
    const found = settled.flatMap(each => (each.status === 'fulfilled' ? [each.value] : []))
    const failure = settled.find(each => each.status === 'rejected')
    if (failure !== undefined) throw partly(failure.reason as Error, found)
    // Resolvers turn the records round, and that is no change of the list.
    const addresses = [...new Set(found.flatMap(({ data }) => data))].sort()
    if (addresses.length === 0) {
      throw new Error(`${host} has no ${types.join(' or ')} record`)
    }
    return {
      servers: addresses.map(address => ({ host: address, port, tls: named })),
      ttl: Math.min(...found.map(({ ttl }) => ttl))
    }
  }
}

/** Half of the addresses would be taken for a change of the list; but some resolvers never tell the other half. */
function partly(failure: Error, found: readonly Records<string>[]): Error {
  const address = found.flatMap(({ data }) => data)[0]
  if (address === undefined) return failure
  const family = isIP(address)
  return new Error(`${failure.message}; family: ${family} would do with the IPv${family} addresses`, {
    cause: failure
  })
}

/** Each SRV record is a server. */
export function bySrv(name: string, tls: ServerTls | undefined): Find {
  return async (asking, signal) => {
    const { data, ttl } = await lookUp(name, 'SRV', asking, signal)
    // The root as target says that there is no such service (RFC 2782).
    const records = byPriority(data.filter(({ target }) => target !== '.' && target !== ''))
    const [first] = records
    if (first === undefined) throw new Error(`${name} has no SRV record with a target`)
    const scale = Math.min(1, MOST_WEIGHT / Math.max(...records.map(weightOf)))
    const servers = records.map(record => ({
      host: record.target,
      port: record.port,
      weight: Math.max(1, Math.round(weightOf(record) * scale)),
      backup: priorityOf(record) > priorityOf(first),
      tls: tls ?? false
    }))
    return { servers, ttl }
  }
}

/** In an order that is theirs, not the resolver's. Of records with the same target and port the first one counts. */
function byPriority(records: readonly SrvData[]): SrvData[] {
  const kept = new Map<string, SrvData>()
  for (const record of records.toSorted(compare)) {
    const id = idOf(record)
    if (!kept.has(id)) kept.set(id, { ...record, target: record.target.toLowerCase() })
  }
  return [...kept.values()]
}

function compare(a: SrvData, b: SrvData): number {
  const byName = idOf(a) < idOf(b) ? -1 : Number(idOf(a) > idOf(b))
  return priorityOf(a) - priorityOf(b) || byName || weightOf(b) - weightOf(a)
}

function idOf({ target, port }: SrvData): string {
  return `${target.toLowerCase()}:${port}`
}

function priorityOf({ priority }: SrvData): number {
  return priority ?? 0
}

function weightOf({ weight }: SrvData): number {
  return weight ?? 0
}
