import assert from 'node:assert/strict'
import { isIP } from 'node:net'
import test from 'node:test'
import * as fc from 'fast-check'
import { canonicalAddress, forwardedAddress } from '@ringway/core'
import { byElements, byList, trust } from './support/forwarded.ts'
import { assertQuick, sourceWith } from './support/key-source.ts'

/** Texts that look much like one of the headers, or not at all. */
function anyHeader(): fc.Arbitrary<string | string[] | undefined> {
  const words = [
    '10.0.0.2',
    '10.0.0.3:80',
    '203.0.113.7',
    '[2001:db8::1]:80',
    '2001:db8:ffff::2',
    'unknown',
    '_x'
  ]
  const marks = [',', ', ', ';', '=', '"', '\\', '\\"', ' ', 'for=', 'for="', 'by=', 'host="a,b"']
  const alike = fc.array(fc.constantFrom(...words, ...marks, ...marks)).map(parts => parts.join(''))
  const text = fc.oneof(
    { weight: 4, arbitrary: alike },
    { weight: 1, arbitrary: fc.string({ unit: 'binary' }) }
  )
  return fc.oneof(text, fc.array(text), fc.constant(undefined))
}

test('10,000 random headers never throw, and never move a peer that is not trusted', () => {
  const stranger = fc
    .oneof(fc.ipV4(), fc.ipV6())
    .filter(address => !/^10\.|^2001:db8:ffff:/.test(canonicalAddress(address)))
  fc.assert(
    fc.property(anyHeader(), stranger, (value, address) => {
      assert.equal(byList(value, address), canonicalAddress(address))
      assert.equal(byElements(value, address), canonicalAddress(address))
    }),
    { numRuns: 10_000 }
  )
})

test('10,000 random headers from a trusted peer give an address, or nothing if the peer has none', () => {
  const unix = forwardedAddress({ trust: [...trust, 'unix:'] })
  const unixElements = forwardedAddress({ trust: [...trust, 'unix:'], header: 'forwarded' })
  fc.assert(
    fc.property(anyHeader(), value => {
      assert.notEqual(isIP(String(byList(value))), 0)
      assert.notEqual(isIP(String(byElements(value))), 0)
      const source = sourceWith({
        address: undefined,
        headers: { 'x-forwarded-for': value, forwarded: value }
      })
      for (const key of [unix(source), unixElements(source)]) {
        assert.ok(key === undefined || (typeof key === 'string' && isIP(key) !== 0))
      }
    }),
    { numRuns: 10_000 }
  )
})

test('what trusted proxies append is read as they mean it, whatever the client sent', () => {
  const value = fc.string({ unit: fc.constantFrom('a', ',', ';', '=', '"', '\\', ' ') })
  const client = fc
    .oneof(fc.ipV4(), fc.ipV6())
    .filter(each => !/^10\.|^2001:db8:ffff:/.test(canonicalAddress(each)))
  fc.assert(
    fc.property(anyHeader(), client, fc.array(value), (sent, address, hosts) => {
      const chain = [address, ...hosts.map((_, index) => `10.0.1.${index}`)]
      const appended = chain.map(
        (each, index) => `host=${quote(hosts[index] ?? '')};for=${quote(node(each))}`
      )
      assert.equal(byElements([sent ?? '', ...appended].flat()), canonicalAddress(address))
      assert.equal(byList([sent ?? '', ...chain.map(node)].flat()), canonicalAddress(address))
    }),
    { numRuns: 2_000 }
  )
})

for (const unit of [
  ',',
  ';',
  '"',
  '\\',
  '\\"',
  ' ',
  '[',
  ':',
  '[:',
  'for=',
  'for=";',
  '1.',
  'a="\\\\',
  '10.0.0.2,'
]) {
  test(`megabytes of ${JSON.stringify(unit)} take no time to speak of`, () => {
    const text = unit.repeat(500_000 / unit.length)
    for (const value of [text, `${text}x`, `"${text}"`, `for="${text}"`, `for=${text};x`, `[1:${text}`]) {
      assertQuick(() => byList(value))
      assertQuick(() => byElements(value))
    }
  })
}

test('megabytes of trusted proxies are walked in linear time', () => {
  assertQuick(() => assert.equal(byList('10.0.0.2,'.repeat(20_000) + '10.0.0.3'), '10.0.0.2'))
  assertQuick(() => byElements('for=10.0.0.2,'.repeat(20_000) + 'for=10.0.0.3'))
})

/** A text as a quoted-string. */
function quote(text: string): string {
  return `"${text.replaceAll(/["\\]/g, '\\$&')}"`
}

/** An address as a proxy writes it. */
function node(address: string): string {
  return address.includes(':') ? `[${address}]:80` : address
}
