import assert from 'node:assert/strict'
import { test } from 'node:test'
import { requestHeaders, responseHeaders } from '@ringway/tunnel'
import { upgradeRequest } from '../src/headers.ts'
import { forwarding, headers, KEY, request } from './support/handshake.ts'

const SET_ANEW = [
  'X-Forwarded-For',
  '192.0.2.7',
  'X-Forwarded-Proto',
  'https',
  'X-Forwarded-Host',
  'example.com'
]

test('what a client sends reaches the backend as sent, in its order', () => {
  const sent = [
    'Host',
    'example.com',
    'cookie',
    'a=1',
    'X-One',
    '1',
    'Cookie',
    'b=2',
    'Authorization',
    'Basic x'
  ]
  assert.deepEqual(requestHeaders(sent, forwarding), [...sent, ...SET_ANEW])
})

for (const name of [
  'Connection',
  'Keep-Alive',
  'Proxy-Connection',
  'Proxy-Authorization',
  'TE',
  'Trailer',
  'Transfer-Encoding',
  'Upgrade',
  'HTTP2-Settings',
  'Expect'
]) {
  test(`${name} does not reach the backend`, () => {
    assert.deepEqual(requestHeaders([name, 'x', name.toLowerCase(), 'y', 'Host', 'a'], forwarding), [
      'Host',
      'a',
      ...SET_ANEW
    ])
  })
}

test('headers named in any Connection header do not reach the backend', () => {
  const sent = [
    'X-One',
    '1',
    'Connection',
    'x-one , X-TWO',
    'X-Two',
    '2',
    'connection',
    'X-Three',
    'x-three',
    '3'
  ]
  assert.deepEqual(requestHeaders(['X-Four', '4', ...sent], forwarding), ['X-Four', '4', ...SET_ANEW])
})

test('naming a forwarding header in Connection does not keep ours away', () => {
  const sent = ['Connection', 'X-Forwarded-For, X-Forwarded-Proto', 'X-Forwarded-For', '10.0.0.1']
  assert.deepEqual(requestHeaders(sent, forwarding), SET_ANEW)
})

for (const name of [
  'X-Forwarded-For',
  'x-forwarded-host',
  'X-Forwarded-Port',
  'Forwarded',
  'X-Real-IP',
  'X_Forwarded_For',
  'x_real-ip'
]) {
  test(`a forged ${name} is dropped`, () => {
    assert.deepEqual(requestHeaders([name, 'forged'], forwarding), SET_ANEW)
  })
}

test('a client without address or Host is forwarded without them', () => {
  assert.deepEqual(requestHeaders([], { for: undefined, proto: 'http', host: undefined }), [
    'X-Forwarded-Proto',
    'http'
  ])
})

test('an answer keeps its order and each Set-Cookie, and loses what speaks of one hop', () => {
  const sent = [
    'Set-Cookie',
    'a=1',
    'Connection',
    'close, X-Hop',
    'X-Hop',
    '1',
    'Date',
    'now',
    'set-cookie',
    'b=2'
  ]
  assert.deepEqual(responseHeaders([...sent, 'Transfer-Encoding', 'chunked', 'Keep-Alive', 'timeout=5']), [
    'Set-Cookie',
    'a=1',
    'Date',
    'now',
    'set-cookie',
    'b=2'
  ])
})

test("the upgrade request is the client's, with Connection and Upgrade set anew", () => {
  const rawHeaders = headers(
    [],
    ['Content-Length', '0', 'Connection', 'keep-alive', 'Sec-WebSocket-Protocol', 'a, b']
  )
  assert.equal(
    upgradeRequest(request({ rawHeaders }), forwarding),
    [
      'GET /chat?room=1 HTTP/1.1',
      'Host: example.com',
      `Sec-WebSocket-Key: ${KEY}`,
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Protocol: a, b',
      'X-Forwarded-For: 192.0.2.7',
      'X-Forwarded-Proto: https',
      'X-Forwarded-Host: example.com',
      'Connection: Upgrade',
      'Upgrade: websocket',
      '',
      ''
    ].join('\r\n')
  )
})

for (const evil of ['a\r\nX-Evil: 1', 'a\nb', 'a\rb', 'a\0b', 'a\u0001b', 'a\u010ab']) {
  const shown = JSON.stringify(evil)
  test(`${shown} is refused as a value`, () => {
    assert.throws(() => upgradeRequest(request({ rawHeaders: ['X-One', evil] }), forwarding), {
      name: 'TypeError',
      message: /X-One/
    })
  })
  test(`${shown} is refused as a name`, () => {
    assert.throws(() => upgradeRequest(request({ rawHeaders: [evil, '1'] }), forwarding), TypeError)
  })
  test(`${shown} is refused in the target`, () => {
    assert.throws(() => upgradeRequest(request({ target: `/${evil}` }), forwarding), TypeError)
  })
  test(`${shown} is refused as the client's address and host`, () => {
    assert.throws(() => upgradeRequest(request(), { ...forwarding, for: evil }), TypeError)
    assert.throws(() => upgradeRequest(request(), { ...forwarding, host: evil }), TypeError)
  })
}

test('a space in a name or in the target is refused', () => {
  assert.throws(() => upgradeRequest(request({ rawHeaders: ['X One', '1'] }), forwarding), TypeError)
  assert.throws(() => upgradeRequest(request({ target: '/a HTTP/1.1' }), forwarding), TypeError)
})
