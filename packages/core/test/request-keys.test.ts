import assert from 'node:assert/strict'
import test from 'node:test'
import { cookie, header, query } from '@ringway/core'
import { asLatin1, refuses, sourceWith } from './support/key-source.ts'

const notTokens = ['', ' ', 'a b', 'a:', 'a=', 'a;', 'a,', '"a"', 'a\n', 'größe', 'x-tenant\u0000']

const headerOf = (name: string, headers: Record<string, string | string[] | undefined>) =>
  header(name)(sourceWith({ headers }))
const cookieOf = (name: string, value: string | string[]) =>
  cookie(name)(sourceWith({ headers: { cookie: value } }))
const queryOf = (name: string, target: string) => query(name)(sourceWith({ target }))

// header

test("a header's value is the key, whatever the case of the name", () => {
  assert.equal(headerOf('x-tenant', { 'x-tenant': 'Acme' }), 'Acme')
  assert.equal(headerOf('X-Tenant', { 'x-tenant': 'Acme' }), 'Acme')
})

test('a header that is missing or empty is no key', () => {
  assert.equal(headerOf('x-tenant', {}), undefined)
  assert.equal(headerOf('x-tenant', { 'x-tenant': undefined }), undefined)
  assert.equal(headerOf('x-tenant', { 'x-tenant': '' }), undefined)
  assert.equal(headerOf('x-tenant', { 'x-tenant': [] }), undefined)
})

test('several lines of a header are one key', () => {
  assert.equal(headerOf('x-tenant', { 'x-tenant': ['a', 'b'] }), 'a, b')
})

test('a header is read as UTF-8, so that the key has the bytes that the client sent', () => {
  for (const text of ['größe', '日本', '😀', '\ufeffmarked', 'à']) {
    assert.equal(headerOf('x-tenant', { 'x-tenant': asLatin1(text) }), text)
  }
})

test('bytes of a header that are no UTF-8 become U+FFFD', () => {
  assert.equal(headerOf('x-tenant', { 'x-tenant': 'a\xffb' }), 'a\ufffdb')
  assert.equal(headerOf('x-tenant', { 'x-tenant': 'a\xc3' }), 'a\ufffd')
})

test('a header that is no longer bytes is left alone', () => {
  assert.equal(headerOf('x-tenant', { 'x-tenant': 'ü日' }), 'ü日')
})

test('what every object has is no header', () => {
  for (const name of ['__proto__', 'constructor', 'toString']) assert.equal(headerOf(name, {}), undefined)
})

for (const name of notTokens) {
  test(`${JSON.stringify(name)} is no name of a header or a cookie`, () => {
    assert.throws(() => header(name), refuses('name', /must be a token/))
    assert.throws(() => cookie(name), refuses('name', /must be a token/))
  })
}

test('a name is a text', () => {
  // @ts-expect-error a name is a text
  assert.throws(() => header(7), refuses('name'))
  // @ts-expect-error a name is a text
  assert.throws(() => cookie(undefined), refuses('name'))
  // @ts-expect-error a name is a text
  assert.throws(() => query(['a']), refuses('name'))
})

// cookie

test("a cookie's value is the key", () => {
  assert.equal(cookieOf('sid', 'sid=42'), '42')
  assert.equal(cookieOf('sid', 'a=1; sid=42; b=2'), '42')
  assert.equal(cookieOf('sid', 'a=1;sid=42;b=2'), '42')
})

test('the first cookie of a name counts', () => {
  assert.equal(cookieOf('sid', 'sid=1; sid=2'), '1')
  assert.equal(cookieOf('sid', 'sid=; sid=2'), undefined)
})

test('only the whole name of a cookie in its own case counts', () => {
  assert.equal(cookieOf('sid', 'xsid=1; sidx=2; SID=3; sid; x=sid=4'), undefined)
})

test('a cookie without blanks at its ends, but otherwise as it was sent, is the key', () => {
  assert.equal(cookieOf('sid', ' sid \t=\t a b  ; c=d'), 'a b')
  assert.equal(cookieOf('sid', 'sid="42"'), '"42"')
  assert.equal(cookieOf('sid', 'sid=%41=='), '%41==')
})

test('a cookie that is missing or empty is no key', () => {
  assert.equal(cookie('sid')(sourceWith({})), undefined)
  for (const text of ['', ';', '=', 'sid', 'sid=', 'sid= ;', '=sid', 'other=1']) {
    assert.equal(cookieOf('sid', text), undefined)
  }
})

test('cookies may come in several lines', () => {
  assert.equal(cookieOf('sid', ['a=1', 'sid=42']), '42')
})

test('a cookie is read as UTF-8, also where its last byte looks like a blank', () => {
  assert.equal(cookieOf('sid', asLatin1('a=ü; sid=voilà; b=ü')), 'voilà')
  assert.equal(cookieOf('sid', 'sid=a\xc3; b=2'), 'a\ufffd')
})

test('a cookie may have a name that objects or patterns know', () => {
  assert.equal(cookieOf('__proto__', '__proto__=1'), '1')
  assert.equal(cookieOf('constructor', 'a=1'), undefined)
  assert.equal(cookieOf('a.c', 'abc=1; a.c=2'), '2')
  assert.equal(cookieOf('$', '$=3'), '3')
})

// query

test("an argument of the target's query is the key", () => {
  assert.equal(queryOf('room', '/chat?room=7'), '7')
  assert.equal(queryOf('room', '/chat?a=1&room=7&b=2'), '7')
  assert.equal(queryOf('room', 'http://example.com/chat?room=7'), '7')
  assert.equal(queryOf('room', '?room=7'), '7')
})

test('the first argument of a name counts', () => {
  assert.equal(queryOf('room', '/?room=7&room=8'), '7')
  assert.equal(queryOf('room', '/?room=&room=8'), undefined)
  assert.equal(queryOf('room', '/?room&room=8'), '8')
})

test('an argument is taken as written, nothing decoded', () => {
  assert.equal(queryOf('room', '/?room=%41+b'), '%41+b')
  assert.equal(queryOf('room', '/?r%6fom=7'), undefined)
  assert.equal(queryOf('r%6fom', '/?r%6fom=7'), '7')
  assert.equal(queryOf('room', '/?room= a '), ' a ')
  assert.equal(queryOf('room', '/?room=a=b?c'), 'a=b?c')
})

test('only the whole name of an argument in its own case counts', () => {
  assert.equal(queryOf('room', '/room=1?xroom=2&roomx=3&Room=4'), undefined)
})

test('a query ends at the fragment', () => {
  assert.equal(queryOf('room', '/?room=7#&a'), '7')
  assert.equal(queryOf('room', '/#?room=7'), undefined)
})

test('an argument that is missing or empty, or no query at all, is no key', () => {
  for (const target of ['', '*', '/', '/?', '/?room', '/?room=', '/?&&', '/?=7', 'example.com:443']) {
    assert.equal(queryOf('room', target), undefined)
  }
})

test('a query is read as UTF-8', () => {
  assert.equal(queryOf('größe', asLatin1('/?größe=groß')), 'groß')
})

for (const name of ['', 'a&b', 'a=', '#a']) {
  test(`${JSON.stringify(name)} is no name of an argument`, () => {
    assert.throws(() => query(name), refuses('name', /without &, = and #/))
  })
}
