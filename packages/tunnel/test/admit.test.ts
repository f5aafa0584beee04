import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RequestHead } from '@ringway/tunnel'
import { admit, TunnelError } from '@ringway/tunnel'
import { headers, KEY, request } from './support/handshake.ts'

function changed(name: string, ...values: string[]): Partial<RequestHead> {
  return {
    rawHeaders: headers(
      [name],
      values.flatMap(value => [name, value])
    )
  }
}

test('a plain handshake is admitted with its key', () => {
  assert.deepEqual(admit(request()), { key: KEY, protocols: [], extensions: [] })
})

test('what is offered is read from all its headers, in order', () => {
  const offer = admit(
    request({
      rawHeaders: headers(
        [],
        [
          'Sec-WebSocket-Protocol',
          'chat.v2 ,chat.v1',
          'sec-websocket-protocol',
          'soap',
          'Sec-WebSocket-Extensions',
          'permessage-deflate; client_max_window_bits, x-one;a="b"'
        ]
      )
    })
  )
  assert.deepEqual(offer.protocols, ['chat.v2', 'chat.v1', 'soap'])
  assert.deepEqual(offer.extensions, ['permessage-deflate', 'x-one'])
})

const good: Record<string, Partial<RequestHead>> = {
  'a list in Connection': changed('Connection', 'keep-alive, Upgrade'),
  'close beside upgrade in Connection': changed('Connection', 'close, Upgrade'),
  'upgrade in the second Connection header': changed('Connection', 'keep-alive', 'UPGRADE'),
  'another header named in Connection': changed('Connection', 'Upgrade, X-Secret'),
  'another case of websocket': changed('Upgrade', 'WebSocket'),
  'a length of 0': { rawHeaders: headers([], ['Content-Length', '0']) },
  'a host with a port': changed('Host', 'example.com:8443'),
  'an IPv6 host': changed('Host', '[2001:db8::1]:80'),
  'bytes above ASCII in the target': { target: '/caf\u00e9' },
  'a path of one slash': { target: '/' },
  'two slashes further on in the path': { target: '/a//b' }
}
for (const [name, changes] of Object.entries(good)) {
  test(`${name} is admitted`, () => {
    assert.equal(admit(request(changes)).key, KEY)
  })
}

const large: [name: string, changes: Partial<RequestHead>, fault: RegExp][] = [
  ['a target of 8,193 bytes', { target: `/${'a'.repeat(8_192)}` }, /target/],
  [
    '101 headers',
    {
      rawHeaders: headers(
        [],
        Array.from({ length: 2 * 96 }, () => 'x')
      )
    },
    /100 headers/
  ],
  ['65,537 bytes of headers', { rawHeaders: headers([], ['x', 'a'.repeat(65_500)]) }, /65536 bytes/]
]
for (const [name, changes, fault] of large) {
  test(`${name} are too much`, () => {
    assert.throws(() => admit(request(changes)), {
      code: 'ERR_RINGWAY_HEAD_TOO_LARGE',
      status: 431,
      message: fault
    })
  })
}

test('a target of 8,192 bytes and 100 headers are not', () => {
  const target = `/${'a'.repeat(8_191)}`
  const rawHeaders = headers(
    [],
    Array.from({ length: 2 * 95 }, () => 'x')
  )
  assert.equal(rawHeaders.length, 200)
  assert.equal(admit(request({ target, rawHeaders })).key, KEY)
})

