import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import test from 'node:test'

// Marks, ejections, slow starts, drains, recalls, names and a queue: each of them could hold a process for a minute.
for (const what of ['disposes', 'just leaves']) {
  test(`a process that ${what} with everything under way ends by itself`, { timeout: 30_000 }, async t => {
    const script = new URL('support/everything.js', import.meta.url).pathname
    const child = spawn(process.execPath, [script, what], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.after(() => child.kill())
    const exit = once(child, 'exit')
    assert.deepEqual(JSON.parse(await text(child.stdout)), {
      known: ['marked down', 'ejected down', 'back up, slowly', 'well up', 'lost down', 'drained draining'],
      waiting: 1
    })
    assert.deepEqual(await exit, [0, null])
  })
}
