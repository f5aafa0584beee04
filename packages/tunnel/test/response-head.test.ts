import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ResponseHeadParser } from '../src/response-head.ts'
import { randomFrom, singles, splits } from './support/bytes.ts'

type Result = ReturnType<ResponseHeadParser['push']>

/** What a parser makes of bytes in pieces, `rest` counting all that came behind the head. */
function parse(pieces: Buffer[]): Result {
  const parser = new ResponseHeadParser()
  let result: Result
  const behind: Buffer[] = []
  for (const piece of pieces) {
    if (result) behind.push(piece)
    else result = parser.push(piece)
  }
  return result && { head: result.head, rest: Buffer.concat([result.rest, ...behind]) }
}

const BAD = { code: 'ERR_RINGWAY_BAD_ANSWER', status: 502, side: 'backend', retryable: false }

const answer = Buffer.from(
  'HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n' +
    'HTTP/1.1 101 Switching Protocols\r\nSet-Cookie: a=1; Path=/\r\nX-Empty:\r\nX-Blank: \t one  two \t \r\n' +
    'set-cookie:b=2\r\nX-Latin: caf\u00e9\r\n\r\n\u0081\u0005hello\r\n\r\n',
  'latin1'
)
const parsed = {
  head: {
    status: 101,
    reason: 'Switching Protocols',
    httpVersion: '1.1',
    rawHeaders: [
      ['Set-Cookie', 'a=1; Path=/'],
      ['X-Empty', ''],
      ['X-Blank', 'one  two'],
      ['set-cookie', 'b=2'],
      ['X-Latin', 'caf\u00e9']
    ].flat()
  },
  rest: Buffer.from('\u0081\u0005hello\r\n\r\n', 'latin1')
}

test('interim answers are dropped, the final head is read, what follows is left: split at every byte', () => {
  for (const pieces of splits(answer)) assert.deepEqual(parse(pieces), parsed)
})

test('interim answers in pieces of their own are dropped', () => {
  const parser = new ResponseHeadParser()
  assert.equal(parser.started, false)
  assert.equal(parser.push(Buffer.from('HTTP/1.1 103 Early Hints\r\n\r\n')), undefined)
  assert.equal(parser.started, true)
  assert.equal(parser.push(Buffer.from('HTTP/1.1 200 OK\r\n\r\n'))?.head.status, 200)
})

test('an answer without a reason is read, with and without the space', () => {
  for (const line of ['HTTP/1.1 204', 'HTTP/1.1 204 ', 'HTTP/1.0 204 ']) {
    assert.equal(parse([Buffer.from(`${line}\r\n\r\n`)])?.head.reason, '')
  }
})

for (const [name, start] of Object.entries({
  garbage: 'x',
  'another protocol': 'SSH-2.0-',
  'another version': 'HTTP/2',
  'a greeting without a line feed': '220 smtp',
  'a bare line feed behind the status': 'HTTP/1.1 200 OK\n',
  'a bare line feed behind a header': 'HTTP/1.1 200 OK\r\nA: b\n',
  'a bare line feed as the end': 'HTTP/1.1 200 OK\r\nA: b\r\n\n',
  'a bare carriage return': 'HTTP/1.1 200 OK\r\nA: b\rC: d\r\n',
  'an early line': '\r\n',
  'a status of two digits': 'HTTP/1.1 20 OK\r\n',
  'a status of four digits': 'HTTP/1.1 2000 OK\r\n',
  'a status out of range': 'HTTP/1.1 600 OK\r\n',
  'a status that is none': 'HTTP/1.1 OK\r\n',
  'two spaces before the status': 'HTTP/1.1  200 OK\r\n',
  'HTTP/1.2': 'HTTP/1.2 200 OK\r\n',
  'a NUL in the reason': 'HTTP/1.1 200 O\0K\r\n',
  'a folded header': 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n',
  'a space before the colon': 'HTTP/1.1 200 OK\r\nA : b\r\n',
  'a header without colon': 'HTTP/1.1 200 OK\r\nA\r\n',
  'a header without name': 'HTTP/1.1 200 OK\r\n: b\r\n',
  'a NUL in a value': 'HTTP/1.1 200 OK\r\nA: b\0c\r\n',
  'a NUL in a name': 'HTTP/1.1 200 OK\r\nA\0: b\r\n',
  'DEL in a value': 'HTTP/1.1 200 OK\r\nA: b\u007f\r\n',
  'an escape in a value': 'HTTP/1.1 200 OK\r\nA: \u001b[2J\r\n'
})) {
  test(`${name} is told at once, split at every byte`, () => {
    for (const pieces of splits(Buffer.from(start, 'latin1'))) {
      assert.throws(() => parse(pieces), BAD)
    }
  })
}

test('a head of 64 KiB is read, one more byte is not', () => {
  const start = 'HTTP/1.1 200 OK\r\nA: '
  const fill = 'x'.repeat(65_536 - start.length - 4)
  assert.equal(parse([Buffer.from(`${start}${fill}\r\n\r\nbody`)])?.rest.toString(), 'body')
  assert.throws(() => parse([Buffer.from(`${start}${fill}x\r\n\r\n`)]), BAD)
})

test('interim answers count towards the 64 KiB', () => {
  const interim = Buffer.from(`HTTP/1.1 103 Early Hints\r\nLink: ${'x'.repeat(10_000)}\r\n\r\n`)
  assert.throws(() => parse(Array.from({ length: 7 }, () => interim)), { ...BAD, message: /65536 bytes/ })
})

for (const [name, unit] of Object.entries({
  'an endless value': 'x',
  'endless blanks': ' ',
  'endless headers': 'A:b\r\n',
  'an endless blank value and a bad byte': ' '.repeat(30_000) + 'x '.repeat(15_000) + '\u0001\r\n'
})) {
  test(`${name}, byte by byte, ends at the limit and takes no time worth speaking of`, () => {
    const bytes = Buffer.from(
      `HTTP/1.1 200 OK\r\nA: ${unit.repeat(Math.ceil(2_000_000 / unit.length))}`,
      'latin1'
    )
    const started = process.cpuUsage() // ours alone, however busy the machine is
    assert.throws(() => parse(singles(bytes)), BAD)
    assert.throws(() => parse([bytes]), BAD)
    assert.ok(process.cpuUsage(started).user < 10_000_000)
  })
}

test('random bytes are read or refused, never thrown at otherwise', () => {
  const random = randomFrom(1)
  const pieces = [
    'HTTP/1.1 ',
    '200',
    ' OK',
    '\r\n',
    '\n',
    'A: b',
    '\r\n\r\n',
    ':',
    ' ',
    '101',
    '\0',
    '\u00ff'
  ]
  for (let round = 0; round < 20_000; round++) {
    const text = Array.from(
      { length: 1 + random() * 12 },
      () => pieces[Math.floor(random() * pieces.length)]
    ).join('')
    const bytes = Buffer.from(random() < 0.5 ? `HTTP/1.1 200 OK\r\n${text}` : text, 'latin1')
    if (random() < 0.3) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
    const outcomes = [[bytes], singles(bytes)].map(way => {
      try {
        return parse(way)
      } catch (error) {
        return (error as { code: string }).code
      }
    })
    assert.deepEqual(outcomes[0], outcomes[1])
    if (typeof outcomes[0] === 'string') assert.equal(outcomes[0], BAD.code)
  }
})
