import assert from 'node:assert/strict'
import { isIPv4, isIPv6 } from 'node:net'
import { test } from 'node:test'
import { canonicalAddress } from '@ringway/core'
import type { ConnectionEnds, ParsedProxyHeader } from '@ringway/tunnel'
import { ProxyHeaderParser, proxyHeader, TunnelError } from '@ringway/tunnel'
import * as fc from 'fast-check'

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')

type Outcome = ParsedProxyHeader | 'bad' | 'incomplete'

/** The specification once more, slowly: looks at all that has come as a whole. */
function model(bytes: Buffer): Outcome {
  const isV2 = bytes[0] === 0x0d
  const start = isV2 ? SIGNATURE : Buffer.from('PROXY ')
  const length = Math.min(start.length, bytes.length)
  if (!bytes.subarray(0, length).equals(start.subarray(0, length))) return 'bad'
  return isV2 ? modelOfBytes(bytes) : modelOfLine(bytes)
}

function modelOfLine(bytes: Buffer): Outcome {
  const end = bytes.subarray(0, 107).indexOf('\r\n')
  if (end === -1) return bytes.length < 107 ? 'incomplete' : 'bad'
  const rest = bytes.subarray(end + 2)
  const text = bytes.toString('latin1', 0, end)
  if (text === 'PROXY UNKNOWN' || text.startsWith('PROXY UNKNOWN ')) return { ends: undefined, rest }
  const [, family, source = '', destination = '', ...ports] = text.split(' ')
  const isAddress = family === 'TCP4' ? isIPv4 : (each: string) => isIPv6(each) && !each.includes('%')
  if (!['TCP4', 'TCP6'].includes(family!) || ![source, destination].every(isAddress)) return 'bad'
  if (ports.length !== 2 || !ports.every(isPort)) return 'bad'
  return { ends: endsOf([source, destination], ports.map(Number)), rest }
}

function isPort(text: string): boolean {
  return /^\d+$/.test(text) && String(Number(text)) === text && Number(text) < 65_536
}

function modelOfBytes(bytes: Buffer): Outcome {
  if (bytes.length < 16) return 'incomplete'
  if (bytes[12] !== 0x20 && bytes[12] !== 0x21) return 'bad'
  const body = bytes.subarray(16)
  const length = bytes.readUInt16BE(14)
  const width = bytes[12] === 0x20 ? 0 : bytes[13] === 0x11 ? 4 : bytes[13] === 0x21 ? 16 : 0
  if (width > 0 && length < 2 * width + 4) return 'bad'
  if (body.length < length) return 'incomplete'
  const rest = body.subarray(length)
  if (width === 0) return { ends: undefined, rest }
  const texts = [body.subarray(0, width), body.subarray(width, 2 * width)].map(address =>
    width === 4 ? address.join('.') : address.toString('hex').match(/.{4}/g)!.join(':')
  )
  return { ends: endsOf(texts, [body.readUInt16BE(2 * width), body.readUInt16BE(2 * width + 2)]), rest }
}

function endsOf([source, destination]: string[], [from, to]: number[]): ConnectionEnds {
  return {
    source: { address: canonicalAddress(source!), port: from! },
    destination: { address: canonicalAddress(destination!), port: to! }
  }
}

/** What the parser makes of bytes that come in pieces. */
function parse(pieces: readonly Buffer[]): Outcome {
  const parser = new ProxyHeaderParser()
  try {
    for (const [i, piece] of pieces.entries()) {
      const header = parser.push(piece)
      if (header) return { ...header, rest: Buffer.concat([header.rest, ...pieces.slice(i + 1)]) }
    }
    return 'incomplete'
  } catch (error) {
    assert.ok(error instanceof TunnelError)
    assert.equal(error.code, 'ERR_RINGWAY_BAD_PROXY_HEADER')
    return 'bad'
  }
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map(place => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end))
}

