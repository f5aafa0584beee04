import assert from 'node:assert/strict'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TestContext } from 'node:test'
import { backend } from './support/gate-backend.ts'
import type { Backend } from './support/gate-backend.ts'
import { limitedChild } from './support/gate-child.ts'
import { dial, handshake, switching, tunnel } from './support/gate-peer.ts'
import { until } from './support/gate-waiting.ts'

const CLIENTS = 1_000

/** Answers probes by HTTP, and sends back what comes through a tunnel. */
async function server(t: TestContext): Promise<Backend> {
  return backend(t, async peer => {
    const head = await peer.head()
    const [key] = head.values('sec-websocket-key')
    if (key === undefined) {
      peer.socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
    } else {
      peer.write(switching(key))
      peer.socket.pipe(peer.socket)
    }
  })
}

for (const type of ['tcp', 'http'] as const) {
  const title = `Envoy CVE-2020-8663, Traefik 3165: 256 descriptors and ${CLIENTS} clients`
  const skip = process.platform === 'win32' && 'there is no limit to set'
  test(
    `${title}: no server is blamed, by ${type} probes neither, and afterwards all is well`,
    { skip },
    async t => {
      const servers = [(await server(t)).address, (await server(t)).address]
      const options = { upstream: { servers, health: { type, interval: 50, fall: 1 } } }
      const host = await limitedChild<number>(t, 256, 'exhausted-child.js', JSON.stringify(options))
      const told: unknown[] = []
      host.process.on('message', message => told.push(message))
      const home = await tunnel(t, host.message)

      const answers: (number | undefined)[] = []
      const clients = await Promise.all(
        Array.from({ length: CLIENTS }, async () => {
          const client = await dial(t, host.message)
          client.write(handshake())
          void client.head().then(
            ({ status }) => answers.push(status),
            () => answers.push(undefined)
          )
          return client
        })
      )
      await until(() => answers.length === CLIENTS, 'each is answered, or its connection closed')
      const strange = answers.filter(each => ![101, 503, undefined].includes(each))
      assert.deepEqual(strange, [])
      const refused = answers.filter(each => each !== 101).length
      assert.ok(refused > CLIENTS - 128, `${refused} were refused`)
      await sleep(300) // some probes meet it too
      assert.deepEqual(told, [])
      home.write('hello')
      assert.equal((await home.take(5)).toString(), 'hello')

      for (const client of clients) client.reset()
      for (let i = 0; i < 20; i++) {
        const client = await tunnel(t, host.message)
        client.write('hello')
        assert.equal((await client.take(5)).toString(), 'hello')
      }
      assert.deepEqual(told, [])
      assert.equal(host.process.exitCode, null)
    }
  )
}
