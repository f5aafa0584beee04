import assert from 'node:assert/strict'
import test from 'node:test'
import { path } from '@ringway/core'
import { asLatin1, refuses, sourceWith } from './support/key-source.ts'

const taken: [pattern: string | RegExp, target: string, key: string | undefined][] = [
  ['/rooms/:room', '/rooms/7', '7'],
  ['/rooms/:room', '/rooms/7/', '7'],
  ['/rooms/:room/', '/rooms/7', '7'],
  ['/rooms/:room', '/rooms/7?a=/b', '7'],
  ['/rooms/:room', '/rooms/7#/b', '7'],
  ['/rooms/:room', '/rooms/%41%2f', '%41%2f'],
  ['/rooms/:room', 'http://example.com/rooms/7?a', '7'],
  ['/rooms/:room', 'WSS://[::1]:8443/rooms/7', '7'],
  ['/rooms/:room', asLatin1('/rooms/größe'), 'größe'],
  ['/rooms/:room', '/rooms', undefined],
  ['/rooms/:room', '/rooms/', undefined],
  ['/rooms/:room', '/rooms//', undefined],
  ['/rooms/:room', '/rooms/7/8', undefined],
  ['/rooms/:room', '/rooms/7//', undefined],
  ['/rooms/:room', '/Rooms/7', undefined],
  ['/rooms/:room', '/a/rooms/7', undefined],
  ['/rooms/:room', '//rooms/7', undefined],
  ['/:tenant', '/acme', 'acme'],
  ['/:tenant', '/', undefined],
  ['/:tenant', 'http://example.com', undefined],
  ['/tenants/:tenant/rooms/:room', '/tenants/acme/rooms/7', 'acme/7'],
  ['/tenants/:tenant/*', '/tenants/acme', 'acme'],
  ['/tenants/:tenant/*', '/tenants/acme/', 'acme'],
  ['/tenants/:tenant/*', '/tenants/acme/a//b/c', 'acme'],
  ['/tenants/:tenant/*/', '/tenants/acme/a', 'acme'],
  ['/tenants/:tenant/*', '/tenants', undefined],
  ['/tenants/:tenant/*', '/tenants//a', undefined],
  ['/a.c/:b/*', '/abc/7', undefined],
  ['/a:b/:c', '/a:b/7', '7'],
  [/^\/rooms\/([^/]+)/, '/rooms/7/8', '7'],
  [/^\/rooms\/([^/]+)/, '/ROOMS/7', undefined],
  [/^\/rooms\/([^/]+)/i, '/ROOMS/7', '7'],
  [/^\/(\w+)\/(?:x|(y))\/(\w+)/, '/acme/x/7', 'acme/7'],
  [/^\/(\w+)\/(?:x|(y))\/(\w+)/, '/acme/y/7', 'acme/y/7'],
  [/^\/(?<tenant>\w+)/, '/acme', 'acme'],
  [/\d+/, '/rooms/7?8', '7'],
  [/\d+/, '/rooms?8', undefined],
  [/\d+/, '/rooms#8', undefined],
  [/(\d+)?/, '/rooms', undefined],
  [/\d*/, '/7', undefined],
  [/.*/, 'http://example.com/a/b?c', '/a/b'],
  [/.*/, 'http://example.com?c', '/'],
  [/.*/, '//example.com/a', '//example.com/a'],
  [/.*/, '*', undefined],
  [/.*/, '', undefined],
  [/.*/, 'example.com:443', undefined],
  [/.*/, '?/a', undefined]
]

for (const [pattern, target, key] of taken) {
  test(`${String(pattern)} takes ${JSON.stringify(key) ?? 'nothing'} of ${JSON.stringify(target)}`, () => {
    assert.equal(path(pattern)(sourceWith({ target })), key)
  })
}

test('a RegExp keeps no state between calls, and is not changed', () => {
  const pattern = /\d+/gy
  pattern.lastIndex = 3
  const key = path(pattern)
  const source = sourceWith({ target: '/rooms/7' })
  assert.equal(key(source), '7')
  assert.equal(key(source), '7')
  assert.equal(pattern.lastIndex, 3)
})

const badPatterns: Record<string, RegExp> = {
  '': /begins with \//,
  'rooms/:room': /begins with \//,
  '/': /must have a :name/,
  '/rooms': /must have a :name/,
  '/rooms/*': /must have a :name/,
  '/rooms/a:room': /must have a :name/,
  '/:': /as :name/,
  '/:room.json': /as :name/,
  '/:a:b': /as :name/,
  '/*/:room': /only as its last segment/,
  '/:room/*/*': /only as its last segment/,
  '/:room/a*': /only as its last segment/,
  '/:room?': /no \? and #/,
  '/:room#a': /no \? and #/
}

for (const [pattern, message] of Object.entries(badPatterns)) {
  test(`${JSON.stringify(pattern)} is no pattern`, () => {
    assert.throws(() => path(pattern), refuses('pattern', message))
  })
}

test('a pattern is a text or a RegExp', () => {
  // @ts-expect-error a pattern is a text or a RegExp
  assert.throws(() => path(7), refuses('pattern', /must be a RegExp or a text/))
  // @ts-expect-error a pattern is a text or a RegExp
  assert.throws(() => path(undefined), refuses('pattern', /must be a RegExp or a text/))
})
