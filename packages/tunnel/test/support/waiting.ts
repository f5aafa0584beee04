import assert from 'node:assert/strict'
import { setImmediate, setTimeout } from 'node:timers/promises'

/** Milliseconds after which a test that waits has failed: far beyond what a busy machine needs. */
const GUARD = 20_000

/** Waits for what has no event. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + GUARD
  for (let turns = 0; !condition(); turns++) {
    if (performance.now() > deadline) assert.fail(`waited ${GUARD} ms in vain until ${what}`)
    await (turns < 100 ? setImmediate() : setTimeout(2))
  }
}

/** Waits until a number has not changed for a while. */
export async function still(value: () => number): Promise<void> {
  let seen = value()
  for (let same = 0; same < 20; same++) {
    await setTimeout(10)
    if (value() !== seen) same = 0
    seen = value()
  }
}

/** Waits until no connection is left in the process, begun ones and look-ups included. */
export async function noSocketLeft(): Promise<void> {
  await until(() => connections().length === 0, 'no socket is left').catch((error: unknown) => {
    throw new Error(`${String(error)}: ${connections().join(' ')}`, { cause: error })
  })
}

function connections(): string[] {
  return process.getActiveResourcesInfo().filter(name => /TCPSocket|Connect|TLSWrap|GetAddrInfo/.test(name))
}
