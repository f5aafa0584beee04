import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import test from 'node:test'
import { ConfigError, createGateway } from '../src/index.ts'
import type { GatewayOptions } from '../src/index.ts'

const upstream = { servers: ['127.0.0.1:1', '127.0.0.2:1'] }
const log = { info() {}, warn() {}, error() {} }

/** An upstream of which the second server is this one. */
function second(server: unknown): object {
  return { upstream: { servers: ['127.0.0.1:1', server] } }
}

function health(more: object): object {
  return { upstream: { ...upstream, health: { type: 'http', path: '/', ...more } } }
}

/** Options that can't be used, and the path of the one that is wrong. */
const BAD: [what: string, field: string, options: unknown][] = [
  ['no options', 'options', undefined],
  ['null', 'options', null],
  ['a list', 'options', []],
  ['a text', 'options', 'sre1:8080'],
  ['no upstream', 'upstream', {}],
  ['an upstream that is null', 'upstream', { upstream: null }],
  ['an upstream that is a list', 'upstream', { upstream: ['sre1:8080'] }],
  ['an unknown option', 'upstreams', { upstream, upstreams: {} }],
  [
    'an unknown option of the upstream',
    'upstream.server',
    { upstream: { ...upstream, server: 'sre1:8080' } }
  ],
  ['an unknown option of a server', 'upstream.servers[1].wieght', second({ host: 'a', port: 1, wieght: 1 })],
  [
    "an unknown option of a server's TLS",
    'upstream.servers[1].tls.sni',
    second({ host: 'a', port: 1, tls: { sni: 'b' } })
  ],
  ['an unknown option of health', 'upstream.health.every', health({ every: 1 })],
  ['an unknown time', 'timeouts.idle', { upstream, timeouts: { idle: 1 } }],
  ['no servers', 'upstream.servers', { upstream: {} }],
  ['empty servers', 'upstream.servers', { upstream: { servers: [] } }],
  ['servers that are a text', 'upstream.servers', { upstream: { servers: 'sre1:8080' } }],
  ['a server that is null', 'upstream.servers[1]', second(null)],
  ['a server that is a number', 'upstream.servers[1]', second(8080)],
  ['a URL', 'upstream.servers[1]', second('http://sre1:8080')],
  ['no port', 'upstream.servers[1]', second('sre1')],
  ['a port of 0', 'upstream.servers[1]', second('sre1:0')],
  ['a port beyond 65535', 'upstream.servers[1]', second('sre1:65536')],
  ['IPv6 without brackets', 'upstream.servers[1]', second('::1:8080')],
  ['a relative Unix socket', 'upstream.servers[1]', second('unix:a.sock')],
  ['a server without a host', 'upstream.servers[1].host', second({ port: 1 })],
  ['a server with a bad host', 'upstream.servers[1].host', second({ host: 'a b', port: 1 })],
  ['a server without a port', 'upstream.servers[1].port', second({ host: 'a' })],
  ['a port that is a text', 'upstream.servers[1].port', second({ host: 'a', port: '8080' })],
  ['a host and a socket', 'upstream.servers[1].host', second({ host: 'a', port: 1, socketPath: '/a' })],
  ['a weight of 0', 'upstream.servers[1].weight', second({ host: 'a', port: 1, weight: 0 })],
  ['a weight of 1.5', 'upstream.servers[1].weight', second({ host: 'a', port: 1, weight: 1.5 })],
  ['an empty id', 'upstream.servers[1].id', second({ host: 'a', port: 1, id: '' })],
  ['an id that is there twice', 'upstream.servers[1].id', second({ host: 'a', port: 1, id: '127.0.0.1:1' })],
  ['a server that is there twice', 'upstream.servers[1].id', second('127.0.0.1:1')],
  ['down as a text', 'upstream.servers[1].down', second({ host: 'a', port: 1, down: 'yes' })],
  ['a negative maxFails', 'upstream.servers[1].maxFails', second({ host: 'a', port: 1, maxFails: -1 })],
  ['a negative failTimeout', 'upstream.failTimeout', { upstream: { ...upstream, failTimeout: -1 } }],
  [
    'TLS with a bad certificate',
    'upstream.servers[1].tls',
    second({ host: 'a', port: 1, tls: { ca: 'x', cert: 'x' } })
  ],
  [
    'an address as servername',
    'upstream.servers[1].tls.servername',
    second({ host: 'a', port: 1, tls: { servername: '::1' } })
  ],
  ['a strategy by name', 'upstream.strategy', { upstream: { ...upstream, strategy: 'ketama' } }],
  ['a strategy without a build', 'upstream.strategy', { upstream: { ...upstream, strategy: { name: 'a' } } }],
  ['keyless as a text', 'upstream.keyless', { upstream: { ...upstream, keyless: 'random' } }],
  ['a key that is no function', 'upstream.key', { upstream: { ...upstream, key: 'x-user' } }],
  ['a key that is null', 'upstream.key', { upstream: { ...upstream, key: null } }],
  ['health of an unknown type', 'upstream.health.type', health({ type: 'ping' })],
  ['health as true', 'upstream.health', { upstream: { ...upstream, health: true } }],
  ['health with a bad path', 'upstream.health.path', health({ path: 'healthz' })],
  ['health with an interval of 0', 'upstream.health.interval', health({ interval: 0 })],
  ['health with a negative timeout', 'upstream.health.timeout', health({ timeout: -1 })],
  ['health with a rise of 0', 'upstream.health.rise', health({ rise: 0 })],
  ['health with a fall of 0', 'upstream.health.fall', health({ fall: 0 })],
  ['health that expects a 101', 'upstream.health.expect', health({ expect: [101] })],
  ['health with a bad header', 'upstream.health.headers["a b"]', health({ headers: { 'a b': 'c' } })],
  ['timeouts as a number', 'timeouts', { upstream, timeouts: 5 }],
  ['timeouts that are null', 'timeouts', { upstream, timeouts: null }],
  ['a negative read', 'timeouts.read', { upstream, timeouts: { read: -1 } }],
  ['a send that is a text', 'timeouts.send', { upstream, timeouts: { send: '1s' } }],
  ['a chain of NaN', 'timeouts.chain', { upstream, timeouts: { chain: Number.NaN } }],
  ['a connect of 0', 'timeouts.connect', { upstream, timeouts: { connect: 0 } }],
  ['a handshake of 0', 'timeouts.handshake', { upstream, timeouts: { handshake: 0 } }],
  ['a linger of 0', 'timeouts.linger', { upstream, timeouts: { linger: 0 } }],
  ['a negative lifetime', 'timeouts.lifetime', { upstream, timeouts: { lifetime: -1 } }],
  ['halfClose as a text', 'halfClose', { upstream, halfClose: 'no' }],
  ['a ping without watch', 'ping', { upstream, ping: {} }],
  ['a ping as a number', 'ping', { upstream, watch: true, ping: 25_000 }],
  ['a ping every 0 ms', 'ping.every', { upstream, watch: true, ping: { every: 0 } }],
  ['a ping of nobody', 'ping.side', { upstream, watch: true, ping: { side: 'server' } }],
  ['maxMessage without watch', 'maxMessage', { upstream, maxMessage: 1 }],
  ['a maxMessage of 1.5', 'maxMessage', { upstream, watch: true, maxMessage: 1.5 }],
  ['a rate as a number', 'rate', { upstream, rate: 5 }],
  ['a negative rate', 'rate.bytes', { upstream, rate: { bytes: -1 } }],
  ['a rate of messages without watch', 'rate.messages', { upstream, rate: { messages: 1 } }],
  ['a linger beyond what a timer takes', 'timeouts.linger', { upstream, timeouts: { linger: 2 ** 31 } }],
  ['origins that are a text', 'origins', { upstream, origins: 'https://a.example' }],
  ['an origin without a scheme', 'origins[1]', { upstream, origins: ['https://a.example', 'b.example'] }],
  ['an origin with a path', 'origins[0]', { upstream, origins: ['https://a.example/'] }],
  ['an origin with a star in the middle', 'origins[0]', { upstream, origins: ['https://a.*.example'] }],
  ['an origin of any kind', 'origins[0]', { upstream, origins: ['*'] }],
  ['hosts with a scheme', 'hosts[0]', { upstream, hosts: ['https://a.example'] }],
  ['a host that is a number', 'hosts[0]', { upstream, hosts: [1] }],
  ['trust as true', 'trust', { upstream, trust: true }],
  ['trust in nobody', 'trust', { upstream, trust: [] }],
  ['trust in a bad network', 'trust[1]', { upstream, trust: ['loopback', '10.0.0.1/8'] }],
  ['limits as a number', 'limits', { upstream, limits: 5 }],
  ['an unknown limit', 'limits.tunnels', { upstream, limits: { tunnels: 1 } }],
  ['a negative limit', 'limits.tunnelsPerAddress', { upstream, limits: { tunnelsPerAddress: -1 } }],
  ['a rate of 0.5', 'limits.handshakesPerSecond', { upstream, limits: { handshakesPerSecond: 0.5 } }],
  ['request as headers', 'request', { upstream, request: { 'X-A': 'b' } }],
  ['authorize as a text', 'authorize', { upstream, authorize: 'basic' }],
  ['error pages that are a text', 'errorPages', { upstream, errorPages: '/50x.html' }],
  [
    'an error page of a status that is none',
    'errorPages.50x',
    { upstream, errorPages: { '50x': { html: 'a' } } }
  ],
  [
    'an error page of a status that is no error',
    'errorPages.200',
    { upstream, errorPages: { 200: { html: 'a' } } }
  ],
  ['an error page that is a text', 'errorPages.5xx', { upstream, errorPages: { '5xx': '/50x.html' } }],
  ['an empty error page', 'errorPages.5xx', { upstream, errorPages: { '5xx': {} } }],
  [
    'an error page of a file and HTML',
    'errorPages.5xx',
    { upstream, errorPages: { '5xx': { file: 'a', html: 'b' } } }
  ],
  [
    'an error page in a file that is not there',
    'errorPages.5xx.file',
    { upstream, errorPages: { '5xx': { file: '/no/such' } } }
  ],
  ['interceptErrors without pages', 'interceptErrors', { upstream, interceptErrors: true }],
  ['a log that is a function', 'log', { upstream, log: () => {} }],
  ['a log without warn', 'log', { upstream, log: { info() {}, error() {} } }],
  ['a log that is null', 'log', { upstream, log: null }],
  ['a log that is a text', 'log', { upstream, log: 'info' }]
]

