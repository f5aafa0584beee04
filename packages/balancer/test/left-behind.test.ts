import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import test from 'node:test'
import type { TestContext } from 'node:test'

import type { Outside } from './support/everything.ts'
import { fakeResolver } from './support/fake-resolver.ts'
import { happening } from './support/happening.ts'
import { rawServer } from './support/probing.ts'

/** What a process meets outside, and the moment when it has done so. */
async function outside(
  t: TestContext
): Promise<{ there: Outside; met: Promise<unknown>; left: () => Promise<void> }> {
  const asked = happening()
  const probed = happening()
  const server = await rawServer(t, socket => {
    socket.resume()
    if (server.open.size === 3) probed.happened()
  })
  const resolver = await fakeResolver(t, () => asked.happened())
  const folder = await mkdtemp(join(tmpdir(), 'ringway-left-behind-'))
  t.after(async () => rm(folder, { recursive: true }))
  const file = join(folder, 'servers.json')
  await writeFile(file, '["10.0.0.1:80"]')
  return {
    there: { port: server.port, resolver, file },
    met: Promise.all([asked.seen, probed.seen]),
    left: async () => server.none()
  }
}

// Marks, ejections, slow starts, drains, recalls, names, a queue, probes and watches: each of them could hold a process
// for a minute.
for (const what of ['disposes', 'just leaves']) {
  test(`a process that ${what} with everything under way ends by itself`, { timeout: 30_000 }, async t => {
    const { there, met, left } = await outside(t)
    const script = new URL('support/everything.js', import.meta.url).pathname
    const child = spawn(process.execPath, [script, what, JSON.stringify(there)], {
      stdio: ['pipe', 'pipe', 'inherit']
    })
    t.after(() => child.kill())
    const exit = once(child, 'exit')
    const lines: unknown[] = []
    const output = createInterface(child.stdout).on('line', line => lines.push(JSON.parse(line)))
    const ended = once(output, 'close')
    // The other may be gone before anybody outside has seen it.
    if (what === 'disposes') await met
    child.stdin.end()
    await ended
    const known = {
      servers: ['marked down', 'ejected down', 'back up, slowly', 'well up', 'lost down', 'drained draining'],
      waiting: 1,
      probes: [1, 2, 3].map(() => 'connect ENOENT /nobody/is/here'),
      failed: ['ERR_RINGWAY_DISCOVERY'],
      listed: ['10.0.0.1:80']
    }
    const nothing = { timers: 0, sockets: [], resources: [] }
    assert.deepEqual(lines, what === 'disposes' ? [known, nothing] : [known])
    assert.deepEqual(await exit, [0, null])
    await left()
  })
}
