import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { TunnelError } from '@ringway/tunnel'
import type { Framing } from '../src/body.ts'
import { framingOf, readBody } from '../src/body.ts'
import { singles } from './support/bytes.ts'
import { always, alwaysAsync, anyCuts, anyText, cut } from './support/fuzz.ts'

/** What came of a body, and how it went on: `done`, `bad`, or `more`, when it would have had to. */
interface Outcome {
  readonly content: string
  readonly end: 'done' | 'bad' | 'more'
}

function refused(error: unknown): 'bad' {
  assert.ok(error instanceof TunnelError, String(error))
  assert.equal(error.code, 'ERR_RINGWAY_BAD_ANSWER')
  return 'bad'
}

async function read(pieces: readonly Buffer[], framing: Framing): Promise<Outcome> {
  let content = ''
  let end: Outcome['end'] = 'done'
  let isAskedForMore = false
  async function* source(): AsyncGenerator<Buffer, void, void> {
    yield* pieces
    await Promise.resolve()
    isAskedForMore = true
  }
  try {
    for await (const chunk of readBody(source(), framing)) content += chunk.toString('latin1')
  } catch (error) {
    end = refused(error)
  }
  if (!isAskedForMore) return { content, end }
  // The end is what tells the end of a body only where nothing else does.
  assert.equal(end, framing === 'close' ? 'done' : 'bad')
  return { content, end: 'more' }
}

function model(text: string, framing: Framing): Outcome {
  if (framing === 'close') return { content: text, end: 'more' }
  if (framing === 'chunked') return chunks(text)
  return { content: text.slice(0, framing), end: text.length >= framing ? 'done' : 'more' }
}

/** RFC 9112 section 7.1 over all bytes at once. */
function chunks(text: string): Outcome {
  let content = ''
  let rest = text
  let most = 16_384
  /** The next line with its end, or what hinders it. */
  const line = (): string => {
    const next = rest.slice(0, rest.indexOf('\n') + 1 || Infinity)
    if (next.length > most) return 'bad'
    if (!next.endsWith('\n')) return 'more'
    if (!next.endsWith('\r\n')) return 'bad'
    rest = rest.slice(next.length)
    return next
  }
  for (;;) {
    const first = line()
    if (first === 'bad' || first === 'more') return { content, end: first }
    const [digits = '', ...extension] = first.slice(0, -2).split(';')
    const size = digits.replace(/[ \t]+$/, '')
    if (
      size === '' ||
      size.length > 12 ||
      Array.from(size).some(each => !'0123456789abcdefABCDEF'.includes(each))
    )
      return { content, end: 'bad' }
    if (Array.from(extension.join('')).some(each => each !== '\t' && (each < ' ' || each === '\u007f')))
      return { content, end: 'bad' }
    const length = Number(`0x${size}`)
    if (length === 0) break
    content += rest.slice(0, length)
    if (rest.length < length) return { content, end: 'more' }
    rest = rest.slice(length)
    const behind = line()
    if (behind !== '\r\n') return { content, end: behind === 'more' ? 'more' : 'bad' }
  }
  for (;;) {
    const trailer = line()
    if (trailer === 'bad' || trailer === 'more') return { content, end: trailer }
    if (trailer === '\r\n') return { content, end: 'done' }
    most -= trailer.length
  }
}

const WORDS = [
  '5\r\nhello\r\n',
  '1\r\n\n\r\n',
  '03;a=b;c\r\nabc\r\n',
  '0\r\n',
  '0\r\n\r\n',
  'A: b\r\n',
  '\r\n',
  '\r',
  '\n',
  'a',
  'F',
  '1',
  ' ',
  ';',
  '\t',
  '\0',
  '\u00ff',
  '10000000000000\r\n',
  'ffffffffffff\r\n',
  'x'.repeat(16)
]
const LONG = 'x'.repeat(8_000)
const anyBytes = fc
  .tuple(
    fc.constantFrom('', '5\r\nhello\r\n', `5;${LONG}\r\nhello\r\n`, `0\r\nA:${LONG}\r\n`),
    anyText(WORDS, 10),
    fc.constantFrom('', '\r\n0\r\n\r\n', `0\r\nA: b\r\n\r\nbehind it`, `0;${LONG}\r\nA: ${LONG}\r\n\r\n`)
  )
  .map(parts => Buffer.from(parts.join(''), 'latin1'))
const anyFraming = fc.oneof(
  { arbitrary: fc.constant<Framing>('chunked'), weight: 4 },
  fc.constant<Framing>('close'),
  fc.nat(40)
)

test('100,000 bodies are read as a model reads them, however they are cut, and no further than to their end', async () => {
  const seen = { done: 0, more: 0, bad: 0 }
  await alwaysAsync(fc.tuple(anyBytes, anyFraming, anyCuts), async ([bytes, framing, cuts]) => {
    const expected = model(bytes.toString('latin1'), framing)
    seen[expected.end]++
    for (const pieces of [[bytes], cut(bytes, cuts), ...(bytes.length < 100 ? [singles(bytes)] : [])]) {
      assert.deepEqual(await read(pieces, framing), expected)
    }
  })
  for (const [what, times] of Object.entries(seen)) assert.ok(times > 5_000, `${what}: only ${times} times`)
})

const anyHead = fc.record({
  status: fc.constantFrom(200, 204, 304, 401, 500),
  httpVersion: fc.constantFrom('1.0', '1.1'),
  headers: fc.array(
    fc.tuple(
      fc.constantFrom(
        'Content-Length',
        'content-length',
        'Transfer-Encoding',
        'X-Length',
        'transfer-encoding'
      ),
      fc.constantFrom(
        '0',
        '17',
        '017',
        '+1',
        '1,1',
        '',
        '1'.repeat(16),
        '1'.repeat(15),
        'chunked',
        'Chunked',
        'gzip, chunked'
      )
    ),
    { maxLength: 3 }
  )
})

test('100,000 heads are framed as a model frames them', () => {
  always(anyHead, ({ status, httpVersion, headers }) => {
    const named = (name: string): string[] =>
      headers.filter(each => each[0].toLowerCase() === name).map(each => each[1])
    const [length, ...lengths] = named('content-length')
    const [coding, ...codings] = named('transfer-encoding')
    let expected: Framing | 'bad' = 'bad'
    if (status === 204 || status === 304) expected = 0
    else if (length === undefined && coding === undefined) expected = 'close'
    else if (coding === undefined) {
      const isNumber = ['0', '17', '017', '1'.repeat(15)].includes(length!)
      if (lengths.length === 0 && isNumber) expected = Number(length)
    } else if (length === undefined && codings.length === 0 && httpVersion === '1.1') {
      if (['chunked', 'Chunked'].includes(coding)) expected = 'chunked'
    }
    let framing: Framing | 'bad'
    try {
      framing = framingOf({ status, reason: '', httpVersion, rawHeaders: headers.flat() })
    } catch (error) {
      framing = refused(error)
    }
    assert.equal(framing, expected)
  })
})