const bad: [name: string, changes: Partial<RequestHead>, fault: RegExp][] = [
  ['POST', { method: 'POST' }, /method must be GET/],
  ['a method in lower case', { method: 'get' }, /method must be GET/],
  ['HTTP/1.0', { httpVersion: '1.0' }, /HTTP version must be 1\.1/],
  ['an absolute target', { target: 'http://example.com/chat' }, /target must be a path/],
  ['a target that begins with a host', { target: '//evil.example/chat' }, /target must be a path/],
  ['a target that begins with a host for some', { target: '/\\evil.example' }, /target must be a path/],
  ['a target of an authority', { target: 'example.com:443' }, /target must be a path/],
  ['an asterisk as target', { target: '*' }, /target must be a path/],
  ['an empty target', { target: '' }, /target must be a path/],
  ['a fragment in the target', { target: '/a#b' }, /target must be a path/],
  ['a line break in the target', { target: '/a\r\nX: y' }, /target must be a path/],
  ['a space in the target', { target: '/a b' }, /target must be a path/],
  ['no Host', changed('Host'), /exactly one Host/],
  ['two Host headers', changed('Host', 'a.example', 'b.example'), /exactly one Host/],
  ['two equal Host headers', changed('Host', 'a.example', 'a.example'), /exactly one Host/],
  ['an empty Host', changed('Host', ''), /exactly one Host/],
  ['a list of hosts', changed('Host', 'a.example, b.example'), /name a host/],
  ["a user's name in Host", changed('Host', 'user@a.example'), /name a host/],
  ['a path in Host', changed('Host', 'a.example/b'), /name a host/],
  ['a NUL in Host', changed('Host', 'a\0b'), /name a host/],
  ['no Upgrade', changed('Upgrade'), /Upgrade header must be "websocket"/],
  ['an upgrade to h2c', changed('Upgrade', 'h2c'), /Upgrade header must be "websocket"/],
  ['a list that holds h2c', changed('Upgrade', 'websocket, h2c'), /Upgrade header must be "websocket"/],
  ['two Upgrade headers', changed('Upgrade', 'websocket', 'h2c'), /Upgrade header must be "websocket"/],
  ['a version with the upgrade', changed('Upgrade', 'websocket/13'), /Upgrade header must be "websocket"/],
  ['no Connection', changed('Connection'), /Connection header must contain "upgrade"/],
  ['Connection without upgrade', changed('Connection', 'keep-alive'), /must contain "upgrade"/],
  ['a longer word in Connection', changed('Connection', 'upgraded'), /must contain "upgrade"/],
  ['a no-break space before upgrade', changed('Connection', '\u00a0upgrade'), /must contain "upgrade"/],
  ['the key named in Connection', changed('Connection', 'upgrade, Sec-WebSocket-Key'), /must not name/],
  ['Host named in Connection', changed('Connection', 'upgrade, host'), /must not name/],
  ['no key', changed('Sec-WebSocket-Key'), /exactly one Sec-WebSocket-Key/],
  ['two keys', changed('Sec-WebSocket-Key', KEY, KEY), /exactly one Sec-WebSocket-Key/],
  ['a short key', changed('Sec-WebSocket-Key', 'c2hvcnQ='), /16 bytes in base64/],
  ['a long key', changed('Sec-WebSocket-Key', `AAAA${KEY}`), /16 bytes in base64/],
  ['a key with a line break behind', changed('Sec-WebSocket-Key', `${KEY}\n`), /16 bytes in base64/],
  ['no version', changed('Sec-WebSocket-Version'), /exactly one Sec-WebSocket-Version/],
  ['two versions', changed('Sec-WebSocket-Version', '13', '13'), /exactly one Sec-WebSocket-Version/],
  ['a body', { rawHeaders: headers([], ['Content-Length', '5']) }, /no body/],
  ['a strange length', { rawHeaders: headers([], ['Content-Length', '+0']) }, /no body/],
  [
    'two lengths',
    { rawHeaders: headers([], ['Content-Length', '0', 'content-length', '0']) },
    /at most one Content-Length/
  ],
  ['chunks', { rawHeaders: headers([], ['Transfer-Encoding', 'chunked']) }, /no body/],
  [
    'a length and chunks',
    { rawHeaders: headers([], ['Content-Length', '0', 'transfer-encoding', 'chunked']) },
    /no body/
  ],
  ['Expect', { rawHeaders: headers([], ['Expect', '100-continue']) }, /no Expect header/]
]
for (const [name, changes, fault] of bad) {
  test(`${name} is refused with 400 and a line that names the fault`, () => {
    assert.throws(
      () => admit(request(changes)),
      (error: unknown) => {
        assert.ok(error instanceof TunnelError)
        const { code, side, status, retryable } = error
        assert.deepEqual(
          { code, side, status, retryable },
          { code: 'ERR_RINGWAY_BAD_HANDSHAKE', side: 'client', status: 400, retryable: false }
        )
        assert.match(error.message, fault)
        assert.doesNotMatch(error.message, /[\r\n]/)
        return true
      }
    )
  })
}

for (const version of ['8', '0', '013', '14', '13, 8', '']) {
  test(`version "${version}" is refused with 426`, () => {
    assert.throws(() => admit(request(changed('Sec-WebSocket-Version', version))), {
      code: 'ERR_RINGWAY_BAD_VERSION',
      status: 426,
      side: 'client',
      message: /must be 13/
    })
  })
}

test('a header of blanks only takes no time worth speaking of', () => {
  const started = process.cpuUsage() // ours alone, however busy the machine is
  const blanks = `${' \t'.repeat(15_000)}x`
  admit(request({ rawHeaders: headers([], ['Sec-WebSocket-Protocol', blanks, 'Connection', blanks]) }))
  assert.ok(process.cpuUsage(started).user < 500_000)
})
