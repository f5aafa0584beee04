import { isIP, isIPv6 } from 'node:net'

import { ConfigError } from '@ringway/core'
import { show } from '@ringway/core/fields'
import type { Fields } from '@ringway/core/fields'

import { hostProblem } from '../address.ts'
import type { ServerTls } from '../options.ts'
import type { Resolver } from './dns-query.ts'
import { byAddress, bySrv } from './dns-servers.ts'
import type { Find } from './dns-servers.ts'
import { checkList } from './list.ts'

/** Checks which records make the servers; gives the name of what is looked up, and what looks it up. */
export function checkRecords(fields: Fields): { name: string; find: Find } {
  const tls = checkTls(fields)
  if (fields.has('srv')) {
    const extra = ['host', 'port', 'family'].find(name => fields.has(name))
    if (extra !== undefined) throw fields.error(extra, 'stands beside srv, whose records say it')
    const name = checkName(fields, 'srv')
    return { name, find: bySrv(name, tls) }
  }
  if (!fields.has('host')) throw fields.error('host', 'is missing; say host and port, or srv')
  const host = checkName(fields, 'host')
  if (!fields.has('port')) throw fields.error('port', 'is missing; no port is taken for granted')
  const port = fields.integer('port', 0, 1, 65_535)
  const family = fields.has('family') ? fields.get('family') : 0
  if (family !== 0 && family !== 4 && family !== 6) throw fields.mismatch('family', '0, 4 or 6')
  return { name: `${host}:${port}`, find: byAddress(host, port, family, tls) }
}

/** Gives the name in lower case and without the last dot. */
function checkName(fields: Fields, field: string): string {
  const name = (fields.text(field) ?? '').toLowerCase().replace(/\.$/, '')
  if (isIP(name) !== 0) throw fields.error(field, `${show(name)} is an address already; use fromStatic()`)
  const problem = hostProblem(name)
  if (problem !== undefined) throw fields.error(field, `${show(name)} ${problem}`)
  if (name.split('.').some(label => label === '' || label.length > 63)) {
    throw fields.error(field, `${show(name)} has a part that is empty or longer than 63 characters`)
  }
  return name
}

/** As a server's own, and before there is one. */
function checkTls(fields: Fields): ServerTls | undefined {
  const tls = fields.get('tls')
  if (tls === undefined || tls === false) return undefined
  try {
    checkList([{ host: 'localhost', port: 1, tls }])
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const problem = error.message.slice(`${error.field}: `.length)
    throw fields.error(error.field.replace('servers[0].', ''), problem)
  }
  return tls === true ? {} : (tls as ServerTls)
}

/** Undefined when the system's are to be taken. */
export function checkResolvers(fields: Fields): readonly Resolver[] | undefined {
  if (!fields.has('resolvers')) return undefined
  const given = fields.get('resolvers')
  if (!Array.isArray(given) || given.length === 0) {
    throw fields.mismatch('resolvers', 'an array of at least one address')
  }
  return Array.from(given, (text: unknown, i) => {
    const resolver = typeof text === 'string' ? parseResolver(text) : undefined
    if (resolver !== undefined) return resolver
    const forms = "'192.0.2.53', '192.0.2.53:53', '2001:db8::53' or '[2001:db8::53]:53'"
    throw fields.error(`resolvers[${i}]`, `must be an IP address as in ${forms}, not ${show(text)}`)
  })
}

/** Reads a resolver's text, as `dns.getServers()` and `dns.setServers()` have it; undefined when it is none. */
export function parseResolver(text: string): Resolver | undefined {
  if (isIP(text) !== 0) return { address: text, port: 53 }
  const [, v6, v4, digits = '53'] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text) ?? []
  const address = v6 ?? v4 ?? ''
  const port = Number(digits)
  if (port < 1 || port > 65_535) return undefined
  return (v6 === undefined ? isIP(address) === 4 : isIPv6(address)) ? { address, port } : undefined
}
