import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { TunnelError } from '@ringway/tunnel'
import { framingOf, readBody } from '../src/body.ts'
import type { Framing } from '../src/body.ts'
import { randomFrom, singles, splits } from './support/bytes.ts'

const BAD = { code: 'ERR_RINGWAY_BAD_ANSWER', retryable: false }

async function read(pieces: Buffer[], way: Framing): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of readBody(Readable.from(pieces), way)) chunks.push(chunk)
  return Buffer.concat(chunks).toString('latin1')
}

async function exhaust(body: AsyncGenerator<Buffer, void, void>): Promise<void> {
  for (;;) if ((await body.next()).done) return
}

/** Text byte by byte, and what comes then: nothing for ever, or a failure. */
async function* then(text: string, what: Promise<unknown>): AsyncGenerator<Buffer, void, void> {
  yield* singles(Buffer.from(text))
  await what
}

function framing(rawHeaders: string[], status = 200, httpVersion = '1.1'): Framing {
  return framingOf({ status, reason: '', httpVersion, rawHeaders })
}

test('a body is framed by its length, by chunks, or by the end', () => {
  assert.equal(framing(['Content-Length', '17']), 17)
  assert.equal(framing(['transfer-encoding', 'Chunked']), 'chunked')
  assert.equal(framing([]), 'close')
  assert.equal(framing([], 200, '1.0'), 'close')
})

test('204 and 304 have no body, whatever length they tell', () => {
  assert.equal(framing([], 204), 0)
  assert.equal(framing(['Content-Length', '17'], 304), 0)
})

for (const [name, headers, version] of [
  ['a length and chunks', ['Content-Length', '5', 'Transfer-Encoding', 'chunked']],
  ['two lengths', ['Content-Length', '5', 'Content-Length', '6']],
  ['two equal lengths', ['Content-Length', '5', 'content-length', '5']],
  ['a list of lengths', ['Content-Length', '5, 5']],
  ['a negative length', ['Content-Length', '-1']],
  ['a length with a sign', ['Content-Length', '+5']],
  ['a length in hex', ['Content-Length', '0x5']],
  ['an empty length', ['Content-Length', '']],
  ['a length beyond all numbers', ['Content-Length', '9'.repeat(40)]],
  ['another transfer coding', ['Transfer-Encoding', 'gzip']],
  ['two transfer codings', ['Transfer-Encoding', 'gzip, chunked']],
  ['chunks twice', ['Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked']],
  ['chunks in HTTP/1.0', ['Transfer-Encoding', 'chunked'], '1.0']
] as [string, string[], string?][]) {
  test(`${name} is refused`, () => {
    assert.throws(() => framing(headers, 200, version ?? '1.1'), BAD)
  })
}

test('a body with a length ends there, split at every byte', async () => {
  for (const pieces of splits(Buffer.from('hello worldHTTP/1.1 200 OK'))) {
    assert.equal(await read(pieces, 11), 'hello world')
  }
})

test('a body without framing goes to the end', async () => {
  for (const pieces of splits(Buffer.from('hello'))) assert.equal(await read(pieces, 'close'), 'hello')
})

const chunked = Buffer.from(
  '5\r\nhello\r\n01 \t;a=b;c="d"\r\n \r\nA\r\n0123456789\r\n000\r\nX-Trailer: 1\r\nX-Other: 2\r\n\r\nHTTP/1.1 200'
)

test('chunks are read without extensions and trailers, split at every byte', async () => {
  for (const pieces of splits(chunked)) assert.equal(await read(pieces, 'chunked'), 'hello 0123456789')
})

test('chunks cut short at any byte are an error', async () => {
  const end = chunked.indexOf('HTTP')
  for (let at = 0; at < end; at++) await assert.rejects(read([chunked.subarray(0, at)], 'chunked'), BAD)
})

test('a body that is shorter than its length is an error', async () => {
  await assert.rejects(read([Buffer.from('hell')], 5), { ...BAD, message: /ended too early/ })
  await assert.rejects(read([], 5), BAD)
})

for (const [name, body] of Object.entries({
  'a size that is none': 'x\r\n',
  'a negative size': '-1\r\n',
  'a size in 0x': '0x5\r\n',
  'an empty size': '\r\n',
  'a size beyond all numbers': 'fffffffffffff\r\n',
  'a bare line feed behind the size': '5\nhello\r\n',
  'a bare line feed behind the data': '5\r\nhello\n',
  'a bare line feed in the trailers': '0\r\nA: b\n\r\n',
  'a chunk longer than it says': '5\r\nhello!\r\n',
  'a NUL in an extension': '5;a=\0\r\n',
  'an endless extension': `5;${'x'.repeat(20_000)}`,
  'endless trailers': `0\r\n${'A: b\r\n'.repeat(4_000)}`
})) {
  test(`${name} is refused`, async () => {
    await assert.rejects(exhaust(readBody(then(body, new Promise(() => {})), 'chunked')), BAD)
  })
}

test('a source that fails is an error of ours, with the cause', async () => {
  const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
  for (const way of ['close', 'chunked', 5] as const) {
    await assert.rejects(
      exhaust(readBody(then('1\r\n', Promise.reject(reset)), way)),
      (error: unknown) => error instanceof TunnelError && error.code === BAD.code && error.cause === reset
    )
  }
})

test('random chunks come out as they went in', async () => {
  const random = randomFrom(2)
  for (let round = 0; round < 200; round++) {
    const parts = Array.from({ length: random() * 6 }, () => 'x\r\n0\r\n\r\n'.repeat(1 + random() * 50))
    const wire = Buffer.from(
      `${parts.map(part => `${part.length.toString(16)}\r\n${part}\r\n`).join('')}0\r\n\r\n`
    )
    const pieces: Buffer[] = []
    for (let at = 0; at < wire.length;) {
      const size = 1 + Math.floor(random() * 40)
      pieces.push(wire.subarray(at, at + size))
      at += size
    }
    assert.equal(await read(pieces, 'chunked'), parts.join(''))
  }
})
