import assert from 'node:assert/strict'
import { BlockList } from 'node:net'
import test from 'node:test'
import * as fc from 'fast-check'
import { parseNetworks } from '../src/networks.ts'
import { refuses } from './support/key-source.ts'

/** In the network, and not in it. */
const samples: Record<string, [inside: string[], outside: string[]]> = {
  '192.0.2.7': [
    ['192.0.2.7', '::ffff:192.0.2.7', '::FFFF:c000:207'],
    ['192.0.2.8', '::192.0.2.7']
  ],
  '10.0.0.0/8': [
    ['10.0.0.0', '10.255.255.255', '::ffff:10.1.2.3'],
    ['9.255.255.255', '11.0.0.0', 'a00::']
  ],
  '192.0.2.128/25': [
    ['192.0.2.128', '192.0.2.255'],
    ['192.0.2.127', '192.0.3.128']
  ],
  '10.0.0.0/32': [['10.0.0.0'], ['10.0.0.1']],
  '0.0.0.0/0': [
    ['0.0.0.0', '255.255.255.255', '::ffff:1.2.3.4'],
    ['::', '::1', '2001:db8::1', '::1.2.3.4']
  ],
  '::/0': [
    ['::', '::1', '2001:db8::1', '::1.2.3.4'],
    ['0.0.0.0', '192.0.2.7', '::ffff:192.0.2.7']
  ],
  '::/64': [['::1'], ['192.0.2.7', '0:0:0:1::']],
  '::ffff:0:0/96': [['192.0.2.7', '::ffff:192.0.2.7'], ['::1']],
  '::ffff:10.0.0.0/104': [['10.1.2.3'], ['11.1.2.3']],
  '::ffff:192.0.2.7': [['192.0.2.7'], ['192.0.2.8']],
  '2001:db8::/32': [
    ['2001:DB8::1', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['2001:db9::', '2001:db7:ffff::']
  ],
  '2001:db8::/33': [['2001:db8:7fff::1'], ['2001:db8:8000::']],
  '2001:db8::1': [['2001:db8:0::1', '2001:db8::1%eth0'], ['2001:db8::2']],
  loopback: [
    ['127.0.0.1', '127.255.0.1', '::1', '::ffff:127.0.0.1'],
    ['128.0.0.1', '::', '::2']
  ],
  linklocal: [
    ['169.254.1.1', 'fe80::1', 'fe80::1%eth0', 'febf::1'],
    ['169.253.1.1', 'fec0::1']
  ],
  uniquelocal: [
    ['10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.1.1', 'fc00::1', 'fdff::1'],
    ['172.15.0.1', '172.32.0.1', '192.169.0.1', 'fe00::1', '127.0.0.1']
  ]
}

for (const [network, [inside, outside]] of Object.entries(samples)) {
  test(`${network} holds its own addresses and no other`, () => {
    const networks = parseNetworks(['198.51.100.1', network], 'trust')
    assert.deepEqual(
      inside.filter(address => !networks.has(address)),
      []
    )
    assert.deepEqual(
      outside.filter(address => networks.has(address)),
      []
    )
    assert.equal(networks.has('198.51.100.1'), true)
  })
}

test('a peer without an address is in a list only by unix:', () => {
  assert.equal(parseNetworks(['unix:'], 'trust').has(undefined), true)
  assert.equal(parseNetworks(['0.0.0.0/0', '::/0'], 'trust').has(undefined), false)
})

test('what is no address is in no network', () => {
  const networks = parseNetworks(['0.0.0.0/0', '::/0', 'unix:'], 'trust')
  for (const text of ['', 'unix:', 'unknown', '10.0.0.0/8', '1.2.3', '01.2.3.4', '[::1]', '::1::']) {
    assert.equal(networks.has(text), false)
  }
})

for (const list of [undefined, null, [], '10.0.0.0/8', { 0: '::1' }, 7]) {
  test(`${JSON.stringify(list)} is no list of networks`, () => {
    assert.throws(() => parseNetworks(list, 'proxies'), refuses('proxies', /a list that is not empty/))
  })
}

const refused: unknown[] = [
  '',
  ' 10.0.0.0/8',
  '10.0.0.0/8 ',
  '10.0.0.0/',
  '10.0.0.0/08',
  '10.0.0.0/+8',
  '10.0.0.0/-1',
  '10.0.0.0/8.0',
  '10.0.0.0/255.0.0.0',
  '10.0.0.0/8/8',
  '10.0.0.0/1000',
  '010.0.0.0/8',
  '10.0.0/8',
  '10/8',
  '/8',
  '::1/',
  '[::1]/128',
  'fe80::1%eth0',
  'fe80::%eth0/10',
  'Loopback',
  'localhost',
  'proxy.example.com',
  'unix:/run/proxy.sock',
  '__proto__',
  undefined,
  null,
  7,
  ['10.0.0.0/8']
]

for (const text of refused) {
  test(`${JSON.stringify(text)} is refused as no network, by its place in the list`, () => {
    assert.throws(() => parseNetworks(['::1', text], 'trust'), refuses('trust[1]', /such as 10.0.0.0\/8/))
  })
}

for (const [text, most] of Object.entries({ '0.0.0.0/33': 32, '10.0.0.0/128': 32, '::/129': 128 })) {
  test(`${text} is refused, as its prefix has ${most} bits at most`, () => {
    assert.throws(
      () => parseNetworks([text], 'trust'),
      refuses('trust[0]', new RegExp(`at most ${most} bits`))
    )
  })
}

for (const text of ['10.0.0.1/8', '127.0.0.1/8', '0.0.0.1/0', '2001:db8::1/32', '::1/0', '::ffff:0:0/80']) {
  test(`${text} is refused, as it has bits set beyond its prefix`, () => {
    assert.throws(() => parseNetworks([text], 'trust'), refuses('trust[0]', /beyond its prefix/))
  })
}

test('an address is in the network that its first bits name, as Node sees it too', () => {
  const sample = fc.oneof(
    fc.record({ family: fc.constant('ipv4' as const), address: fc.ipV4(), bits: fc.nat(32) }),
    fc.record({ family: fc.constant('ipv6' as const), address: anyIPv6(), bits: fc.nat(128) })
  )
  fc.assert(
    fc.property(sample, fc.oneof(fc.ipV4(), anyIPv6()), ({ family, address, bits }, other) => {
      const first = firstOf(address, family === 'ipv4' ? 32 : 128, bits)
      const networks = parseNetworks([`${first}/${bits}`], 'trust')
      assert.equal(networks.has(address), true)
      const nodes = new BlockList()
      nodes.addSubnet(first, bits, family)
      const otherFamily = other.includes(':') ? 'ipv6' : 'ipv4'
      assert.equal(networks.has(other), otherFamily === family && nodes.check(other, otherFamily))
    }),
    { numRuns: 2_000 }
  )
})

/** IPv6 that isn't mapped IPv4, which Node takes for IPv6 and we don't. */
function anyIPv6(): fc.Arbitrary<string> {
  const group = fc.oneof(fc.constantFrom(0, 0x2001, 0xdb8), fc.nat(0xffff))
  return fc
    .array(group, { minLength: 8, maxLength: 8 })
    .filter(groups => groups[5] !== 0xffff)
    .map(groups => groups.map(each => each.toString(16)).join(':'))
}

/** The network's first address, worked out on one large number. */
function firstOf(address: string, width: 32 | 128, bits: number): string {
  const size = width === 32 ? 8n : 16n
  const parts =
    width === 32 ? address.split('.').map(BigInt) : address.split(':').map(each => BigInt(`0x${each}`))
  const whole = parts.reduce((sum, part) => (sum << size) + part, 0n)
  const rest = BigInt(width - bits)
  const first = (whole >> rest) << rest
  const cut = parts.map(
    (_, index) => (first >> (size * BigInt(parts.length - 1 - index))) & ((1n << size) - 1n)
  )
  return width === 32 ? cut.join('.') : cut.map(each => each.toString(16)).join(':')
}
