import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { ClientHttp2Session, ServerHttp2Stream } from 'node:http2'
import { connect, constants, createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { admitConnect, plainHeaders, streamHeaders, StreamSide } from '../src/index.ts'

const GOOD = [
  [':method', 'CONNECT'],
  [':protocol', 'websocket'],
  [':scheme', 'https'],
  [':authority', 'gate.test:8443'],
  [':path', '/chat?room=1'],
  ['sec-websocket-version', '13']
]

/** The good head with one name's lines replaced. */
function head(name?: string, ...values: string[]): string[] {
  return [...GOOD.filter(([each]) => each !== name), ...values.map(value => [name!, value])].flat()
}

test('a good extended CONNECT becomes a handshake of HTTP/1.1 with a key of its own', () => {
  const rawHeaders = [
    ...head('cookie', 'a=1', 'b=2'),
    'sec-websocket-protocol',
    'one, two',
    'sec-websocket-extensions',
    'permessage-deflate; client_no_context_takeover'
  ]
  const { head: made, offer } = admitConnect(rawHeaders)
  assert.deepEqual(made, {
    method: 'CONNECT',
    target: '/chat?room=1',
    httpVersion: '2.0',
    rawHeaders: [
      ['Host', 'gate.test:8443'],
      ['sec-websocket-version', '13'],
      ['sec-websocket-protocol', 'one, two'],
      ['sec-websocket-extensions', 'permessage-deflate; client_no_context_takeover'],
      ['cookie', 'a=1; b=2'],
      ['Sec-WebSocket-Key', offer.key]
    ].flat()
  })
  assert.equal(Buffer.from(offer.key, 'base64').length, 16)
  assert.notEqual(admitConnect(rawHeaders).offer.key, offer.key)
  assert.deepEqual([offer.protocols, offer.extensions], [['one', 'two'], ['permessage-deflate']])
})

for (const [name, values, fault] of [
  [':method', ['GET'], /the method/],
  [':protocol', [], /:protocol/],
  [':protocol', ['websocket', 'websocket'], /:protocol/],
  [':scheme', [], /:scheme/],
  [':scheme', ['ftp'], /:scheme/],
  [':authority', [], /:authority/],
  [':authority', ['a/b'], /name a host/],
  [':path', [], /must be a path/],
  [':path', ['chat'], /must be a path/],
  ['host', ['gate.test'], /same as :authority/],
  ['connection', ['keep-alive'], /connection is no header/],
  ['upgrade', ['websocket'], /upgrade is no header/],
  ['keep-alive', ['timeout=5'], /keep-alive is no header/],
  ['proxy-connection', ['close'], /proxy-connection is no header/],
  ['transfer-encoding', ['chunked'], /transfer-encoding is no header/],
  ['te', ['trailers, gzip'], /te is no header/],
  ['content-length', ['0'], /no body/],
  ['expect', ['100-continue'], /Expect/],
  ['sec-websocket-version', [], /exactly one Sec-WebSocket-Version/]
] as const) {
  test(`an extended CONNECT is refused whose ${name} is ${values.join(' and ') || 'missing'}`, () => {
    assert.throws(() => admitConnect(head(name, ...values)), {
      code: 'ERR_RINGWAY_BAD_HANDSHAKE',
      message: fault
    })
  })
}

test('another version is 426', () => {
  assert.throws(() => admitConnect(head('sec-websocket-version', '8')), { code: 'ERR_RINGWAY_BAD_VERSION' })
})

test('headers of HTTP/2 as HTTP/1.1 has them, and the other way round', () => {
  assert.deepEqual(plainHeaders([':path', '/', ':authority', 'a', 'host', 'A', 'x', '1', 'x', '2']), [
    'Host',
    'a',
    'x',
    '1',
    'x',
    '2'
  ])
  assert.deepEqual(plainHeaders([':path', '/', 'host', 'a']), ['host', 'a'])
  assert.deepEqual(plainHeaders([':authority', 'a', 'host', 'b']), ['Host', 'a', 'host', 'b'])
  const answer = ['Connection', 'Upgrade', 'Upgrade', 'websocket', 'Sec-WebSocket-Accept', 'x', 'X-A', '1']
  assert.deepEqual(streamHeaders(answer), ['X-A', '1'])
})

/** A client's connection, and a side for each stream that it opens. */
async function sides(
  t: TestContext
): Promise<{ session: ClientHttp2Session; next: () => Promise<StreamSide> }> {
  const server = createServer()
  const made: StreamSide[] = []
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.respond()
    made.push(new StreamSide(stream))
    server.emit('made')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.after(() => {
    session.destroy()
    server.close()
  })
  const next = async (): Promise<StreamSide> => {
    if (made.length === 0) await once(server, 'made')
    return made.shift()!
  }
  return { session, next }
}

test('a side of HTTP/2: END_STREAM is an end, and what comes after it both ways still passes', async t => {
  const { session, next } = await sides(t)
  const client = session.request({ ':method': 'POST' })
  client.end('last').setEncoding('utf8')
  const side = (await next()).setEncoding('utf8')
  assert.deepEqual(await once(side, 'data'), ['last'])
  await once(side, 'end')
  const heard = once(client, 'data')
  side.write('more')
  assert.deepEqual(await heard, ['more'])
  side.end()
  await Promise.all([once(side, 'close'), once(client, 'close')])
  assert.ok(side.readableEnded && side.writableFinished)
  assert.equal(client.rstCode, constants.NGHTTP2_NO_ERROR)
})

test("a side of HTTP/2: a client's RST_STREAM closes it without an end, and a destroyed one says CANCEL", async t => {
  const { session, next } = await sides(t)
  const client = session.request({ ':method': 'POST' })
  const side = await next()
  side.resume().on('end', () => assert.fail('that was no end'))
  client.close(constants.NGHTTP2_CANCEL)
  await once(side, 'close')
  assert.equal(side.readableEnded, false)

  const other = session.request({ ':method': 'POST' })
  const second = await next()
  second.destroy()
  await once(other, 'close')
  assert.equal(other.rstCode, constants.NGHTTP2_CANCEL)
})

test('a side of HTTP/2 that is destroyed behind its own end says NO_ERROR', async t => {
  const { session, next } = await sides(t)
  const client = session.request({ ':method': 'POST' })
  const side = await next()
  side.end(() => side.destroy())
  client.resume()
  await once(client, 'close')
  assert.equal(client.rstCode, constants.NGHTTP2_NO_ERROR)
})
