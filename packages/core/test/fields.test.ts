import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ConfigError } from '@ringway/core'
import { Fields, show } from '@ringway/core/fields'

const fails = (field: string, message: RegExp) => (error: unknown) => {
  assert(error instanceof ConfigError)
  assert.equal(error.field, field)
  assert.match(error.message, message)
  return true
}

test('what is no object of options is named', () => {
  for (const value of [null, [], 'text', 7]) {
    assert.throws(() => new Fields(value, '', []), fails('options', /must be an object, not/))
    assert.throws(() => new Fields(value, 'health', []), fails('health', /must be an object, not/))
  }
})

test('an unknown name is an error that lists the known ones', () => {
  assert.throws(() => new Fields({ a: 1, c: 2 }, 'x', ['a', 'b']), fails('x.c', /known here: a, b/))
})

test('each kind of field takes its default and refuses what is no such thing', () => {
  const names = ['whole', 'time', 'flag', 'text']
  const none = new Fields({}, '', names)
  assert.equal(none.integer('whole', 3, 1, 5), 3)
  assert.equal(none.milliseconds('time', 100, 0), 100)
  assert.equal(none.boolean('flag', true), true)
  assert.equal(none.text('text'), undefined)

  const good = new Fields({ whole: 5, time: 0.5, flag: false, text: 'x' }, '', names)
  assert.equal(good.integer('whole', 3, 1, 5), 5)
  assert.equal(good.milliseconds('time', 100, 0), 0.5)
  assert.equal(good.boolean('flag', true), false)
  assert.equal(good.text('text'), 'x')

  const bad = new Fields({ whole: 5.5, time: -1, flag: 'yes', text: '' }, 'at', names)
  assert.throws(() => bad.integer('whole', 3, 1, 5), fails('at.whole', /an integer of 1 to 5, not 5.5/))
  assert.throws(() => bad.integer('whole', 3, 1), fails('at.whole', /an integer of at least 1, not 5.5/))
  assert.throws(
    () => bad.milliseconds('time', 100, 0),
    fails('at.time', /milliseconds of 0 to 2147483647, not -1/)
  )
  assert.throws(() => bad.boolean('flag', true), fails('at.flag', /true or false, not 'yes'/))
  assert.throws(() => bad.text('text'), fails('at.text', /not empty, not ''/))
})

test('null is no way of leaving a field out', () => {
  const fields = new Fields({ time: null }, '', ['time'])
  assert.throws(() => fields.milliseconds('time', 100, 0), fails('time', /not null/))
})

test('a value is shown short and on one line', () => {
  assert.equal(show({ a: { b: 1 } }), '{ a: [Object] }')
  assert(show('x'.repeat(1_000)).length < 150)
})
