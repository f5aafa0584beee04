// What a contender tells its parent: its port, and its CPU time whenever it is asked.
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/**
 * Listens on a free port and answers each message of the parent with the CPU time so far, in microseconds.
 *
 * @param more - what else the parent is told at the start
 */
export function report(server: Server, more: object = {}): void {
  server.listen(0, '127.0.0.1', () => {
    process.send!({ port: (server.address() as AddressInfo).port, ...more })
  })
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    process.send!({ cpu: user + system })
  })
  process.on('disconnect', () => process.exit())
}
