import assert from 'node:assert/strict'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { createServer } from 'node:http'
import { WebSocket } from 'ws'
import type { GatewayOptions } from '../src/index.ts'
import { createGateway } from '../src/index.ts'
import { echo, listen } from './support/gate-backend.ts'
import { guarded } from './support/gate-guarded.ts'
import { host, recorder } from './support/gate-host.ts'
import { ask, handshake } from './support/gate-peer.ts'
import { connectHead, dialHttp2, http2Host, StreamPeer } from './support/h2-host.ts'
import { backend as webServer } from './support/mount-backend.ts'

/** The status that an upgrade with these headers gets. */
async function statusOf(t: TestContext, port: number, ...headers: string[]): Promise<number> {
  const { head, peer } = await ask(t, port, handshake('/', ...headers))
  peer.socket.destroy()
  return head.status
}

const origins = ['https://app.example', 'https://*.team.example', 'http://localhost:5173', 'http://[::1]']

test('pages of allowed origins may open WebSockets, other pages get 403, and who is no page passes', async t => {
  const { address } = await echo(t)
  const gate = await host(t, [address], { origins })
  for (const origin of [
    'https://app.example',
    'https://APP.example',
    'https://app.example:443',
    'https://a.team.example',
    'https://a.b.team.example',
    'http://localhost:5173',
    'http://[::1]',
    'http://[::1]:80'
  ]) {
    assert.equal(await statusOf(t, gate.port, `Origin: ${origin}`), 101, origin)
  }
  assert.equal(await statusOf(t, gate.port), 101)
  const refused = [
    'http://app.example',
    'https://app.example:8443',
    'https://app.example.evil.example',
    'https://evilapp.example',
    'https://team.example',
    'https://evilteam.example',
    'https://.team.example.evil',
    'https://*.team.example',
    'https://app.example/',
    'https://app.example@evil.example',
    'http://localhost',
    'null',
    ''
  ]
  for (const origin of refused) assert.equal(await statusOf(t, gate.port, `Origin: ${origin}`), 403, origin)
  const twice = ['Origin: https://app.example', 'Origin: https://evil.example']
  assert.equal(await statusOf(t, gate.port, ...twice), 403)
  assert.equal(await statusOf(t, gate.port, ...twice.toReversed()), 403)
  const { head, peer } = await ask(t, gate.port, handshake('/', 'Origin: https://evil.example'))
  assert.deepEqual(head.values('retry-after'), [])
  assert.equal((await peer.rest()).toString(), '403 Forbidden: This page may not connect here\n')
  const lines = gate.lines.filter(({ fields }) => fields['status'] !== 101)
  assert.equal(lines.length, refused.length + 3)
  for (const { level, fields } of lines) {
    assert.deepEqual([level, fields['status'], fields['code']], ['info', 403, 'ERR_RINGWAY_ORIGIN'])
  }
})

test('a browser’s WebSocket to another site’s gateway is refused before the app’s chain runs', async t => {
  const { address } = await echo(t)
  const { port, passed } = await guarded(t, {
    log: recorder().log,
    origins,
    upstream: { servers: [address] }
  })
  const status = async (origin: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, { origin })
      socket.on('open', () => {
        socket.terminate()
        resolve(101)
      })
      socket.on('unexpected-response', (_request, response) => resolve(response.statusCode!))
      socket.on('error', reject)
    })
  assert.equal(await status('https://evil.example'), 403)
  assert.equal(passed(), 0)
  assert.equal(await status('https://app.example'), 101)
  assert.equal(passed(), 1)
})

const hosts: GatewayOptions['hosts'] = ['app.example', '*.team.example', 'api.example:8443', '[::1]']

test('hosts that are served get answers, for others it is 403, upgrades and requests alike', async t => {
  const { address } = await webServer(t)
  const { log } = recorder()
  const gateway = createGateway({ log, hosts, upstream: { servers: [address] } })
  t.after(async () => gateway.close())
  const server = createServer(gateway.handleRequest.bind(gateway))
  gateway.attach(server)
  const port = await listen(t, server)
  const cases: [string, boolean][] = [
    ['app.example', true],
    ['App.Example:3000', true],
    ['app.example.', true],
    ['a.team.example:1', true],
    ['api.example:8443', true],
    ['[::1]:80', true],
    ['api.example', false],
    ['api.example:84430', false],
    ['team.example', false],
    ['evilapp.example', false],
    ['127.0.0.1', false],
    ['user@app.example', false],
    ['*.team.example', false]
  ]
  for (const [name, isServed] of cases) {
    const upgrade = await ask(t, port, handshake().replace('Host: gate.test', `Host: ${name}`))
    upgrade.peer.socket.destroy()
    assert.equal(![400, 403].includes(upgrade.head.status), isServed, `an upgrade for ${name}`)
    const page = await ask(t, port, `GET / HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`)
    page.peer.socket.destroy()
    assert.equal(page.head.status === 200, isServed, `a page of ${name}`)
  }
})

test('over HTTP/2 it is the same, by :authority', async t => {
  const { address } = await echo(t)
  const gate = await http2Host(t, [address], { origins, hosts: ['gate.test'] })
  const session = await dialHttp2(t, gate)
  const status = async (more: Record<string, string>): Promise<unknown> => {
    const peer = new StreamPeer(session.request(connectHead('/', more), { endStream: false }))
    const answer = await peer.answer()
    peer.reset()
    return answer[':status']
  }
  assert.equal(await status({ origin: 'https://app.example' }), 200)
  assert.equal(await status({ origin: 'https://evil.example' }), 403)
  assert.equal(await status({ ':authority': 'evil.test' }), 403)
})
