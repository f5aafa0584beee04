import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'

/** The opcodes that the tests speak of (RFC 6455 section 5.2). */
export const opcodes = { text: 1, close: 8, ping: 9, pong: 10 } as const

/** A frame as a server writes it: whole, and not masked. */
export function frame(opcode: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const { length } = payload
  const head = Buffer.alloc(length < 126 ? 2 : length < 2 ** 16 ? 4 : 10)
  head[0] = 0x80 | opcode
  head[1] = length < 126 ? length : length < 2 ** 16 ? 126 : 127
  if (head.length === 4) head.writeUInt16BE(length, 2)
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([head, payload])
}

/** The answer to a handshake, by the key in the request. */
export function switching(request: string, accept?: string): string {
  const key = /sec-websocket-key: (\S+)/i.exec(request)?.[1] ?? ''
  const right = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  const lines = ['HTTP/1.1 101 Switching Protocols', 'upgrade: websocket', 'connection: upgrade']
  return [...lines, `sec-websocket-accept: ${accept ?? right}`, '', ''].join('\r\n')
}

/** A server that shakes hands as it should, and hands on the frames of a client's that are shorter than 126 bytes. */
export function shakeHands(socket: Socket, frames: (opcode: number, payload: Buffer) => void): void {
  let left = Buffer.alloc(0)
  let open = false
  socket.on('data', (chunk: Buffer) => {
    left = Buffer.concat([left, chunk])
    if (!open) {
      const end = left.indexOf('\r\n\r\n')
      if (end === -1) return
      socket.write(switching(left.toString('latin1')))
      left = left.subarray(end + 4)
      open = true
    }
    for (;;) {
      const [first = 0, second = 0] = left
      const end = 6 + (second & 0x7f)
      if (left.length < 2 || left.length < end) return
      const mask = left.subarray(2, 6)
      const payload = left.subarray(6, end).map((byte, i) => byte ^ (mask[i % 4] ?? 0))
      left = left.subarray(end)
      frames(first & 0x0f, Buffer.from(payload))
    }
  })
}
