import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import type { Offer, RequestHead } from '@ringway/tunnel'
import { admit, TunnelError } from '@ringway/tunnel'
import { always } from './support/fuzz.ts'
import { headers, KEY } from './support/handshake.ts'

const NAMES = [
  'Host',
  'Upgrade',
  'Connection',
  'Sec-WebSocket-Key',
  'Sec-WebSocket-Version',
  'Sec-WebSocket-Protocol',
  'Sec-WebSocket-Extensions',
  'Content-Length',
  'Transfer-Encoding',
  'Expect',
  'Cookie',
  'X-Upgrade'
]
const VALUES = [
  'example.com',
  '[::1]:80',
  'a b',
  '',
  'websocket',
  'WebSocket',
  'h2c',
  'websocket, h2c',
  'Upgrade',
  'keep-alive, UPGRADE',
  'upgrade, Host',
  'upgrade,sec-websocket-key',
  ' , upgrade ,',
  KEY,
  KEY.slice(1),
  '13',
  '8',
  'chat, soap',
  'chat',
  'permessage-deflate; a=1, x',
  'x;y',
  '0',
  '5',
  'chunked',
  '\u00a0upgrade',
  '\0'
]
const TARGETS = [
  '/',
  '/a?b',
  '/a//b',
  '//a',
  '/\\a',
  'http://a/',
  '*',
  '',
  '/a#b',
  '/a b',
  '/\u00e9',
  '/\u007f'
]
const anyCase = (text: string, kind: number): string =>
  kind === 0 ? text.toLowerCase() : kind === 1 ? text.toUpperCase() : text

const anyHeader = fc
  .tuple(fc.constantFrom(...NAMES), fc.constantFrom(...VALUES), fc.nat(4))
  .map(([name, value, kind]) => [anyCase(name, kind), value] as const)
const anyHead: fc.Arbitrary<RequestHead> = fc
  .record({
    method: rarely('GET', ['POST', 'get', 'CONNECT', '']),
    target: rarely('/chat', [...TARGETS, `/${'a'.repeat(8_191)}`, `/${'a'.repeat(8_192)}`]),
    httpVersion: rarely('1.1', ['1.0', '2.0']),
    without: fc.oneof(
      { arbitrary: fc.constant<string[]>([]), weight: 3 },
      fc.subarray(NAMES.slice(0, 5), { minLength: 1, maxLength: 2 })
    ),
    more: fc.array(anyHeader, { maxLength: 4 }),
    isTurned: fc.boolean(),
    filler: rarely(0, [94, 95, 96, 1_000])
  })
  .map(({ method, target, httpVersion, without, more, isTurned, filler }) => {
    const pairs: (readonly [string, string])[] = []
    const good = headers(without)
    for (let i = 0; i < good.length; i += 2) pairs.push([good[i]!, good[i + 1]!])
    pairs.push(...more)
    if (filler < 1_000) for (let i = 0; i < filler; i++) pairs.push(['X', ''])
    else pairs.push(['X', 'y'.repeat(65_350 + more.length * 20)])
    return { method, target, httpVersion, rawHeaders: (isTurned ? pairs.toReversed() : pairs).flat() }
  })

/** Mostly the good one. */
function rarely<T>(good: T, others: readonly T[]): fc.Arbitrary<T> {
  return fc.oneof({ arbitrary: fc.constant(good), weight: 12 }, fc.constantFrom(...others))
}

/** What a good handshake is, rule by rule: the first that is broken tells its status and a word of its message. */
function model({ method, target, httpVersion, rawHeaders }: RequestHead): Offer | string {
  const all = (name: string): string[] =>
    rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]!.toLowerCase() === name.toLowerCase())
  const list = (name: string): string[] =>
    all(name)
      .flatMap(value => value.split(','))
      .map(each => each.replace(/^[ \t]+|[ \t]+$/g, ''))
      .filter(each => each !== '')
  const [host, upgrade, key, version] = ['Host', 'Upgrade', 'Sec-WebSocket-Key', 'Sec-WebSocket-Version'].map(
    all
  )
  const connection = list('Connection').map(each => each.toLowerCase())
  const isPath = target[0] === '/' && target[1] !== '/' && target[1] !== '\\'
  const rules: [kept: boolean, otherwise: string][] = [
    [target.length <= 8_192, '431 target'],
    [rawHeaders.length <= 200, '431 100 headers'],
    [rawHeaders.join('').length <= 65_536, '431 65536 bytes'],
    [method === 'GET', '400 method'],
    [httpVersion === '1.1', '400 HTTP version'],
    [
      isPath && !Array.from(target).some(each => each <= ' ' || each === '#' || each === '\u007f'),
      '400 target'
    ],
    [
      host!.length === 1 && ['example.com', '[::1]:80', ...VALUES.filter(isWord)].includes(host![0]!),
      '400 Host'
    ],
    [upgrade!.length === 1 && upgrade![0]!.toLowerCase() === 'websocket', '400 Upgrade'],
    [connection.includes('upgrade'), '400 contain "upgrade"'],
    [!connection.some(each => each === 'host' || each.startsWith('sec-websocket-')), '400 needs'],
    [key!.length === 1 && key![0] === KEY, '400 Sec-WebSocket-Key'],
    [version!.length === 1, '400 exactly one Sec-WebSocket-Version'],
    [version![0] === '13', '426 must be 13'],
    [all('Content-Length').length <= 1, '400 Content-Length'],
    [all('Content-Length').every(each => each === '0') && all('Transfer-Encoding').length === 0, '400 body'],
    [all('Expect').length === 0, '400 Expect']
  ]
  const broken = rules.find(([kept]) => !kept)
  if (broken !== undefined) return broken[1]
  return {
    key: KEY,
    protocols: list('Sec-WebSocket-Protocol'),
    extensions: list('Sec-WebSocket-Extensions').map(each => each.split(';')[0]!.trimEnd())
  }
}

/** Of the values those that could be a host, if a strange one. */
function isWord(value: string): boolean {
  return value !== '' && !Array.from(value).some(each => each <= ' ' || '/#?@,\u007f'.includes(each))
}

test('100,000 request heads are admitted or refused as a model of RFC 6455 does', () => {
  const seen = new Map<string, number>()
  always(anyHead, head => {
    const expected = model(head)
    const what = typeof expected === 'string' ? expected : 'good'
    seen.set(what, (seen.get(what) ?? 0) + 1)
    if (typeof expected !== 'string') return assert.deepEqual(admit(head), expected)
    const [status, ...words] = expected.split(' ')
    return assert.throws(
      () => admit(head),
      (error: unknown) => {
        assert.ok(error instanceof TunnelError, String(error))
        assert.equal(error.status, Number(status), error.message)
        assert.ok(error.message.includes(words.join(' ')), `${error.message}, not ${expected}`)
        return true
      }
    )
  })
  assert.equal(seen.size, 17, `all that can be: ${[...seen.keys()].join(', ')}`)
})
