import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RingwayError } from '@ringway/core/errors'
import { TunnelError } from '@ringway/tunnel'
import type { TunnelErrorCode } from '@ringway/tunnel'

const table: [TunnelErrorCode, string, number, boolean][] = [
  ['ERR_RINGWAY_BAD_HANDSHAKE', 'client', 400, false],
  ['ERR_RINGWAY_BAD_VERSION', 'client', 426, false],
  ['ERR_RINGWAY_HEAD_TOO_LARGE', 'client', 431, false],
  ['ERR_RINGWAY_BAD_PROXY_HEADER', 'client', 400, false],
  ['ERR_RINGWAY_PROXY_HEADER_TIMEOUT', 'client', 408, false],
  ['ERR_RINGWAY_CLIENT_GONE', 'client', 499, false],
  ['ERR_RINGWAY_CONNECT_FAILED', 'backend', 502, true],
  ['ERR_RINGWAY_CONNECT_TIMEOUT', 'backend', 504, true],
  ['ERR_RINGWAY_EXHAUSTED', 'gateway', 503, false],
  ['ERR_RINGWAY_ANSWER_MISSING', 'backend', 502, true],
  ['ERR_RINGWAY_ANSWER_TIMEOUT', 'backend', 504, true],
  ['ERR_RINGWAY_BAD_ANSWER', 'backend', 502, false],
  ['ERR_RINGWAY_TUNNEL_ENDED', 'gateway', 502, false]
]
for (const [code, side, status, retryable] of table) {
  test(`${code} is the ${side}'s, ${status}, ${retryable ? '' : 'not '}to be tried elsewhere`, () => {
    const cause = new Error('behind it')
    const error = new TunnelError(code, 'what happened', { cause })
    assert.ok(error instanceof RingwayError)
    assert.deepEqual(
      [error.name, error.code, error.side, error.status, error.retryable, error.message, error.cause],
      ['TunnelError', code, side, status, retryable, 'what happened', cause]
    )
  })
}
