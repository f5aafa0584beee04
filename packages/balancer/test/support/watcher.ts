// Run by discovery.test.ts in a process of its own: `watcher.js <what> <a file of servers>`.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'

import { fromDns, fromFile, fromStatic } from '../../src/index.ts'
import type { Discovery } from '../../src/index.ts'

const [, , what, file = ''] = process.argv
const controller = new AbortController()

/** Takes the lists as an upstream would; nobody waits for it. */
async function consume(discovery: Discovery): Promise<void> {
  for await (const list of discovery.watch(controller.signal)) {
    if (list.length === 0) throw new Error('an empty list')
  }
}

// It never answers, so that a query is under way all the time.
const silent = createSocket('udp4').bind(0, '127.0.0.1')
await once(silent, 'listening')
const resolvers = [`127.0.0.1:${silent.address().port}`]
const asked = once(silent, 'message')
const watches = [
  consume(fromFile(file)),
  consume(fromDns({ srv: '_ws._tcp.test', resolvers, timeout: 60_000 })),
  consume(fromStatic(['a:1']))
]
await asked
if (what === 'aborts') {
  controller.abort()
  await Promise.all(watches)
}
silent.close()
if (what === 'aborts') {
  // What is closed is given back in one of the next turns, a read of a file when its thread is done with it.
  const deadline = performance.now() + 20_000
  let left = open()
  while (left.length > 0 && performance.now() < deadline) {
    await setImmediate()
    left = open()
  }
  process.stdout.write(JSON.stringify(left))
}

function open(): string[] {
  return process.getActiveResourcesInfo().filter(name => /UDP|TCP|FS|Timeout/.test(name))
}
