import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { createServer as createHttpsServer } from 'node:https'
import { Duplex, PassThrough } from 'node:stream'
import { test } from 'node:test'
import { connect } from 'node:tls'
import { Splice } from '@ringway/tunnel'
import { receive } from './support/bytes.ts'
import { headers } from './support/handshake.ts'
import {
  backendLeg,
  certificate,
  clientLeg,
  closed,
  flood,
  rst,
  scene,
  sharedReads
} from './support/sockets.ts'
import { noSocketLeft, still, until } from './support/waiting.ts'

const OFF = { read: 0, send: 0, linger: 0, sharedReads }
const SIDES = [
  ['client', 'backend'],
  ['backend', 'client']
] as const

/** Listeners by event; a splice leaves none but its 'error' ones. */
function listeners(socket: Socket): Record<string, number> {
  const names = ['data', 'end', 'close', 'drain', 'error', 'timeout', 'finish', 'readable']
  return Object.fromEntries(names.map(name => [name, socket.listenerCount(name)]))
}

test('the record tells who ended it, how, and what had passed', async t => {
  const peers = await scene(t, { glued: { fromClient: Buffer.from('123') } })
  const [atBackend, atClient] = [receive(peers.backend), receive(peers.client)]
  peers.client.write('4567')
  await until(() => peers.splice.bytes === 7, 'the question is through')
  peers.backend.end('89')
  await atClient
  peers.client.end()
  assert.equal((await atBackend).bytes, 7)
  const { duration, ...end } = await peers.splice.ended
  assert.deepEqual(end, { by: 'backend', how: 'fin', code: undefined, bytesToBackend: 7, bytesToClient: 2 })
  assert.ok(duration > 0 && duration < 20_000)
})

test('close() lets what was passed on arrive, with a FIN behind it, on both sides', async t => {
  const peers = await scene(t, { ...OFF, glued: { fromBackend: Buffer.alloc(500_000) } })
  peers.splice.close()
  const [atClient, atBackend] = await Promise.all([receive(peers.client), receive(peers.backend)])
  assert.deepEqual([atClient.bytes, atBackend.bytes], [500_000, 0])
  peers.client.end()
  peers.backend.end()
  const { by, how } = await peers.splice.ended
  assert.deepEqual({ by, how }, { by: 'gateway', how: 'closed' })
  await noSocketLeft()
})

test('close() ends by itself when both sides answer the FIN, however full the tunnel was', async t => {
  const peers = await scene(t, OFF)
  flood(peers.client.resume())
  await still(() => peers.splice.bytes)
  peers.splice.close()
  peers.client.on('end', () => peers.client.end())
  peers.backend.resume().on('end', () => peers.backend.end())
  assert.equal((await peers.splice.ended).how, 'closed')
  await noSocketLeft()
})

test('close() lets one side take what is left when the other resets', async t => {
  const peers = await scene(t, { ...OFF, linger: 20_000, glued: { fromClient: Buffer.alloc(8 << 20) } })
  peers.splice.close()
  rst(peers.client)
  await closed(peers.ours.client)
  assert.equal((await receive(peers.backend)).bytes, 8 << 20)
  peers.backend.end()
  assert.equal((await peers.splice.ended).how, 'closed')
})

test('close() destroys after linger, not early, what does not answer', async t => {
  const peers = await scene(t, { ...OFF, linger: 300 })
  peers.splice.close()
  const { duration, how } = await peers.splice.ended
  assert.equal(how, 'closed')
  assert.ok(duration >= 300, `${duration} ms`)
})

test('destroy() ends both at once', async t => {
  const peers = await scene(t, OFF)
  flood(peers.client)
  peers.splice.destroy()
  peers.splice.destroy()
  peers.splice.close()
  const { by, how } = await peers.splice.ended
  assert.deepEqual({ by, how }, { by: 'gateway', how: 'destroyed' })
  assert.ok(peers.ours.client.destroyed && peers.ours.backend.destroyed)
})

test('a tunnel is destroyed at the end of its block', async t => {
  const peers = await scene(t, OFF)
  {
    await using splice = peers.splice
    assert.equal(splice.bytes, 0)
  }
  assert.equal((await peers.splice.ended).how, 'destroyed')
})

