import type { DiscoveredServer, Discovery } from './discovery.ts'
import { checkList } from './list.ts'
import { watchSource } from './watch.ts'
import type { Source } from './watch.ts'

/** The longest time that a timer of Node's can take: a look each 25 days finds the same. */
const LONGEST = 2_147_483_647

/**
 * A list that never changes, for where a {@link Discovery} is asked for: yields it, then waits for the abort.
 *
 * @param list - at least one server, as text or object. A bad one throws a `ConfigError` with its path, such as
 *   `servers[1].weight`
 */
export function fromStatic(list: readonly (DiscoveredServer | string)[]): Discovery {
  const servers = checkList(list)
  const source: Source = {
    read: () => Promise.resolve({ servers, next: LONGEST }),
    retry: () => LONGEST
  }
  const discovery: Discovery = {
    name: 'static',
    watch: signal => watchSource(discovery, {}, signal, () => source)
  }
  return discovery
}
