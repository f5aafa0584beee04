import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { text } from 'node:stream/consumers'
import type { IncomingMessage } from 'node:http'
import { Server as SocketIo } from 'socket.io'
import { WebSocket } from 'ws'
import { createGateway } from '../src/index.ts'
import { listen } from './support/gate-backend.ts'
import { addressOf } from './support/gate-trio.ts'

/** A Socket.IO server; sessions are its own. */
async function socketIo(t: TestContext): Promise<{ port: number; sessions: Set<string> }> {
  const server = createServer()
  const io = new SocketIo(server)
  t.after(async () => io.close())
  const sessions = new Set<string>()
  io.engine.on('connection', ({ id }: { id: string }) => sessions.add(id))
  return { port: await listen(t, server), sessions }
}

/** One poll from an address. */
async function poll(port: number, from: string, query = ''): Promise<{ status: number; body: string }> {
  const path = `/socket.io/?EIO=4&transport=polling${query}`
  const asked = request({ port, path, host: '127.0.0.1', localAddress: from, agent: false }).end()
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  return { status: response.statusCode!, body: await text(response) }
}

test('socket.io 1982, 4433: polls and the upgrade of one client come to one server, so that each knows its session', async t => {
  const servers = await Promise.all([socketIo(t), socketIo(t), socketIo(t)])
  const gateway = createGateway({ upstream: { servers: servers.map(({ port }) => `127.0.0.1:${port}`) } })
  const front = createServer((incoming, response) => gateway.handleRequest(incoming, response))
  gateway.attach(front)
  const port = await listen(t, front)
  t.after(async () => gateway.close())

  const client = async (from: string): Promise<void> => {
    const first = await poll(port, from)
    assert.equal(first.status, 200)
    const { sid } = JSON.parse(first.body.slice(1)) as { sid: string }
    const options = { localAddress: from, perMessageDeflate: false }
    const url = `ws://127.0.0.1:${port}/socket.io/?EIO=4&transport=websocket&sid=${sid}`
    const socket = new WebSocket(url, options)
    t.after(() => socket.terminate())
    await once(socket, 'open')
    socket.send('2probe')
    const [answer] = (await once(socket, 'message')) as [Buffer]
    assert.equal(answer.toString(), '3probe')
    // What waits for the client is given to a poll, or says that there is nothing.
    assert.equal((await poll(port, from, `&sid=${sid}`)).status, 200)
    socket.send('5')
    socket.terminate()
  }
  await Promise.all(Array.from({ length: 60 }, async (_, i) => client(addressOf(56, i))))
  const counts = servers.map(({ sessions }) => sessions.size)
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    60
  )
  assert.ok(
    counts.every(count => count > 0),
    counts.join()
  )
})
