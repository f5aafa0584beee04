import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'

/** Milliseconds after which a test that waits has failed: far beyond what a busy machine needs. */
const GUARD = 30_000

/** Waits for what has no event. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + GUARD
  while (!condition()) {
    if (performance.now() > deadline) assert.fail(`waited ${GUARD} ms in vain until ${what}`)
    await sleep(2)
  }
}

/** Waits for a promise, but not for ever. */
export async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${GUARD} ms in vain for ${what}`)), GUARD)
  })
  return Promise.race([promise, expired]).finally(() => clearTimeout(timer))
}
