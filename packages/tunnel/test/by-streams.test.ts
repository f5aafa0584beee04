import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'

// What the tests of splices find with shared reads holds with streams too.
for (const name of ['bytes', 'ends', 'limits', 'resets', 'stop', 'too-large', 'watch']) {
  test(`splice-${name}, by streams`, async t => {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    const file = new URL(`splice-${name}.test.js`, import.meta.url).pathname
    const child = spawn(process.execPath, ['--enable-source-maps', '--test', '--test-reporter=tap', file], {
      env: { ...env, RINGWAY_TEST_STREAMS: 'yes' },
      stdio: ['ignore', 'pipe', 'inherit']
    })
    t.after(() => child.kill())
    const exit = once(child, 'exit')
    const output = await text(child.stdout)
    assert.deepEqual(await exit, [0, null], output)
    assert.match(output, /# pass [1-9]/)
  })
}
