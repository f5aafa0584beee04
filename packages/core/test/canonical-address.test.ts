import assert from 'node:assert/strict'
import { isIPv6 } from 'node:net'
import test from 'node:test'
import * as fc from 'fast-check'
import { canonicalAddress } from '@ringway/core'
import { assertQuick } from './support/key-source.ts'

const forms: Record<string, string> = {
  // IPv4, and IPv4 inside IPv6
  '192.0.2.7': '192.0.2.7',
  '::ffff:192.0.2.7': '192.0.2.7',
  '::FFFF:192.0.2.7': '192.0.2.7',
  '::FfFf:c000:207': '192.0.2.7',
  '0:0:0:0:0:ffff:192.0.2.7': '192.0.2.7',
  '0000:0000:0000:0000:0000:ffff:c000:0207': '192.0.2.7',
  '::ffff:192.0.2.7%eth0': '192.0.2.7',
  '::ffff:0:0': '0.0.0.0',
  '::ffff:255.255.255.255': '255.255.255.255',
  // IPv6
  '::': '::',
  '0:0:0:0:0:0:0:0': '::',
  '::1': '::1',
  '::0001': '::1',
  '2001:DB8::1': '2001:db8::1',
  '2001:0db8:0000:0000:0000:0000:0000:0001': '2001:db8::1',
  '2001:db8:1:0:0:2:0:0': '2001:db8:1::2:0:0',
  '1:0:0:2:0:0:0:3': '1:0:0:2::3',
  '1:2:3:4:5:6:7:0': '1:2:3:4:5:6:7:0',
  '1:2:3:4:5:6:7::': '1:2:3:4:5:6:7:0',
  '::2:3:4:5:6:7:8': '0:2:3:4:5:6:7:8',
  '1:0:3:4:5:6:7:8': '1:0:3:4:5:6:7:8',
  '1:2:3:4:5:6:0:0': '1:2:3:4:5:6::',
  '0:0:3:4:5:6:7:8': '::3:4:5:6:7:8',
  '64:ff9b::192.0.2.33': '64:ff9b::c000:221',
  '::fffe:1.2.3.4': '::fffe:102:304',
  '1::ffff:1.2.3.4': '1::ffff:102:304',
  // The zone belongs to this machine
  'fe80::1%eth0': 'fe80::1',
  'FE80::1%br-0.1': 'fe80::1',
  // What nginx takes for an IPv4-compatible address
  '::102:304': '::1.2.3.4',
  '::1.2.3.4': '::1.2.3.4',
  '::1:0': '::0.1.0.0',
  '::0102': '::0.0.1.2',
  '::0101': '::101',
  '::ff': '::ff',
  '::0.0.0.255': '::ff'
}

for (const [text, canonical] of Object.entries(forms)) {
  test(`${text} is ${canonical}`, () => assert.equal(canonicalAddress(text), canonical))
}

const notAddresses = [
  '',
  ':',
  ':::',
  '::::',
  'user-42',
  'tenant:42',
  '::ffff:01.2.3.4',
  '::ffff:1.2.3.04',
  '::ffff:256.1.1.1',
  '::ffff:1.2.3',
  '::ffff:1.2.3.4.5',
  '::ffff:1.2.3.4\n',
  '::ffff:1.2.3.4:80',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:7:8::',
  '::1:2:3:4:5:6:7:8',
  '1:2:3:4::5:6:7:8',
  '1::2::3',
  '1:::2',
  ':1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:',
  ':1::2',
  '1::2:',
  '12345::',
  '1.2.3.4::',
  '::1.2.3.4:5',
  '1:2:3:4:5:6:7:1.2.3.4',
  'g::1',
  '0x1::1',
  '+1::1',
  ' ::1',
  '::1 ',
  '[::1]',
  '[::1]:80',
  '::1/128',
  '::1%',
  '::1%eth0%1',
  '::1%eth 0',
  '%eth0',
  'fe80:%eth0',
  '١::1'
]

for (const text of notAddresses) {
  test(`${JSON.stringify(text)} is no IPv6 address, so it is left alone`, () => {
    assert.equal(canonicalAddress(text), text)
  })
}

test('all ways to write an address come to one, which is the same address', () => {
  fc.assert(
    fc.property(anyGroups(), fc.infiniteStream(fc.boolean()), (groups, coins) => {
      const plain = groups.map(group => group.toString(16)).join(':')
      const canonical = canonicalAddress(plain)
      assert.equal(canonicalAddress(canonical), canonical)
      assert.equal(canonicalAddress(spellAnew(groups, coins)), canonical)
      assert.equal(canonicalAddress(`${plain}%eth0`), canonical)
      // The URL parser is another implementation of the same grammar.
      const whole = canonical.includes(':') ? canonical : `::ffff:${canonical}`
      assert.equal(new URL(`http://[${whole}]`).hostname, new URL(`http://[${plain}]`).hostname)
    })
  )
})

test('any text is taken: what is no address is unchanged, and the result never changes again', () => {
  const alike = fc.string({
    unit: fc.constantFrom(...'0 1 2 5 9 a b f F : : :: . %z'.split(' ')),
    maxLength: 50
  })
  fc.assert(
    fc.property(fc.oneof(alike, fc.string({ unit: 'binary' })), text => {
      const canonical = canonicalAddress(text)
      assert.equal(canonicalAddress(canonical), canonical)
      if (!isIPv6(text)) assert.equal(canonical, text)
    }),
    { numRuns: 2_000 }
  )
})

test('a text of megabytes takes no time to speak of', () => {
  const millions = 2_000_000
  for (const text of [
    ':'.repeat(millions),
    '1:'.repeat(millions),
    `::ffff:${'1.'.repeat(millions)}`,
    `::1%${'a'.repeat(millions)}`,
    `::1%${'%'.repeat(millions)}`
  ]) {
    assertQuick(() => canonicalAddress(text))
  }
})

/** Eight groups, half of them 0 and many of the values that mean something. */
function anyGroups(): fc.Arbitrary<number[]> {
  const group = fc.oneof(
    { weight: 3, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.constantFrom(1, 0xff, 0x100, 0x101, 0x102, 0xffff) },
    { weight: 2, arbitrary: fc.nat(0xffff) }
  )
  return fc.array(group, { minLength: 8, maxLength: 8 })
}

/** Another way to write the same groups: case, leading zeros, a dotted end, any run of zeros cut. */
function spellAnew(groups: readonly number[], coins: Iterator<boolean>): string {
  const flip = () => coins.next().value as boolean
  const parts = groups.map(group => {
    const digits = flip() ? group.toString(16) : group.toString(16).padStart(4, '0')
    return flip() ? digits : digits.toUpperCase()
  })
  if (flip()) {
    const [high, low] = groups.slice(6) as [number, number]
    parts.splice(6, 2, `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`)
  }
  const start = groups.findIndex(group => group === 0 && flip())
  if (start === -1 || start >= parts.length || groups.length - start < 2) return parts.join(':')
  let end = start + 1
  while (end < 6 && groups[end] === 0 && flip()) end++
  if (start >= 6) return parts.join(':') // part of the dotted end, perhaps
  return `${parts.slice(0, start).join(':')}::${parts.slice(end).join(':')}`
}
