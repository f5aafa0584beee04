import { createSocket } from 'node:dgram'
import type { RemoteInfo, Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { TestContext } from 'node:test'

import { TRUNCATED_RESPONSE, decode, encode } from 'dns-packet'
import type { Answer, DecodedPacket, Packet } from 'dns-packet'

/** A query as it came. */
export interface Query {
  readonly packet: DecodedPacket
  readonly from: RemoteInfo
  readonly socket: Socket
  /** Sends a message to whoever asked. */
  send(message: Buffer): void
}

/** A DNS server that answers as no real one would. Gives its address and port; ends with the test. */
export async function fakeResolver(t: TestContext, answer: (query: Query) => void): Promise<string> {
  const socket = createSocket('udp4')
  socket.on('message', (message, from) => {
    const send = (sent: Buffer): void => socket.send(sent, from.port, from.address)
    answer({ packet: decode(message), from, socket, send })
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  t.after(() => socket.close())
  return `127.0.0.1:${socket.address().port}`
}

/**
 * A DNS server that cuts each answer, then sends these bytes over TCP and ends the connection. Gives its address and
 * port; ends with the test.
 */
export async function fakeTcpResolver(t: TestContext, bytes: Buffer): Promise<string> {
  for (;;) {
    const resolver = await fakeResolver(t, query => {
      query.send(reply(query, [], { flags: TRUNCATED_RESPONSE }))
    })
    const server = createServer(socket => {
      socket.on('error', () => socket.destroy())
      socket.once('data', () => socket.end(bytes))
    })
    server.listen(Number(resolver.split(':')[1]), '127.0.0.1')
    try {
      await once(server, 'listening')
    } catch (error) {
      // A port that is free for UDP may be somebody's for TCP.
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') continue
      throw error
    }
    t.after(() => server.close())
    return resolver
  }
}

/** The reply to a query with these answers; `changes` are to its packet; the code is in `flags`. */
export function reply({ packet }: Query, answers: Answer[], changes: Packet = {}): Buffer {
  const { id = 0, questions = [] } = packet
  return encode({ type: 'response', id, questions, answers, ...changes })
}
