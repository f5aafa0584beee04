// Run by dispose.test.ts in a process of its own: `child.js <what> <port of a backend that never answers>`.
import { once } from 'node:events'

import { Upstream } from '../../src/index.ts'

const [, , what, port] = process.argv
const health = { type: 'http', interval: 1, timeout: 60_000 } as const
const set = new Upstream({ servers: [`127.0.0.1:${port}`, 'unix:/nobody/is/here'], health })
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
