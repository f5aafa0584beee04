// Run by dispose.test.ts in a process of its own: `child.js <what> <server> <health>`, the latter two as JSON.
import { once } from 'node:events'

import { Upstream } from '../../src/index.ts'
import type { HealthOptions, ServerOptions } from '../../src/index.ts'

const [, , what, server = '', options = ''] = process.argv
const health = JSON.parse(options) as HealthOptions
const servers = [JSON.parse(server) as ServerOptions, 'unix:/nobody/is/here']
const set = new Upstream({ servers, health: { ...health, interval: 1, timeout: 60_000 } })
if (what === 'just leaves') {
  set.on('server:down', () => {})
} else {
  // Our input is what keeps this process alive; its end says that a probe is under way.
  await once(process.stdin.resume(), 'end')
  if (what === 'disposes') {
    await set[Symbol.asyncDispose]()
    const left = process.getActiveResourcesInfo().filter(name => /TCP|Pipe(?!Wrap$)|Timeout|TLS/.test(name))
    process.stdout.write(JSON.stringify(left))
  }
}
