// A backend that answers any upgrade and echoes raw bytes, and answers probes: as cheap as Node can.
import { createServer } from 'node:http'
import { acceptKey } from '@ringway/tunnel'
import { report } from './contenders/report.ts'

const server = createServer((_, response) => response.end('ok'))
server.on('upgrade', (request, socket) => {
  const accept = acceptKey(request.headers['sec-websocket-key'] ?? '')
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
  )
  socket.on('data', chunk => socket.write(chunk))
  socket.on('error', () => {})
  socket.on('end', () => socket.end())
})
report(server)
