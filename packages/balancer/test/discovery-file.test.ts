import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { mkdir, open, rename, rm, symlink, unlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { pathToFileURL } from 'node:url'

import { fromFile } from '../src/index.ts'
import type { FileOptions } from '../src/index.ts'
import { Failures, lists } from './support/lists.ts'
import type { Lists } from './support/lists.ts'

/** So that only a noticed change can bring a new list, or only the poll. */
const NOTICE: FileOptions = { poll: 600_000, settle: 20 }
const POLL: FileOptions = { poll: 20, settle: 10 }

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'discovery-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** A watched file that holds one server, `a:1`, which was seen. */
async function watched(
  t: TestContext,
  options = NOTICE
): Promise<{ file: string; list: Lists; failures: Failures }> {
  const file = join(folder(t), 'servers.json')
  await writeFile(file, '["a:1"]')
  const failures = new Failures()
  const list = lists(t, fromFile(file, { ...options, onError: failures.onError }))
  assert.deepEqual(await list.ids(), ['a:1'])
  return { file, list, failures }
}

test('a file has servers as texts and objects, in an array or under a name', async t => {
  const file = join(folder(t), 'servers.json')
  const servers = [
    'a:1',
    { host: '::1', port: 2, weight: 3, terminating: true },
    { socketPath: '/run/c', id: 'c', backup: true, down: false, tls: { servername: 'c.test' }, maxFails: 2 }
  ]
  await writeFile(file, JSON.stringify(servers))
  const list = lists(t, fromFile(pathToFileURL(file), NOTICE))
  const found = await list.next()
  assert.deepEqual(found, [
    { host: 'a', port: 1, id: 'a:1', weight: 1 },
    { host: '::1', port: 2, id: '[::1]:2', weight: 3, terminating: true },
    { socketPath: '/run/c', id: 'c', weight: 1, backup: true, tls: { servername: 'c.test' }, maxFails: 2 }
  ])
  await writeFile(file, `\uFEFF${JSON.stringify({ servers: servers.slice(0, 2) })}`)
  assert.deepEqual(await list.next(), found.slice(0, 2))
})

test('a file that is written in place is noticed', async t => {
  const { file, list } = await watched(t)
  await writeFile(file, '["a:1", "b:1"]')
  assert.deepEqual(await list.ids(), ['a:1', 'b:1'])
})

test('a file that is renamed over the old one is noticed, again and again', async t => {
  const { file, list } = await watched(t)
  for (const server of ['b:1', 'c:1', 'd:1']) {
    await writeFile(`${file}.new`, JSON.stringify([server]))
    await rename(`${file}.new`, file)
    assert.deepEqual(await list.ids(), [server])
  }
})

test("a ConfigMap's swap of ..data is noticed, again and again", async t => {
  const mount = folder(t)
  const file = join(mount, 'servers.json')
  const publish = async (version: string): Promise<void> => {
    await mkdir(join(mount, `..${version}`))
    await writeFile(join(mount, `..${version}`, 'servers.json'), `["${version}:1"]`)
    await symlink(`..${version}`, join(mount, '..data_tmp'))
    await rename(join(mount, '..data_tmp'), join(mount, '..data'))
  }
  await publish('v1')
  await symlink('..data/servers.json', file)
  const list = lists(t, fromFile(file, NOTICE))
  assert.deepEqual(await list.ids(), ['v1:1'])
  for (const version of ['v2', 'v3']) {
    await publish(version)
    assert.deepEqual(await list.ids(), [`${version}:1`])
  }
})

test('a directory that is swapped behind a link is followed, its later changes too', async t => {
  const root = folder(t)
  for (const name of ['one', 'two']) {
    await mkdir(join(root, name))
    await writeFile(join(root, name, 'servers.json'), `["${name}:1"]`)
  }
  await symlink('one', join(root, 'current'))
  const list = lists(t, fromFile(join(root, 'current', 'servers.json'), POLL))
  assert.deepEqual(await list.ids(), ['one:1'])
  await symlink('two', join(root, 'next'))
  await rename(join(root, 'next'), join(root, 'current'))
  assert.deepEqual(await list.ids(), ['two:1'])
  await writeFile(join(root, 'two', 'servers.json'), '["two:2"]')
  assert.deepEqual(await list.ids(), ['two:2'])
})

test('a change that leaves size and times as they were is found by the poll', async t => {
  const root = folder(t)
  await mkdir(join(root, 'real'))
  const file = join(root, 'real', 'servers.json')
  const time = new Date(0)
  await writeFile(file, '["a:1"]')
  await utimes(file, time, time)
  // Behind a link into another directory, where nothing is noticed.
  await symlink('real/servers.json', join(root, 'servers.json'))
  const list = lists(t, fromFile(join(root, 'servers.json'), POLL))
  assert.deepEqual(await list.ids(), ['a:1'])
  await writeFile(file, '["b:1"]')
  await utimes(file, time, time)
  assert.deepEqual(await list.ids(), ['b:1'])
})

test('a file that is half written for a moment is read when it is whole, and nothing is told', async t => {
  const settle = 1500
  const { file, list, failures } = await watched(t, { ...NOTICE, settle })
  // Until the file is whole, the time to settle doesn't pass, however slow the disk is.
  const { setTimeout: real } = globalThis
  const held: (() => void)[] = []
  let isWhole = false
  t.mock.method(globalThis, 'setTimeout', (callback: () => void, delay: number) => {
    if (delay !== settle || isWhole) return real(callback, delay)
    held.push(callback)
    return real(() => {}, 0)
  })
  const handle = await open(file, 'w')
  const waiting = list.ids()
  await handle.write('["b:1"')
  await handle.write(', "c:1"]')
  await handle.close()
  isWhole = true
  for (const settled of held) settled()
  assert.deepEqual(await waiting, ['b:1', 'c:1'])
  assert.deepEqual(failures.messages, [])
})

test('a file that stays half written is told of, and read when it is whole', async t => {
  const { file, list, failures } = await watched(t)
  const handle = await open(file, 'w')
  const waiting = list.ids()
  const told = failures.next()
  await handle.write('["b:1"')
  const { error } = await told
  assert.match(error.message, /^file \/.*servers\.json: .*JSON/)
  assert.equal(error.code, 'ERR_RINGWAY_DISCOVERY')
  await handle.write(', "c:1"]')
  await handle.close()
  assert.deepEqual(await waiting, ['b:1', 'c:1'])
})

test('a file that is gone changes nothing, and is read when it is back', async t => {
  const { file, list, failures } = await watched(t)
  const waiting = list.ids()
  const told = failures.next()
  await unlink(file)
  assert.match((await told).error.message, /ENOENT/)
  await writeFile(file, '["b:1"]')
  assert.deepEqual(await waiting, ['b:1'])
})

test('a directory that is gone changes nothing, and is watched when it is back', async t => {
  const root = join(folder(t), 'conf')
  const file = join(root, 'servers.json')
  await mkdir(root)
  await writeFile(file, '["a:1"]')
  const failures = new Failures()
  const list = lists(t, fromFile(file, { ...POLL, onError: failures.onError }))
  assert.deepEqual(await list.ids(), ['a:1'])
  const waiting = list.ids()
  const told = failures.next()
  await rm(root, { recursive: true })
  assert.match((await told).error.message, /ENOENT/)
  await mkdir(root)
  await writeFile(file, '["b:1"]')
  assert.deepEqual(await waiting, ['b:1'])
})

test('a file that is missing or bad at first yields nothing until it is good', async t => {
  const file = join(folder(t), 'servers.json')
  const failures = new Failures()
  const list = lists(t, fromFile(file, { ...POLL, onError: failures.onError }))
  const waiting = list.ids()
  assert.deepEqual((await failures.next()).failures, 1)
  assert.deepEqual((await failures.next()).failures, 2)
  await writeFile(file, '["a:1"]')
  assert.deepEqual(await waiting, ['a:1'])
})

const BAD: Record<string, { text: string; field: string; says: RegExp }> = {
  'a bad weight': {
    text: '["a:1", { "host": "b", "port": 1, "weight": 0 }]',
    field: 'servers[1].weight',
    says: /servers\.json: servers\[1\]\.weight: must be an integer of 1 to 10000, not 0/
  },
  'a bad text': { text: '["a"]', field: 'servers[0]', says: /the port is missing/ },
  'a flag that is none': {
    text: '[{ "host": "a", "port": 1, "backup": "yes" }]',
    field: 'servers[0].backup',
    says: /must be true or false, not 'yes'/
  },
  'an unknown field': {
    text: '[{ "host": "a", "port": 1, "terminated": true }]',
    field: 'servers[0].terminated',
    says: /is no option/
  },
  'the same id twice': { text: '["a:1", "a:1"]', field: 'servers[1].id', says: /already/ },
  'a null': { text: '[null]', field: 'servers[0]', says: /not null/ },
  'no server': { text: '[]', field: 'servers', says: /at least one server/ },
  'no list': { text: '{ "server": [] }', field: 'server', says: /is no option/ },
  'an object of nothing': { text: '{}', field: 'servers', says: /not undefined/ }
}
for (const [what, { text, field, says }] of Object.entries(BAD)) {
  test(`a file with ${what} changes nothing; the error names file and field`, async t => {
    const { file, list, failures } = await watched(t)
    const waiting = list.ids()
    const told = failures.next()
    // At once, since a text that is half there is another failure.
    await writeFile(`${file}.new`, text)
    await rename(`${file}.new`, file)
    const { error } = await told
    assert.match(error.message, says)
    assert.equal((error.cause as { field?: string }).field, field)
    await writeFile(file, '["b:1"]')
    assert.deepEqual(await waiting, ['b:1'])
  })
}

test('a list that says the same in other words is not yielded again', async t => {
  const { file, list } = await watched(t, POLL)
  const waiting = list.ids()
  for (const same of [
    '{"servers":["a:1"]}',
    '[{"host":"a","port":1,"weight":1,"backup":false,"tls":false}]'
  ]) {
    await writeFile(`${file}.new`, same)
    await rename(`${file}.new`, file)
  }
  await writeFile(`${file}.new`, '["a:1", "b:1"]')
  await rename(`${file}.new`, file)
  assert.deepEqual(await waiting, ['a:1', 'b:1'])
})

test('what is no regular file is told of, and the abort ends the wait for it', async t => {
  const failures = new Failures()
  const list = lists(t, fromFile(folder(t), { ...POLL, onError: failures.onError }))
  const ended = list.end(failures.next())
  assert.match((await failures.next()).error.message, /is no regular file/)
  assert.equal(await ended, true)
})

function refused(path: unknown, options: unknown, field: string): void {
  const code = 'ERR_RINGWAY_CONFIG'
  assert.throws(() => fromFile(path as string, options as FileOptions), { code, field })
}

test('bad options of a file throw a ConfigError', () => {
  refused('', {}, 'path')
  refused(new URL('http://localhost/'), {}, 'path')
  refused('a.json', { poll: 0 }, 'poll')
  refused('a.json', { settle: -1 }, 'settle')
  refused('a.json', { onError: 'log' }, 'onError')
  refused('a.json', { interval: 1 }, 'interval')
})
