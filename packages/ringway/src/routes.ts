import { ConfigError } from '@ringway/core'

/** What owns all that is at or below a path, on segment borders: `/a` owns `/a` and `/a/b`, not `/ab`. */
export interface Owner {
  readonly path: string
}

/** The owners of the paths of one server: each path has one at most. */
export class Routes<Route extends Owner> {
  #all: readonly Route[] = []

  get isEmpty(): boolean {
    return this.#all.length === 0
  }

  /** @throws ConfigError when the path has an owner */
  add(route: Route): void {
    if (this.#all.some(other => other.path === route.path)) {
      throw new ConfigError('path', `another gateway is attached to this server at ${route.path}`)
    }
    // The longest path first, so that the first match is the best.
    this.#all = [...this.#all, route].sort((a, b) => b.path.length - a.path.length)
  }

  /** Gives whether it was there. */
  remove(route: Route): boolean {
    const isThere = this.#all.includes(route)
    this.#all = this.#all.filter(other => other !== route)
    return isThere
  }

  /** The owner of a request target. */
  find(target: string): Route | undefined {
    return this.#all.find(({ path }) => isBelow(target, path))
  }
}

/** Whether a target lies at or below a path, on segment borders. */
export function isBelow(target: string, root: string): boolean {
  const path = target.split('?', 1)[0]!
  return root === '/' || path === root || path.startsWith(`${root}/`)
}
