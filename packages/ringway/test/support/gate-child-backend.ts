// Run by tests in a process of its own, to be killed: `gate-child-backend.js <host> <port>`. An echo server.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { accept } from './gate-backend.ts'
import { Peer } from './gate-peer.ts'

const [, , host = '', port = ''] = process.argv
const server = createServer({ allowHalfOpen: true }, socket => void serve(new Peer(socket)).catch(() => {}))
server.listen(Number(port), host, () => process.send?.((server.address() as AddressInfo).port))
process.once('disconnect', () => process.exit())

async function serve(peer: Peer): Promise<void> {
  await once(peer.socket, 'data')
  if (peer.unread.toString('latin1').startsWith('GET /healthz ')) {
    peer.socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
    return
  }
  await accept(peer, '', `X-Server: ${host}`)
  peer.socket.pipe(peer.socket)
}
