import { createGateway } from 'ringway'

import { twoPerTenant } from './two-per-tenant.js'

const gateway = createGateway({
  upstream: {
    servers: (process.env.SERVERS ?? 'sre1:8080,sre2:8080,sre3:8080').split(','),
    strategy: twoPerTenant(),
    key: ({ target, address }) => `${target.split(/[/?]/)[1]}/${address}` // /acme/chat → acme/203.0.113.7
  }
})
const server = await gateway.listen({ port: Number(process.env.PORT ?? 3000) })
console.log('Listening on', server.address())

process.once('SIGTERM', () => void gateway.close({ drain: 10_000 }))
