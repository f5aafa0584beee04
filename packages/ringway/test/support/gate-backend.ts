import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo, Server, Socket } from 'node:net'
import { createServer } from 'node:net'
import type { TestContext } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import type { ServerOptions } from 'ws'
import { WebSocketServer } from 'ws'
import type { Head } from './gate-peer.ts'
import { certificate, destroyAfter, Peer, switching } from './gate-peer.ts'

/** Nobody listens there. A port that was free a moment ago may be anybody's now. */
export const REFUSED = '127.0.0.1:1'

/** A backend of the test's own. */
export interface Backend {
  readonly port: number
  /** As in the gateway's options. */
  readonly address: string
  /** All connections that it ever had, in their order. */
  readonly peers: Peer[]
  readonly server: Server
}

/** Listens, on a free port if none is said; closed behind the test, with all that is connected. */
export async function listen(t: TestContext, server: Server, host = '127.0.0.1', port = 0): Promise<number> {
  server.on('connection', (socket: Socket) => {
    socket.on('error', () => {})
    destroyAfter(t, socket)
  })
  t.after(() => server.close())
  server.listen(port, host)
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** A server that hands each connection to `serve`, which may fail: the test sees that in what it waits for. */
export async function backend(
  t: TestContext,
  serve: (peer: Peer) => unknown,
  options: { tls?: boolean; host?: string; port?: number } = {}
): Promise<Backend> {
  const { host = '127.0.0.1' } = options
  const peers: Peer[] = []
  const take = (socket: Socket): void => {
    const peer = new Peer(socket)
    peers.push(peer)
    void Promise.resolve(serve(peer)).catch(() => {})
  }
  const server = options.tls
    ? createTlsServer({ ...certificate, allowHalfOpen: true }, take)
    : createServer({ allowHalfOpen: true }, take)
  const port = await listen(t, server, host, options.port)
  return { port, address: `${host}:${port}`, peers, server }
}

/** Reads a handshake and takes it, with `text` right behind the 101. */
export async function accept(peer: Peer, text: string | Buffer = '', ...extra: string[]): Promise<Head> {
  const head = await peer.head()
  const answer = switching(head.values('sec-websocket-key')[0]!, ...extra)
  peer.write(Buffer.concat([Buffer.from(answer, 'latin1'), Buffer.from(text)]))
  return head
}

/** A backend that takes every handshake, then sends back what it gets, FIN included. */
export async function echo(t: TestContext): Promise<Backend> {
  return backend(t, async peer => {
    await accept(peer)
    peer.write(peer.unread)
    peer.socket.pipe(peer.socket)
  })
}

/** A `ws` server. It tells who it is in a header, and what comes goes back. */
export async function webSocketServer(
  t: TestContext,
  name: string,
  options: ServerOptions = {}
): Promise<{ port: number; webSockets: WebSocketServer }> {
  const server = createHttpServer((_, response) => response.end())
  const webSockets = new WebSocketServer({ server, ...options })
  webSockets.on('headers', headers => headers.push(`X-Server: ${name}`))
  webSockets.on('connection', webSocket => {
    webSocket.on('error', () => {})
    webSocket.on('message', (data, binary) => webSocket.send(data, { binary }))
  })
  return { port: await listen(t, server), webSockets }
}
