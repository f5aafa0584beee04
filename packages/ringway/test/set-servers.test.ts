import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import test from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { leastConnections } from '@ringway/core'
import type { Discovery } from '@ringway/balancer'
import { WebSocket } from 'ws'
import { echo, listen } from './support/gate-backend.ts'
import { host, settled } from './support/gate-host.ts'
import { tunnel } from './support/gate-peer.ts'
import type { Peer } from './support/gate-peer.ts'
import { addressOf } from './support/gate-trio.ts'
import { until } from './support/gate-waiting.ts'

test('nginx-gateway-fabric 5524: fifty changes of the set under 500 tunnels touch none, and fail no handshake', async t => {
  const [one, two, three] = await Promise.all([echo(t), echo(t), echo(t)])
  const a = { id: 'a', host: '127.0.0.1', port: one.port }
  const b = { id: 'b', host: '127.0.0.1', port: two.port }
  const c = { id: 'c', host: '127.0.0.1', port: three.port }
  const gate = await host(t, [a, b])
  const addresses = Array.from({ length: 500 }, (_, i) => addressOf(46, i))
  const clients = await Promise.all(addresses.map(async from => tunnel(t, gate.port, { from })))
  const active = (): number[] => gate.gateway.upstream.servers.map(server => server.active)
  const [onA, onB] = active()
  assert.equal(onA! + onB!, 500)

  const over = new AbortController()
  let handshakes = 0
  const others = (async (): Promise<void> => {
    for (; !over.signal.aborted; handshakes++) {
      const peer = await tunnel(t, gate.port, { from: addressOf(47, handshakes % 4_000) })
      peer.socket.destroy()
      await turn()
    }
  })()
  for (let change = 0; change < 50; change++) {
    const before = handshakes
    await gate.gateway.setServers(change % 2 === 0 ? [c, b, a] : [a, b], { spread: 0, deadline: 60_000 })
    await until(() => handshakes > before, 'one more has come')
  }
  over.abort()
  await others
  for (const client of clients) client.write('still here')
  for (const client of clients) assert.equal((await client.take(10)).toString(), 'still here')
  await until(() => active().join() === [onA, onB].join(), 'the others are gone')
  for (const client of clients) client.socket.end()
  await settled(gate.gateway)
})

test('apisix 7301, Traefik 13913: least connections remembers 100 tunnels when a third server joins', async t => {
  const backends = await Promise.all([echo(t), echo(t), echo(t)])
  const servers = backends.map(({ address }) => address)
  const gate = await host(t, servers.slice(0, 2), { upstream: { strategy: leastConnections() } })
  for (let i = 0; i < 100; i++) await tunnel(t, gate.port)
  await gate.gateway.setServers(servers)
  for (let i = 0; i < 100; i++) await tunnel(t, gate.port)
  const [a, b, c] = gate.gateway.upstream.servers.map(({ active }) => active)
  assert.ok(Math.abs(c! - 67) <= 5, `${a}, ${b} and ${c}`)
  assert.equal(a! + b! + c!, 200)
})

test('Kubernetes 140018: a server that discovery calls terminating: nobody new, and those there by 1012, over the spread', async t => {
  const [one, two] = await Promise.all([echo(t), echo(t)])
  const a = { id: 'a', host: '127.0.0.1', port: one.port }
  const b = { id: 'b', host: '127.0.0.1', port: two.port }
  const gate = await host(t, [a, b], { watch: true })
  const addresses = Array.from({ length: 100 }, (_, i) => addressOf(48, i))
  const clients = await Promise.all(addresses.map(async from => tunnel(t, gate.port, { from })))
  const [onA, onB] = gate.gateway.upstream.servers.map(({ active }) => active)
  assert.ok(onA! > 10 && onB! > 10)
  const ended: Peer[] = []
  for (const client of clients) {
    client.socket.once('end', () => {
      ended.push(client)
      client.socket.end()
    })
  }

  const lists = [
    [a, b],
    [{ ...a, terminating: true }, b]
  ]
  const source: Discovery = { name: 'slices', watch: () => Readable.from(lists) }
  const spread = 500
  for await (const list of source.watch(new AbortController().signal)) {
    void gate.gateway.setServers(list, { spread, deadline: 60_000 })
  }
  const since = performance.now()
  const before = one.peers.length
  for (const from of addresses.slice(0, 20)) (await tunnel(t, gate.port, { from })).socket.destroy()
  assert.equal(one.peers.length, before)
  await until(() => ended.length === onA, 'all of its clients have their end')
  assert.ok(performance.now() - since >= spread * (1 - 1 / onA!) - 20)
  assert.deepEqual([...new Set(ended.map(({ unread }) => unread.readUInt16BE(2)))], [1012])
  const ids = (): string => gate.gateway.upstream.servers.map(({ id }) => id).join()
  await until(() => ids() === 'b', 'nothing of it is left')
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
