import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backend } from './support/mount-backend.ts'
import { Client, handshake, header, headers } from './support/mount-client.ts'
import { mounts } from './support/mount-hosts.ts'
import { deserted } from './support/mount-server.ts'

for (const { name, start } of mounts) {
  void test(`${name}: the first packet ever is an upgrade, and gets its 101`, async t => {
    const to = await backend(t, { lines: ['Set-Cookie: a=1', 'Set-Cookie: b=2', 'X-Backend: yes'] })
    const host = await start(t, to)
    const client = await Client.connect(t, host, handshake('/ws/room?id=1'))
    const answer = await client.answer()
    assert.equal(answer.status, 101)
    assert.equal(answer.reason, 'Switching')
    assert.deepEqual(headers(answer, 'set-cookie'), ['a=1', 'b=2'])
    assert.equal(header(answer, 'x-backend'), 'yes')
    await client.echoes('hello')
    assert.equal(to.upgrades[0]!.url, '/ws/room?id=1')
    assert.equal(to.upgrades[0]!.headers['x-forwarded-proto'], host.tls ? 'https' : 'http')
    assert.equal(to.upgrades[0]!.headers['x-forwarded-for'], '127.0.0.1')
    client.socket.end()
    await Promise.all([deserted(host.sockets), deserted(to.sockets)])
  })

  void test(`${name}: bytes glued to the handshake come through in order`, async t => {
    const to = await backend(t)
    const client = await Client.connect(t, await start(t, to), `${handshake('/ws')}glued`)
    assert.equal((await client.answer()).status, 101)
    client.say(' and more')
    assert.equal(await client.hear('more'), 'glued and more')
  })
}

void test('nothing is added to the 101 of a backend', async t => {
  for (const { name, start } of mounts) {
    const client = await Client.connect(t, await start(t, await backend(t)), handshake('/ws'))
    const { headers: got } = await client.answer()
    const names = got.map(([each]) => each).sort()
    // Express's own advertisement is on each of its answers, unless the app says otherwise.
    const wanted = [
      'connection',
      'sec-websocket-accept',
      'upgrade',
      ...(name.startsWith('Express') ? ['x-powered-by'] : [])
    ]
    assert.deepEqual(names, wanted, name)
  }
})
