import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Health } from '../src/health.ts'
import type { Attempt } from '../src/health.ts'
import type { Reason, ServerState } from '../src/index.ts'
import { clock } from './support/upstream.ts'

const rules = { down: false, maxFails: 1, failTimeout: 100 }

/** The health of a server with rise 2 and fall 3, whose probes are ours to tell. */
function probed(
  starting: 'take' | 'wait' = 'take',
  { maxFails = 1, rise = 2, fall = 3 }: { maxFails?: number; rise?: number; fall?: number } = {}
): {
  server: Health
  list: string[]
  good: (startedAt?: number) => void
  bad: () => void
  fail: (attempt?: Attempt) => void
} {
  const list: string[] = []
  const around = { health: { rise, fall, starting } }
  const moved = (_: ServerState, to: ServerState, reason: Reason): void => void list.push(`${to} ${reason}`)
  const server = new Health({ ...rules, maxFails }, around, true, moved)
  return {
    server,
    list,
    good: (startedAt = performance.now()) => server.probed(true, startedAt),
    bad: () => server.probed(false, performance.now()),
    fail(attempt = server.begin()) {
      if (server.isNews(attempt)) server.failed(attempt, false)
    }
  }
}

test('a starting server takes traffic, and one good probe makes it up', () => {
  const { server, list, good } = probed()
  assert.equal(server.state, 'starting')
  assert.equal(server.usable, true)
  good()
  assert.equal(server.state, 'up')
  assert.deepEqual(list, ['up probe'])
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
  assert.deepEqual(list, ['up probe', 'down probe'])

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
  assert.deepEqual(list, ['down probe', 'up probe'])
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
  assert.deepEqual(list, ['up probe', 'down failures', 'up probe'])
})

test('a probe from before the mark says nothing about it', t => {
  const time = clock(t)
  const { server, good, fail } = probed()
  const before = performance.now()
  time.advance(1)
  fail()
  for (let i = 0; i < 3; i++) good(before)
  assert.equal(server.state, 'down')
  good()
  good()
  assert.equal(server.state, 'up')
})

test('a late 101 does not end a mark: that is for the probes to do', () => {
  const { server, fail } = probed()
  const late = server.begin()
  fail()
  server.succeeded(late)
  assert.equal(server.state, 'down')
})

test('good probes do not clear failures that traffic met', () => {
  const { server, good, fail } = probed('take', { maxFails: 2, rise: 1, fall: 1 })
  fail()
  good()
  assert.equal(server.fails, 1)
  fail()
  assert.equal(server.state, 'down')
})

test('a try from before the probes took the server out says nothing of it when they have brought it back', () => {
  const { server, good, bad, fail } = probed('take', { fall: 1, rise: 1 })
  const old = server.begin()
  bad()
  good()
  fail(old)
  assert.deepEqual([server.state, server.fails], ['up', 0])
  fail()
  assert.equal(server.state, 'down')
})

test('a trial of an outlier that probes take out meanwhile neither holds up nor decides the next one', t => {
  const time = clock(t)
  const { server, good, bad, fail } = probed('take', { fall: 1, rise: 1 })
  good()
  server.eject(100)
  time.advance(100)
  const old = server.begin()
  bad()
  good()
  assert.deepEqual([server.state, server.usable], ['probation', true])
  const trial = server.begin()
  fail(old)
  server.succeeded(old)
  assert.deepEqual([server.state, server.usable], ['probation', false])
  server.succeeded(trial)
  assert.equal(server.state, 'up')
})

test('out of use for both reasons, a server moves once each way', () => {
  const { server, list, good, bad, fail } = probed()
  const late = server.begin()
  for (let i = 0; i < 3; i++) bad()
  fail(late)
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
