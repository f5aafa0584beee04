// Run by tests in a process of its own, to be killed: `gate-child-backend.js <host> <port> [delay]`. An echo server that
// takes so many milliseconds for a handshake. To any message it answers how many handshakes it had at once, at most.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { accept } from './gate-backend.ts'
import { Peer } from './gate-peer.ts'

const [, , host = '', port = '', delay = '0'] = process.argv
let now = 0
let most = 0
const server = createServer({ allowHalfOpen: true }, socket => void serve(new Peer(socket)).catch(() => {}))
server.listen(Number(port), host, () => process.send?.((server.address() as AddressInfo).port))
process.on('message', () => process.send!(most))
process.once('disconnect', () => process.exit())

async function serve(peer: Peer): Promise<void> {
  await once(peer.socket, 'data')
  if (peer.unread.toString('latin1').startsWith('GET /healthz ')) {
    peer.socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
    return
  }
  most = Math.max(most, ++now)
  await sleep(Number(delay))
  now--
  await accept(peer, '', `X-Server: ${host}`)
  peer.socket.pipe(peer.socket)
}