for (const [first, second] of SIDES) {
  for (const moment of ['long before', 'in the same turn as'] as const) {
    test(`a ${first} that died ${moment} the splice ends it at once`, async t => {
      const [client, backend] = await Promise.all([clientLeg(t, 'tcp'), backendLeg(t, 'tcp')])
      const legs = { client, backend }
      legs[first].ours.on('error', () => {})
      legs[first].ours.destroy()
      if (moment === 'long before') await closed(legs[first].ours)
      const splice = new Splice(client.ours, backend.ours, { fromClient: Buffer.from('x') }, OFF)
      const { by, how } = await splice.ended
      assert.deepEqual({ by, how }, { by: first, how: 'reset' })
      assert.equal(legs[second].ours.destroyed, true)
      for (const { peer } of [client, backend]) peer.destroy()
      await noSocketLeft()
    })
  }

  test(`a ${first} that was over, cleanly, before the splice ends it at once`, async t => {
    const [client, backend] = await Promise.all([clientLeg(t, 'tcp'), backendLeg(t, 'tcp')])
    const legs = { client, backend }
    legs[first].peer.resume().end()
    legs[first].ours.resume().end()
    await closed(legs[first].ours)
    const seen = closed(legs[second].peer.resume())
    const splice = new Splice(client.ours, backend.ours, {}, OFF)
    const { by, how } = await splice.ended
    assert.deepEqual({ by, how }, { by: first, how: 'fin' })
    await seen
  })

  test(`a FIN of the ${first} that was read before the splice is passed on`, async t => {
    const [client, backend] = await Promise.all([clientLeg(t, 'tcp'), backendLeg(t, 'tcp')])
    const legs = { client, backend }
    legs[first].peer.resume().end()
    await once(legs[first].ours.resume(), 'end')
    legs[first].ours.pause()
    const name = first === 'client' ? 'fromClient' : 'fromBackend'
    const splice = new Splice(client.ours, backend.ours, { [name]: Buffer.from('glued') }, OFF)
    assert.equal((await receive(legs[second].peer)).bytes, 5)
    legs[second].peer.end()
    assert.equal((await splice.ended).by, first)
  })
}

test('both sides dead before the splice: it ends all the same', async t => {
  const [client, backend] = await Promise.all([clientLeg(t, 'tcp'), backendLeg(t, 'tcp')])
  client.ours.destroy()
  backend.ours.destroy()
  const { by, how } = await new Splice(client.ours, backend.ours, {}, OFF).ended
  assert.deepEqual({ by, how }, { by: 'client', how: 'reset' })
})

test('no listener is left when it has ended, but one for errors that come late', async t => {
  for (const way of ['fin', 'reset', 'destroyed'] as const) {
    const [client, backend] = await Promise.all([clientLeg(t, 'tcp'), backendLeg(t, 'tcp')])
    const before = [listeners(client.ours), listeners(backend.ours)]
    const splice = new Splice(client.ours, backend.ours, {}, OFF)
    if (way === 'destroyed') splice.destroy()
    else if (way === 'reset') rst(client.peer)
    else for (const { peer } of [client, backend]) peer.resume().end()
    assert.equal((await splice.ended).how, way)
    for (const [i, socket] of [client.ours, backend.ours].entries()) {
      const after = listeners(socket)
      assert.deepEqual({ ...after, end: 0, error: 0 }, { ...before[i], end: 0, error: 0 })
      assert.ok(after.end! <= before[i]!.end!) // Node takes its own off
      assert.ok(after.error! <= before[i]!.error! + 1)
    }
  }
})

test('one timer serves all tunnels, and is gone with the last', async t => {
  const begun = t.mock.method(globalThis, 'setInterval')
  const ended = t.mock.method(globalThis, 'clearInterval')
  const tunnels = await Promise.all([scene(t), scene(t), scene(t)])
  const timers = (): unknown[] =>
    begun.mock.calls.filter(call => call.arguments[1] === 100).map(call => call.result)
  assert.equal(timers().length, 1)
  tunnels[0].splice.destroy()
  await tunnels[0].splice.ended
  await tunnels[1].splice.stop()
  const cleared = (): boolean => ended.mock.calls.some(call => call.arguments[0] === timers()[0])
  assert.equal(cleared(), false)
  tunnels[2].splice.destroy()
  await tunnels[2].splice.ended
  assert.equal(cleared(), true)
})

test('any Duplex can be a side', async () => {
  const [up, down] = [new PassThrough(), new PassThrough()]
  const client = Duplex.from({ readable: up, writable: down })
  const [toBackend, fromBackend] = [new PassThrough(), new PassThrough()]
  const backend = Duplex.from({ readable: fromBackend, writable: toBackend })
  const splice = new Splice(client, backend, {}, OFF)
  up.end('question')
  fromBackend.end('the answer')
  assert.equal((await receive(toBackend)).bytes, 8)
  assert.equal((await receive(down)).bytes, 10)
  assert.equal((await splice.ended).how, 'fin')
})

test("an https server's upgraded client may end first and still be answered", async t => {
  const { ours, peer } = await backendLeg(t, 'tcp')
  const server = createHttpsServer(certificate)
  t.after(() => server.close())
  const upgraded = once(server.listen(0, '127.0.0.1'), 'upgrade') as Promise<[unknown, Socket, Buffer]>
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const options = { host: '127.0.0.1', port, ca: certificate.cert, allowHalfOpen: true }
  const client = connect(options)
  t.after(() => client.destroy())
  const lines = headers().flatMap((text, i, all) => (i % 2 === 0 ? [`${text}: ${all[i + 1]!}`] : []))
  client.end(`GET / HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\nglued`)
  const [, socket, fromClient] = await upgraded
  assert.equal(socket.allowHalfOpen, false)
  const splice = new Splice(socket, ours, { fromClient }, OFF)
  assert.equal((await receive(peer)).bytes, 5)
  peer.end('an answer behind the FIN')
  assert.equal((await receive(client)).bytes, 24)
  assert.equal((await splice.ended).how, 'fin')
})
