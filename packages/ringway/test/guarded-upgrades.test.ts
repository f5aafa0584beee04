import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { backend } from './support/mount-backend.ts'
import { Client, handshake } from './support/mount-client.ts'
import { guarded } from './support/mount-hosts.ts'
import { deserted } from './support/mount-server.ts'

const refusals = { 'a short body': 'not you', 'a body of 1 MiB': 'no'.repeat(524_288) }

for (const { name, start } of guarded) {
  for (const [size, refusal] of Object.entries(refusals)) {
    for (const glued of ['', 'g'.repeat(1000)]) {
      void test(`${name}: a guard's 401 with ${size} arrives whole${glued && ', also behind glued bytes'}`, async t => {
        const to = await backend(t)
        const host = await start(t, to, refusal)
        const client = await Client.connect(t, host, handshake('/ws') + glued)
        const answer = await client.answer()
        assert.equal(answer.status, 401)
        assert.equal(answer.body.toString(), refusal)
        await client.ends()
        assert.equal(to.upgrades.length, 0)
        await deserted(host.sockets)
      })
    }
  }

  void test(`${name}: a client that vanishes in the middle of a refusal leaves nothing`, async t => {
    const host = await start(t, await backend(t), 'n'.repeat(20 * 1_048_576))
    const client = await Client.connect(t, host, handshake('/ws'))
    await once(client.socket, 'data')
    client.vanish()
    await deserted(host.sockets)
  })
}
