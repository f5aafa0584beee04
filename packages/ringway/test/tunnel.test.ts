import assert from 'node:assert/strict'
import { once } from 'node:events'
import test from 'node:test'
import type { TestContext } from 'node:test'
import type { TunnelEnd } from '@ringway/tunnel'
import { WebSocket } from 'ws'
import type { Tunnel } from '../src/index.ts'
import { echo, webSocketServer } from './support/gate-backend.ts'
import { host, settled } from './support/gate-host.ts'
import type { Host, Options } from './support/gate-host.ts'
import { tunnel as connectTunnel } from './support/gate-peer.ts'

/** A `ws` client with its tunnel, as the gateway's events give it. */
async function open(
  t: TestContext,
  options: Options = {}
): Promise<{ gate: Host; tunnel: Tunnel; client: WebSocket; ended: Promise<TunnelEnd> }> {
  const { port } = await webSocketServer(t, 'a')
  const gate = await host(t, [`127.0.0.1:${port}`], options)
  const opened = once(gate.gateway, 'tunnel:open') as Promise<[Tunnel]>
  const closed = once(gate.gateway, 'tunnel:close') as Promise<[Tunnel, TunnelEnd]>
  const client = new WebSocket(`ws://127.0.0.1:${gate.port}/`)
  client.on('error', () => {})
  t.after(() => client.terminate())
  await once(client, 'open')
  const [tunnel] = await opened
  const ended = closed.then(([same, end]) => {
    assert.equal(same, tunnel)
    return end
  })
  return { gate, tunnel, client, ended }
}

async function closing(client: WebSocket): Promise<[number, string]> {
  const [code, reason] = (await once(client, 'close')) as [number, Buffer]
  return [code, String(reason)]
}

test('http-proxy-middleware 1051: a listener of tunnel:open can end a tunnel, by a Close frame of its own', async t => {
  const { gate, tunnel, client, ended } = await open(t, { watch: true })
  assert.equal(tunnel.address, '127.0.0.1')
  const close = closing(client)
  const gone = once(tunnel.signal, 'abort')
  tunnel.close(4000, 'not today')
  assert.deepEqual(await close, [4000, 'not today'])
  const end = await ended
  assert.deepEqual([end.by, end.how, end.code], ['gateway', 'closed', 4000])
  await gone
  assert.equal(tunnel.signal.reason, end)
  await settled(gate.gateway)
  assert.equal(gate.lines[0]!.fields['code'], 4000)
})

test('the same by destroy(): at once', async t => {
  const { tunnel, client, ended } = await open(t)
  const close = closing(client)
  tunnel.destroy()
  assert.equal((await close)[0], 1006)
  assert.equal((await ended).how, 'destroyed')
})

test('a tunnel outlives its read limit by the pings of the gateway', async t => {
  const { tunnel, client } = await open(t, {
    watch: true,
    timeouts: { read: 500 },
    ping: { every: 150, timeout: 10_000 }
  })
  for (let i = 0; i < 10; i++) await once(client, 'ping')
  assert.equal(tunnel.signal.aborted, false)
  const answer = once(client, 'message') as Promise<[Buffer]>
  client.send('hello')
  assert.equal(String((await answer)[0]), 'hello')
})

test('timeouts.lifetime ends a busy tunnel with 1012, once', async t => {
  const { client, ended } = await open(t, { watch: true, timeouts: { lifetime: 400 } })
  assert.deepEqual(await closing(client), [1012, 'lifetime'])
  const { how, duration } = await ended
  assert.equal(how, 'lifetime')
  assert.ok(duration >= 360)
})

test('a message beyond maxMessage is 1009 for its client', async t => {
  const { client, ended } = await open(t, { watch: true, maxMessage: 1_000 })
  client.send(Buffer.alloc(1_001))
  assert.equal((await closing(client))[0], 1009)
  assert.equal((await ended).how, 'maxMessage')
})

test('a rate holds a client back and loses nothing', async t => {
  const { client } = await open(t, { watch: true, rate: { messages: 20 } })
  let echoes = 0
  const since = performance.now()
  const all = new Promise<void>(resolve => {
    client.on('message', () => ++echoes === 40 && resolve())
  })
  for (let i = 0; i < 40; i++) client.send('x')
  await all
  assert.ok(performance.now() - since >= 900)
})

test('without halfClose a FIN of the client is the end of both', async t => {
  const { address } = await echo(t)
  const { gateway, port, lines } = await host(t, [address], { halfClose: false, timeouts: { linger: 1_000 } })
  const peer = await connectTunnel(t, port)
  const heard = peer.rest()
  peer.socket.end('last words')
  assert.equal(String(await heard), '')
  await settled(gateway)
  assert.deepEqual([lines[0]!.fields['by'], lines[0]!.fields['how']], ['client', 'fin'])
})
