import assert from 'node:assert/strict'
import test from 'node:test'

import { isExhausted } from '../src/index.ts'

test('what this process has run out of is told by the code of an error, or of the one behind it', () => {
  for (const code of ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']) {
    const error = Object.assign(new Error('no more'), { code })
    assert.equal(isExhausted(error), true)
    assert.equal(isExhausted(new Error('connecting failed', { cause: error })), true)
  }
})

test('anything else is not that', () => {
  const refused = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
  for (const error of [refused, new Error('it', { cause: refused }), new Error('it', { cause: 'EMFILE' })])
    assert.equal(isExhausted(error), false)
  for (const thrown of [undefined, 'EMFILE', { code: 'EMFILE' }]) assert.equal(isExhausted(thrown), false)
})
