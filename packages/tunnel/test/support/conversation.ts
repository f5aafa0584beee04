import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { connect } from 'node:net'
import type { TestContext } from 'node:test'
import { Splice } from '@ringway/tunnel'
import type { SpliceOptions } from '@ringway/tunnel'
import { WebSocket, WebSocketServer } from 'ws'
import { sharedReads } from './sockets.ts'

/** A real client and a real server with a splice between them, compression and all. */
export async function conversation(
  t: TestContext,
  options: SpliceOptions
): Promise<{ client: WebSocket; server: WebSocket; splice: Splice; behind: Socket }> {
  const front = createServer()
  const back = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: { threshold: 0 } })
  await Promise.all([once(front.listen(0, '127.0.0.1'), 'listening'), once(back, 'listening')])
  const spliced = new Promise<{ splice: Splice; behind: Socket }>(resolve => {
    front.on('connection', client => {
      const behind = connect({
        port: (back.address() as AddressInfo).port,
        host: '127.0.0.1',
        allowHalfOpen: true
      })
      for (const side of [client, behind]) side.on('error', () => {})
      // The handshake passes as it is: what is tracked begins behind it.
      client.once('data', (head: Buffer) => {
        client.pause()
        behind.write(head)
        behind.once('data', (answer: Buffer) => {
          behind.pause()
          const end = answer.indexOf('\r\n\r\n') + 4
          client.write(answer.subarray(0, end))
          const splice = new Splice(
            client,
            behind,
            { fromBackend: answer.subarray(end) },
            { sharedReads, ...options }
          )
          resolve({ splice, behind })
        })
      })
    })
  })
  const accepted = once(back, 'connection') as Promise<[WebSocket]>
  const client = new WebSocket(`ws://127.0.0.1:${(front.address() as AddressInfo).port}`)
  await once(client, 'open')
  const [server] = await accepted
  for (const side of [client, server]) side.on('error', () => {})
  t.after(() => {
    client.terminate()
    front.close()
    back.close()
  })
  return { client, server, ...(await spliced) }
}

/** How a connection was closed for one end. */
export async function closing(socket: WebSocket): Promise<[number, string]> {
  const [code, reason] = (await once(socket, 'close')) as [number, Buffer]
  return [code, reason.toString()]
}
