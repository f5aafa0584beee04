import assert from 'node:assert/strict'
import test from 'node:test'
import { forwardedAddress } from '@ringway/core'
import type { ForwardedAddressOptions } from '@ringway/core'
import { byElements, byList, peer, trust } from './support/forwarded.ts'
import { refuses, sourceWith } from './support/key-source.ts'

test('a peer that is not trusted is the client, whatever it says', () => {
  assert.equal(byList('203.0.113.7', '192.0.2.7'), '192.0.2.7')
  assert.equal(byElements('for=203.0.113.7', '::ffff:192.0.2.7'), '192.0.2.7')
})

test('the first address from the right that is not trusted is the client', () => {
  assert.equal(byList('203.0.113.7'), '203.0.113.7')
  assert.equal(byList('6.6.6.6, 203.0.113.7, 10.0.0.3, 10.0.0.2'), '203.0.113.7')
  assert.equal(byElements('for=6.6.6.6, for=203.0.113.7, for=10.0.0.3'), '203.0.113.7')
})

test('if all addresses are trusted, the leftmost is the client', () => {
  assert.equal(byList('10.0.0.3, 10.0.0.2'), '10.0.0.3')
  assert.equal(byElements('for=10.0.0.3,for=10.0.0.2'), '10.0.0.3')
})

test('a trusted peer that forwards nothing is the client', () => {
  for (const value of [undefined, '', [], ['']]) {
    assert.equal(byList(value), peer)
    assert.equal(byElements(value), peer)
  }
})

for (const entry of ['unknown', '_hidden', 'garbage', '', ' ', '10.0.0', '010.0.0.2', '10.0.0.2 10.0.0.3']) {
  test(`the entry ${JSON.stringify(entry)} ends the walk, and the address before it stays`, () => {
    assert.equal(byList(`203.0.113.7, ${entry}, 10.0.0.2`), '10.0.0.2')
    assert.equal(byList(`203.0.113.7,${entry}`), peer)
    assert.equal(byElements(`for=203.0.113.7, for="${entry}", for=10.0.0.2`), '10.0.0.2')
  })
}

test('commas at the ends are empty entries', () => {
  assert.equal(byList(',203.0.113.7'), '203.0.113.7')
  assert.equal(byList(',10.0.0.2'), '10.0.0.2')
  assert.equal(byList('203.0.113.7,'), peer)
  assert.equal(byList(','), peer)
  assert.equal(byElements(','), peer)
  assert.equal(byElements(',for=10.0.0.2'), '10.0.0.2')
})

test('several lines of a header are one list', () => {
  assert.equal(byList(['6.6.6.6', '203.0.113.7, 10.0.0.3', '10.0.0.2']), '203.0.113.7')
  assert.equal(byElements(['for=6.6.6.6', 'for=203.0.113.7', 'for=10.0.0.2']), '203.0.113.7')
})

test('a peer on a Unix socket is trusted by unix: only', () => {
  const headers = { 'x-forwarded-for': '203.0.113.7' }
  const source = sourceWith({ address: undefined, headers })
  assert.equal(forwardedAddress({ trust: ['unix:'] })(source), '203.0.113.7')
  assert.equal(forwardedAddress({ trust: ['0.0.0.0/0', '::/0'] })(source), undefined)
})

test('a peer on a Unix socket that tells no address leaves the client without one', () => {
  const key = forwardedAddress({ trust: ['unix:'] })
  for (const value of [undefined, '', 'unknown', '203.0.113.7, unix:']) {
    assert.equal(key(sourceWith({ address: undefined, headers: { 'x-forwarded-for': value } })), undefined)
  }
})

test('a mapped or scoped peer is trusted as the address that it is', () => {
  assert.equal(byList('203.0.113.7', '::ffff:10.0.0.1'), '203.0.113.7')
  assert.equal(byList('203.0.113.7', '2001:db8:ffff::1%eth0'), '203.0.113.7')
})

test('the walk stops at a mapped address as at the plain one', () => {
  assert.equal(byList('6.6.6.6, ::ffff:203.0.113.7, ::ffff:10.0.0.2'), '203.0.113.7')
})

