import { CRC32_START, crc32, crc32AddByte, crc32AddText, crc32AddUint32, crc32Finish } from './crc32.ts'
import { ConfigError } from './errors.ts'
import { checkMembers } from './members.ts'
import { Points } from './points.ts'
import type { Member, Strategy, Table } from './strategy.ts'

/** nginx's number, taken over from Perl's Cache::Memcached::Fast (ngx_http_upstream_hash_module.c). */
const POINTS_PER_WEIGHT = 160

/**
 * Consistent hashing exactly as nginx does it for `hash KEY consistent`: the same ids and weights give each key
 * the same member. A member that joins takes keys only for itself, and one that leaves gives up only its own.
 *
 * Algorithm: ngx_http_upstream_hash_module.c of nginx. A member's id is read as nginx reads the text of a
 * `server` line, without changing case, adding a port or looking up a name. It puts 160 points per weight on a
 * ring of 2³² places; a key belongs to the first point at or after its CRC-32. Where two members share a point,
 * the earlier one in the list has it; this is the only case in which the order of the list matters.
 *
 * Where this differs from nginx, on purpose:
 * - nginx leaves the ring for round robin once a request has made more than 20 steps on it, so that its next
 *   choice depends on other requests. `pick` walks on, so that each key has one order of all members.
 * - nginx doesn't use the ring for an empty key or a single server. `pick` does; a gateway asks the upstream's
 *   key-free strategy instead when there is no key.
 * - Two `server` lines with the same text share their points in nginx and take turns. Here each id must be the
 *   only one of its kind; give the larger of their weights to one member.
 *
 * Costs: 0.9 to 1.6 kB of memory per unit of weight, twice that while it is built. A pick is one hash and a look at two
 * or three points; when the first choice isn't usable, a walk along the ring.
 *
 * @returns a strategy whose `build` throws a {@link ConfigError} for ids or weights that {@link checkMembers}
 *   refuses, and for two ids that nginx would place on the same points (such as `name` and `name:`). A table
 *   without members picks nobody.
 */
export function ketama(): Strategy {
  return {
    name: 'ketama',
    build(members: readonly Member[], before?: Table): Table {
      return new KetamaTable(placeKetama(members, before instanceof KetamaTable ? before.points : undefined))
    }
  }
}

class KetamaTable implements Table {
  readonly points: Points

  constructor(points: Points) {
    this.points = points
  }

  pick(key: string, usable: (member: Member) => boolean): Member | undefined {
    return this.points.pick(crc32(key), usable)
  }
}

/** Places members on the ring. Throws as `build` of {@link ketama} does. */
export function placeKetama(members: readonly Member[], before?: Points): Points {
  checkMembers(members)
  const states = hashServers(members)
  // Each point is made from the one before, so those of a smaller weight are the first of a larger one's.
  const place = (index: number, into: Uint32Array): void => {
    let point = 0
    for (let at = 0; at < into.length; at++) {
      point = crc32Finish(crc32AddUint32(states[index]!, point))
      into[at] = point
    }
  }
  return new Points(members, POINTS_PER_WEIGHT, place, before)
}

/** The CRC-32 state of each member's text. Two with the same would have the same points. */
function hashServers(members: readonly Member[]): number[] {
  const idOf = new Map<number, string>()
  return members.map(({ id }, index) => {
    const state = hashServer(id)
    const twin = idOf.get(state)
    if (twin !== undefined) {
      throw new ConfigError(
        `members[${index}].id`,
        `"${id}" would have the same points on the ring as "${twin}"; give one of them another id`
      )
    }
    idOf.set(state, id)
    return state
  })
}

/** The CRC-32 state after host, a zero byte and port, cut out of a server's text as nginx does it. */
function hashServer(text: string): number {
  const [host, port] = splitServer(text)
  return crc32AddText(crc32AddByte(crc32AddText(CRC32_START, host), 0), port)
}

/** `unix:` goes away in any case of its letters; the port is the digits after a last colon, or none. */
function splitServer(text: string): [host: string, port: string] {
  if (/^unix:/i.test(text)) return [text.slice('unix:'.length), '']
  const colon = text.lastIndexOf(':')
  const port = text.slice(colon + 1)
  return colon !== -1 && /^\d*$/.test(port) ? [text.slice(0, colon), port] : [text, '']
}
