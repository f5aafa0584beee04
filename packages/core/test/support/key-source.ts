import assert from 'node:assert/strict'
import { ConfigError } from '@ringway/core'
import type { KeySource } from '@ringway/core'

/** A request with nothing in it but what a test is about. */
export function sourceWith(fields: Partial<KeySource>): KeySource {
  return { address: '192.0.2.7', method: 'GET', target: '/', headers: {}, request: {}, ...fields }
}

/** What UTF-8 text looks like when Node has read its bytes as latin1. */
export function asLatin1(text: string): string {
  return Buffer.from(text).toString('latin1')
}

/** For `assert.throws`: a ConfigError of that field. */
export function refuses(field: string, message: RegExp = /./): (error: unknown) => true {
  return error => {
    assert.ok(error instanceof ConfigError)
    assert.equal(error.field, field)
    assert.match(error.message, message)
    return true
  }
}

/** Asserts that work on a text of megabytes takes no time to speak of: it isn't quadratic. Our own time counts alone. */
export function assertQuick(work: () => unknown): void {
  const start = process.cpuUsage()
  work()
  assert.ok(process.cpuUsage(start).user < 1_000_000)
}
