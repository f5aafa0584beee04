import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConnectionEnds, ParsedProxyHeader, ProxyVersion } from '@ringway/tunnel'
import { ProxyHeaderParser, proxyHeader } from '@ringway/tunnel'
import { singles, splits } from './support/bytes.ts'

const BAD = { name: 'TunnelError', code: 'ERR_RINGWAY_BAD_PROXY_HEADER', side: 'client', retryable: false }

const SIGNATURE = '0d0a0d0a000d0a515549540a'

function ends(source: string, destination: string): ConnectionEnds {
  return { source: { address: source, port: 51_000 }, destination: { address: destination, port: 443 } }
}

/** What the pieces come to; what is behind the header in one buffer. */
function parse(pieces: readonly Buffer[]): ParsedProxyHeader | undefined {
  const parser = new ProxyHeaderParser()
  for (const [i, piece] of pieces.entries()) {
    const header = parser.push(piece)
    if (header) return { ...header, rest: Buffer.concat([header.rest, ...pieces.slice(i + 1)]) }
  }
  return undefined
}

function v2(command: number, family: number, body: Buffer): Buffer {
  const head = Buffer.from(`${SIGNATURE}${'00'.repeat(4)}`, 'hex')
  head[12] = command
  head[13] = family
  head.writeUInt16BE(body.length, 14)
  return Buffer.concat([head, body])
}

const four = ends('203.0.113.7', '192.0.2.1')
const six = ends('2001:db8::7', '2001:db8::1')
const mixed = ends('203.0.113.7', '2001:db8::1')
const longest = ends(`ffff:${'ffff:'.repeat(6)}ffff`, `ffff:${'ffff:'.repeat(6)}ffff`)

for (const [what, version, of, bytes] of [
  ['IPv4 in v1', 'v1', four, 'PROXY TCP4 203.0.113.7 192.0.2.1 51000 443\r\n'],
  ['IPv6 in v1', 'v1', six, 'PROXY TCP6 2001:db8::7 2001:db8::1 51000 443\r\n'],
  ['two families in v1', 'v1', mixed, 'PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 51000 443\r\n'],
  ['nobody in v1', 'v1', undefined, 'PROXY UNKNOWN\r\n'],
  ['IPv4 in v2', 'v2', four, `${SIGNATURE}2111000ccb007107c0000201c73801bb`],
  [
    'IPv6 in v2',
    'v2',
    six,
    `${SIGNATURE}2121002420010db800000000000000000000000720010db8000000000000000000000001c73801bb`
  ],
  [
    'two families in v2',
    'v2',
    mixed,
    `${SIGNATURE}2121002400000000000000000000ffffcb00710720010db8000000000000000000000001c73801bb`
  ],
  ['nobody in v2', 'v2', undefined, `${SIGNATURE}20000000`]
] as const) {
  const expected = Buffer.from(bytes, version === 'v1' ? 'latin1' : 'hex')

  test(`${what} is written as the specification says`, () => {
    assert.deepEqual(proxyHeader(version, of), expected)
  })

  test(`${what} is read, split at every byte, and what follows it is left`, () => {
    for (const follows of ['', 'GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01']) {
      const rest = Buffer.from(follows, 'latin1')
      for (const pieces of splits(Buffer.concat([expected, rest]))) {
        assert.deepEqual(parse(pieces), { ends: of, rest })
      }
    }
  })

  test(`${what} is not complete before its last byte`, () => {
    for (let at = 0; at < expected.length; at++) assert.equal(parse([expected.subarray(0, at)]), undefined)
  })
}

test('a mapped address is the IPv4 address that it stands for, written and read', () => {
  const ipv4 = ends('203.0.113.7', '192.0.2.1')
  for (const version of ['v1', 'v2'] satisfies ProxyVersion[]) {
    const mapped = proxyHeader(version, ends('::ffff:203.0.113.7', '::FFFF:c000:201'))
    assert.deepEqual(mapped, proxyHeader(version, ipv4))
  }
  assert.deepEqual(
    parse([Buffer.from('PROXY TCP6 ::FFFF:203.0.113.7 2001:DB8:0::1 51000 443\r\n')])?.ends,
    ends('203.0.113.7', '2001:db8::1')
  )
})

test('ends that have no address or port are none: LOCAL or UNKNOWN', () => {
  for (const [address, port] of [
    ['', 1],
    ['localhost', 1],
    ['203.0.113.7\r\n', 1],
    ['203.0.113.7', -1],
    ['203.0.113.7', 65_536],
    ['203.0.113.7', 1.5]
  ] as const) {
    for (const version of ['v1', 'v2'] satisfies ProxyVersion[]) {
      const nobody = proxyHeader(version)
      const bad = { address, port }
      assert.deepEqual(proxyHeader(version, { ...four, source: bad }), nobody)
      assert.deepEqual(proxyHeader(version, { ...four, destination: bad }), nobody)
    }
  }
})

test("a client's zone is left out", () => {
  assert.equal(
    proxyHeader('v1', ends('fe80::7%eth0', 'fe80::1%eth0')).toString(),
    'PROXY TCP6 fe80::7 fe80::1 51000 443\r\n'
  )
})

test('the longest addresses have room in v1', () => {
  const line = proxyHeader('v1', longest)
  assert.ok(line.length <= 107)
  assert.deepEqual(parse([line])?.ends, longest)
})

