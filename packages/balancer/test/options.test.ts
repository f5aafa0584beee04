import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ConfigError, ketama } from '@ringway/core'

import { Upstream } from '../src/index.ts'
import type { UpstreamOptions } from '../src/index.ts'
import { cert } from './support/backend.ts'

const a = { host: 'a', port: 80 }
const health = { type: 'http' }
const ws = { type: 'websocket' }

/** What was given, the field that the error names, and a part of its message. */
const refused: [options: unknown, field: string, message: RegExp][] = [
  [undefined, 'options', /must be an object, not undefined/],
  [[], 'options', /must be an object/],
  [{}, 'servers', /an array of at least one server, not undefined/],
  [{ servers: [] }, 'servers', /at least one/],
  [{ servers: 'a:80' }, 'servers', /an array/],
  [{ servers: ['a:80'], sevrers: 1 }, 'sevrers', /no option; known here: servers, strategy, keyless, health/],
  // eslint-disable-next-line no-sparse-arrays
  [{ servers: ['a:80', ,] }, 'servers[1]', /a text or an object, not undefined/],
  [{ servers: [null] }, 'servers[0]', /a text or an object, not null/],
  [{ servers: [80] }, 'servers[0]', /a text or an object, not 80/],
  [{ servers: [['a', 80]] }, 'servers[0]', /must be an object/],

  [{ servers: [{ host: 'a', port: 80, backup: true }] }, 'servers', /at least one that is no backup/],
  [{ servers: [{ host: 'a', port: 80, backup: 1 }] }, 'servers[0].backup', /true or false/],
  [{ servers: [{ host: 'a', port: 80, maxConnections: -1 }] }, 'servers[0].maxConnections', /at least 0/],
  [{ servers: ['a:80'], retry: 3 }, 'retry', /an object/],
  [{ servers: ['a:80'], retry: { tires: 3 } }, 'retry.tires', /known here: tries, total, budget/],
  [{ servers: ['a:80'], retry: { tries: 0 } }, 'retry.tries', /at least 1/],
  [{ servers: ['a:80'], retry: { total: -1 } }, 'retry.total', /milliseconds/],
  [{ servers: ['a:80'], retry: { budget: true } }, 'retry.budget', /an object/],
  [{ servers: ['a:80'], retry: { budget: { share: 2 } } }, 'retry.budget.share', /a number of 0 to 1/],
  [{ servers: ['a:80'], retry: { budget: { share: '0.5' } } }, 'retry.budget.share', /a number of 0 to 1/],
  [{ servers: ['a:80'], retry: { budget: { floor: 1.5 } } }, 'retry.budget.floor', /an integer/],
  [{ servers: ['a:80'], pendingHandshakes: '1' }, 'pendingHandshakes', /an integer/],
  [{ servers: ['a:80'], queue: { size: 0 } }, 'queue.size', /at least 1/],
  [{ servers: ['a:80'], queue: { timeout: 0 } }, 'queue.timeout', /milliseconds/],
  [{ servers: ['a:80'], queue: null }, 'queue', /an object/],

  [{ servers: [''] }, 'servers[0]', /'' is no host name and no whole IPv4 address; a server is 'host:port'/],
  [{ servers: ['a'] }, 'servers[0]', /the port is missing; write 'a:80'/],
  [{ servers: ['a:'] }, 'servers[0]', /port must be an integer of 1 to 65535, not ''/],
  [{ servers: ['a:0'] }, 'servers[0]', /1 to 65535/],
  [{ servers: ['a:65536'] }, 'servers[0]', /1 to 65535/],
  [{ servers: ['a:080'] }, 'servers[0]', /1 to 65535/],
  [{ servers: ['a:http'] }, 'servers[0]', /1 to 65535/],
  [{ servers: ['a:80\n'] }, 'servers[0]', /1 to 65535/],
  [{ servers: ['a:80', ':80'] }, 'servers[1]', /'' is no host name/],
  [{ servers: ['a b:80'] }, 'servers[0]', /'a b' is no host name/],
  [{ servers: ['http://a:80'] }, 'servers[0]', /not '\/\/a:80'/],
  [{ servers: ['10.1:80'] }, 'servers[0]', /'10.1' is no host name and no whole IPv4 address/],
  [{ servers: ['::1:80'] }, 'servers[0]', /'host:port', '\[::1\]:port' or 'unix:\/path'/],
  [{ servers: ['[::1]'] }, 'servers[0]', /the port is missing; write '\[::1\]:80'/],
  [{ servers: ['[::1]80'] }, 'servers[0]', /is not 'host:port'/],
  [{ servers: ['[a]:80'] }, 'servers[0]', /'a' is no IPv6 address/],
  [{ servers: ['unix:'] }, 'servers[0]', /must begin with '\/'/],
  [{ servers: ['unix:run/a'] }, 'servers[0]', /must begin with '\/'/],

  [{ servers: [{}] }, 'servers[0].host', /missing; a server has host and port, or socketPath/],
  [{ servers: [{ host: 'a' }] }, 'servers[0].port', /missing/],
  [{ servers: [{ host: '', port: 80 }] }, 'servers[0].host', /a text that is not empty/],
  [{ servers: [{ host: 1, port: 80 }] }, 'servers[0].host', /a text that is not empty, not 1/],
  [{ servers: [{ host: '[::1]', port: 80 }] }, 'servers[0].host', /without brackets/],
  [{ servers: [{ host: 'a:80', port: 80 }] }, 'servers[0].host', /'a:80' is no host name/],
  [{ servers: [{ host: 'a', port: '80' }] }, 'servers[0].port', /an integer of 1 to 65535, not '80'/],
  [{ servers: [{ host: 'a', port: 0 }] }, 'servers[0].port', /1 to 65535, not 0/],
  [{ servers: [{ host: 'a', port: 65_536 }] }, 'servers[0].port', /1 to 65535/],
  [{ servers: [{ host: 'a', port: 80.5 }] }, 'servers[0].port', /1 to 65535/],
  [{ servers: [{ socketPath: '' }] }, 'servers[0].socketPath', /not empty/],
  [{ servers: [{ socketPath: '/a', port: 80 }] }, 'servers[0].port', /a server has either/],
  [{ servers: [{ ...a, id: '' }] }, 'servers[0].id', /not empty/],
  [{ servers: [{ ...a, weight: 0 }] }, 'servers[0].weight', /an integer of 1 to 10000, not 0/],
  [{ servers: ['b:80', { ...a, weight: -1 }] }, 'servers[1].weight', /1 to 10000, not -1/],
  [{ servers: [{ ...a, weight: 1.5 }] }, 'servers[0].weight', /1 to 10000/],
  [{ servers: [{ ...a, weight: 10_001 }] }, 'servers[0].weight', /1 to 10000/],
  [{ servers: [{ ...a, weight: '2' }] }, 'servers[0].weight', /not '2'/],
  [{ servers: [{ ...a, weight: null }] }, 'servers[0].weight', /not null/],
  [{ servers: [{ ...a, down: 'yes' }] }, 'servers[0].down', /true or false, not 'yes'/],
  [{ servers: [{ ...a, maxFails: -1 }] }, 'servers[0].maxFails', /an integer of at least 0, not -1/],
  [{ servers: [{ ...a, failTimeout: NaN }] }, 'servers[0].failTimeout', /milliseconds of 0 to/],
  [{ servers: [{ ...a, wieght: 2 }] }, 'servers[0].wieght', /known here: host, port, socketPath, id, weight/],
  [{ servers: [a, 'a:80'] }, 'servers[1].id', /'a:80' is the id of servers\[0\] already/],
  [{ servers: ['a:80', { host: 'b', port: 80, id: 'a:80' }] }, 'servers[1].id', /servers\[0\]/],

  [{ servers: [{ ...a, sendProxy: 2 }] }, 'servers[0].sendProxy', /must be 'v1', 'v2' or false, not 2/],
  [{ servers: [{ ...a, sendProxy: true }] }, 'servers[0].sendProxy', /not true/],
  [{ servers: [a], sendProxy: 'v3' }, 'sendProxy', /not 'v3'/],
  [{ servers: [{ ...a, tls: 1 }] }, 'servers[0].tls', /must be an object, not 1/],
  [{ servers: [{ ...a, tls: { verify: false } }] }, 'servers[0].tls.verify', /known here: servername, ca/],
  [{ servers: [{ ...a, tls: { servername: '10.0.0.1' } }] }, 'servers[0].tls.servername', /must be a name/],
  [{ servers: [{ ...a, tls: { rejectUnauthorized: 0 } }] }, 'servers[0].tls.rejectUnauthorized', /true or/],
  [{ servers: [{ ...a, tls: { cert: 'nonsense' } }] }, 'servers[0].tls', /can't be used: /],
  [{ servers: [{ ...a, tls: { ca: 5 } }] }, 'servers[0].tls', /can't be used: /],

  [{ servers: [a], maxFails: 0.5 }, 'maxFails', /an integer of at least 0, not 0.5/],
  [{ servers: [a], maxFails: Infinity }, 'maxFails', /an integer/],
  [{ servers: [a], failTimeout: -1 }, 'failTimeout', /milliseconds of 0 to 2147483647, not -1/],
  [{ servers: [a], failTimeout: Infinity }, 'failTimeout', /not Infinity/],
  [{ servers: [a], failTimeout: '10s' }, 'failTimeout', /not '10s'/],
  [{ servers: [a], strategy: 'ketama' }, 'strategy', /such as ketama\(\), not 'ketama'/],
  [{ servers: [a], strategy: ketama }, 'strategy', /such as ketama\(\), not \[Function: ketama\]/],
  [{ servers: [a], keyless: { name: 'x' } }, 'keyless', /a build method/],
  [{ servers: [a], keyless: null }, 'keyless', /not null/],

  [{ servers: [a], health: true }, 'health', /must be an object, not true/],
  [{ servers: [a], health: {} }, 'health.type', /must be 'http', 'tcp' or 'websocket', not undefined/],
  [{ servers: [a], health: { type: 'ping' } }, 'health.type', /not 'ping'/],
  [
    { servers: [a], health: { ...health, url: '/' } },
    'health.url',
    /known here: type, method, path, headers, expect/
  ],
  [{ servers: [a], health: { ...health, path: 'up' } }, 'health.path', /beginning with '\/'/],
  [{ servers: [a], health: { ...health, path: '/ü' } }, 'health.path', /percent-encoded, not '\/ü'/],
  [{ servers: [a], health: { ...health, path: '/a b' } }, 'health.path', /percent-encoded/],
  [{ servers: [a], health: { ...health, path: '/a#b' } }, 'health.path', /'#' and anything beyond/],
  [{ servers: [a], health: { ...health, interval: 0 } }, 'health.interval', /milliseconds of 1 to/],
  [{ servers: [a], health: { ...health, interval: 2 ** 31 } }, 'health.interval', /1 to 2147483647/],
  [{ servers: [a], health: { ...health, timeout: 0 } }, 'health.timeout', /milliseconds of 1 to/],
  [{ servers: [a], health: { ...health, rise: 0 } }, 'health.rise', /an integer of at least 1, not 0/],
  [{ servers: [a], health: { ...health, fall: 0 } }, 'health.fall', /an integer of at least 1, not 0/],
  [{ servers: [a], health: { ...health, headers: [] } }, 'health.headers', /an object of names and texts/],
  [{ servers: [a], health: { ...health, headers: { x: 1 } } }, 'health.headers["x"]', /a text, not 1/],
  [
    { servers: [a], health: { ...health, headers: { 'a b': '' } } },
    'health.headers["a b"]',
    /valid HTTP token/
  ],
  [
    { servers: [a], health: { ...health, headers: { x: 'a\nb' } } },
    'health.headers["x"]',
    /Invalid character/
  ],
  [{ servers: [a], health: { ...health, headers: { x: '', X: '' } } }, 'health.headers["X"]', /twice/],
  [{ servers: [a], health: { ...health, headers: { Upgrade: 'x' } } }, 'health.headers["Upgrade"]', /itself/],
  [
    { servers: [a], health: { ...health, expect: 200 } },
    'health.expect',
    /200 to 599, or a function, not 200/
  ],
  [{ servers: [a], health: { ...health, expect: [] } }, 'health.expect', /an array of statuses/],
  [{ servers: [a], health: { ...health, expect: [101] } }, 'health.expect', /200 to 599/],
  [{ servers: [a], health: { ...health, expect: ['200'] } }, 'health.expect', /200 to 599/],
  [{ servers: [a], health: { ...health, method: 'get' } }, 'health.method', /'OPTIONS' or 'POST', not 'get'/],
  [{ servers: [a], health: { ...health, method: 'PUT' } }, 'health.method', /'GET', 'HEAD'/],
  [
    { servers: [a], health: { ...health, match: '' } },
    'health.match',
    /a text that is not empty, or a RegExp/
  ],
  [{ servers: [a], health: { ...health, match: 5 } }, 'health.match', /not 5/],
  [{ servers: [a], health: { ...health, method: 'HEAD', match: 'x' } }, 'health.match', /method is HEAD/],
  [{ servers: [a], health: { ...health, maxBody: 0 } }, 'health.maxBody', /1 to 16777216/],
  [{ servers: [a], health: { ...health, protocols: ['x'] } }, 'health.protocols', /is no option/],
  [{ servers: [a], health: { ...health, downInterval: 0 } }, 'health.downInterval', /milliseconds of 1 to/],
  [
    { servers: [a], health: { ...health, starting: 'later' } },
    'health.starting',
    /'take' or 'wait', not 'later'/
  ],
  [{ servers: [a], health: { ...health, starting: null } }, 'health.starting', /not null/],
  [{ servers: [a], health: { ...health, port: 0 } }, 'health.port', /1 to 65535/],
  [{ servers: [a], health: { ...health, sendProxy: null } }, 'health.sendProxy', /not null/],
  [{ servers: [a], health: { ...health, tls: 1 } }, 'health.tls', /must be an object/],
  [
    { servers: [a], health: { ...health, tls: { ciphers: '' } } },
    'health.tls.ciphers',
    /known here: servername/
  ],
  [{ servers: [a], health: { ...health, tls: { cert: 'nonsense' } } }, 'health.tls', /can't be used: /],

  [{ servers: [a], health: { type: 'tcp', path: '/' } }, 'health.path', /known here: type, interval/],
  [{ servers: [a], health: { type: 'tcp', expect: [200] } }, 'health.expect', /is no option/],
  [{ servers: [a], health: { type: 'tcp', fall: 0 } }, 'health.fall', /at least 1/],
  [
    { servers: [a], health: { ...ws, expect: [101] } },
    'health.expect',
    /known here: type, path, headers, protocols/
  ],
  [{ servers: [a], health: { ...ws, method: 'GET' } }, 'health.method', /is no option/],
  [{ servers: [a], health: { ...ws, path: 'chat' } }, 'health.path', /beginning with '\/'/],
  [
    { servers: [a], health: { ...ws, protocols: 'chat' } },
    'health.protocols',
    /an array of names, not 'chat'/
  ],
  [{ servers: [a], health: { ...ws, protocols: ['a b'] } }, 'health.protocols[0]', /must be a token/],
  [{ servers: [a], health: { ...ws, protocols: ['a', 'a'] } }, 'health.protocols[1]', /is there twice/],
  [
    { servers: [a], health: { ...ws, headers: { 'Sec-WebSocket-Key': 'x' } } },
    'health.headers["Sec-WebSocket-Key"]',
    /is set by the probe itself/
  ]
]

for (const [options, field, message] of refused) {
  test(`${JSON.stringify(options) ?? 'nothing'} is refused by the name of ${field}`, () => {
    assert.throws(
      () => new Upstream(options as UpstreamOptions),
      (error: unknown) => {
        assert.ok(error instanceof ConfigError)
        assert.equal(error.code, 'ERR_RINGWAY_CONFIG')
        assert.equal(error.field, field)
        assert.match(error.message, message)
        assert.ok(error.message.startsWith(`${field}: `))
        return true
      }
    )
  })
}

test('the path that a caller gives stands before the names of fields', () => {
  for (const [options, field] of [
    [5, 'routes[0].upstream'],
    [{ servers: [] }, 'routes[0].upstream.servers'],
    [{ servers: ['a'] }, 'routes[0].upstream.servers[0]'],
    [{ servers: [a], health: {} }, 'routes[0].upstream.health.type']
  ]) {
    assert.throws(() => new Upstream(options as UpstreamOptions, 'routes[0].upstream'), { field })
  }
})

test('a key is never shown in a message', () => {
  const key = 'very secret'
  assert.throws(
    () => new Upstream({ servers: [{ ...a, tls: { key } }] }),
    (error: Error) => error instanceof ConfigError && !error.message.includes(key)
  )
})

test('each form of a server has an address, and an id as it is written', () => {
  const { servers } = new Upstream({
    servers: [
      'sre1:8080',
      '10.0.0.1:80',
      '[::1]:8080',
      'unix:/run/a.sock',
      'under_score.example.:1',
      { host: 'sre2', port: 8080 },
      { host: '::1', port: 9090 },
      { socketPath: '/run/b.sock' },
      { host: 'sre3', port: 8080, id: 'three', weight: 2 }
    ]
  })
  assert.deepEqual(
    servers.map(({ id, address, weight }) => [id, address, weight]),
    [
      ['sre1:8080', { host: 'sre1', port: 8080 }, 1],
      ['10.0.0.1:80', { host: '10.0.0.1', port: 80 }, 1],
      ['[::1]:8080', { host: '::1', port: 8080 }, 1],
      ['unix:/run/a.sock', { socketPath: '/run/a.sock' }, 1],
      ['under_score.example.:1', { host: 'under_score.example.', port: 1 }, 1],
      ['sre2:8080', { host: 'sre2', port: 8080 }, 1],
      ['[::1]:9090', { host: '::1', port: 9090 }, 1],
      ['unix:/run/b.sock', { socketPath: '/run/b.sock' }, 1],
      ['three', { host: 'sre3', port: 8080 }, 2]
    ]
  )
})

test('TLS asks for the host by name, never for an address, and verifies', () => {
  const { servers } = new Upstream({
    servers: [
      { host: 'a', port: 443, tls: true },
      { host: '10.0.0.1', port: 443, tls: {} },
      { host: '::1', port: 443, tls: { servername: 'b', rejectUnauthorized: false } },
      { socketPath: '/a', tls: { ca: cert } },
      { host: 'a', port: 80, tls: false },
      'a:8080'
    ]
  })
  assert.deepEqual(
    servers.map(({ tls }) => tls),
    [
      { servername: 'a', rejectUnauthorized: true },
      { rejectUnauthorized: true },
      { servername: 'b', rejectUnauthorized: false },
      { ca: cert, rejectUnauthorized: true },
      undefined,
      undefined
    ]
  )
})

test('an option that is undefined is an option that is not there', () => {
  const options = {
    servers: [{ ...a, weight: undefined, tls: undefined }],
    health: undefined,
    maxFails: undefined
  }
  assert.equal(new Upstream(options as unknown as UpstreamOptions).servers[0]?.weight, 1)
})

test('zero switches marks off', () => {
  assert.doesNotThrow(
    () => new Upstream({ servers: [{ ...a, maxFails: 0, failTimeout: 0 }], failTimeout: 0 })
  )
})
