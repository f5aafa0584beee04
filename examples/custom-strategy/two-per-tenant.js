import { rendezvous, xxh64 } from 'ringway'

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
          const one = table.pick(tenant, () => true, load)
          const other = table.pick(tenant, member => member !== one, load)
          if (one === undefined || other === undefined) return one && usable(one) ? one : undefined
          // Weights have had their say; of the two, half the clients prefer either.
          const isFirst = xxh64(key + one.id).high > xxh64(key + other.id).high
          return (isFirst ? [one, other] : [other, one]).find(usable)
        }
      }
    }
  }
}
