import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Accepted, Declined, OpenOptions, Target } from '@ringway/tunnel'
import { acceptKey, open } from '@ringway/tunnel'
import { singles, splits } from './support/bytes.ts'
import { forwarding, headers, KEY, offerOf, request, switching } from './support/handshake.ts'
import { backend } from './support/sockets.ts'
import { noSocketLeft, until } from './support/waiting.ts'

const LIMITS: OpenOptions = { connect: 20_000, handshake: 20_000, read: 20_000 }

const head = request({
  rawHeaders: headers(
    [],
    ['Sec-WebSocket-Protocol', 'chat.v2, chat.v1', 'Sec-WebSocket-Extensions', 'permessage-deflate']
  )
})

async function tryOpen(target: Target, options: Partial<OpenOptions> = {}): Promise<Accepted | Declined> {
  return open(target, head, offerOf(head), forwarding, { ...LIMITS, ...options })
}

/** A backend that waits for the whole request head and then does something. */
async function answering(t: TestContext, answer: (socket: Socket) => void): Promise<Target> {
  return backend(t, socket => {
    let seen = ''
    socket.on('data', chunk => {
      const complete = seen.includes('\r\n\r\n')
      seen += chunk.toString('latin1')
      if (!complete && seen.includes('\r\n\r\n')) answer(socket)
    })
  })
}

async function accepted(t: TestContext, answer: (socket: Socket) => void): Promise<Accepted> {
  const result = await tryOpen(await answering(t, answer))
  t.after(() => result.backend.destroy())
  assert.ok(result.kind === 'accepted')
  return result
}

test('a good 101 is accepted: its headers without hop-by-hop ones, Connection and Upgrade set anew', async t => {
  const more =
    'Sec-WebSocket-Protocol: chat.v1\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nKeep-Alive: timeout=5\r\n'
  const result = await accepted(t, socket => socket.write(switching(more)))
  assert.equal(result.status, 101)
  assert.equal(result.reason, 'Switching Protocols')
  assert.deepEqual(
    result.rawHeaders,
    [
      ['Sec-WebSocket-Accept', acceptKey(KEY)],
      ['Sec-WebSocket-Protocol', 'chat.v1'],
      ['Set-Cookie', 'a=1'],
      ['set-cookie', 'b=2'],
      ['Connection', 'Upgrade'],
      ['Upgrade', 'websocket']
    ].flat()
  )
  assert.equal(result.rest.length, 0)
})

