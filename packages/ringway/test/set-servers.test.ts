import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import test from 'node:test'
import { WebSocket } from 'ws'
import { echo, listen } from './support/gate-backend.ts'
import { host, settled } from './support/gate-host.ts'
import { tunnel } from './support/gate-peer.ts'
import { until } from './support/gate-waiting.ts'

test('a change of the set under 100 tunnels touches those of servers that stay not at all', async t => {
  const [one, two, three] = await Promise.all([echo(t), echo(t), echo(t)])
  const gate = await host(t, [one.address, two.address])
  const clients = await Promise.all(
    Array.from({ length: 100 }, (_, i) => tunnel(t, gate.port, { from: `127.40.0.${i + 1}` }))
  )
  const counts = gate.gateway.upstream.servers.map(({ active }) => active)
  for (let change = 0; change < 20; change++) {
    await gate.gateway.setServers([one.address, two.address, three.address], { spread: 1000 })
    await gate.gateway.setServers([one.address, two.address], { spread: 1000 })
  }
  assert.deepEqual(
    gate.gateway.upstream.servers.map(({ active }) => active),
    counts
  )
  for (const client of clients) client.write('still here')
  for (const client of clients) assert.equal((await client.take(10)).toString(), 'still here')
  for (const client of clients) client.socket.end()
  await settled(gate.gateway)
})

test('tunnels of a server that goes stay to their end when nothing else is said', async t => {
  const [one, two] = await Promise.all([echo(t), echo(t)])
  const gate = await host(t, [one.address])
  const client = await tunnel(t, gate.port)
  const moves: string[] = []
  gate.gateway.on('server:draining', ({ id }) => moves.push(`draining ${id}`))
  gate.gateway.on('server:removed', ({ id }) => moves.push(`removed ${id}`))
  await gate.gateway.setServers([two.address])
  const next = await tunnel(t, gate.port)
  assert.equal(two.peers.length, 1)
  client.write('hello')
  assert.equal((await client.take(5)).toString(), 'hello')
  assert.deepEqual(moves, [`draining ${one.address}`])
  client.socket.end()
  await until(() => moves.length === 2, 'it is removed')
  assert.deepEqual(moves[1], `removed ${one.address}`)
  next.socket.end()
  await settled(gate.gateway)
})

test('with drain the tunnels of a server that goes are ended one after the other, and nobody else’s', async t => {
  const [one, two] = await Promise.all([echo(t), echo(t)])
  const gate = await host(t, [one.address, two.address])
  const clients = await Promise.all(
    Array.from({ length: 40 }, (_, i) => tunnel(t, gate.port, { from: `127.41.0.${i + 1}` }))
  )
  const [first, second] = gate.gateway.upstream.servers.map(({ active }) => active)
  assert.ok(first! > 0 && second! > 0)
  const ended: number[] = []
  for (const [index, client] of clients.entries()) {
    client.socket.once('end', () => {
      ended.push(index)
      client.socket.end()
    })
  }
  await gate.gateway.setServers([two.address], { spread: 500 })
  await until(() => ended.length === first, 'all of its clients have their end')
  assert.equal(gate.gateway.upstream.servers.length, 1)
  assert.equal(gate.gateway.upstream.servers[0]!.active, second)
  for (const client of clients) client.socket.end()
  await settled(gate.gateway)
})

test('a bad list is refused and changes nothing, and so is a bad option', async t => {
  const one = await echo(t)
  const { gateway } = await host(t, [one.address])
  assert.throws(() => gateway.setServers(['nonsense']), { field: 'upstream.servers[0]' })
  // @ts-expect-error no such option
  assert.throws(() => gateway.setServers([one.address], { drain: 5 }), { field: 'drain' })
  assert.equal(gateway.upstream.servers[0]!.id, one.address)
})

test('plain requests follow the set, and connections that are kept alive to a server that went are closed', async t => {
  const served: string[] = []
  const make = async (name: string): Promise<string> => {
    const server = createServer((_, response) => {
      served.push(name)
      response.end(name)
    })
    return `127.0.0.1:${await listen(t, server)}`
  }
  const [one, two] = [await make('one'), await make('two')]
  const gate = await host(t, [one])
  const plain = createServer((request, response) => gate.gateway.handleRequest(request, response))
  const port = await listen(t, plain)
  const ask = async (): Promise<string> =>
    (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })).text()
  assert.equal(await ask(), 'one')
  await gate.gateway.setServers([two])
  assert.equal(await ask(), 'two')
  assert.deepEqual(served, ['one', 'two'])
})

test('a ws client goes through before, during and after a change', async t => {
  const [one, two] = await Promise.all([echo(t), echo(t)])
  const gate = await host(t, [one.address])
  for (const servers of [[one.address], [two.address], [one.address, two.address]]) {
    await gate.gateway.setServers(servers, { spread: 0, deadline: 0 })
    const socket = new WebSocket(`ws://127.0.0.1:${gate.port}`)
    socket.on('error', () => {})
    await once(socket, 'open')
    socket.terminate()
  }
  await settled(gate.gateway)
})
