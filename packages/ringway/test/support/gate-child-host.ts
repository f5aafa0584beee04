// Run by tests in a process of its own, with no error handler of its own: `gate-child-host.js <options in JSON>`.
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { GatewayOptions } from '../../src/index.ts'
import { createGateway } from '../../src/index.ts'
import { certificate } from './gate-peer.ts'

/** What the parent says. */
export interface HostOptions {
  readonly tls: boolean
  readonly gateway: Omit<GatewayOptions, 'log'>
}

const { tls, gateway: options } = JSON.parse(process.argv[2]!) as HostOptions
const log = { info() {}, warn() {}, error() {} }
const gateway = createGateway({ ...options, log })
const server: Server = tls ? createTlsServer(certificate) : createServer()
server.on('request', (_, response) => response.end('the app'))
gateway.attach(server)
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))

process.on('message', () => void close())

async function close(): Promise<void> {
  await gateway.close({ drain: 200 })
  server.close()
  process.send?.(process.getActiveResourcesInfo())
  process.disconnect()
}
