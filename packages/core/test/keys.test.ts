import assert from 'node:assert/strict'
import test from 'node:test'
import * as fc from 'fast-check'
import { canonicalAddress, remoteAddress } from '@ringway/core'
import type { KeyFunction, KeySource, RemoteAddressOptions, Strategy } from '@ringway/core'
import { refuses, sourceWith } from './support/key-source.ts'

const byTenant: KeyFunction = ({ headers }) => headers['x-tenant']?.toString()
const bySession: KeyFunction = async ({ request }) => Promise.resolve(String(request))
// @ts-expect-error a key is a text
const byNumber: KeyFunction = () => 42
// @ts-expect-error keyed is left out or false
const keyed: Strategy = { name: 'mine', keyed: true, build: () => ({ pick: () => undefined }) }

const source: KeySource = {
  address: '::ffff:192.0.2.7',
  method: 'GET',
  target: '/',
  headers: {},
  request: {}
}

test("the client's address is the key, the same on IPv4 and dual-stack listeners", () => {
  const key = remoteAddress()
  assert.equal(key(source), '192.0.2.7')
  assert.equal(key({ ...source, address: '192.0.2.7' }), '192.0.2.7')
  assert.equal(key({ ...source, address: '2001:DB8:0::1' }), '2001:db8::1')
})

test('a client without an address has no key', () => {
  assert.equal(remoteAddress()({ ...source, address: undefined }), undefined)
})

test('a key function may answer at once or later, and the compiler knows what it may answer', async () => {
  assert.equal(await byTenant({ ...source, headers: { 'x-tenant': 'seven' } }), 'seven')
  assert.equal(await bySession({ ...source, request: 'session' }), 'session')
  assert.equal(byNumber(source), 42)
  assert.equal(keyed.name, 'mine')
})

/** The key of an address. */
function keyOf(address: string | undefined, options?: RemoteAddressOptions): unknown {
  return remoteAddress(options)(sourceWith({ address }))
}

test('mapped names IPv4 as a dual-stack nginx does, whatever form it came in', () => {
  for (const address of [
    '192.0.2.7',
    '::ffff:192.0.2.7',
    '::FFFF:c000:207',
    '0:0:0:0:0:ffff:192.0.2.7%eth0'
  ]) {
    assert.equal(keyOf(address, { mapped: true }), '::ffff:192.0.2.7')
    assert.equal(keyOf(address, { mapped: false }), '192.0.2.7')
  }
})

test('mapped leaves IPv6 alone', () => {
  assert.equal(keyOf('2001:DB8::1', { mapped: true }), '2001:db8::1')
  assert.equal(keyOf('::1.2.3.4', { mapped: true }), '::1.2.3.4')
})

const networks: [bits: number, address: string, key: string][] = [
  [128, '2001:db8:1:2:3:4:5:6', '2001:db8:1:2:3:4:5:6'],
  [127, '2001:db8::7', '2001:db8::6'],
  [64, '2001:db8:1:2:3:4:5:6', '2001:db8:1:2::'],
  [64, '2001:db8:1:2::', '2001:db8:1:2::'],
  [64, 'FE80::1%eth0', 'fe80::'],
  [56, '2001:db8:1:2ff:3:4:5:6', '2001:db8:1:200::'],
  [48, '2001:db8:1:2:3:4:5:6', '2001:db8:1::'],
  [1, 'ffff::1', '8000::'],
  [1, '2001:db8::1', '::'],
  [112, '::1.2.3.4', '::1.2.0.0']
]

for (const [bits, address, key] of networks) {
  test(`${address} has the key ${key} when ${bits} bits count`, () => {
    assert.equal(keyOf(address, { ipv6Prefix: bits }), key)
  })
}

test('IPv4 is always taken whole', () => {
  assert.equal(keyOf('192.0.2.7', { ipv6Prefix: 1 }), '192.0.2.7')
  assert.equal(keyOf('::ffff:192.0.2.7', { ipv6Prefix: 64 }), '192.0.2.7')
  assert.equal(keyOf('::ffff:192.0.2.7', { ipv6Prefix: 64, mapped: true }), '::ffff:192.0.2.7')
})

test('what is no address is the key as it is', () => {
  for (const text of ['', 'user-42', 'tenant:42', '01.2.3.4', '[::1]', '::1/64']) {
    assert.equal(keyOf(text, { mapped: true, ipv6Prefix: 64 }), text)
  }
})

test('a client without an address has no key, whatever the options', () => {
  assert.equal(keyOf(undefined, { mapped: true, ipv6Prefix: 64 }), undefined)
})

test('the bits of IPv6 that count are an integer of 1 to 128', () => {
  for (const ipv6Prefix of [0, 129, -1, 64.5, Number.NaN]) {
    assert.throws(() => remoteAddress({ ipv6Prefix }), refuses('ipv6Prefix', /an integer of 1 to 128/))
  }
  // @ts-expect-error a number of bits is a number
  assert.throws(() => remoteAddress({ ipv6Prefix: '64' }), refuses('ipv6Prefix', /not '64'/))
})

test('mapped is true or false', () => {
  // @ts-expect-error mapped is a boolean
  assert.throws(() => remoteAddress({ mapped: 'yes' }), refuses('mapped', /true or false/))
})

test('an option that remoteAddress does not know is refused', () => {
  // @ts-expect-error it looks at no header
  assert.throws(() => remoteAddress({ trust: ['loopback'] }), refuses('trust', /is no option/))
  // @ts-expect-error options are an object
  assert.throws(() => remoteAddress(null), refuses('options', /must be an object/))
})

test('without options the key is the canonical address, of whatever text', () => {
  const any = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string({ unit: 'binary' }))
  fc.assert(
    fc.property(any, address => assert.equal(keyOf(address), canonicalAddress(address))),
    { numRuns: 10_000 }
  )
})

test('10,000 random addresses never throw, and a network has the key that each of its addresses has', () => {
  const any = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string({ unit: 'binary' }))
  fc.assert(
    fc.property(any, fc.integer({ min: 1, max: 128 }), fc.boolean(), (address, ipv6Prefix, mapped) => {
      const key = keyOf(address, { ipv6Prefix, mapped })
      assert.equal(keyOf(String(key), { ipv6Prefix, mapped }), key)
    }),
    { numRuns: 10_000 }
  )
})