test('the accept key is that of RFC 6455', () => {
  assert.equal(acceptKey('dGhlIHNhbXBsZSBub25jZQ=='), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
})

test('a length or a coding on a 101 does not reach the client', async t => {
  const more = 'Content-Length: 0\r\nTransfer-Encoding: chunked\r\nX-One: 1\r\ncontent-length: 5\r\n'
  const { rawHeaders } = await accepted(t, socket => socket.write(switching(more)))
  assert.doesNotMatch(rawHeaders.join(), /content-length|transfer-encoding/i)
  assert.match(rawHeaders.join(), /X-One,1/)
})

test('exactly one request head reaches the backend', async t => {
  let seen = ''
  const target = await backend(t, socket => {
    socket.on('data', chunk => (seen += chunk.toString('latin1')))
    socket.once('data', () => socket.write(switching()))
  })
  const { backend: socket } = await tryOpen(target)
  socket.end()
  await until(() => seen.endsWith('\r\n\r\n'), 'the head is there')
  assert.equal(seen.indexOf('\r\n\r\n'), seen.length - 4)
  assert.match(seen, /^GET \/chat\?room=1 HTTP\/1\.1\r\nHost: example\.com\r\n/)
  assert.equal(seen.match(/\r\nConnection: Upgrade\r\n/g)?.length, 1)
  assert.equal(seen.match(/\r\nUpgrade: websocket\r\n/g)?.length, 1)
  assert.match(seen, /\r\nX-Forwarded-For: 192\.0\.2\.7\r\n/)
  socket.destroy()
})

test('bytes glued to the 101 come in rest or are still in the socket, in order', async t => {
  const glued = 'first frame\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'
  const { rest, backend: socket } = await accepted(t, peer => peer.end(switching() + glued))
  let text = rest.toString()
  for await (const chunk of socket) text += String(chunk)
  assert.equal(text, glued)
})

test('a 101 behind a 103, split at every byte, is accepted with what follows', async t => {
  const bytes = Buffer.from(`HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${switching()}frame`)
  const cuts = [...splits(bytes)].filter((_, i) => i % 5 === 0).concat([singles(bytes)])
  for (const pieces of cuts) {
    const result = await accepted(t, socket => {
      const next = (): void => {
        const piece = pieces.shift()
        if (piece === undefined) socket.end()
        else socket.write(piece, () => setImmediate(next))
      }
      next()
    })
    let text = result.rest.toString()
    for await (const chunk of result.backend) text += String(chunk)
    assert.equal(text, 'frame')
  }
})

test('the backend is left paused', async t => {
  const { backend: socket } = await accepted(t, peer => peer.write(switching()))
  assert.equal(socket.isPaused(), true)
  assert.deepEqual(
    ['data', 'close', 'timeout', 'error'].map(event => socket.listenerCount(event)),
    [0, 0, 0, 1]
  )
})

const good = switching()
const wrong: Record<string, string> = {
  'a wrong accept': good.replace(acceptKey(KEY), acceptKey('AAAAAAAAAAAAAAAAAAAAAA==')),
  'no accept': good.replace(/Sec-WebSocket-Accept.*\r\n/, ''),
  'two accepts': good.replace(/(Sec-WebSocket-Accept.*\r\n)/, '$1$1'),
  'no Upgrade': good.replace('Upgrade: websocket\r\n', ''),
  'another Upgrade': good.replace('Upgrade: websocket', 'Upgrade: h2c'),
  'two Upgrades': good.replace('Upgrade: websocket', 'Upgrade: websocket\r\nUpgrade: h2c'),
  'no Connection': good.replace('Connection: Upgrade\r\n', ''),
  'Connection without upgrade': good.replace('Connection: Upgrade', 'Connection: close'),
  'its accept named in Connection': good.replace(
    'Connection: Upgrade',
    'Connection: Upgrade, Sec-WebSocket-Accept'
  ),
  'a protocol never offered': switching('Sec-WebSocket-Protocol: soap\r\n'),
  'two protocols': switching('Sec-WebSocket-Protocol: chat.v1, chat.v2\r\n'),
  'two protocol headers': switching('Sec-WebSocket-Protocol: chat.v1\r\nSec-WebSocket-Protocol: chat.v2\r\n'),
  'an extension never offered': switching(
    'Sec-WebSocket-Extensions: permessage-deflate, x-webkit-deflate\r\n'
  ),
  'HTTP/1.0': good.replace('HTTP/1.1', 'HTTP/1.0'),
  'a malformed header': switching('A : b\r\n'),
  'a bare line feed': good.replaceAll('\r\n', '\n')
}
for (const [name, answer] of Object.entries(wrong)) {
  test(`a 101 with ${name} is a bad answer, at once, and the socket is gone`, async t => {
    const target = await answering(t, socket => socket.on('end', () => socket.end()).write(answer))
    await assert.rejects(tryOpen(target), {
      code: 'ERR_RINGWAY_BAD_ANSWER',
      status: 502,
      side: 'backend',
      retryable: false
    })
    await noSocketLeft()
  })
}

for (const [name, part] of Object.entries({ before: '', 'in the middle of': 'HTTP/1.1 101 Switching' })) {
  for (const way of ['FIN', 'RST']) {
    test(`a ${way} ${name} the head means no answer: another server may be tried`, async t => {
      const target = await answering(t, socket => {
        const leave = (): void => void (way === 'FIN' ? socket.end() : socket.resetAndDestroy())
        if (part === '') leave()
        else socket.write(part, () => setImmediate(leave))
      })
      await assert.rejects(tryOpen(target), {
        code: 'ERR_RINGWAY_ANSWER_MISSING',
        status: 502,
        retryable: true
      })
      await noSocketLeft()
    })
  }
}

test('silence ends at the limit, not early', async t => {
  const target = await answering(t, socket => socket.write('HTTP/1.1 101 Swit'))
  const started = performance.now()
  await assert.rejects(tryOpen(target, { handshake: 150 }), {
    code: 'ERR_RINGWAY_ANSWER_TIMEOUT',
    status: 504,
    retryable: true,
    message: /within 150 ms/
  })
  assert.ok(performance.now() - started >= 149)
})

test('one byte at a time does not put the limit off', async t => {
  const target = await answering(t, socket => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nX: ')
    const timer = setInterval(() => socket.write('x'), 20)
    socket.on('close', () => clearInterval(timer)).on('end', () => socket.destroy())
  })
  await assert.rejects(tryOpen(target, { handshake: 200 }), { code: 'ERR_RINGWAY_ANSWER_TIMEOUT' })
})

test('an endless head ends at 64 KiB', async t => {
  const target = await answering(t, socket => {
    const more = (): void => {
      while (socket.writable && socket.write('A: b\r\n'.repeat(1_000)));
    }
    socket.on('drain', more).write('HTTP/1.1 101 Switching Protocols\r\n', more)
  })
  await assert.rejects(tryOpen(target), { code: 'ERR_RINGWAY_BAD_ANSWER', message: /65536/ })
})

test('a signal ends the wait for the answer with its reason, and the socket is gone', async t => {
  const controller = new AbortController()
  const reason = new Error('the client is gone')
  const closed = new Promise(resolve => {
    void answering(t, socket => {
      socket.on('close', resolve).on('end', () => socket.end())
      controller.abort(reason)
    }).then(async target => assert.rejects(tryOpen(target, { signal: controller.signal }), reason))
  })
  await closed
})

test('a signal that comes later leaves the tunnel', async t => {
  const controller = new AbortController()
  const target = await answering(t, socket => socket.write(switching()))
  const { backend: socket } = await tryOpen(target, { signal: controller.signal })
  t.after(() => socket.destroy())
  controller.abort()
  assert.equal(socket.destroyed, false)
})

test('a request that would break out of its line is never dialled', async t => {
  let connections = 0
  const target = await backend(t, () => (connections += 1))
  const evil = request({ rawHeaders: headers([], ['X-One', '1\r\nX-Two: 2']) })
  await assert.rejects(open(target, evil, offerOf(request()), forwarding, LIMITS), TypeError)
  assert.equal(connections, 0)
})

test('a FIN right behind the 101 is a tunnel all the same', async t => {
  const { backend: socket } = await accepted(t, peer => peer.end(switching()))
  socket.resume()
  if (!socket.readableEnded) await once(socket, 'end')
  assert.equal(socket.writable, true)
})
