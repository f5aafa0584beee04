import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Declined } from '@ringway/tunnel'
import { open } from '@ringway/tunnel'
import { forwarding, offerOf, request } from './support/handshake.ts'
import { backend } from './support/sockets.ts'
import { noSocketLeft, until } from './support/waiting.ts'

/** What a backend's answer other than 101 is read as. */
async function declined(t: TestContext, answer: (socket: Socket) => void, read = 20_000): Promise<Declined> {
  const target = await backend(t, socket => {
    socket.on('end', () => socket.end())
    socket.once('data', () => answer(socket))
  })
  const limits = { connect: 20_000, handshake: 20_000, read }
  const result = await open(target, request(), offerOf(request()), forwarding, limits)
  t.after(() => result.backend.destroy())
  assert.ok(result.kind === 'declined')
  return result
}

async function text(body: AsyncIterable<Buffer>): Promise<string> {
  let all = ''
  for await (const chunk of body) all += chunk.toString('latin1')
  return all
}

test('a 401 is relayed with its status, reason, headers and body', async t => {
  const answer = await declined(t, socket => {
    socket.write(
      'HTTP/1.1 401 Not You\r\nSet-Cookie: a=1\r\nContent-Length: 5\r\nConnection: keep-alive\r\nset-cookie: b=2\r\n\r\nhel'
    )
    setImmediate(() => socket.write('loHTTP/1.1 200 OK\r\n\r\n'))
  })
  assert.deepEqual([answer.status, answer.reason], [401, 'Not You'])
  assert.deepEqual(answer.rawHeaders, ['Set-Cookie', 'a=1', 'Content-Length', '5', 'set-cookie', 'b=2'])
  assert.equal(await text(answer.body), 'hello')
  await noSocketLeft() // though the backend keeps the connection alive
})

test('a 426 keeps its Upgrade', async t => {
  const answer = await declined(t, socket => {
    socket.write('HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n')
    socket.write('Sec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n')
  })
  assert.deepEqual(answer.rawHeaders, [
    'Sec-WebSocket-Version',
    '13',
    'Content-Length',
    '0',
    'Upgrade',
    'websocket'
  ])
  assert.equal(await text(answer.body), '')
})

test('chunks come without their framing, and without the header that tells of it', async t => {
  const answer = await declined(t, socket => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel')
    setImmediate(() => socket.end('lo\r\n0\r\n\r\n'))
  })
  assert.deepEqual(answer.rawHeaders, [])
  assert.equal(await text(answer.body), 'hello')
})

test('a body without length goes to the FIN', async t => {
  const answer = await declined(t, socket => {
    socket.write('HTTP/1.0 500 Oops\r\n\r\nhel')
    setImmediate(() => socket.end('lo'))
  })
  assert.equal(await text(answer.body), 'hello')
})

test('an answer that came whole, FIN included, before anybody reads it is all there', async t => {
  const answer = await declined(t, socket => socket.end(`HTTP/1.1 403 No\r\n\r\n${'x'.repeat(100_000)}`))
  await until(() => answer.backend.readableLength > 0, 'the body has come')
  assert.equal((await text(answer.body)).length, 100_000)
})

test('a large body is read with backpressure, to its last byte', async t => {
  const answer = await declined(t, socket => {
    socket.end(`HTTP/1.1 503 No\r\nContent-Length: 5000000\r\n\r\n${'x'.repeat(5_000_000)}`)
  })
  assert.equal((await text(answer.body)).length, 5_000_000)
})

for (const name of ['FIN', 'RST']) {
  test(`a body cut short by a ${name} is an error of ours`, async t => {
    const answer = await declined(t, socket => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel', () => {
        setImmediate(() => (name === 'FIN' ? socket.end() : socket.resetAndDestroy()))
      })
    })
    await assert.rejects(text(answer.body), { code: 'ERR_RINGWAY_BAD_ANSWER' })
    await noSocketLeft()
  })
}

test('a body without length that ends in a RST is an error of ours', async t => {
  const peers: Socket[] = []
  const answer = await declined(t, socket => {
    peers.push(socket)
    socket.write('HTTP/1.1 200 OK\r\n\r\nhel')
  })
  const body = answer.body[Symbol.asyncIterator]()
  await body.next()
  const next = body.next()
  peers[0]!.resetAndDestroy() // once all was read: a RST right behind bytes reaches JavaScript as an end
  await assert.rejects(next, { code: 'ERR_RINGWAY_BAD_ANSWER' })
})

test('a body that stays silent ends at the limit, not early', async t => {
  let started = 0
  const answer = await declined(
    t,
    socket => {
      started = performance.now()
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel')
    },
    150
  )
  await assert.rejects(text(answer.body), {
    code: 'ERR_RINGWAY_BAD_ANSWER',
    retryable: false, // the answer was under way to the client
    message: /silent for 150 ms/
  })
  assert.ok(performance.now() - started >= 149)
  await noSocketLeft()
})

test('a process that was held up for longer than the limit reads what came meanwhile first', async t => {
  const peers: Socket[] = []
  const answer = await declined(
    t,
    socket => {
      peers.push(socket)
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel')
    },
    100
  )
  const body = answer.body[Symbol.asyncIterator]()
  await body.next()
  const next = body.next()
  peers[0]!.write('lo')
  const until300 = performance.now() + 300
  while (performance.now() < until300);
  assert.equal(String((await next).value), 'lo')
})

test("a reader that takes its time isn't the backend's silence", async t => {
  const length = 3_000_000
  const answer = await declined(
    t,
    socket => void socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n${'x'.repeat(length)}`),
    50
  )
  let timeouts = 0
  answer.backend.on('timeout', () => (timeouts += 1))
  let bytes = 0
  for await (const chunk of answer.body) {
    bytes += chunk.length
    if (timeouts === 0) await once(answer.backend, 'timeout')
  }
  assert.equal(bytes, length)
})

test('a body that is not wanted leaves nothing once its backend is destroyed', async t => {
  const answer = await declined(t, socket => socket.write('HTTP/1.1 200 OK\r\n\r\nhel'))
  answer.backend.destroy()
  await assert.rejects(text(answer.body), { code: 'ERR_RINGWAY_BAD_ANSWER' })
  await noSocketLeft()
})

test('a body left in the middle closes the connection', async t => {
  const answer = await declined(t, socket => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel'))
  for await (const chunk of answer.body) {
    assert.equal(String(chunk), 'hel')
    break
  }
  assert.equal(answer.backend.destroyed, true)
})

test('two framings are a bad answer, and the socket is gone', async t => {
  await assert.rejects(
    declined(t, socket =>
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n')
    ),
    { code: 'ERR_RINGWAY_BAD_ANSWER' }
  )
  await noSocketLeft()
})
