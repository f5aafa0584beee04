import assert from 'node:assert/strict'
import test from 'node:test'
import { byElements, byList, peer } from './support/forwarded.ts'

// Forms of an entry

const nodes: Record<string, string> = {
  '203.0.113.7': '203.0.113.7',
  '203.0.113.7:4711': '203.0.113.7',
  '203.0.113.7:_port': '203.0.113.7',
  '2001:DB8:0::1': '2001:db8::1',
  '[2001:db8::1]': '2001:db8::1',
  '[2001:DB8::1]:4711': '2001:db8::1',
  '[2001:db8::1]:_p.o-rt': '2001:db8::1',
  '[::ffff:203.0.113.7]:80': '203.0.113.7',
  '[FE80::1%eth0]': 'fe80::1',
  '::1': '::1'
}

for (const [node, address] of Object.entries(nodes)) {
  test(`${node} is the address ${address} in either header`, () => {
    assert.equal(byList(`6.6.6.6,\t ${node} \t, 10.0.0.2`), address)
    assert.equal(byElements(`for=6.6.6.6,\t for="${node}" \t, for=10.0.0.2`), address)
    assert.equal(byElements(`for=6.6.6.6, for=${node}`), address)
  })
}

const notNodes = [
  '[203.0.113.7]',
  '[203.0.113.7]:80',
  '203.0.113.7:',
  '203.0.113.7:123456',
  '203.0.113.7:http',
  '203.0.113.7:80:80',
  '203.0.113:80',
  '[2001:db8::1',
  '2001:db8::1]',
  '[2001:db8::1]:',
  '[2001:db8::1]80',
  '[2001:db8::1]:-1',
  '[[2001:db8::1]]',
  '[]',
  '[:',
  '"203.0.113.7"',
  'for=203.0.113.7',
  '\u00a0203.0.113.7'
]

for (const node of notNodes) {
  test(`${JSON.stringify(node)} is no address in a list`, () => {
    assert.equal(byList(`203.0.113.9, ${node}`), peer)
  })
}

// Elements of Forwarded (RFC 7239)

const elements: Record<string, string> = {
  'for=203.0.113.7': '203.0.113.7',
  'For=203.0.113.7': '203.0.113.7',
  'FOR="203.0.113.7"': '203.0.113.7',
  'for="203.0.113.7:4711"': '203.0.113.7',
  'for="[2001:db8::1]:4711"': '2001:db8::1',
  'for=203.0.113.7;proto=https;by=198.51.100.1': '203.0.113.7',
  'by=198.51.100.1 ; for=203.0.113.7;\tproto=https': '203.0.113.7',
  ';;for=203.0.113.7;': '203.0.113.7',
  'for=203.0.113.7;by=': '203.0.113.7',
  'for="2\\03.0.11\\3.7"': '203.0.113.7',
  'for=203.0.113.7;host="a,b;c"': '203.0.113.7',
  'host="a, for=6.6.6.6;for=6.6.6.6";for=203.0.113.7': '203.0.113.7',
  'for=203.0.113.7;host="a\\", for=6.6.6.6"': '203.0.113.7',
  'host="\\"";for=203.0.113.7;secret="\\\\"': '203.0.113.7',
  'host="\\\\\\", for=\\\\";for=203.0.113.7': '203.0.113.7',
  'host="";for=203.0.113.7': '203.0.113.7'
}

for (const [element, address] of Object.entries(elements)) {
  test(`${element} tells ${address}, whatever stands to its left`, () => {
    for (const left of [
      '',
      ', ',
      'for=6.6.6.6, ',
      'for="6.6.6.6, ',
      'for="evil\\, ',
      '", ',
      '\\", ',
      'a="b\\", '
    ]) {
      assert.equal(byElements(`${left}${element}`), address)
      assert.equal(byElements(`${left}${element}, for=10.0.0.2;host="a,b\\\\"`), address)
    }
  })
}

const malformed = [
  'proto=https',
  'for',
  'for=',
  '=203.0.113.7',
  'for =203.0.113.7',
  'for= 203.0.113.7',
  'fo r=203.0.113.7',
  'for:203.0.113.7',
  '"for"=203.0.113.7',
  '203.0.113.7',
  'for="203.0.113.7',
  'for=203.0.113.7"',
  'for="203.0.113.7\\"',
  'for=\\"203.0.113.7\\"',
  'for=""203.0.113.7""',
  'for="203.0.113.7"x',
  'for="203.0.113.7" "',
  'for=203.0.113.7 x',
  'for=203.0.113.7;x',
  'for=203.0.113.7;for=203.0.113.8',
  'for=unknown',
  'for=_hidden',
  'for="_hidden:80"',
  'for="unknown";for=203.0.113.7',
  'xfor=203.0.113.7',
  'for="evil;for=203.0.113.7'
]

for (const element of malformed) {
  test(`${element} tells no address`, () => {
    assert.equal(byElements(element), peer)
    assert.equal(byElements(`for=203.0.113.9, ${element}, for=10.0.0.2`), '10.0.0.2')
  })
}

test('a quote that a client leaves open hides nothing that the proxy appends', () => {
  assert.equal(byElements('for="evil, for=203.0.113.7'), '203.0.113.7')
  assert.equal(byElements('for="evil, for="203.0.113.7"'), '203.0.113.7')
  assert.equal(byElements('for="evil\\, for="[2001:db8::1]:4711"'), '2001:db8::1')
})

test('what stands to the left of an open quote is not read', () => {
  assert.equal(byElements('for=6.6.6.6, for="evil, for=10.0.0.2'), '10.0.0.2')
})

test('an open quote in the list that has no quotes is an entry that is no address', () => {
  assert.equal(byList('6.6.6.6, "evil, 203.0.113.7'), '203.0.113.7')
  assert.equal(byList('6.6.6.6, "evil, 10.0.0.2'), '10.0.0.2')
})
