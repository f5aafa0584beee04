import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { TunnelError } from '@ringway/tunnel'
import type { ResponseHead } from '../src/response-head.ts'
import { ResponseHeadParser } from '../src/response-head.ts'
import { singles } from './support/bytes.ts'
import { always, anyCuts, anyText, cut } from './support/fuzz.ts'

/** `more`: what came is the beginning of a head. */
type Outcome = { head: ResponseHead; rest: string } | 'more' | 'bad'

const LONG = 'x'.repeat(20_000)
const WORDS = [
  'HTTP/1.1 ',
  'HTTP/1.0 ',
  'HTTP/1.1',
  '101',
  '200',
  '103',
  '100',
  '404',
  '600',
  ' ',
  ' OK',
  ' \u00e9',
  '\r\n',
  '\r\n',
  '\r\n\r\n',
  '\r',
  '\n',
  'A: b',
  'Set-Cookie:c',
  'X:',
  ':',
  ': ',
  '\t',
  'a,b',
  '\0',
  '\u0081',
  'HTTP/1.1 101 Switching Protocols\r\n',
  'HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n'
]
const anyBytes = fc
  .tuple(
    fc.constantFrom(
      '',
      '',
      'HTTP/1.1 200 OK\r\n',
      'HTTP/1.1 101 \r\nA: b\r\n',
      `HTTP/1.1 103 ${LONG}\r\nA:${LONG}`
    ),
    anyText(WORDS, 12),
    fc.constantFrom('', '', '\r\n\r\n', '\r\n\r\nbehind it\r\n', `\r\nB: ${LONG}${LONG}\r\n\r\n`)
  )
  .map(parts => Buffer.from(parts.join(''), 'latin1'))

function parse(pieces: readonly Buffer[]): Outcome {
  const parser = new ResponseHeadParser()
  try {
    for (const [i, piece] of pieces.entries()) {
      const answer = parser.push(piece)
      if (answer === undefined) continue
      const rest = Buffer.concat([answer.rest, ...pieces.slice(i + 1)])
      return { head: answer.head, rest: rest.toString('latin1') }
    }
    return 'more'
  } catch (error) {
    assert.ok(error instanceof TunnelError, String(error))
    assert.equal(error.code, 'ERR_RINGWAY_BAD_ANSWER')
    return 'bad'
  }
}

/** RFC 9112 read aloud, over all bytes at once. */
function model(text: string): Outcome {
  let head: ResponseHead | undefined
  let at = 0
  while (at < text.length) {
    const end = text.indexOf('\n', at) + 1
    const line = end === 0 ? text.slice(at) : text.slice(at, end)
    at += line.length
    if (at > 65_536) return 'bad'
    const start = 'HTTP/1.'
    if (head === undefined && line.slice(0, 7) !== start.slice(0, line.length)) return 'bad'
    if (end === 0) return 'more'
    if (line.at(-2) !== '\r') return 'bad'
    const words = line.slice(0, -2)
    if (head === undefined) {
      const status = words.slice(9, 12)
      if (!['HTTP/1.0 ', 'HTTP/1.1 '].includes(words.slice(0, 9))) return 'bad'
      if (status.length !== 3 || !has(status, '0123456789') || !has(status[0]!, '12345')) return 'bad'
      if (words.length > 12 && words[12] !== ' ') return 'bad'
      const reason = words.slice(13)
      if (!isText(reason)) return 'bad'
      head = { status: Number(status), reason, httpVersion: words.slice(5, 8), rawHeaders: [] }
    } else if (words !== '') {
      const [name = '', ...value] = words.split(':')
      if (value.length === 0 || !isName(name) || !isText(value.join(':'))) return 'bad'
      head.rawHeaders.push(
        name,
        value
          .join(':')
          .replace(/^[ \t]*/, '')
          .replace(/[ \t]*$/, '')
      )
    } else if (head.status === 101 || head.status > 199) return { head, rest: text.slice(at) }
    else head = undefined
  }
  return 'more'
}

function has(text: string, allowed: string): boolean {
  return Array.from(text).every(character => allowed.includes(character))
}

function isName(text: string): boolean {
  return (
    text !== '' &&
    Array.from(text).every(each => each > ' ' && each < '\u007f' && !'"(),/:;<=>?@[\\]{}'.includes(each))
  )
}

function isText(text: string): boolean {
  return Array.from(text).every(each => each === '\t' || (each >= ' ' && each !== '\u007f'))
}

test('100,000 answers are read as a model reads them, however they are cut', () => {
  const seen = { head: 0, more: 0, bad: 0 }
  always(fc.tuple(anyBytes, anyCuts), ([bytes, cuts]) => {
    const expected = model(bytes.toString('latin1'))
    seen[typeof expected === 'string' ? expected : 'head']++
    assert.deepEqual(parse([bytes]), expected)
    assert.deepEqual(parse(cut(bytes, cuts)), expected)
    if (bytes.length < 1_000) assert.deepEqual(parse(singles(bytes)), expected)
  })
  for (const [what, times] of Object.entries(seen)) assert.ok(times > 5_000, `${what}: only ${times} times`)
})
