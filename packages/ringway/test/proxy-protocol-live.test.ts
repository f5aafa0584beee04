import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { createServer } from 'node:http'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { WebSocket, WebSocketServer } from 'ws'
import type { GatewayOptions, Tunnel } from '../src/index.ts'
import { listen } from './support/gate-backend.ts'
import { certificate } from './support/gate-peer.ts'
import { until, within } from './support/gate-waiting.ts'
import { missing, ownAddress, startHaproxy, startNginx } from './support/live-proxies.ts'
import type { Listening } from './support/proxied.ts'
import { listening } from './support/proxied.ts'

const absent = missing()
if (absent !== undefined && process.env['CI']) throw new Error(absent)

/** Ports of HAProxy in front, and what it then writes. */
const FRONTS = [
  [20_061, 'send-proxy'],
  [20_062, 'send-proxy-v2'],
  [20_063, 'send-proxy-v2 proxy-v2-options ssl,authority,unique-id,crc32c'],
  [20_064, 'send-proxy-v2 check check-send-proxy inter 50']
] as const

/** The port of what is behind. */
const BEHIND = 20_065

type Behind = 'haproxy' | 'nginx'

/** What is behind reads our header, and tells the backend what stood in it. */
async function startBehind(
  t: TestContext,
  which: Behind,
  address: string,
  to: number,
  tls: boolean
): Promise<void> {
  const at = `${address}:${BEHIND}`
  if (which === 'haproxy') {
    const sections = `
frontend behind
  mode http
  bind ${at} accept-proxy${tls ? ' ssl crt cert.pem' : ''}
  http-request set-header X-Source %[src]:%[src_port]
  default_backend sockets
backend sockets
  mode http
  server one 127.0.0.1:${to}
`
    return startHaproxy(t, at, sections)
  }
  const lines = `
  server {
    listen ${at} proxy_protocol${tls ? ' ssl' : ''};
    ${tls ? 'ssl_certificate cert.pem; ssl_certificate_key cert.pem;' : ''}
    location / {
      proxy_pass http://127.0.0.1:${to};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_set_header X-Source $proxy_protocol_addr:$proxy_protocol_port;
    }
  }
`
  return startNginx(t, at, lines)
}

/** HAProxy in front of a gateway, on each port another way to write the header. */
async function startFront(t: TestContext, address: string, to: number, tls: boolean): Promise<void> {
  const sections = FRONTS.map(
    ([port, how]) => `
listen front${port}
  mode tcp
  bind ${address}:${port}
  ${how.includes('check') ? 'option httpchk GET /checked' : ''}
  unique-id-format %ci:%cp
  server gateway 127.0.0.1:${to} ${how} ${tls && how.includes('check') ? 'check-ssl verify none' : ''}
`
  )
  await startHaproxy(t, `${address}:${FRONTS.at(-1)![0]}`, sections.join(''))
}

interface Chain extends Listening {
  readonly address: string
  readonly heads: IncomingHttpHeaders[]
}

/** HAProxy, the gateway, HAProxy or nginx, a `ws` server. */
async function chain(
  t: TestContext,
  which: Behind,
  tls: boolean,
  upstream: Partial<GatewayOptions['upstream']>
): Promise<Chain> {
  const heads: IncomingHttpHeaders[] = []
  const server = createServer(({ headers, url }, response) => {
    heads.push({ ...headers, url })
    response.end()
  })
  new WebSocketServer({ server }).on('connection', (socket, request: IncomingMessage) => {
    heads.push({ ...request.headers, url: request.url })
    socket.on('error', () => {})
    socket.on('message', (data, binary) => socket.send(data, { binary }))
  })
  const address = ownAddress()
  await startBehind(t, which, address, await listen(t, server), tls)
  const one = {
    host: address,
    port: BEHIND,
    ...(tls ? { tls: { ca: certificate.cert, servername: 'localhost' } } : {})
  }
  const how = { acceptProxy: { from: ['127.0.0.1'] }, ...(tls ? { tls: certificate } : {}) }
  const gate = await listening(t, { servers: [one], ...upstream }, how)
  await startFront(t, address, gate.port, tls)
  return { ...gate, address, heads }
}

for (const which of ['haproxy', 'nginx'] as const) {
  for (const sendProxy of ['v1', 'v2'] as const) {
    for (const tls of [false, true]) {
      const title = `HAProxy, us, ${which}: in ${sendProxy}${tls ? ', before TLS,' : ''} the client's address goes all the way`
      test(title, { skip: absent ?? false, timeout: 60_000 }, async t => {
        const { gateway, address, heads } = await chain(t, which, tls, { sendProxy })
        for (const [port, how] of FRONTS.slice(0, 3)) {
          const opened = once(gateway, 'tunnel:open') as Promise<[Tunnel]>
          const client = new WebSocket(`${tls ? 'wss' : 'ws'}://${address}:${port}/chat`, {
            localAddress: '127.9.0.7',
            ...(tls ? { ca: certificate.cert, servername: 'localhost' } : {})
          })
          const [{ socket }] = (await within(once(client, 'upgrade'), how)) as [IncomingMessage]
          if (client.readyState !== WebSocket.OPEN) await within(once(client, 'open'), how)
          const { localPort } = socket
          const [tunnel] = await within(opened, how)
          assert.deepEqual([tunnel.address, tunnel.key], ['127.9.0.7', '127.9.0.7'], how)
          const head = heads.findLast(({ url }) => url === '/chat')!
          assert.equal(head['x-source'], `127.9.0.7:${localPort}`, how)
          assert.equal(head['x-forwarded-for'], '127.9.0.7', how)
          const text = 'message '.repeat(20_000)
          client.send(text)
          const [data] = (await within(once(client, 'message'), how)) as [Buffer]
          assert.equal(data.toString(), text)
          client.close()
          await within(once(client, 'close'), how)
        }
      })
    }
  }
}

for (const tls of [false, true]) {
  test(
    `checks of HAProxy begin with LOCAL, and our probes too: both stand for themselves${tls ? ', before TLS' : ''}`,
    { skip: absent ?? false, timeout: 60_000 },
    async t => {
      const health = { type: 'http', path: '/probed', interval: 50 } as const
      const { gateway, heads, lines } = await chain(t, 'haproxy', tls, { sendProxy: 'v2', health })
      const checks = (): IncomingHttpHeaders[] => heads.filter(({ url }) => url === '/checked')
      const probes = (): IncomingHttpHeaders[] => heads.filter(({ url }) => url === '/probed')
      await until(() => checks().length > 1 && probes().length > 1, 'checks and probes came through')
      for (const head of checks()) assert.equal(head['x-forwarded-for'], '127.0.0.1')
      // HAProxy behind us has the address of our own connection.
      for (const head of [...checks(), ...probes()])
        assert.match(String(head['x-source']), /^127\.0\.0\.1:\d+$/)
      assert.deepEqual(
        lines.filter(line => line.message === 'PROXY header refused'),
        []
      )
      assert.equal(gateway.upstream.servers[0]!.state, 'up')
    }
  )
}
