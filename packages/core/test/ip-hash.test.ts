import assert from 'node:assert/strict'
import test from 'node:test'
import { ipHash, order } from '@ringway/core'

const table = ipHash().build(Array.from({ length: 6271 }, (_, index) => ({ id: `${index}`, weight: 1 })))

/** With a place for each number that there is, the first choice tells the number. */
function hash(address: string): number {
  return Number(
    table.pick(
      address,
      () => true,
      () => 0
    )?.id
  )
}

function take(number: number, byte: number): number {
  return (number * 113 + byte) % 6271
}

test('the number starts at 89 and takes each byte in', () => {
  assert.equal(hash('192.0.2.7'), take(take(take(89, 192), 0), 2))
  const bytes = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]
  assert.equal(hash('2001:db8::7'), bytes.reduce(take, 89))
})

test('the bytes are taken in again for each further choice', () => {
  const numbers = order(table, '192.0.2.7').map(({ id }) => Number(id))
  for (const [index, number] of numbers.slice(0, 3).entries()) {
    assert.equal(number, [192, 0, 2].reduce(take, numbers[index - 1] ?? 89))
  }
})

test('all of an IPv4 network of 256 addresses has one member', () => {
  assert.equal(hash('192.0.2.7'), hash('192.0.2.255'))
  assert.notEqual(hash('192.0.2.7'), hash('192.0.3.7'))
})

test('IPv6 counts whole, however it is written', () => {
  assert.notEqual(hash('2001:db8::7'), hash('2001:db8::8'))
  for (const same of ['2001:DB8::7', '2001:0db8:0:0:0:0:0:7', '2001:db8::0.0.0.7', '2001:db8::7%eth0']) {
    assert.equal(hash(same), hash('2001:db8::7'))
  }
})

test('IPv4 inside IPv6 counts as IPv6, as on a dual-stack listener of nginx', () => {
  assert.notEqual(hash('::ffff:192.0.2.7'), hash('192.0.2.7'))
  assert.notEqual(hash('::ffff:192.0.2.7'), hash('::ffff:192.0.2.8'))
  assert.equal(hash('::ffff:192.0.2.7'), hash('::FFFF:c000:207'))
})

test('what is no address counts as three zero bytes', () => {
  for (const key of [
    'unix:',
    '',
    'user-42',
    '192.0.2',
    '192.0.2.07',
    '192.0.2.7:80',
    '[2001:db8::7]',
    '1::2::3'
  ]) {
    assert.equal(hash(key), hash('0.0.0.0'), key)
  }
})

test('a key that is no text is refused', () => {
  // @ts-expect-error a key is a text
  assert.throws(() => hash(42), { code: 'ERR_RINGWAY_KEY' })
})
