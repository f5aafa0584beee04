import assert from 'node:assert/strict'
import { test } from 'node:test'
import express from 'express'
import { backend } from './support/mount-backend.ts'
import { Client, handshake } from './support/mount-client.ts'
import { gateway } from './support/mount-gateway.ts'
import { deserted, listen, makeServer, socketsOf, until } from './support/mount-server.ts'

void test('a tunnel that opens while the gateway closes ends with it', async t => {
  const to = await backend(t)
  const by = gateway(t, [to])
  const app = express()
  const ends: (() => void)[] = []
  app.use((_, response, next) => {
    // As a session does, which is saved before its response goes out.
    const end = response.end.bind(response)
    response.end = () => {
      ends.push(() => end())
      return response
    }
    next()
  })
  app.use(by.middleware())
  const made = makeServer(false, app)
  by.attach(made, { path: '/ws', through: true })
  const client = await Client.connect(t, { port: await listen(t, made) }, handshake('/ws'))
  await until(() => ends.length > 0, 'the 101 is on its way')
  const closed = by.close({ drain: 20_000 })
  ends[0]!()
  await client.cut()
  client.socket.end()
  await closed
  await Promise.all([deserted(socketsOf(made)), deserted(to.sockets)])
  assert.equal(by.stats().tunnels.active, 0)
})
