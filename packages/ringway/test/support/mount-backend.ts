import { once } from 'node:events'
import type { IncomingMessage, RequestListener, Server } from 'node:http'
import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { acceptKey } from '@ringway/tunnel'
import { listen, socketsOf } from './mount-server.ts'

/** How a backend takes upgrades. */
export interface BackendOptions {
  readonly name?: string
  /** Milliseconds until it answers an upgrade. */
  readonly delay?: number
  /** Lines of its 101 besides those that the RFC asks for. */
  readonly lines?: readonly string[]
  /** Writes something else than a 101. */
  readonly decline?: (socket: Socket) => void
  /** Answers plain requests. Default: its name. */
  readonly page?: RequestListener
}

/** A server behind the gateway: it takes upgrades and sends back what it gets. */
export interface Backend {
  readonly name: string
  readonly address: string
  readonly server: Server
  /** All upgrades that came. */
  readonly upgrades: IncomingMessage[]
  /** Its open connections. */
  readonly sockets: Set<Socket>
  /** The next upgrade. */
  upgrade(): Promise<IncomingMessage>
}

export async function backend(t: TestContext, options: BackendOptions = {}): Promise<Backend> {
  const { name = 'backend', delay = 0, lines = [], decline } = options
  const server = createServer(options.page ?? ((_, response) => void response.end(name)))
  const sockets = socketsOf(server)
  const upgrades: IncomingMessage[] = []
  const answer = async (request: IncomingMessage, socket: Socket): Promise<void> => {
    if (delay > 0) await setTimeout(delay)
    if (decline) return decline(socket)
    const accept = `Sec-WebSocket-Accept: ${acceptKey(request.headers['sec-websocket-key'] ?? '')}`
    const head = ['HTTP/1.1 101 Switching', 'Connection: Upgrade', 'Upgrade: websocket', accept, ...lines]
    socket.write(`${head.join('\r\n')}\r\n\r\n`)
    socket.pipe(socket)
    return undefined
  }
  server.on('upgrade', (request, socket: Socket) => {
    socket.on('error', () => {})
    upgrades.push(request)
    server.emit('seen', request)
    void answer(request, socket)
  })
  const address = `127.0.0.1:${await listen(t, server)}`
  const upgrade = async (): Promise<IncomingMessage> => {
    const [request] = (await once(server, 'seen')) as [IncomingMessage]
    return request
  }
  return { name, address, server, upgrades, sockets, upgrade }
}

let unused = 0

/** An address where nobody listens: one of the lowest ports, which no other process is ever given by chance. */
export function nobody(): string {
  unused += 1
  return `127.0.0.1:${unused}`
}
