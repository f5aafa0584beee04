import assert from 'node:assert/strict'
import test from 'node:test'

import { testStrategy } from '@ringway/core/testing'

import { twoByPosition } from './broken.js'
import { twoPerTenant } from './two-per-tenant.js'

// 1000 tenants of 20 clients.
const keys = Array.from({ length: 20_000 }, (_, index) => `tenant-${index % 1000}/client-${index}`)

// What the kit must know: a key has two servers. When a server joins or leaves, some tenants get another pair.
const options = { keys, reach: 2, needlessMoves: 0.05 }

test('two servers per tenant keep to what a gateway expects of a strategy', t => {
  const report = testStrategy(twoPerTenant(), options)
  t.diagnostic(String(report))
  assert.ok(report.passed, String(report))
})

test('two servers by their position in the list do not, and the kit says why', t => {
  const report = testStrategy(twoByPosition(), options)
  t.diagnostic(String(report))
  assert.ok(!report.passed)
  assert.match(String(report), /FAILED {3}joining: \d+\.\d+ % of the keys moved without need/)
  assert.match(
    String(report),
    /FAILED {3}member order: \d+ of 20000 keys, such as 'tenant-\d+\/client-\d+', were sent/
  )
})
