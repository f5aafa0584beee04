import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Target, TunnelEnd } from '@ringway/tunnel'
import { admit, open, Splice, TunnelError } from '@ringway/tunnel'
import { WebSocket, WebSocketServer } from 'ws'
import type { ServerOptions } from 'ws'
import { noSocketLeft } from './support/waiting.ts'

/** The smallest server that tunnels to one backend. */
async function tunnelTo(t: TestContext, target: Target): Promise<{ url: string; ended: Promise<TunnelEnd> }> {
  const server = createServer()
  const ended = new Promise<TunnelEnd>((resolve, reject) => {
    server.on('upgrade', (request, stream, fromClient) => {
      const client = stream as Socket
      client.on('error', () => {})
      const head = {
        method: request.method!,
        target: request.url!,
        httpVersion: request.httpVersion,
        rawHeaders: request.rawHeaders
      }
      const forwarding = { for: client.remoteAddress, proto: 'http', host: request.headers.host } as const
      const limits = { connect: 20_000, handshake: 20_000, read: 20_000 }
      const tunnel = async (): Promise<TunnelEnd> => {
        const answer = await open(target, head, admit(head), forwarding, limits)
        let text = `HTTP/1.1 ${answer.status} ${answer.reason}\r\n`
        for (let i = 0; i < answer.rawHeaders.length; i += 2) {
          text += `${answer.rawHeaders[i]!}: ${answer.rawHeaders[i + 1]!}\r\n`
        }
        client.write(`${text}\r\n`, 'latin1')
        if (answer.kind === 'accepted') {
          return new Splice(client, answer.backend, { fromClient, fromBackend: answer.rest }).ended
        }
        for await (const chunk of answer.body) client.write(chunk)
        client.end()
        throw new Error(`declined with ${answer.status}`)
      }
      tunnel().then(resolve, (error: unknown) => {
        if (error instanceof TunnelError)
          client.end(`HTTP/1.1 ${error.status} Failed\r\nConnection: close\r\n\r\n`)
        reject(error)
      })
    })
  })
  ended.catch(() => {}) // awaited by those who care
  t.after(() => server.close())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/chat?room=1`, ended }
}

async function webSocketServer(
  t: TestContext,
  options: ServerOptions = {}
): Promise<[WebSocketServer, Target]> {
  const server = new WebSocketServer({ ...options, host: '127.0.0.1', port: 0 })
  t.after(() => {
    for (const socket of server.clients) socket.terminate()
    server.close()
  })
  await once(server, 'listening')
  return [server, { host: '127.0.0.1', port: (server.address() as AddressInfo).port }]
}

test('1,000 messages go there and back, compressed, text and binary, in order', async t => {
  const [server, target] = await webSocketServer(t, { perMessageDeflate: { threshold: 0 } })
  server.on('connection', socket => {
    socket.on('message', (data, binary) => socket.send(data as Buffer, { binary }))
  })
  const { url, ended } = await tunnelTo(t, target)
  const client = new WebSocket(url, { perMessageDeflate: { threshold: 0 } })
  await once(client, 'open')
  assert.match(client.extensions, /permessage-deflate/)
  const messages = Array.from({ length: 1_000 }, (_, i) =>
    i % 2 === 0 ? `message ${i} `.repeat(i % 200) : randomBytes(i * 7)
  )
  let next = 0
  const done = new Promise<void>(resolve => {
    client.on('message', (data, binary) => {
      const sent = messages[next++]!
      assert.equal(binary, typeof sent !== 'string')
      assert.ok((data as Buffer).equals(Buffer.from(sent as string)), `message ${next - 1} is another`)
      if (next === messages.length) resolve()
    })
  })
  for (const message of messages) client.send(message)
  await done
  client.close(1000)
  await once(client, 'close')
  assert.equal((await ended).how, 'fin')
  await noSocketLeft()
})

test('the backend picks one of the subprotocols', async t => {
  const [, target] = await webSocketServer(t, { handleProtocols: offered => [...offered][1]! })
  const { url } = await tunnelTo(t, target)
  const client = new WebSocket(url, ['a', 'b', 'c'])
  await once(client, 'open')
  assert.equal(client.protocol, 'b')
  client.terminate()
})

test("the client's path, query, cookies and authorization reach the backend", async t => {
  const [server, target] = await webSocketServer(t)
  const { url } = await tunnelTo(t, target)
  const connected = once(server, 'connection')
  const client = new WebSocket(url, {
    headers: { Cookie: 'a=1', Authorization: 'Basic x', 'X-Forwarded-For': '10.0.0.1' },
    origin: 'https://a.example'
  })
  await once(client, 'open')
  const [, request] = (await connected) as [unknown, { url: string; headers: Record<string, string> }]
  assert.equal(request.url, '/chat?room=1')
  const { cookie, authorization, origin, host } = request.headers
  assert.deepEqual([cookie, authorization, origin], ['a=1', 'Basic x', 'https://a.example'])
  assert.equal(host, new URL(url).host)
  assert.equal(request.headers['x-forwarded-for'], '127.0.0.1')
  client.terminate()
})

test("the client's close code reaches the backend", async t => {
  const [server, target] = await webSocketServer(t)
  const { url, ended } = await tunnelTo(t, target)
  const closed = once(server, 'connection').then(async ([socket]) => once(socket as WebSocket, 'close'))
  const client = new WebSocket(url)
  await once(client, 'open')
  client.close(4001, 'had enough')
  const [code, reason] = (await closed) as [number, Buffer]
  assert.deepEqual([code, reason.toString()], [4001, 'had enough'])
  await ended
  await noSocketLeft()
})

test("the backend's close code reaches the client", async t => {
  const [server, target] = await webSocketServer(t)
  server.on('connection', socket => socket.close(1012, 'restart'))
  const { url, ended } = await tunnelTo(t, target)
  const client = new WebSocket(url)
  const [code, reason] = (await once(client, 'close')) as [number, Buffer]
  assert.deepEqual([code, reason.toString()], [1012, 'restart'])
  await ended
  await noSocketLeft()
})

test('a client that is cut off is 1006 for the backend, and the other way round', async t => {
  const [server, target] = await webSocketServer(t)
  for (const who of ['client', 'backend']) {
    const { url, ended } = await tunnelTo(t, target)
    const connected = once(server, 'connection') as Promise<[WebSocket]>
    const client = new WebSocket(url)
    await once(client, 'open')
    const [backend] = await connected
    const [cut, other] = who === 'client' ? [client, backend] : [backend, client]
    const closed = once(other, 'close')
    cut.terminate()
    assert.equal((await closed)[0], 1006)
    await ended
    await noSocketLeft()
  }
})

test("the backend's refusal reaches the client", async t => {
  const [, target] = await webSocketServer(t, {
    verifyClient: (_, answer) => answer(false, 401, 'not you', { 'Set-Cookie': 'a=1' })
  })
  const { url, ended } = await tunnelTo(t, target)
  const client = new WebSocket(url)
  client.on('error', () => {})
  const [, response] = (await once(client, 'unexpected-response')) as [
    unknown,
    import('node:http').IncomingMessage
  ]
  assert.equal(response.statusCode, 401)
  assert.deepEqual(response.headers['set-cookie'], ['a=1'])
  let body = ''
  for await (const chunk of response) body += String(chunk)
  assert.equal(body, 'not you')
  await assert.rejects(ended, /declined with 401/)
  await noSocketLeft()
})

test('a backend that is not there is a 502', async t => {
  const { url, ended } = await tunnelTo(t, { socketPath: '/nowhere/socket' })
  const client = new WebSocket(url)
  await assert.rejects(once(client, 'open'), /502/)
  await assert.rejects(ended, { code: 'ERR_RINGWAY_CONNECT_FAILED' })
})
