import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { GatewayOptions, ListenOptions } from '../src/index.ts'
import { createGateway } from '../src/index.ts'
import { echo, listen as listenOn } from './support/gate-backend.ts'
import { recorder, settled } from './support/gate-host.ts'
import { certificate, dial, handshake, tunnel } from './support/gate-peer.ts'
import { until } from './support/gate-waiting.ts'
import { backend as webServer } from './support/mount-backend.ts'

async function alone(
  t: TestContext,
  address: string,
  listen: ListenOptions,
  more: Partial<GatewayOptions> = {}
): Promise<number> {
  const gateway = createGateway({ log: recorder().log, ...more, upstream: { servers: [address] } })
  t.after(async () => gateway.close())
  const server = await gateway.listen({ host: '127.0.0.1', ...listen })
  return (server.address() as { port: number }).port
}

for (const tls of [false, true]) {
  test(`a head that isn't whole in time gets 408, a tunnel isn't touched${tls ? ', over TLS' : ''}`, async t => {
    const { address } = await echo(t)
    const port = await alone(t, address, { headersTimeout: 400, ...(tls && { tls: certificate }) })
    const open = await tunnel(t, port, { tls })
    const started = performance.now()
    const silent = await dial(t, port, { tls })
    const slow = await dial(t, port, { tls })
    slow.write('GET / HTTP/1.1\r\nHost: ')
    const drip = setInterval(() => slow.socket.write('a'), 50)
    t.after(() => clearInterval(drip))
    for (const peer of [slow, silent]) {
      assert.equal((await peer.head()).status, 408)
      await peer.left()
      const took = performance.now() - started
      assert.ok(took >= 395, `${took} ms`)
    }
    open.write('still here')
    assert.equal((await open.take(10)).toString(), 'still here')
  })
}

test('within its time a slow head is taken, and a body may take longer', async t => {
  const web = await webServer(t, {
    page: (request, response) => {
      let length = 0
      request
        .on('data', (chunk: Buffer) => (length += chunk.length))
        .on('end', () => response.end(String(length)))
    }
  })
  const port = await alone(t, web.address, { headersTimeout: 2_000 })
  const peer = await dial(t, port)
  for (const part of [
    'POST / HTTP/1.1\r\n',
    'Host: gate.test\r\nConnection: close\r\n',
    'Content-Length: 6\r\n\r\n'
  ]) {
    peer.write(part)
    await sleep(20)
  }
  for (let i = 0; i < 6; i++) {
    peer.write('x')
    await sleep(450)
  }
  assert.equal((await peer.head()).status, 200)
  assert.equal((await peer.rest()).toString(), '6')
})

test('with 0 a head may take as long as it likes', async t => {
  const { address } = await echo(t)
  const port = await alone(t, address, { headersTimeout: 0 })
  const peer = await dial(t, port)
  const [first, second] = [handshake().slice(0, 20), handshake().slice(20)]
  peer.write(first)
  await sleep(300)
  peer.write(second)
  assert.equal((await peer.head()).status, 101)
})

test('a body that stalls gets 408 after the read limit, and its server is left alone', async t => {
  let aborted = 0
  const web = await webServer(t, {
    page: request => request.resume().on('error', () => aborted++)
  })
  const { log, lines } = recorder()
  const gateway = createGateway({ log, timeouts: { read: 400 }, upstream: { servers: [web.address] } })
  t.after(async () => gateway.close())
  const port = await listenOn(t, createServer(gateway.handleRequest.bind(gateway)))
  const peer = await dial(t, port)
  peer.write('POST / HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 10\r\n\r\nabc')
  await sleep(200)
  peer.write('d')
  const started = performance.now()
  const head = await peer.head()
  const took = performance.now() - started
  assert.equal(head.status, 408)
  assert.deepEqual(head.values('connection'), ['close'])
  assert.ok(took >= 395, `${took} ms`)
  await peer.left()
  await until(() => aborted === 1, 'the server is left alone')
  await until(() => lines.length === 1, 'a line')
  assert.equal(lines[0]!.fields['code'], 'ERR_RINGWAY_BODY_TIMEOUT')
  await settled(gateway)
  assert.equal(gateway.upstream.servers[0]!.state, 'up')
})
