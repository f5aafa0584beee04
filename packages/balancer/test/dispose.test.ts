import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import type { TestContext } from 'node:test'

import { Upstream } from '../src/index.ts'
import type { HealthOptions, ServerOptions } from '../src/index.ts'
import { backend } from './support/backend.ts'
import { happening } from './support/happening.ts'
import { dialled, rawServer } from './support/probing.ts'
import { stages, stuck } from './support/stages.ts'
import { acquired, moves } from './support/upstream.ts'

const health = { type: 'http', interval: 1, rise: 1, fall: 1 } as const

for (const stage of stages) {
  for (const what of ['disposes', 'leaves a probe under way']) {
    test(
      `a process that ${what}, waiting for ${stage.title}, ends by itself`,
      { timeout: 30_000 },
      async t => {
        const { address, reached } = await stuck(t, stage)
        const { child, output, exit } = run(t, what, address, stage.health)
        await reached
        child.stdin.end()
        assert.equal(await output, what === 'disposes' ? '[]' : '')
        assert.deepEqual(await exit, [0, null])
      }
    )
  }

  test(`disposal while a probe waits for ${stage.title} leaves no socket and no timer`, async t => {
    const { server, address, reached } = await stuck(t, stage)
    const open = setInterval(() => {}, 60_000)
    t.after(() => clearInterval(open))
    const sockets = dialled(t)
    const timers = pending(t)
    const set = new Upstream({
      servers: [address],
      health: { ...stage.health, interval: 1, timeout: 60_000 }
    })
    await reached
    await set[Symbol.asyncDispose]()
    // Node 20 doesn't tell of sockets for TLS; the server sees those end too, below.
    if (!stage.tls) assert.equal(sockets.length, 1)
    assert.ok(sockets.length <= 1)
    assert.ok(sockets.every(socket => socket.closed))
    assert.equal(timers.size, 0)
    await server.none()
  })
}

for (const { type } of [{ type: 'http' }, { type: 'tcp' }, { type: 'websocket' }] as const) {
  test(`a process whose ${type} probes are left alone ends by itself`, { timeout: 30_000 }, async t => {
    const { port } = await rawServer(t, socket => socket.resume())
    const { exit } = run(t, 'just leaves', { host: '127.0.0.1', port }, { type })
    assert.deepEqual(await exit, [0, null])
  })
}

/** A process of its own with an upstream, and what it writes. */
function run(
  t: TestContext,
  what: string,
  server: ServerOptions,
  options: HealthOptions
): {
  child: ChildProcessByStdio<Writable, Readable, null>
  output: Promise<string>
  exit: Promise<unknown[]>
} {
  const script = new URL('support/child.js', import.meta.url).pathname
  const args = [script, what, JSON.stringify(server), JSON.stringify(options)]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  t.after(() => child.kill())
  return { child, output: text(child.stdout), exit: once(child, 'exit') }
}

/** The timers that are set from now on, and neither cleared nor over. */
function pending(t: TestContext): Set<unknown> {
  const set = new Set<unknown>()
  const { setTimeout: realSet, clearTimeout: realClear } = globalThis
  t.mock.method(globalThis, 'setTimeout', (callback: (...args: unknown[]) => void, delay?: number) => {
    const timer = realSet(() => {
      set.delete(timer)
      callback()
    }, delay)
    set.add(timer)
    return timer
  })
  t.mock.method(globalThis, 'clearTimeout', (timer?: NodeJS.Timeout) => {
    set.delete(timer)
    realClear(timer)
  })
  return set
}

test('after disposal no server is given, no probe comes, no event; leases may still be settled', async t => {
  let open = 0
  const probed = happening()
  const gone = happening()
  const port = await backend(t, req => {
    open++
    req.socket.on('close', () => --open === 0 && gone.happened())
    probed.happened()
  })
  const set = new Upstream({ servers: [`127.0.0.1:${port}`, { id: 'b', host: '127.0.0.1', port }], health })
  const list = moves(set)
  const [tunnel, attempt] = [await acquired(set, 'x'), await acquired(set, 'x')]
  tunnel.opened()
  await probed.seen

  const disposal = set[Symbol.asyncDispose]()
  assert.equal(await set.acquire('x'), undefined)
  await disposal
  await gone.seen
  assert.equal(set[Symbol.asyncDispose](), disposal)

  tunnel.settle('ok')
  attempt.settle('failed')
  assert.deepEqual([attempt.server.active, attempt.server.handshakes], [0, 0])
  assert.ok(!list.some(move => !move.startsWith('up')))
})

test('an upstream without probes may be disposed of with await using', async () => {
  let outside: Upstream
  {
    await using set = new Upstream({ servers: ['127.0.0.1:80'] })
    outside = set
    assert.ok(await set.acquire('x'))
  }
  assert.equal(await outside.acquire('x'), undefined)
})
