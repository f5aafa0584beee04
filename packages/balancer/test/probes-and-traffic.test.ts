import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { HealthOptions } from '../src/index.ts'
import { backend } from './support/backend.ts'
import { happening } from './support/happening.ts'
import { firstProbe, lastProbe, probing } from './support/probing.ts'
import { acquired, moved, moves } from './support/upstream.ts'

const http = { type: 'http' } as const

test('while a server is down it is probed at downInterval', async t => {
  let status = 500
  const port = await backend(t, (_, res) => res.writeHead(status).end())
  // The first probe comes at once. At the interval a second one would come in a day.
  t.mock.method(Math, 'random', () => 0)
  const set = probing(t, port, { ...http, interval: 86_400_000, downInterval: 5 })
  await moved(set, 'server:down')
  const up = moved(set, 'server:up')
  status = 200
  assert.equal((await up).reason, 'probe')
})

test('without downInterval, and as long as a server is up, the interval counts', async t => {
  const delays: number[] = []
  const { setTimeout: real } = globalThis
  const { seen, happened } = happening()
  t.mock.method(globalThis, 'setTimeout', (callback: () => void, delay: number) => {
    if (delay > 1e7) {
      delays.push(delay)
      if (delays.length === 3) happened()
      return real(callback, 1)
    }
    return real(callback, delay)
  })
  let status = 500
  const port = await backend(t, (_, res) => {
    res.writeHead(status).end()
    status = 200
  })
  const set = probing(t, port, { ...http, interval: 2e7, timeout: 1e6 })
  const list = moves(set)
  await seen
  assert.ok(delays.every(delay => delay > 1.7e7 && delay <= 2.2e7))
  assert.deepEqual(
    list.map(move => move.split(' ')[0]),
    ['down', 'up']
  )
})

test("a server takes traffic before its first probe has ended, by default and with 'take'", async t => {
  const port = await backend(t, () => {})
  for (const starting of [{}, { starting: 'take' }] as Pick<HealthOptions, 'starting'>[]) {
    const set = probing(t, port, { ...http, ...starting })
    ;(await acquired(set, 'x')).settle('ok')
    assert.equal(set.servers[0]?.state, 'starting')
  }
})

test("with 'wait' a server takes traffic from its first good probe on", async t => {
  const { seen, happened } = happening<() => void>()
  const port = await backend(t, (_, res) => happened(() => res.end()))
  const set = probing(t, port, { ...http, rise: 3, starting: 'wait' })
  const list = moves(set)
  assert.equal(await set.acquire('x'), undefined)
  const answer = await seen
  assert.equal(set.servers[0]?.state, 'starting')
  assert.equal(set.stats().servers[0]?.usable, false)
  assert.equal(await set.acquire('x'), undefined)

  const up = moved(set, 'server:up')
  answer()
  assert.deepEqual(await up, { server: set.servers[0], reason: 'probe' })
  ;(await acquired(set, 'x')).settle('ok')
  assert.deepEqual(list, [`up 127.0.0.1:${port} probe`])
})

test("with 'wait' fall bad probes make a server down, which never was in use", async t => {
  let status = 500
  const port = await backend(t, (_, res) => res.writeHead(status).end())
  const set = probing(t, port, { ...http, starting: 'wait' })
  const list = moves(set)
  await firstProbe(set)
  assert.equal(set.servers[0]?.state, 'down')
  assert.deepEqual(list, [`down 127.0.0.1:${port} probe`])
  const up = moved(set, 'server:up')
  status = 200
  await up
  assert.equal(set.servers[0]?.state, 'up')
})

test('an upstream whose server:down listener disposes of it is probed no more', async t => {
  let asked = 0
  const port = await backend(t, (_, res) => {
    asked++
    res.writeHead(500).end()
  })
  const set = probing(t, port, { ...http, interval: 1 })
  const timers: number[] = []
  const { setTimeout: real } = globalThis
  const { seen, happened } = happening()
  set.on('server:down', () => {
    void set[Symbol.asyncDispose]().then(happened)
    t.mock.method(globalThis, 'setTimeout', (callback: () => void, delay: number) => {
      timers.push(delay)
      return real(callback, delay)
    })
  })
  await seen
  assert.equal(asked, 1)
  assert.deepEqual(timers, [])
})

test('the statistics of probes are plain data, whatever the kind', async t => {
  const port = await backend(t, (_, res) => res.end('ok'))
  for (const health of [
    http,
    { ...http, match: /ok/, expect: () => true },
    { type: 'tcp' }
  ] as HealthOptions[]) {
    const set = probing(t, port, health)
    await firstProbe(set)
    assert.deepEqual(JSON.parse(JSON.stringify(set.stats())), set.stats())
    assert.equal(lastProbe(set).ok, true)
  }
})
