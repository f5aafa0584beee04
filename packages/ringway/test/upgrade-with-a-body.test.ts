import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backend } from './support/mount-backend.ts'
import { Client, handshake } from './support/mount-client.ts'
import { mounts } from './support/mount-hosts.ts'
import { deserted } from './support/mount-server.ts'

const bodies: Record<string, [lines: string[], body: string]> = {
  'a body': [['Content-Length: 5'], '12345'],
  'a body that never comes': [['Content-Length: 5'], ''],
  chunks: [['Transfer-Encoding: chunked'], '5\r\n12345\r\n0\r\n\r\n'],
  'a body and a request behind it': [['Content-Length: 5'], '12345GET / HTTP/1.1\r\nHost: a\r\n\r\n']
}

for (const { name, start } of mounts) {
  for (const [what, [lines, body]] of Object.entries(bodies)) {
    void test(`${name}: Node 26 gives it no socket: an upgrade with ${what} is a 400 at once, and no backend sees it`, async t => {
      const to = await backend(t)
      const host = await start(t, to)
      // At once: no timer fires any more, so it can wait for none.
      t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
      const client = await Client.connect(t, host, handshake('/ws', ...lines) + body)
      const answer = await client.answer()
      assert.equal(answer.status, 400)
      t.mock.timers.reset()
      await client.ends()
      assert.equal(to.upgrades.length, 0)
      await deserted(host.sockets)
    })
  }
}
