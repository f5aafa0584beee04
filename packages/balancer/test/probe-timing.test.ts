import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'

import { Probe } from '../src/probe.ts'
import type { ProbeReport } from '../src/probe.ts'

const good = (): Promise<{ ok: true }> => Promise.resolve({ ok: true })

type Intervals = { interval: number; downInterval: number }

const slow: Intervals = { interval: 1e6, downInterval: 1e6 }
const fast: Intervals = { interval: 1, downInterval: 1 }

/** The pauses before `count` probes of one server, which are cut short. The probes themselves take no time. */
async function pauses(t: TestContext, times: Intervals, count: number, down = false): Promise<number[]> {
  const list: number[] = []
  const now = t.mock.method(performance, 'now', () => 0)
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
    const probed = (): void => {
      if (--left === 0) resolve(probe.stop())
    }
    const probe = new Probe(good, { ...times, timeout: 7 }, { probed, probedDown: down })
    probe.start()
  })
  clearInterval(open)
  timers.mock.restore()
  now.mock.restore()
  return list
}

test('the first probe comes within a second, the others an interval ± 10 % later, never in step', async t => {
  const one = await pauses(t, slow, 50)
  const two = await pauses(t, slow, 50)
  for (const [first, ...others] of [one, two] as [number, ...number[]][]) {
    assert.ok(first >= 0 && first <= 1000)
    for (const pause of others) assert.ok(pause >= 0.9e6 && pause <= 1.1e6, String(pause))
  }
  assert.ok(Math.max(...one.slice(1)) - Math.min(...one.slice(1)) > 0.05e6)
  assert.notDeepEqual(
    one.map(pause => Math.round(pause / 1000)),
    two.map(pause => Math.round(pause / 1000))
  )
})

test('with a short interval the first probe does not wait longer than that', async t => {
  for (let i = 0; i < 20; i++) assert.ok((await pauses(t, { interval: 20, downInterval: 1e6 }, 1))[0]! <= 20)
})

test('while probes have the server down, their other interval is used, with the same jitter', async t => {
  const times = { interval: 1e6, downInterval: 1e4 }
  const [, ...down] = await pauses(t, times, 50, true)
  for (const pause of down) assert.ok(pause >= 0.9e4 && pause <= 1.1e4, String(pause))
  assert.ok(Math.max(...down) - Math.min(...down) > 0.05e4)
  const [, ...up] = await pauses(t, times, 5)
  for (const pause of up) assert.ok(pause >= 0.9e6 && pause <= 1.1e6, String(pause))
})

test('the report of a probe decides about the pause after it', async t => {
  const times = { interval: 1e6, downInterval: 1e4, timeout: 7 }
  const results = [true, false, false, true]
  const check = (): Promise<{ ok: boolean }> => Promise.resolve({ ok: results.shift() ?? true })
  const { setTimeout: real } = globalThis
  const list: string[] = []
  t.mock.method(globalThis, 'setTimeout', (callback: () => void, delay: number) => {
    if (delay === 7) return real(callback, 60_000)
    list.push(delay > 5e5 ? 'interval' : delay > 5e3 ? 'downInterval' : 'first')
    return real(callback, 0)
  })
  const open = setInterval(() => {}, 60_000)
  await new Promise<void>(resolve => {
    const server = {
      probedDown: false,
      probed({ ok }: ProbeReport): void {
        server.probedDown = !ok
        if (results.length === 0) resolve(probe.stop())
      }
    }
    const probe = new Probe(check, times, server)
    probe.start()
  })
  clearInterval(open)
  assert.deepEqual(list, ['first', 'interval', 'downInterval', 'downInterval'])
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
    const probed = (): void => {
      if (--left === 0) resolve(probe.stop())
    }
    const probe = new Probe(check, { ...fast, timeout: 1000 }, { probed, probedDown: false })
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
      const probed = (it: ProbeReport, startedAt: number): void => {
        assert.ok(startedAt <= performance.now())
        void probe.stop().then(() => resolve({ ok: it.ok, error: it.error }))
      }
      const probe = new Probe(check, { ...fast, timeout: 1000 }, { probed, probedDown: false })
      probe.start()
    })
    assert.deepEqual(report, { ok: false, error })
  }
  clearInterval(open)
})

test('the longest interval is not over at once, as it would be if the jitter made it longer than a timer can wait', async t => {
  const longest = 2 ** 31 - 1
  for (const pause of (await pauses(t, { interval: longest, downInterval: longest }, 50)).slice(1)) {
    assert.ok(pause >= longest * 0.9 && pause <= longest, String(pause))
  }
})
