import assert from 'node:assert/strict'
import test from 'node:test'
import * as fc from 'fast-check'
import { cookie, header, path, query } from '@ringway/core'
import { assertQuick, sourceWith } from './support/key-source.ts'

/** The keys that each of these takes of a text. */
const headerOf = (text: string) => header('x')(sourceWith({ headers: { x: text } }))
const cookieOf = (text: string) => cookie('a')(sourceWith({ headers: { cookie: text } }))
const queryOf = (target: string) => query('a')(sourceWith({ target }))
const pathOf = (target: string) => path('/x/:a/*')(sourceWith({ target }))

test('10,000 random headers and targets never throw, and give a text that is not empty or no key', () => {
  const keys = [header('cookie'), cookie('a'), query('a'), path('/:a/*'), path(/^\/(\w*)/)]
  const alike = fc.string({
    unit: fc.constantFrom(...'a a = = ; & / ? # : " % \\ \t \xff \xc3'.split(' '), ' ')
  })
  const text = fc.oneof(alike, fc.string({ unit: 'binary' }))
  fc.assert(
    fc.property(fc.oneof(text, fc.array(text)), text, (value, rest) => {
      const source = sourceWith({ headers: { cookie: value }, target: `/${rest}` })
      for (const key of [
        ...keys.map(each => each(source)),
        ...keys.map(each => each({ ...source, target: rest }))
      ]) {
        assert.ok(key === undefined || (typeof key === 'string' && key !== ''))
      }
    }),
    { numRuns: 10_000 }
  )
})

test('what was put into a cookie, an argument or a segment comes out again', () => {
  const value = fc.stringMatching(/^[\w%~.-]{1,20}$/)
  const other = fc.array(value).map(values => values.map(each => `x${each}`))
  fc.assert(
    fc.property(value, other, other, (wanted, before, after) => {
      const pairs = [...before.map(each => `${each}=1`), `a=${wanted}`, ...after.map(each => `${each}=2`)]
      assert.equal(cookieOf(pairs.join('; ')), wanted)
      assert.equal(queryOf(`/?${pairs.join('&')}`), wanted)
      assert.equal(pathOf(['/x', wanted, ...after].join('/')), wanted)
    })
  )
})

for (const unit of [';', '&', 'a', 'a;', 'a&', '=', ' ', '/', ':', '"', 'ü', 'a=;', 'b=&', 'x b ']) {
  test(`megabytes of ${JSON.stringify(unit)} take no time to speak of`, () => {
    const text = unit.repeat(500_000 / unit.length)
    assertQuick(() => cookieOf(text))
    assertQuick(() => cookieOf(`${text}=`))
    assertQuick(() => queryOf(`/?${text}`))
    assertQuick(() => pathOf(`/${text}`))
    assertQuick(() => pathOf(text))
    assertQuick(() => headerOf(text))
  })
}
