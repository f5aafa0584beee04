import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { IncomingMessage } from 'node:http'
import test from 'node:test'
import type { GatewayOptions } from '../src/index.ts'
import { createGateway, ketama } from '../src/index.ts'
import { accept, backend, listen } from './support/gate-backend.ts'
import { host, recorder } from './support/gate-host.ts'
import type { Head } from './support/gate-peer.ts'
import { ask, handshake } from './support/gate-peer.ts'
import { connectHead, dialHttp2, http2Host, StreamPeer } from './support/h2-host.ts'
import { backend as webServer } from './support/mount-backend.ts'

const trust = ['loopback', '10.0.0.0/8']

/** What a client's headers come to: [X-Forwarded-For, -Proto, -Host], and the client's address. */
const CASES: [what: string, sent: string[], forwarded: string[], address: string][] = [
  ['nothing is told', [], ['127.0.0.1', 'http', 'gate.test'], '127.0.0.1'],
  [
    'one proxy',
    ['X-Forwarded-For: 203.0.113.7', 'X-Forwarded-Proto: https', 'X-Forwarded-Host: app.example'],
    ['203.0.113.7, 127.0.0.1', 'https', 'app.example'],
    '203.0.113.7'
  ],
  [
    'two proxies, and a client that lies',
    ['X-Forwarded-For: 198.51.100.9, 203.0.113.7', 'X-Forwarded-For: 10.1.2.3', 'X-Forwarded-Proto: ftp'],
    ['203.0.113.7, 10.1.2.3, 127.0.0.1', 'http', 'gate.test'],
    '203.0.113.7'
  ],
  [
    'IPv6, with a port',
    ['X-Forwarded-For: [2001:DB8::7]:4711', 'X-Forwarded-Proto: http, https'],
    ['2001:db8::7, 127.0.0.1', 'https', 'gate.test'],
    '2001:db8::7'
  ],
  ['what is no address', ['X-Forwarded-For: unknown'], ['127.0.0.1', 'http', 'gate.test'], '127.0.0.1'],
  [
    'all are trusted',
    ['X-Forwarded-For: 10.0.0.5, 10.0.0.6', 'Forwarded: for=192.0.2.1', 'X-Real-IP: 192.0.2.2'],
    ['10.0.0.5, 10.0.0.6, 127.0.0.1', 'http', 'gate.test'],
    '10.0.0.5'
  ]
]

function forwardedOf(head: { values(name: string): string[] }): string[] {
  assert.deepEqual([head.values('forwarded'), head.values('x-real-ip')], [[], []])
  return ['for', 'proto', 'host'].map(name => head.values(`x-forwarded-${name}`).join(' | '))
}

function headOfRequest(request: IncomingMessage): { values(name: string): string[] } {
  return { values: name => request.headersDistinct[name] ?? [] }
}

for (const [what, sent, forwarded, address] of CASES) {
  test(`trusted, ${what}: an upgrade's client is ${address}`, async t => {
    const heads: Head[] = []
    const server = await backend(t, async peer => void heads.push(await accept(peer)))
    const keys: unknown[] = []
    const gate = await host(t, [server.address], {
      trust,
      upstream: { key: source => void keys.push(source.address) }
    })
    const addresses: unknown[] = []
    gate.gateway.on('tunnel:open', tunnel => addresses.push(tunnel.address))
    const { head, peer } = await ask(t, gate.port, handshake('/', ...sent))
    assert.equal(head.status, 101)
    assert.deepEqual(forwardedOf(heads[0]!), forwarded)
    assert.deepEqual([keys, addresses], [[address], [address]])
    peer.socket.end()
  })

  test(`trusted, ${what}: a request's client is ${address}`, async t => {
    const seen: IncomingMessage[] = []
    const web = await webServer(t, {
      page: (request, response) => {
        seen.push(request)
        response.end()
      }
    })
    const { log, lines } = recorder()
    const gateway = createGateway({ log, trust, upstream: { servers: [web.address] } })
    t.after(async () => gateway.close())
    const port = await listen(t, createServer(gateway.handleRequest.bind(gateway)))
    const request = ['GET / HTTP/1.1', 'Host: gate.test', 'Connection: close', ...sent, '', ''].join('\r\n')
    assert.equal((await ask(t, port, request)).head.status, 200)
    assert.deepEqual(forwardedOf(headOfRequest(seen[0]!)), forwarded)
    assert.deepEqual(
      lines.map(({ fields }) => fields['address']),
      [address]
    )
  })
}

const LIE = ['X-Forwarded-For: 203.0.113.7', 'X-Forwarded-Proto: https', 'X-Forwarded-Host: evil.example']

for (const [what, options] of [
  ['by default', {}],
  ['when others are', { trust: ['192.0.2.0/24', 'unix:'] }]
] as [string, Partial<GatewayOptions>][]) {
  test(`${what} a peer is not trusted: what it tells is replaced`, async t => {
    const heads: Head[] = []
    const server = await backend(t, async peer => void heads.push(await accept(peer)))
    const gate = await host(t, [server.address], options)
    const { peer } = await ask(t, gate.port, handshake('/', ...LIE))
    assert.deepEqual(forwardedOf(heads[0]!), ['127.0.0.1', 'http', 'gate.test'])
    peer.socket.end()
  })
}

test('over HTTP/2 it is the same', async t => {
  const heads: Head[] = []
  const server = await backend(t, async peer => void heads.push(await accept(peer)))
  const gate = await http2Host(t, [server.address], { trust })
  const session = await dialHttp2(t, gate)
  const more = { 'x-forwarded-for': '198.51.100.9, 203.0.113.7, 10.1.2.3', 'x-forwarded-proto': 'https' }
  const peer = new StreamPeer(session.request(connectHead('/', more), { endStream: false }))
  assert.equal((await peer.answer())[':status'], 200)
  assert.deepEqual(forwardedOf(heads[0]!), ['203.0.113.7, 10.1.2.3, 127.0.0.1', 'https', 'gate.test'])
})

test('behind a trusted proxy each client has the server that it would have without', async t => {
  const names = ['a', 'b', 'c']
  const taken: string[] = []
  const servers = await Promise.all(
    names.map(async id => {
      const server = await backend(t, async peer => {
        taken.push(id)
        await accept(peer)
      })
      return { id, host: '127.0.0.1', port: server.port }
    })
  )
  const gate = await host(t, servers, { trust })
  const table = ketama().build(names.map(id => ({ id, weight: 1 })))
  const clients = Array.from({ length: 60 }, (_, i) => `203.0.113.${i}`)
  for (const client of clients) {
    const { peer } = await ask(t, gate.port, handshake('/', `X-Forwarded-For: ${client}`))
    peer.socket.end()
  }
  const expected = clients.map(
    client =>
      table.pick(
        client,
        () => true,
        () => 0
      )!.id
  )
  assert.deepEqual(taken, expected)
})
