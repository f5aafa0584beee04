import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import test from 'node:test'
import { setInterval as every } from 'node:timers/promises'
import { accept, backend, echo } from './support/gate-backend.ts'
import { host, settled } from './support/gate-host.ts'
import { ask, handshake, tunnel } from './support/gate-peer.ts'
import { until } from './support/gate-waiting.ts'

for (const tls of [false, true]) {
  test(`a tunnel that is silent for the read limit ends with a FIN to both sides${tls ? ', TLS in front' : ''}`, async t => {
    const { address, peers } = await backend(t, async peer => accept(peer))
    const { gateway, port, lines } = await host(t, [address], { timeouts: { read: 300 } }, { tls })
    const started = performance.now()
    const client = await tunnel(t, port, { tls })
    await Promise.all([client.rest(), peers[0]!.rest()])
    const took = performance.now() - started
    assert.ok(took >= 299 && took < 5_000, `${took} ms`)
    assert.equal(client.error ?? peers[0]!.error, undefined)
    await settled(gateway)
    assert.deepEqual([lines[0]!.fields['by'], lines[0]!.fields['how']], ['gateway', 'read'])
  })
}

test('a message each third of the read limit keeps a tunnel through ten limits', async t => {
  const read = 600
  const { address, peers } = await backend(t, async peer => accept(peer))
  const { gateway, port } = await host(t, [address], { timeouts: { read } })
  const client = await tunnel(t, port)
  let pings = 0
  // One way only: traffic of either side restarts the limit.
  for await (const _ of every(read / 3)) {
    client.write('ping')
    if (++pings === 30) break
  }
  assert.equal((await peers[0]!.take(120)).toString(), 'ping'.repeat(30))
  assert.equal(client.ended, false)
  assert.equal(gateway.stats().tunnels.active, 1)
})

test('a client that does not read its refusal is cut off at the send limit', async t => {
  // More than all buffers of the kernel hold: what they took is out of our hands.
  const body = Buffer.alloc(64 * 1024 * 1024)
  const { address, peers } = await backend(t, async peer => {
    await peer.head()
    peer.write(`HTTP/1.1 403 Forbidden\r\nContent-Length: ${body.length}\r\n\r\n`)
    peer.write(body)
  })
  const { gateway, server, port, lines } = await host(t, [address], { timeouts: { send: 300 } })
  const accepted = once(server, 'connection')
  const slow = connect({ port, host: '127.0.0.1' })
  t.after(() => slow.destroy())
  slow.on('error', () => {}).pause()
  const started = performance.now()
  slow.write(handshake())
  const [socket] = (await accepted) as [Socket]
  await once(socket, 'close')
  const took = performance.now() - started
  assert.ok(took >= 299 && took < 10_000, `${took} ms`)
  await peers[0]!.left()
  await settled(gateway)
  await until(() => lines.length > 0, 'it is logged')
  assert.equal(lines.length, 1)
})

test('a client that reads its 2 MiB refusal slowly gets all of it', async t => {
  const body = Buffer.alloc(2 * 1024 * 1024, 'no ')
  const { address } = await backend(t, async peer => {
    await peer.head()
    peer.write(`HTTP/1.1 403 Forbidden\r\nContent-Length: ${body.length}\r\n\r\n`)
    peer.write(body)
  })
  const { port } = await host(t, [address], { timeouts: { send: 2_000 } })
  const { peer, head } = await ask(t, port)
  assert.equal(head.status, 403)
  const rest = peer.rest()
  for await (const _ of every(10)) {
    peer.socket.pause()
    await new Promise<void>(resolve => setImmediate(resolve))
    peer.socket.resume()
    if (peer.ended) break
  }
  assert.ok((await rest).equals(body))
})

test('a tunnel whose client does not read is cut off at the send limit', async t => {
  const { address } = await backend(t, async peer => {
    await accept(peer)
    const chunk = Buffer.alloc(1024 * 1024)
    for (let i = 0; i < 100; i++) if (!peer.socket.write(chunk)) await once(peer.socket, 'drain')
  })
  const { gateway, port, lines } = await host(t, [address], { timeouts: { send: 300, read: 0 } })
  const client = await tunnel(t, port)
  client.socket.pause()
  await settled(gateway)
  assert.deepEqual([lines[0]!.fields['by'], lines[0]!.fields['how']], ['gateway', 'send'])
})

test('a connection that is not answered: 504 after the connect limit', async t => {
  // Nobody answers there: it is kept for documents (RFC 5737). Some networks refuse it, which is a 502.
  const { port, lines } = await host(t, ['192.0.2.1:80'], { timeouts: { connect: 200 } })
  const { head } = await ask(t, port)
  const code = lines[0]!.fields['code']
  assert.ok(
    (head.status === 504 && code === 'ERR_RINGWAY_CONNECT_TIMEOUT') ||
      (head.status === 502 && code === 'ERR_RINGWAY_CONNECT_FAILED'),
    `${head.status} ${String(code)}`
  )
})

test('a client that never ends after its refusal is gone after linger', async t => {
  const { address } = await echo(t)
  const { port, server } = await host(t, [address], { timeouts: { linger: 200 } })
  const closed = once(server, 'connection').then(async ([socket]) => once(socket as Socket, 'close'))
  const { peer, head } = await ask(t, port, handshake().replace('GET', 'POST'))
  assert.equal(head.status, 400)
  await peer.rest()
  peer.write('still talking')
  await closed
})

test('http-proxy 1510, configurable-http-proxy 434: when a client resets and its backend takes no notice, both sockets are gone within linger', async t => {
  const { address, peers } = await backend(t, async peer => {
    await accept(peer)
    peer.socket.pause()
  })
  const { gateway, port, lines } = await host(t, [address], { timeouts: { linger: 200 } })
  const client = await tunnel(t, port)
  await until(() => gateway.stats().tunnels.active === 1, 'it is open')
  client.reset()
  await settled(gateway)
  assert.deepEqual([lines[0]!.fields['by'], lines[0]!.fields['how']], ['client', 'reset'])
  peers[0]!.socket.resume()
  await peers[0]!.left()
})
