import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'

import { Upstream } from '../src/index.ts'
import { backend } from './support/backend.ts'
import { happening } from './support/happening.ts'
import { acquired, moves } from './support/upstream.ts'

const health = { type: 'http', interval: 1, rise: 1, fall: 1 } as const

for (const what of ['disposes', 'leaves a probe under way', 'just leaves']) {
  test(`a process that ${what} ends by itself`, { timeout: 30_000 }, async t => {
    const probed = happening()
    const port = await backend(t, () => probed.happened())
    const script = new URL('support/child.js', import.meta.url).pathname
    const child = spawn(process.execPath, [script, what, String(port)], {
      stdio: ['pipe', 'pipe', 'inherit']
    })
    t.after(() => child.kill())
    const exit = once(child, 'exit')
    if (what !== 'just leaves') {
      await probed.seen
      child.stdin.end()
    }
    const output = await text(child.stdout)
    assert.deepEqual(await exit, [0, null])
    if (what === 'disposes') assert.equal(output, '[]')
  })
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
  const set = new Upstream({ servers: [`127.0.0.1:${port}`, `localhost:${port}`], health })
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
  assert.deepEqual(list, [])
})

test('an upstream without probes may be disposed of with await using', async () => {
  let outside: Upstream
  {
    await using set = new Upstream({ servers: ['a:80'] })
    outside = set
    assert.ok(await set.acquire('x'))
  }
  assert.equal(await outside.acquire('x'), undefined)
})
