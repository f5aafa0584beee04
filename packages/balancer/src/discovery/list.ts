import { ConfigError } from '@ringway/core'
import { show } from '@ringway/core/fields'

import { checkUpstream } from '../config.ts'
import type { ServerOptions } from '../options.ts'
import type { DiscoveredServer } from './discovery.ts'

const FLAGS = ['backup', 'terminating'] as const

/**
 * Checks a list as `servers` of an upstream is checked; the first bad field throws its ConfigError, such as that of
 * `servers[1].weight`. Gives the servers as objects, each with its id and weight, so that two ways to write the same
 * list give equal ones.
 */
export function checkList(list: unknown): readonly DiscoveredServer[] {
  if (!Array.isArray(list)) {
    throw new ConfigError('servers', `must be an array of at least one server, not ${show(list)}`)
  }
  const split = Array.from(list, splitFlags)
  const { servers } = checkUpstream({ servers: split.map(([server]) => server) }, '')
  return Object.freeze(
    servers.map(({ id, weight, address }, i) => {
      const [given, flags] = split[i]!
      const settings = typeof given === 'string' ? {} : given
      return Object.freeze({ ...settings, ...address, id, weight, ...flags }) as DiscoveredServer
    })
  )
}

type Flags = Pick<DiscoveredServer, (typeof FLAGS)[number]>

/** What an upstream's check knows, and the flags that are set. */
function splitFlags(server: unknown, index: number): [ServerOptions | string, Flags] {
  // What is neither object nor text is the upstream's check to refuse.
  if (typeof server !== 'object' || server === null) return [server as string, {}]
  const rest: Record<string, unknown> = { ...server }
  const flags: Flags = {}
  // What stands for nothing must not make a difference.
  for (const name of ['down', 'tls']) if (rest[name] === false) delete rest[name]
  for (const name of FLAGS) {
    const value = rest[name]
    delete rest[name]
    if (value === true) flags[name] = true
    else if (value !== undefined && value !== false) {
      throw new ConfigError(`servers[${index}].${name}`, `must be true or false, not ${show(value)}`)
    }
  }
  return [rest as unknown as ServerOptions, flags]
}