test('a peer that is no address is the client as it is', () => {
  assert.equal(byList('203.0.113.7', 'garbage'), 'garbage')
})

test('a header of which every object has one is not taken for sent', () => {
  const headers = Object.create({ 'x-forwarded-for': '203.0.113.7' }) as Record<string, string>
  assert.equal(forwardedAddress({ trust })(sourceWith({ address: peer, headers })), peer)
})

test('only the header that the proxies write is read', () => {
  const headers = { 'x-forwarded-for': '203.0.113.7' }
  const key = forwardedAddress({ trust, header: 'forwarded' })
  assert.equal(key(sourceWith({ address: peer, headers })), peer)
  const list = forwardedAddress({ trust, header: 'x-forwarded-for' })
  assert.equal(list(sourceWith({ address: peer, headers })), '203.0.113.7')
})

test('the address is named as remoteAddress names it', () => {
  const key = forwardedAddress({ trust, mapped: true, ipv6Prefix: 64 })
  const keyOf = (value: string) => key(sourceWith({ address: peer, headers: { 'x-forwarded-for': value } }))
  assert.equal(keyOf('203.0.113.7'), '::ffff:203.0.113.7')
  assert.equal(keyOf('::ffff:203.0.113.7'), '::ffff:203.0.113.7')
  assert.equal(keyOf('[2001:db8:1:2:3:4:5:6]:80'), '2001:db8:1:2::')
  assert.equal(keyOf('unknown'), '::ffff:10.0.0.1')
})

test('names of networks are trusted', () => {
  const key = forwardedAddress({ trust: ['loopback', 'linklocal', 'uniquelocal'] })
  const headers = { 'x-forwarded-for': '6.6.6.6, 203.0.113.7, fd00::1, 192.168.0.1, 169.254.0.1' }
  assert.equal(key(sourceWith({ address: '::1', headers })), '203.0.113.7')
})

test('trust is required, and a list that is not empty', () => {
  // @ts-expect-error whom to trust must be said
  assert.throws(() => forwardedAddress({}), refuses('trust', /a list that is not empty, not undefined/))
  assert.throws(() => forwardedAddress({ trust: [] }), refuses('trust', /a list that is not empty/))
  // @ts-expect-error trust is a list
  assert.throws(() => forwardedAddress({ trust: 'loopback' }), refuses('trust', /a list that is not empty/))
  // @ts-expect-error trust is a list, not a number of proxies
  assert.throws(() => forwardedAddress({ trust: 1 }), refuses('trust', /a list that is not empty/))
  // @ts-expect-error options are an object
  assert.throws(() => forwardedAddress(), refuses('options', /must be an object/))
})

test('a bad network is named by its place', () => {
  for (const [text, message] of [
    ['10.0.0.1/8', /beyond its prefix/],
    ['10.0.0.0/33', /at most 32 bits/],
    ['10.0.0.0/08', /must be an address/]
  ] as const) {
    assert.throws(() => forwardedAddress({ trust: ['loopback', text] }), refuses('trust[1]', message))
  }
})

test('only two headers can be chosen', () => {
  // @ts-expect-error not a header that proxies share
  const other: ForwardedAddressOptions = { trust, header: 'x-real-ip' }
  assert.throws(() => forwardedAddress(other), refuses('header', /must be x-forwarded-for or forwarded, not/))
  // @ts-expect-error a header is a text
  assert.throws(() => forwardedAddress({ trust, header: 7 }), refuses('header'))
})

test('the other options are checked too', () => {
  assert.throws(() => forwardedAddress({ trust, ipv6Prefix: 0 }), refuses('ipv6Prefix', /1 to 128/))
  // @ts-expect-error mapped is a boolean
  assert.throws(() => forwardedAddress({ trust, mapped: 1 }), refuses('mapped', /true or false/))
  // @ts-expect-error no such option
  assert.throws(() => forwardedAddress({ trust, headers: [] }), refuses('headers', /is no option/))
})
