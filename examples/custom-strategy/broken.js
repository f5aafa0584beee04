import { crc32 } from 'ringway'

/**
 * What many write first, and what the kit finds out: two servers by their position in the list. Add a server, or list
 * them in another order, and nearly all clients move.
 *
 * @returns {import('ringway').Strategy}
 */
export function twoByPosition() {
  return {
    name: 'two-by-position',
    build(members) {
      return {
        pick(key, usable) {
          const tenant = crc32(key.split('/', 1)[0] ?? '')
          const turn = crc32(key) % 2
          const two = [0, 1].map(step => members[(tenant + ((step + turn) % 2)) % members.length])
          return two.find(member => member && usable(member))
        }
      }
    }
  }
}
