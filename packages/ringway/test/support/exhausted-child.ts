// Run by exhausted.test.ts in a process of its own with few file descriptors: `exhausted-child.js <options in JSON>`. It has
// no error handler of its own, and tells of each server that goes down.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { GatewayOptions } from '../../src/index.ts'
import { createGateway } from '../../src/index.ts'

const log = { info() {}, warn() {}, error() {} }
const gateway = createGateway({ ...(JSON.parse(process.argv[2]!) as GatewayOptions), log })
gateway.on('server:down', ({ id }, reason) => {
  const probe = gateway.stats().upstream.servers.find(server => server.id === id)?.probe
  process.send!(`${id} down: ${reason} ${JSON.stringify(probe)}`)
})
const server = createServer()
gateway.attach(server)
server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port))
