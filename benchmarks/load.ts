// The client's side: raw sockets, so that the load costs little beside the gateway.
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { connect } from 'node:net'

const HEADERS =
  'Host: bench.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'

/** Opens one tunnel: resolves behind the 101. */
async function open(port: number, target = '/bench'): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.setNoDelay(true)
  socket.write(`GET ${target} HTTP/1.1\r\n${HEADERS}`)
  let head = ''
  while (!head.includes('\r\n\r\n')) {
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    head += chunk.toString('latin1')
  }
  if (!head.startsWith('HTTP/1.1 101 ')) throw new Error(`not a 101: ${head.slice(0, 60)}`)
  return socket
}

/** Opens and closes one tunnel. Gives the milliseconds from the client's connect to its 101. */
export async function timeToOpen(port: number, target: string): Promise<number> {
  const started = performance.now()
  const socket = await open(port, target)
  const took = performance.now() - started
  socket.end()
  socket.resume()
  await once(socket, 'close')
  return took
}

/** Opens and closes `count` tunnels, `width` at a time. */
export async function handshakes(port: number, count: number, width: number): Promise<void> {
  let left = count
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (left-- > 0) {
        const socket = await open(port)
        socket.end()
        socket.resume()
        await once(socket, 'close')
      }
    })
  )
}

/** Sends `count` messages of `size` bytes over each of `width` tunnels, one after the other's echo. */
export async function roundTrips(port: number, count: number, width: number, size: number): Promise<void> {
  const sockets = await Promise.all(Array.from({ length: width }, async () => open(port)))
  await Promise.all(sockets.map(async socket => pingPong(socket, Buffer.alloc(size, 0x61), count)))
  for (const socket of sockets) socket.destroy()
}

async function pingPong(socket: Socket, message: Buffer, count: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    let done = 0
    let got = 0
    socket.on('data', chunk => {
      got += chunk.length
      if (got < message.length) return
      got = 0
      if (++done === count) resolve()
      else socket.write(message)
    })
    socket.on('close', () => reject(new Error('the tunnel closed')))
    socket.write(message)
  })
}
