import { checkEach, DEFAULTS } from '../server-config.ts'
import type { ServerOptions } from '../options.ts'
import type { DiscoveredServer } from './discovery.ts'

/** The flags that make no difference when they aren't set. */
const FLAGS: ReadonlySet<string> = new Set(['backup', 'down', 'terminating', 'tls'])

/**
 * Checks a list as `servers` of an upstream is checked, but that all of them may be terminating; the first bad field
 * throws its ConfigError, such as that of `servers[1].weight`. Gives the servers as objects, each with its id and weight, so
 * that two ways to write the same list give equal ones.
 */
export function checkList(list: unknown): readonly DiscoveredServer[] {
  const configs = checkEach(list, 'servers', DEFAULTS)
  const given = list as readonly (ServerOptions | string)[]
  return Object.freeze(
    configs.map(({ id, weight, address }, i) => {
      const server = given[i]!
      const settings = typeof server === 'string' ? [] : Object.entries(server)
      const set = settings.filter(([name, value]) => value !== false || !FLAGS.has(name))
      return Object.freeze({ ...Object.fromEntries(set), ...address, id, weight }) as DiscoveredServer
    })
  )
}