test('a line of 107 bytes is read, of 108 it is not, nor is one that goes on for ever', () => {
  const start = 'PROXY UNKNOWN '
  const fill = '\xff'.repeat(107 - start.length - 2)
  const read = parse([Buffer.from(`${start}${fill}\r\nrest`, 'latin1')])
  assert.deepEqual(read, { ends: undefined, rest: Buffer.from('rest') })
  for (const text of [`${start}${fill}x\r\n`, `${start}${'x'.repeat(1_000)}`, `${start}${fill}x\r`]) {
    for (const pieces of [[Buffer.from(text, 'latin1')], singles(Buffer.from(text, 'latin1'))]) {
      assert.throws(() => parse(pieces), { ...BAD, message: /107 bytes/ })
    }
  }
})

test('anything may stand behind UNKNOWN, as HAProxy and the specification have it', () => {
  for (const text of ['UNKNOWN ', 'UNKNOWN ffff::1 ffff::2 65535 65535', 'UNKNOWN \0\n\r\xff\xfe']) {
    const line = Buffer.from(`PROXY ${text}\r\nrest`, 'latin1')
    for (const pieces of splits(line)) {
      assert.deepEqual(parse(pieces), { ends: undefined, rest: Buffer.from('rest') })
    }
  }
})

for (const [what, line] of Object.entries({
  'another start': 'GET / HTTP/1.1\r\n',
  'a start in lower case': 'proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n',
  'a family in lower case': 'PROXY tcp4 1.2.3.4 1.2.3.4 1 1\r\n',
  'no family': 'PROXY \r\n',
  'another family': 'PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n',
  'UNKNOWN with a tail': 'PROXY UNKNOWNS\r\n',
  'two spaces': 'PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n',
  'a tab': 'PROXY TCP4\t1.2.3.4 1.2.3.4 1 1\r\n',
  'a space at the end': 'PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n',
  'a missing port': 'PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n',
  'a port beyond 65535': 'PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n',
  'a port with a zero before it': 'PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n',
  'a port that is negative': 'PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n',
  'an octet with a zero before it': 'PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n',
  'an octet beyond 255': 'PROXY TCP4 1.2.3.256 1.2.3.4 1 1\r\n',
  'IPv6 as TCP4': 'PROXY TCP4 ::1 ::1 1 1\r\n',
  'IPv4 as TCP6': 'PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n',
  'an address with a zone': 'PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n',
  'an address in brackets': 'PROXY TCP6 [::1] ::1 1 1\r\n',
  'a bare line feed': 'PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n\r\n',
  'a bare carriage return': 'PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\r\n',
  'a NUL': 'PROXY TCP4 1.2.3.4 1.2.3.4 1 1\0\r\n',
  'digits of another script': 'PROXY TCP4 1.2.3.4 1.2.3.4 1 \xb2\r\n',
  'another signature': '\r\n\r\n\0\r\nQUIT\r\n'
})) {
  test(`${what} is refused, split at every byte`, () => {
    for (const pieces of splits(Buffer.from(line, 'latin1'))) assert.throws(() => parse(pieces), BAD)
  })
}

for (const [what, bytes] of Object.entries({
  'version 1 in the bytes of v2': v2(0x11, 0x11, Buffer.alloc(12)),
  'version 3': v2(0x31, 0x11, Buffer.alloc(12)),
  'a command that is unknown': v2(0x22, 0x11, Buffer.alloc(12)),
  'IPv4 with too few bytes': v2(0x21, 0x11, Buffer.alloc(11)),
  'IPv6 with too few bytes': v2(0x21, 0x21, Buffer.alloc(35)),
  'IPv4 with none': v2(0x21, 0x11, Buffer.alloc(0))
})) {
  test(`${what} is refused, split at every byte`, () => {
    for (const pieces of splits(bytes)) assert.throws(() => parse(pieces), BAD)
  })
}

test('LOCAL tells nobody, whatever it carries, and so does what is not TCP over IP', () => {
  const body = Buffer.alloc(40, 0xff)
  const all = [v2(0x20, 0x11, body), v2(0x20, 0xff, body), v2(0x20, 0x11, Buffer.alloc(3))]
  for (const family of [0x00, 0x01, 0x10, 0x12, 0x22, 0x31, 0x32, 0x41, 0xff])
    all.push(v2(0x21, family, body))
  for (const bytes of all) {
    const rest = Buffer.from('rest')
    for (const pieces of splits(Buffer.concat([bytes, rest]))) {
      assert.deepEqual(parse(pieces), { ends: undefined, rest })
    }
  }
})

test('TLVs up to the largest length are skipped, in pieces of any size, and what follows them is left', () => {
  const addresses = proxyHeader('v2', four).subarray(16)
  for (const length of [13, 100, 65_535]) {
    const bytes = v2(0x21, 0x11, Buffer.concat([addresses, Buffer.alloc(length - 12, 0xee)]))
    const all = Buffer.concat([bytes, Buffer.from('rest')])
    for (const size of [1, 7, 1_000, 16_384, all.length]) {
      const pieces: Buffer[] = []
      for (let at = 0; at < all.length; at += size) pieces.push(all.subarray(at, at + size))
      assert.deepEqual(parse(pieces), { ends: four, rest: Buffer.from('rest') })
    }
    assert.equal(parse([bytes.subarray(0, -1)]), undefined)
  }
})

test('a parser tells whether anything has come', () => {
  const parser = new ProxyHeaderParser()
  assert.equal(parser.started, false)
  parser.push(Buffer.alloc(0))
  assert.equal(parser.started, false)
  parser.push(Buffer.from('P'))
  assert.equal(parser.started, true)
})