const port = fc.oneof(fc.integer({ min: 0, max: 65_535 }), fc.constantFrom(0, 65_535))
const address = fc.oneof(fc.ipV4(), fc.ipV6())
const end = fc.record({ address, port })
const someBytes = fc.uint8Array({ maxLength: 40 }).map(bytes => Buffer.from(bytes))
const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')

const written = fc
  .tuple(
    fc.constantFrom('v1', 'v2'),
    fc.option(fc.record({ source: end, destination: end }), { nil: undefined })
  )
  .map(([version, ends]) => proxyHeader(version, ends))

/** Lines of words that are right each for itself, and some that aren't. */
const line = fc
  .tuple(
    fc.constantFrom('PROXY ', 'PROXY', 'PROXY TCP4 ', 'PROXY TCP6 ', 'PROXY UNKNOWN', 'proxy '),
    fc.array(
      fc.oneof(
        address,
        port.map(String),
        fc.constantFrom('', 'TCP4', '::1%a', '1.2.3.04', '65536', '01', '\xff')
      ),
      {
        maxLength: 5
      }
    ),
    fc.constantFrom(' ', ' ', ' ', '  ', '\t', '\n'),
    fc.constantFrom('\r\n', '\r\n', '\r\n', '\n', '\r', '')
  )
  .map(([start, words, between, last]) => latin1(`${start}${words.join(between)}${last}`))

/** Whole addresses or parts of them, and TLVs that are such or aren't. */
const tlv = fc
  .tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 50 }), someBytes)
  .map(([type, length, value]) => Buffer.concat([Buffer.from([type, 0, length]), value]))
const binary = fc
  .tuple(
    fc.constantFrom(0x20, 0x21, 0x21, 0x21, 0x22, 0x11, 0x00),
    fc.constantFrom(0x11, 0x21, 0x11, 0x21, 0x12, 0x31, 0x00, 0xff),
    fc.oneof(
      fc.constantFrom(0, 4, 11, 12, 35, 36).map(size => Buffer.alloc(size, 0xab)),
      someBytes
    ),
    fc.array(tlv, { maxLength: 3 }),
    fc.constantFrom(0, 0, 0, 0, 1, -1, 1_000)
  )
  .map(([command, family, addresses, tlvs, wrong]) => {
    const body = Buffer.concat([addresses, ...tlvs])
    const head = Buffer.from([command, family, 0, 0])
    head.writeUInt16BE(Math.max(0, body.length + wrong), 2)
    return Buffer.concat([SIGNATURE, head, body])
  })

const anything = fc
  .tuple(
    fc.oneof(written, written, line, binary, someBytes),
    someBytes,
    fc.option(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { freq: 2 }),
    fc.option(fc.nat(), { freq: 2 })
  )
  .map(([header, rest, change, length]) => {
    const bytes = Buffer.concat([header, rest])
    if (change && bytes.length > 0) bytes[change[0] % bytes.length] = change[1]
    return length === null ? bytes : bytes.subarray(0, length % (bytes.length + 1))
  })

test('100,000 headers, good, broken and none at all, are read as the model reads them, however they are cut', () => {
  const seen = { bad: 0, incomplete: 0, ends: 0, none: 0 }
  fc.assert(
    fc.property(anything, fc.array(fc.nat(), { maxLength: 6 }), (bytes, places) => {
      const expected = model(bytes)
      seen[typeof expected === 'string' ? expected : expected.ends ? 'ends' : 'none']++
      assert.deepEqual(parse(cut(bytes, places)), expected)
    }),
    { numRuns: 100_000 }
  )
  for (const [outcome, times] of Object.entries(seen)) assert.ok(times > 2_000, `${outcome}: ${times}`)
})

test('what is written is read again, by both versions', () => {
  fc.assert(
    fc.property(fc.constantFrom('v1', 'v2'), end, end, someBytes, (version, source, destination, rest) => {
      const header = parse([Buffer.concat([proxyHeader(version, { source, destination }), rest])])
      const ends = endsOf([source.address, destination.address], [source.port, destination.port])
      assert.deepEqual(header, { ends, rest })
    }),
    { numRuns: 10_000 }
  )
})
