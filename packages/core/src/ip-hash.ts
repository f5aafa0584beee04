import { addressBytes } from './address.ts'
import { layOut, pickAlong } from './places.ts'
import type { Member, Strategy, Table } from './strategy.ts'
import { assertText } from './text.ts'

/** What nginx hashes for a client without an address, such as the peer of a Unix socket. */
const NO_ADDRESS: readonly number[] = [0, 0, 0]

/**
 * Hashing of client addresses as nginx's `ip_hash` does it: the same weights in the same order give each address
 * the same place in the list. For those who have that line today; otherwise take `ketama`.
 *
 * The key is the client's address as text, as `remoteAddress()` gives it. IPv4 counts with its first three bytes,
 * so that **a network of 256 addresses (a /24) has one member**; IPv6 counts whole. Anything that isn't an address
 * (see `canonicalAddress`), the empty key too, counts as three zero bytes, as nginx does for a client on a Unix
 * socket: such clients all have the same member.
 *
 * IPv4 inside IPv6 (`::ffff:192.0.2.7`) counts as the IPv6 address that it is, all of its bytes. So does nginx on
 * a dual-stack listener (`listen [::]:80 ipv6only=off`). `remoteAddress()` makes it plain IPv4, which gives the
 * members of nginx's IPv4 listeners.
 *
 * **A change of the set moves most keys**, to and from any member, since it changes how many places there are. A
 * member that is down or full keeps its places, and only its own keys go elsewhere meanwhile.
 *
 * Algorithm: ngx_http_upstream_ip_hash_module.c of nginx. The number starts at 89, and each byte in turn makes it
 * `(number * 113 + byte) % 6271`. Modulo the weights of all members together it is a place in the list, where
 * each member has as many places as its weight. While that member can't be used, the bytes are added once more.
 *
 * Members are told apart by their position: their ids aren't hashed. Each process must list them in the same
 * order. A server that replaces another in the list gets its keys.
 *
 * Where this differs from nginx, on purpose:
 * - nginx leaves the hash for round robin once a request has been led more than 20 times to a server that is down
 *   or was tried, so that its next choice depends on other requests. `pick` leaves it when more than 20 numbers led
 *   back to a member, never before nginx does, and takes the rest in the order of the list, so that each key has
 *   one order of all members.
 * - nginx doesn't hash for a single server.
 *
 * As in nginx, there are only 6,271 numbers: of weights that are more than that together, the last members are
 * reached by failover only. Keep the weights small.
 *
 * Costs: a pick reads the address and makes one binary search; when the first choice isn't usable, one more per
 * step.
 *
 * @returns a strategy whose `build` throws a `ConfigError` for ids or weights that {@link checkMembers} refuses. A
 *   table without members picks nobody.
 */
export function ipHash(): Strategy {
  return {
    name: 'ip-hash',
    build(members: readonly Member[]): Table {
      const places = layOut(members)
      return {
        pick(key, usable) {
          const bytes = hashedBytes(key)
          return pickAlong(places, 89, hash => addBytes(hash, bytes), usable)
        }
      }
    }
  }
}

function hashedBytes(address: string): readonly number[] {
  assertText(address)
  const bytes = addressBytes(address) ?? NO_ADDRESS
  return bytes.length === 4 ? bytes.slice(0, 3) : bytes
}

function addBytes(hash: number, bytes: readonly number[]): number {
  for (const byte of bytes) hash = (hash * 113 + byte) % 6271
  return hash
}
