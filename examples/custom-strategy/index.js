import { createGateway, ketama } from 'ringway'

const servers = (process.env.SERVERS ?? 'sre1:8080,sre2:8080,sre3:8080').split(',')
const pins = new Map([['acme', servers[2]]])

/**
 * Big tenants have a server of their own choice, and go where ketama says while it is down. So do all others.
 *
 * @type {import('ringway').Strategy}
 */
const pinned = {
  name: 'pinned',
  build(members) {
    const ring = ketama().build(members)
    return {
      pick(tenant, usable, load) {
        const member = members.find(({ id }) => id === pins.get(tenant))
        return member && usable(member) ? member : ring.pick(tenant, usable, load)
      }
    }
  }
}

const gateway = createGateway({
  upstream: {
    servers,
    strategy: pinned,
    key: ({ target }) => target.split(/[/?]/)[1] // /acme/chat → acme
  }
})
const server = await gateway.listen({ port: Number(process.env.PORT ?? 3000) })
console.log('Listening on', server.address())

process.once('SIGTERM', () => void gateway.close({ drain: 10_000 }))