/** Fails unless it is a ConfigError that names the field in its message too. */
function names(field: string): (error: unknown) => true {
  return error => {
    assert.ok(error instanceof ConfigError, String(error))
    assert.equal(error.code, 'ERR_RINGWAY_CONFIG')
    assert.equal(error.field, field)
    assert.ok(error.message.startsWith(`${field}: `), error.message)
    assert.ok(!/[\r\n]/.test(error.message), error.message)
    return true
  }
}

for (const [what, field, options] of BAD) {
  test(`${what}: a ConfigError that names ${field}`, () => {
    assert.throws(() => createGateway(options as GatewayOptions), names(field))
  })
}

test('nothing is left of a gateway that was not made', () => {
  const before = process.getActiveResourcesInfo().length
  for (const [, , options] of BAD) assert.throws(() => createGateway(options as GatewayOptions))
  assert.equal(process.getActiveResourcesInfo().length, before)
})

test('0 turns read, send and chain off, and undefined is the default', async () => {
  const timeouts = { chain: 0, read: 0, send: 0, linger: undefined } as object
  await createGateway({ upstream, timeouts, log }).close()
  await createGateway({ upstream, timeouts: undefined, log: undefined } as unknown as GatewayOptions).close()
})

/** What attach can't use. */
const ATTACH: [what: string, field: string, options: unknown][] = [
  ['a path that does not begin with a slash', 'path', { path: 'ws' }],
  ['an empty path', 'path', { path: '' }],
  ['a path with a query', 'path', { path: '/ws?a' }],
  ['a path with a fragment', 'path', { path: '/ws#a' }],
  ['a path with a space', 'path', { path: '/w s' }],
  ['no path in a list', 'path', { path: [] }],
  ['a path that is a number', 'path', { path: 1 }],
  ['a path that is null', 'path', { path: null }],
  ['a list that holds a number', 'path', { path: ['/a', 1] }],
  ['through without a path', 'path', { through: true }],
  ['through as a text', 'through', { path: '/ws', through: 'yes' }],
  ['an unknown option', 'paths', { paths: ['/ws'] }]
]

