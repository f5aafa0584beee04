import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { RequestListener, Server } from 'node:http'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { backend } from './support/mount-backend.ts'
import type { Place } from './support/mount-client.ts'
import { Client, handshake, requestHead } from './support/mount-client.ts'
import { gateway } from './support/mount-gateway.ts'
import { deserted, listen, makeServer, socketsOf } from './support/mount-server.ts'

/** A host whose page `/slow` waits for the test, with a gateway at `/ws`, through its own chain or not. */
async function host(
  t: TestContext,
  through: boolean
): Promise<Place & { made: Server; waiting: (() => void)[] }> {
  const by = gateway(t, [await backend(t)])
  const waiting: (() => void)[] = []
  const enter = through ? by.middleware() : undefined
  const listener: RequestListener = (request, response) => {
    if (request.url?.startsWith('/slow')) {
      if (request.url === '/slow-and-last') response.setHeader('Connection', 'close')
      waiting.push(() => response.end('slow'))
    } else if (enter && request.url === '/ws') enter(request, response, () => {})
    else response.end('page')
  }
  const made = makeServer(false, listener)
  by.attach(made, { path: '/ws', through })
  return { made, waiting, port: await listen(t, made) }
}

for (const through of [false, true]) {
  const way = through ? 'through the app' : 'past the app'

  void test(`an upgrade behind a slow page waits for its turn, ${way}`, async t => {
    const { made, waiting, ...place } = await host(t, through)
    const client = await Client.connect(t, place, `${requestHead('GET /slow')}${handshake('/ws')}glued`)
    if (waiting.length === 0) await once(made, 'request')
    waiting[0]!()
    assert.equal((await client.answer()).body.toString(), 'slow')
    assert.equal((await client.answer()).status, 101)
    await client.hear('glued')
    await client.echoes('tunnel')
    // The page before has set its keep-alive limit on the socket; a tunnel must not die of it.
    for (const socket of socketsOf(made)) assert.equal(socket.timeout ?? 0, 0)
    client.socket.end()
    await deserted(socketsOf(made))
  })

  void test(`an upgrade behind a page on the same connection, one after the other, ${way}`, async t => {
    const { made, ...place } = await host(t, through)
    const client = await Client.connect(t, place, requestHead('GET /page'))
    assert.equal((await client.answer()).body.toString(), 'page')
    client.say(handshake('/ws'))
    assert.equal((await client.answer()).status, 101)
    for (const socket of socketsOf(made)) assert.equal(socket.timeout ?? 0, 0)
    await client.echoes('tunnel')
  })

  void test(`a client that vanishes while its upgrade waits for its turn leaves nothing, ${way}`, async t => {
    const { made, waiting, ...place } = await host(t, through)
    const client = await Client.connect(t, place, requestHead('GET /slow') + handshake('/ws'))
    if (waiting.length === 0) await once(made, 'request')
    client.vanish()
    await deserted(socketsOf(made))
    waiting[0]!()
  })

  void test(`an upgrade that nobody claims waits for its turn too, ${way}`, async t => {
    const { made, waiting, ...place } = await host(t, through)
    const client = await Client.connect(t, place, requestHead('GET /slow') + handshake('/other'))
    if (waiting.length === 0) await once(made, 'request')
    waiting[0]!()
    assert.equal((await client.answer()).body.toString(), 'slow')
    assert.equal((await client.answer()).status, 404)
    await client.ends()
    await deserted(socketsOf(made))
  })

  void test(`a page that closes the connection takes the upgrade behind it along, ${way}`, async t => {
    const { made, waiting, ...place } = await host(t, through)
    const client = await Client.connect(t, place, requestHead('GET /slow-and-last') + handshake('/ws'))
    if (waiting.length === 0) await once(made, 'request')
    waiting[0]!()
    assert.equal((await client.answer()).body.toString(), 'slow')
    await client.ends()
    await deserted(socketsOf(made))
  })
}
