// One backend, as a program of its own: node backend.js ID PORT. It echoes, and says who it is to whom it greets.
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'

const [id = 'backend', port = '0'] = process.argv.slice(2)

const server = createServer((request, response) => {
  response.end(request.url === '/healthz' ? 'ok\n' : `Hello from ${id}.\n`)
})

new WebSocketServer({ server }).on('connection', socket => {
  socket.on('error', error => console.error(`${id}: ${error.message}`))
  socket.on('message', (data, binary) => socket.send(data, { binary }))
  socket.send(id)
})

server.listen(Number(port), '127.0.0.1', () => {
  const { port: taken } = /** @type {import('node:net').AddressInfo} */ (server.address())
  process.send?.(taken)
})

// The parent ends us, and Ctrl-C is for the parent alone. When it is gone, however it went, so are we.
process.on('SIGINT', () => {})
process.on('disconnect', () => process.exit())