for (const [what, field, options] of ATTACH) {
  test(`attach with ${what}: a ConfigError that names ${field}, and the server is left alone`, async () => {
    await using gateway = createGateway({ upstream, log })
    const server = createServer()
    assert.throws(() => gateway.attach(server, options as object), names(field))
    assert.equal(server.listenerCount('upgrade'), 0)
    assert.equal(Object.hasOwn(server, 'emit'), false)
  })
}

test('attach to what is no server: a ConfigError', async () => {
  await using gateway = createGateway({ upstream, log })
  for (const server of [undefined, null, {}, 8080]) {
    assert.throws(() => gateway.attach(server as never), names('server'))
  }
})

/** What listen can't use. */
const LISTEN: [what: string, field: string, options: unknown][] = [
  ['a port that is a text', 'port', { port: '443' }],
  ['a negative port', 'port', { port: -1 }],
  ['a port beyond 65535', 'port', { port: 65_536 }],
  ['a negative headersTimeout', 'headersTimeout', { headersTimeout: -1 }],
  ['an empty host', 'host', { host: '' }],
  ['a bad path', 'path', { path: 'ws' }],
  ['an unknown option', 'address', { address: '::' }],
  ['TLS as true', 'tls', { tls: true }],
  ['TLS with a certificate that can not be read', 'tls', { tls: { cert: 'x', key: 'x' } }]
]

for (const [what, field, options] of LISTEN) {
  test(`listen with ${what}: a ConfigError that names ${field}`, async () => {
    await using gateway = createGateway({ upstream, log })
    await assert.rejects(gateway.listen(options as object), names(field))
  })
}

test('listen on a port that is taken: its error, and close() still ends', async () => {
  await using gateway = createGateway({ upstream, log })
  const server = await gateway.listen({ host: '127.0.0.1' })
  const { port } = server.address() as { port: number }
  await using other = createGateway({ upstream, log })
  await assert.rejects(other.listen({ host: '127.0.0.1', port }), { code: 'EADDRINUSE' })
})

test('close with a bad drain or an unknown option: a ConfigError, and the gateway stays open', async () => {
  await using gateway = createGateway({ upstream, log })
  await assert.rejects(gateway.close({ drain: -1 }), names('drain'))
  await assert.rejects(gateway.close({ drain: '1s' } as never), names('drain'))
  await assert.rejects(gateway.close({ spread: NaN }), names('spread'))
  for (const code of [999, 1005, 1015, 2999, 5000])
    await assert.rejects(gateway.close({ code }), names('code'))
  await assert.rejects(gateway.close({ linger: 1 } as never), names('linger'))
  await gateway.listen({ host: '127.0.0.1' })
})
