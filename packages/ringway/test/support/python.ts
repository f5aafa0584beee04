import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

/** Where Debian's package is seen from; another Python may come first in the path. */
const pythons = ['python3', '/usr/bin/python3']

const python = pythons.find(
  each => spawnSync(each, ['-c', 'import websockets'], { timeout: 30_000 }).status === 0
)

/** What is missing on this machine for a client by python3-websockets; undefined when nothing is. */
export const missing: string | undefined =
  python === undefined ? 'Needs websockets for Python: apt-get install python3-websockets' : undefined

// Tests run in dist/test, where the compiler doesn't copy these to.
const script = fileURLToPath(new URL('../../../test/support/python-client.py', import.meta.url))
const certificate = fileURLToPath(new URL('../../../test/fixtures/gate-cert.pem', import.meta.url))

/** Runs the client to its end and gives what it has printed, in JSON. */
export async function pythonClient(t: TestContext, url: string, seed: number): Promise<unknown> {
  const child = spawn(python!, [script, url, String(seed), certificate], {
    stdio: ['ignore', 'pipe', 'pipe']
  })
  t.after(() => child.kill('SIGKILL'))
  const exit = once(child, 'exit')
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [code] = (await exit) as [number | null]
  if (code !== 0) throw new Error(`the client has failed (SEED=${seed}):\n${errors}`)
  return JSON.parse(output)
}
