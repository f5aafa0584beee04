import assert from 'node:assert/strict'
import test from 'node:test'
import { remoteAddress } from '@ringway/core'
import type { KeyFunction, KeySource, Strategy } from '@ringway/core'

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
