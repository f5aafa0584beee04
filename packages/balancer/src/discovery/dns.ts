import { getServers } from 'node:dns'

import { Fields } from '@ringway/core/fields'

import type { ServerTls } from '../options.ts'
import type { Discovery, DiscoveryHooks } from './discovery.ts'
import { checkRecords, checkResolvers, parseResolver } from './dns-options.ts'
import type { Resolver } from './dns-query.ts'
import { checkHooks } from './hooks.ts'
import { checkList } from './list.ts'
import { watchSource } from './watch.ts'
import type { Source } from './watch.ts'
import { jittered } from '../wait.ts'

/** How names are resolved, whatever their records. */
export interface DnsSettings extends DiscoveryHooks {
  /**
   * The resolvers to ask, in order: `192.0.2.53`, `192.0.2.53:5353`, `2001:db8::53`, `[2001:db8::53]:5353`. The next
   * one is asked when one doesn't answer, can't be reached or says that it failed. Default: `dns.getServers()`.
   */
  resolvers?: readonly string[]
  /** For each try of each resolver, in milliseconds; each is tried twice at most. Default: 2000. */
  timeout?: number
  /** A list is kept at least so long even if its TTL is shorter, in milliseconds. Default: 1000. */
  minTtl?: number
  /** A list is kept at most so long even if its TTL is longer, in milliseconds. Default: 300000, 5 minutes. */
  maxTtl?: number
  /** Whether and how to speak TLS to the servers, as with a server of `servers`. Default: false. */
  tls?: boolean | ServerTls
}

/** Each address of a name is a server. */
export interface DnsAddressOptions extends DnsSettings {
  /** The name whose addresses are the servers; absolute, as no search list is used. */
  host: string
  /** Of every server: 1 to 65535. */
  port: number
  /**
   * 4 asks for A only, 6 for AAAA only, 0 for both. With both, hosts that have two addresses are two servers, and a
   * resolver that can't answer for one type fails the look-up. Default: 0.
   */
  family?: 0 | 4 | 6
  /** Not with a host. */
  srv?: never
}

/** The SRV records of a name are the servers (RFC 2782). */
export interface DnsSrvOptions extends DnsSettings {
  /** The name of the records, such as `_ws._tcp.example.com`; absolute, as no search list is used. */
  srv: string
  /** Not with SRV records. */
  host?: never
  /** Not with SRV records, which have their own. */
  port?: never
  /** Not with SRV records, whose targets are looked up by the upstream. */
  family?: never
}

/** Servers by the records of a name: either addresses, or SRV. */
export type DnsOptions = DnsAddressOptions | DnsSrvOptions

const SETTINGS = ['resolvers', 'timeout', 'minTtl', 'maxTtl', 'tls', 'onError']
const OPTIONS = ['host', 'port', 'family', 'srv', ...SETTINGS]

/** A failure is tried again after `minTtl`, twice that, and so on, but at least so often. */
const LONGEST_RETRY = 30_000

/**
 * Servers by DNS, looked up again each time the TTL has ended, up to 10 % later so that gateways don't ask in step.
 *
 * With `host` and `port`: the A and AAAA records; each address is a server with the id `address:port`. TLS asks them
 * for the host's name unless `tls.servername` says otherwise.
 *
 * With `srv`: each record is a server with the id and address `target:port`; a target's addresses are looked up by
 * the upstream, as those of any name, and share one place. The records of the lowest priority are the servers, all others are
 * `backup`. Weights are taken as they are: 0 is 1, the smallest there is, and if one is above 10000 all of the list
 * are scaled down to that. Keep them small: with `ketama()` each unit is 160 points of the ring.
 *
 * Records are asked of resolvers directly: `/etc/hosts` and search lists play no part. A name without records is a
 * failure like any other, since zones are emptied by mistake more often than by intent: the last list stays.
 *
 * @param options - see each field; a bad one throws a `ConfigError`
 */
export function fromDns(options: DnsOptions): Discovery {
  const fields = new Fields(options, '', OPTIONS)
  const resolvers = checkResolvers(fields)
  const timeout = fields.milliseconds('timeout', 2000, 1)
  const maxTtl = fields.milliseconds('maxTtl', 300_000, 1)
  const minTtl = fields.milliseconds('minTtl', Math.min(1000, maxTtl), 1)
  if (minTtl > maxTtl) throw fields.error('minTtl', `${minTtl} is more than maxTtl, ${maxTtl}`)
  const hooks = checkHooks(fields)
  const { name, find } = checkRecords(fields)

  const source: Source = {
    async read(signal) {
      const { servers, ttl } = await find({ resolvers: resolvers ?? systemResolvers(), timeout }, signal)
      const kept = Math.min(Math.max(ttl * 1000, minTtl), maxTtl)
      return { servers: checkList(servers), next: jittered(kept, 1, 1.1) }
    },
    retry(failures) {
      const delay = Math.min(minTtl * 2 ** (failures - 1), maxTtl, LONGEST_RETRY)
      return jittered(delay, 0.5, 1)
    }
  }
  const discovery: Discovery = {
    name: `dns ${name}`,
    watch: signal => watchSource(discovery, hooks, signal, () => source)
  }
  return discovery
}

/** Asked for each time, since `dns.setServers()` may have been called. */
function systemResolvers(): Resolver[] {
  const resolvers = getServers().flatMap(text => parseResolver(text) ?? [])
  if (resolvers.length === 0) throw new Error('the system has no resolver')
  return resolvers
}
