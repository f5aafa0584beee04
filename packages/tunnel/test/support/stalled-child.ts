// Run by splice-stalled.test.ts in a process of its own: `stalled-child.js <port> <sharedReads>`. It splices each client to
// that port of 127.0.0.1, with no limit in time, and tells what it holds.
import type { AddressInfo, Socket } from 'node:net'
import { createServer } from 'node:net'
import { dial, Splice } from '@ringway/tunnel'

/** What it answers to any message. */
export interface Holding {
  readonly tunnels: number
  /** Bytes that passed, of all tunnels. */
  readonly bytes: number
  /** Bytes that the tunnel which holds most holds. */
  readonly most: number
  /** Resident memory, in bytes, garbage collected. */
  readonly rss: number
}

const [, , port = '', sharedReads = ''] = process.argv
const splices: Splice[] = []
const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, client => void carry(client))
server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port))

process.on('message', () => {
  globalThis.gc!()
  const holding: Holding = {
    tunnels: splices.length,
    bytes: splices.reduce((sum, { bytes }) => sum + bytes, 0),
    most: Math.max(0, ...splices.map(({ held }) => held)),
    rss: process.memoryUsage.rss()
  }
  process.send!(holding)
})
process.once('disconnect', () => process.exit())

async function carry(client: Socket): Promise<void> {
  client.on('error', () => {})
  const backend = await dial({ host: '127.0.0.1', port: Number(port) }, { timeout: 0 })
  const limits = { read: 0, send: 0, linger: 0, sharedReads: sharedReads === 'true' }
  splices.push(new Splice(client, backend, {}, limits))
}
