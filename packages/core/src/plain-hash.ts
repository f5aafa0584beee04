import { CRC32_START, crc32AddText, crc32Finish } from './crc32.ts'
import { layOut, pickAlong } from './places.ts'
import type { Member, Strategy, Table } from './strategy.ts'

/**
 * Hashing as nginx does it for `hash KEY` without `consistent`: the same weights in the same order give each key
 * the same place in the list. For those who have that line today; otherwise take `ketama`.
 *
 * **A change of the set moves most keys**, to and from any member, since it changes how many places there are. A
 * member that is down or full keeps its places, and only its own keys go elsewhere meanwhile.
 *
 * Algorithm: ngx_http_upstream_hash_module.c of nginx (after Perl's Cache::Memcached). A key's number is bits 16
 * to 30 of its CRC-32. Modulo the weights of all members together it is a place in the list, where each member
 * has as many places as its weight. While that member can't be used, the number grows by the same bits of the
 * CRC-32 of `1KEY`, then of `2KEY`, and so on.
 *
 * Members are told apart by their position: their ids aren't hashed. Each process must list them in the same
 * order. A server that replaces another in the list gets its keys.
 *
 * Where this differs from nginx, on purpose:
 * - nginx leaves the hash for round robin once a request has been led more than 20 times to a server that is down
 *   or was tried, so that its next choice depends on other requests. `pick` leaves it when more than 20 numbers led
 *   back to a member, never before nginx does, and takes the rest in the order of the list, so that each key has
 *   one order of all members.
 * - nginx doesn't hash an empty key or for a single server. `pick` does; a gateway asks the upstream's key-free
 *   strategy instead when there is no key.
 *
 * As in nginx, only 32,768 numbers are first choices: of weights that are more than that together, the last
 * members get keys by failover only.
 *
 * Costs: a pick is one hash and one binary search; when the first choice isn't usable, one more of each per step.
 *
 * @returns a strategy whose `build` throws a `ConfigError` for ids or weights that {@link checkMembers} refuses. A
 *   table without members picks nobody.
 */
export function plainHash(): Strategy {
  return {
    name: 'plain-hash',
    build(members: readonly Member[]): Table {
      const places = layOut(members)
      return {
        pick: (key, usable) => pickAlong(places, 0, (sum, rehash) => sum + hash(key, rehash), usable)
      }
    }
  }
}

/** 15 bits of a key's hash. The rehash is put before the key as decimal digits, except the first one, 0. */
function hash(key: string, rehash: number): number {
  const state = rehash === 0 ? CRC32_START : crc32AddText(CRC32_START, `${rehash}`)
  return (crc32Finish(crc32AddText(state, key)) >>> 16) & 0x7fff
}
