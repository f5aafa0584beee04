import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'

import { Probe } from '../src/probe.ts'

const good = (): Promise<{ ok: true }> => Promise.resolve({ ok: true })

/** The pauses before `count` probes of one server, which are cut short. */
async function pauses(t: TestContext, interval: number, count: number): Promise<number[]> {
  const list: number[] = []
  const { setTimeout: real } = globalThis
  const timers = t.mock.method(globalThis, 'setTimeout', (callback: () => void, delay: number) => {
    // The other timers are the probes' limits of time.
    if (delay === 7) return real(callback, 60_000)
    list.push(delay)
    return real(callback, list.length <= count ? 0 : 60_000)
  })
  const open = setInterval(() => {}, 60_000)
  await new Promise<void>(resolve => {
    let left = count
    const probe = new Probe(good, { interval, timeout: 7 }, () => {
      if (--left === 0) resolve(probe.stop())
    })
    probe.start()
  })
  clearInterval(open)
  timers.mock.restore()
  return list
}

test('the first probe comes within a second, the others an interval ± 10 % later, never in step', async t => {
  const one = await pauses(t, 1e6, 50)
  const two = await pauses(t, 1e6, 50)
  for (const [first, ...others] of [one, two] as [number, ...number[]][]) {
    assert.ok(first >= 0 && first <= 1000)
    // What the probe itself took is taken off, which is less than 1 % here.
    for (const pause of others) assert.ok(pause >= 0.89e6 && pause <= 1.1e6, String(pause))
  }
  assert.ok(Math.max(...one.slice(1)) - Math.min(...one.slice(1)) > 0.05e6)
  assert.notDeepEqual(
    one.map(pause => Math.round(pause / 1000)),
    two.map(pause => Math.round(pause / 1000))
  )
})

test('with a short interval the first probe does not wait longer than that', async t => {
  for (let i = 0; i < 20; i++) assert.ok((await pauses(t, 20, 1))[0]! <= 20)
})

test('at most one probe is under way, however long it takes', async () => {
  let underWay = 0
  let most = 0
  let left = 5
  const check = async (): Promise<{ ok: true }> => {
    most = Math.max(most, ++underWay)
    await new Promise(resolve => setTimeout(resolve, 5))
    underWay--
    return { ok: true }
  }
  const open = setInterval(() => {}, 60_000)
  await new Promise<void>(resolve => {
    const probe = new Probe(check, { interval: 1, timeout: 1000 }, () => {
      if (--left === 0) resolve(probe.stop())
    })
    probe.start()
  })
  clearInterval(open)
  assert.equal(most, 1)
})

test('whatever a check throws becomes a report', async () => {
  const open = setInterval(() => {}, 60_000)
  for (const [thrown, error] of [
    [new Error('a bug'), 'a bug'],
    ['text', 'text'],
    [Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' }), 'ECONNREFUSED']
  ]) {
    // oxlint-disable-next-line prefer-promise-reject-errors
    const check = (): Promise<never> => Promise.reject(thrown)
    const report = await new Promise<unknown>(resolve => {
      const probe = new Probe(check, { interval: 1, timeout: 1000 }, (it, startedAt) => {
        assert.ok(startedAt <= performance.now())
        void probe.stop().then(() => resolve({ ok: it.ok, error: it.error }))
      })
      probe.start()
    })
    assert.deepEqual(report, { ok: false, error })
  }
  clearInterval(open)
})
