import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { ProbeReport } from '../src/index.ts'
import { Server } from '../src/server.ts'
import { clock } from './support/upstream.ts'

const config = {
  id: 'a',
  weight: 1,
  down: false,
  backup: false,
  maxConnections: 0,
  terminating: false,
  maxFails: 1,
  failTimeout: 100,
  address: { host: 'a', port: 80 },
  tls: undefined
}

function report(ok: boolean): ProbeReport {
  return { ok, at: 0, took: 0 }
}

/** What these tests don't look at. */
const untouched = { pendingHandshakes: 0, freed() {} }

/** A server with rise 2 and fall 3, whose probes are ours to tell. */
function probed(starting: 'take' | 'wait' = 'take'): {
  server: Server
  list: string[]
  good: () => void
  bad: () => void
  fail: () => void
} {
  const list: string[] = []
  const server = new Server(config, {
    health: { rise: 2, fall: 3, starting },
    alone: false,
    ...untouched,
    announce: (_, inUse, reason) => list.push(`${inUse ? 'up' : 'down'} ${reason}`)
  })
  return {
    server,
    list,
    good: () => server.probed(report(true), performance.now()),
    bad: () => server.probed(report(false), performance.now()),
    fail: () => server.failed(server.begin())
  }
}

test('a starting server takes traffic, and one good probe makes it up', () => {
  const { server, list, good } = probed()
  assert.equal(server.state, 'starting')
  assert.equal(server.usable, true)
  good()
  assert.equal(server.state, 'up')
  assert.deepEqual(list, [])
})

test('fall bad probes in a row take a server out, starting or up', () => {
  const { server, list, good, bad } = probed()
  bad()
  bad()
  assert.equal(server.state, 'starting')
  good()
  bad()
  bad()
  assert.equal(server.state, 'up')
  bad()
  assert.equal(server.state, 'down')
  bad()
  assert.deepEqual(list, ['down probe'])

  const young = probed()
  for (let i = 0; i < 3; i++) young.bad()
  assert.equal(young.server.state, 'down')
})

test('a starting server that waits takes no traffic until its first good probe', () => {
  const { server, list, good, bad } = probed('wait')
  assert.equal(server.state, 'starting')
  assert.equal(server.usable, false)
  bad()
  bad()
  assert.equal(server.usable, false)
  assert.deepEqual(list, [])
  good()
  assert.equal(server.state, 'up')
  assert.equal(server.usable, true)
  assert.deepEqual(list, ['up probe'])
})

test('a starting server that waits falls as any other, and needs rise good probes then', () => {
  const { server, list, good, bad } = probed('wait')
  for (let i = 0; i < 3; i++) bad()
  assert.equal(server.state, 'down')
  good()
  assert.equal(server.usable, false)
  good()
  assert.equal(server.usable, true)
  // It was never in use before.
  assert.deepEqual(list, ['up probe'])
})

test('rise good probes in a row bring it back', () => {
  const { server, list, good, bad } = probed()
  for (let i = 0; i < 3; i++) bad()
  good()
  bad()
  good()
  assert.equal(server.state, 'down')
  good()
  assert.equal(server.state, 'up')
  good()
  assert.deepEqual(list, ['down probe', 'up probe'])
})

test('a mark lasts beyond failTimeout until rise good probes; traffic tries nothing', t => {
  const time = clock(t)
  const { server, list, good, bad, fail } = probed()
  good()
  good()
  fail()
  assert.equal(server.state, 'down')
  time.advance(1000)
  assert.equal(server.state, 'down')
  assert.equal(server.usable, false)
  good()
  bad()
  good()
  assert.equal(server.state, 'down')
  good()
  assert.equal(server.state, 'up')
  assert.deepEqual(list, ['down failures', 'up probe'])
})

test('a probe from before the mark says nothing about it', t => {
  const time = clock(t)
  const { server, good, fail } = probed()
  const before = performance.now()
  time.advance(1)
  fail()
  for (let i = 0; i < 3; i++) server.probed(report(true), before)
  assert.equal(server.state, 'down')
  good()
  good()
  assert.equal(server.state, 'up')
})

test('a late 101 does not end a mark: that is for the probes to do', () => {
  const { server, fail } = probed()
  server.begin()
  fail()
  server.opened()
  assert.equal(server.state, 'down')
  assert.equal(server.active, 1)
})

test('good probes do not clear failures that traffic met', () => {
  const server = new Server(
    { ...config, maxFails: 2 },
    { health: { rise: 1, fall: 1, starting: 'take' }, alone: false, ...untouched, announce() {} }
  )
  server.failed(server.begin())
  server.probed(report(true), performance.now())
  assert.equal(server.stats().fails, 1)
  server.failed(server.begin())
  assert.equal(server.state, 'down')
})

test('out of use for both reasons, a server moves once each way', () => {
  const { server, list, good, bad, fail } = probed()
  const late = server.begin()
  for (let i = 0; i < 3; i++) bad()
  server.failed(late)
  assert.deepEqual(list, ['down probe'])
  good()
  good()
  assert.equal(server.state, 'up')
  fail()
  for (let i = 0; i < 3; i++) bad()
  good()
  good()
  assert.deepEqual(list, ['down probe', 'up probe', 'down failures', 'up probe'])
})
