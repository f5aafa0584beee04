import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { echo } from './gate-backend.ts'
import type { Options } from './gate-host.ts'
import { host, settled } from './gate-host.ts'
import { ask } from './gate-peer.ts'

/** What any hook may do wrong. Its errors' message must reach nobody. */
export const FAULTS: Readonly<Record<string, unknown>> = {
  throws: () => {
    throw new Error('the secret')
  },
  rejects: async () => Promise.reject(new Error('the secret')),
  'never answers': async () => new Promise(() => {})
}

/** With a hook that fails an upgrade gets 500, there is one error line, and no server hears of it. */
export async function assertHookFails(t: TestContext, fault: string, hook: Options): Promise<void> {
  const { address, peers } = await echo(t)
  const chain = fault === 'never answers' ? 100 : 30_000
  const gate = await host(t, [address], { ...hook, timeouts: { chain } })
  const { head, peer } = await ask(t, gate.port)
  assert.equal(head.status, 500)
  assert.doesNotMatch((await peer.rest()).toString(), /secret/)
  assert.deepEqual(
    gate.lines.map(({ level, fields }) => [level, fields['code']]),
    [['error', 'ERR_RINGWAY_HOOK']]
  )
  assert.equal(peers.length, 0)
  await settled(gate.gateway)
}
