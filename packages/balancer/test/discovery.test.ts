import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import type { TestContext } from 'node:test'

import { fromFile, fromStatic } from '../src/index.ts'
import { Failures, lists } from './support/lists.ts'

function servers(t: TestContext, content: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'discovery-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'servers.json')
  writeFileSync(file, content)
  return file
}

for (const what of ['aborts', 'just leaves']) {
  test(
    `a process that watches and ${what} ends by itself, with nothing left`,
    { timeout: 30_000 },
    async t => {
      const script = new URL('support/watcher.js', import.meta.url).pathname
      const child = spawn(process.execPath, [script, what, servers(t, '["a:1"]')], {
        stdio: ['ignore', 'pipe', 'inherit']
      })
      t.after(() => child.kill())
      const exit = once(child, 'exit')
      const output = await text(child.stdout)
      assert.deepEqual(await exit, [0, null])
      if (what === 'aborts') assert.equal(output, '[]')
    }
  )
}

test('a static list is yielded once, and ends with the abort', async t => {
  const discovery = fromStatic(['a:1', { host: 'b', port: 1, terminating: true, backup: true }])
  assert.equal(discovery.name, 'static')
  const list = lists(t, discovery)
  assert.deepEqual(await list.ids(), ['a:1', 'b:1*-'])
  assert.equal(await list.end(), true)
})

test('a bad static list throws a ConfigError', () => {
  assert.throws(() => fromStatic([]), { code: 'ERR_RINGWAY_CONFIG', field: 'servers' })
  assert.throws(() => fromStatic(['a:1', { host: 'b', port: 0 }]), { field: 'servers[1].port' })
  assert.throws(() => fromStatic('a:1' as never), { field: 'servers' })
})

test('lists and servers can not be changed by who gets them', async t => {
  const found = await lists(t, fromStatic(['a:1'])).next()
  assert.ok(Object.isFrozen(found) && Object.isFrozen(found[0]))
})

test('each watch is one of its own', async t => {
  const discovery = fromFile(servers(t, '["a:1"]'))
  const [one, other] = [lists(t, discovery), lists(t, discovery)]
  assert.deepEqual(await one.ids(), ['a:1'])
  assert.equal(await one.end(), true)
  assert.deepEqual(await other.ids(), ['a:1'])
})

test('a watch with a signal that is aborted already ends at once', async () => {
  for await (const list of fromStatic(['a:1']).watch(AbortSignal.abort()))
    assert.fail(`yielded ${list.length}`)
})

test('return() ends a wait for the next list', async t => {
  const open = setInterval(() => {}, 60_000)
  t.after(() => clearInterval(open))
  const iterator = fromStatic(['a:1']).watch(new AbortController().signal)[Symbol.asyncIterator]()
  await iterator.next()
  const waiting = iterator.next()
  await iterator.return?.()
  assert.deepEqual(await waiting, { value: undefined, done: true })
})

test('failures are published and counted; a list in between starts the count anew', async t => {
  const file = servers(t, 'bad')
  const failures = new Failures()
  const discovery = fromFile(file, { poll: 5, settle: 5, onError: failures.onError })
  const published: unknown[] = []
  const take = (message: unknown): void => void published.push(message)
  subscribe('ringway:discovery:error', take)
  t.after(() => unsubscribe('ringway:discovery:error', take))
  const list = lists(t, discovery)
  const waiting = list.ids()
  const first = await failures.next()
  assert.deepEqual(published, [{ discovery, error: first.error, failures: 1 }])
  assert.equal((await failures.next()).failures, 2)
  writeFileSync(file, '["a:1"]')
  await waiting
  const ended = list.end(failures.next())
  const again = failures.next()
  writeFileSync(file, 'bad again')
  assert.equal((await again).failures, 1)
  assert.equal(await ended, true)
})

test('a hook that throws is an uncaught exception, and the watch goes on', async t => {
  const file = servers(t, 'bad')
  const thrown = new Error('the hook')
  const discovery = fromFile(file, {
    poll: 5,
    settle: 5,
    onError() {
      writeFileSync(file, '["a:1"]')
      throw thrown
    }
  })
  const caught = once(process, 'uncaughtException')
  // The test runner listens too, and would fail the test.
  const others = process.listeners('uncaughtException').slice(0, -1)
  for (const other of others) process.off('uncaughtException', other)
  t.after(() => others.forEach(other => process.on('uncaughtException', other)))
  assert.deepEqual(await lists(t, discovery).ids(), ['a:1'])
  assert.deepEqual((await caught)[0], thrown)
})
