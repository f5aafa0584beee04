import { rendezvous } from 'ringway'

/**
 * Shuffle sharding: each tenant has two servers, chosen by its name, and few tenants share both. So a tenant that brings
 * its servers down, or floods them, takes nobody with it but those. Keys are `tenant/client`; a client always has the
 * same one of its tenant's two, and the other while that is down. There is no third: that is the point.
 *
 * @returns {import('ringway').Strategy}
 */
export function twoPerTenant() {
  return {
    name: 'two-per-tenant',
    build(members) {
      const table = rendezvous().build(members)
      return {
        pick(key, usable, load) {
          const tenant = key.split('/', 1)[0] ?? ''
          const first = table.pick(tenant, () => true, load)
          const second = table.pick(tenant, member => member !== first, load)
          return table.pick(key, member => (member === first || member === second) && usable(member), load)
        }
      }
    }
  }
}
