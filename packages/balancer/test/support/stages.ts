import type { Socket } from 'node:net'
import type { TestContext } from 'node:test'

import type { HealthOptions, TcpServerOptions } from '../../src/index.ts'
import { frame, opcodes, shakeHands } from './frames.ts'
import { happening } from './happening.ts'
import { rawServer } from './probing.ts'
import type { RawServer } from './probing.ts'

/** How far a probe comes with a server that then does nothing more. */
export interface Stage {
  readonly title: string
  readonly health: HealthOptions
  readonly tls: boolean
  serve(socket: Socket, reached: () => void): void
}

function silent(socket: Socket, reached: () => void): void {
  socket.once('data', reached)
}

/** Shakes hands, answers pings when it is said to, and reaches its stage by a frame. */
function upTo(last: number): Stage['serve'] {
  return (socket, reached) => {
    shakeHands(socket, (opcode, payload) => {
      if (opcode === last) reached()
      else socket.write(frame(opcodes.pong, payload))
    })
  }
}

/** Each kind of probe at each point where it waits for the server. */
export const stages: readonly Stage[] = [
  { title: 'a TLS handshake for HTTP', health: { type: 'http' }, tls: true, serve: silent },
  { title: 'an HTTP request', health: { type: 'http' }, tls: false, serve: silent },
  {
    title: 'an HTTP body',
    health: { type: 'http', match: 'x' },
    tls: false,
    serve(socket, reached) {
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf', reached))
    }
  },
  { title: 'a TLS handshake for TCP', health: { type: 'tcp' }, tls: true, serve: silent },
  { title: 'a TLS handshake for WebSocket', health: { type: 'websocket' }, tls: true, serve: silent },
  { title: 'a WebSocket handshake', health: { type: 'websocket' }, tls: false, serve: silent },
  { title: 'a pong', health: { type: 'websocket' }, tls: false, serve: upTo(opcodes.ping) },
  { title: 'the answer to a close', health: { type: 'websocket' }, tls: false, serve: upTo(opcodes.close) },
  {
    title: "the end of a connection that the server's close began",
    health: { type: 'websocket' },
    tls: false,
    serve(socket, reached) {
      shakeHands(socket, opcode => {
        if (opcode === opcodes.ping) socket.write(frame(opcodes.close, Buffer.from([0x03, 0xe8])))
        else reached()
      })
    }
  }
]

/** A server that keeps probes at a stage, and the moment when one is there. */
export async function stuck(
  t: TestContext,
  stage: Stage
): Promise<{ server: RawServer; address: TcpServerOptions; reached: Promise<void> }> {
  const { seen: reached, happened } = happening()
  const server = await rawServer(t, socket => stage.serve(socket, happened))
  return { server, address: { host: '127.0.0.1', port: server.port, tls: stage.tls }, reached }
}
