import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AttachOptions, Gateway } from '../src/index.ts'
import { ConfigError } from '../src/index.ts'
import { gateway } from './support/mount-gateway.ts'
import { makeServer } from './support/mount-server.ts'

// oxlint-disable typescript/unbound-method -- whose function stands on the server is what is looked at

/** Nothing is asked of it here. */
const SOMEWHERE = ['127.0.0.1:1']

function refuses(field: string, act: () => unknown): void {
  assert.throws(act, (error: unknown) => {
    assert.ok(error instanceof ConfigError, String(error))
    assert.equal(error.code, 'ERR_RINGWAY_CONFIG')
    assert.equal(error.field, field)
    return true
  })
}

/** No upgrade may come to a gateway that said no. */
function untouched(act: (made: ReturnType<typeof makeServer>) => void): void {
  const made = makeServer(false)
  const { emit } = made
  act(made)
  assert.equal(made.listenerCount('upgrade'), 0)
  assert.equal(made.emit, emit)
}

const both: Record<string, [first: (by: Gateway) => unknown, then: (by: Gateway) => unknown]> = {
  'attach, then middleware': [by => by.attach(makeServer(false), { path: '/ws' }), by => by.middleware()],
  'middleware, then attach': [by => by.middleware(), by => by.attach(makeServer(false), { path: '/ws' })]
}
for (const [order, [first, then]] of Object.entries(both)) {
  void test(`a mounted gateway must say whether upgrades go through the app: ${order}`, t => {
    const by = gateway(t, SOMEWHERE)
    first(by)
    refuses('through', () => then(by))
  })
}

void test('a mounted gateway that says so may let upgrades pass the app', t => {
  for (const through of [true, false]) {
    const before = gateway(t, SOMEWHERE)
    before.attach(makeServer(false), { path: '/ws', through })
    before.middleware()
    const after = gateway(t, SOMEWHERE)
    after.middleware()
    after.attach(makeServer(false), { path: '/ws', through })
  }
})

void test('a refused mount leaves the gateway as it was', t => {
  const attached = gateway(t, SOMEWHERE)
  attached.attach(makeServer(false), { path: '/ws' })
  refuses('through', () => attached.middleware())
  attached.attach(makeServer(false), { path: '/other' })

  const mounted = gateway(t, SOMEWHERE)
  mounted.middleware()
  untouched(made => refuses('through', () => mounted.attach(made, { path: '/ws' })))
  mounted.middleware()
})

void test('through needs a path', t => {
  untouched(made => refuses('path', () => gateway(t, SOMEWHERE).attach(made, { through: true })))
})

void test('a path that another gateway has on that server is refused, on another server it is not', t => {
  const made = makeServer(false)
  gateway(t, SOMEWHERE).attach(made, { path: '/ws' })
  const by = gateway(t, SOMEWHERE)
  refuses('path', () => by.attach(made, { path: '/ws/' }))
  by.attach(makeServer(false), { path: '/ws' })
})

void test('of several paths none is taken when one of them is refused', t => {
  const made = makeServer(false)
  gateway(t, SOMEWHERE).attach(made, { path: '/b' })
  const by = gateway(t, SOMEWHERE)
  refuses('path', () => by.attach(made, { path: ['/a', '/b'] }))
  gateway(t, SOMEWHERE).attach(made, { path: '/a' })
})

void test('the same path cannot be both through the app and past it', t => {
  const made = makeServer(false)
  const by = gateway(t, SOMEWHERE)
  by.attach(made, { path: '/ws', through: true })
  refuses('through', () => by.attach(made, { path: '/ws', through: false }))
})

void test('bad options are named', t => {
  const by = gateway(t, SOMEWHERE)
  const bad: [field: string, options: unknown][] = [
    ['path', { path: 'ws' }],
    ['path', { path: '' }],
    ['path', { path: [] }],
    ['path', { path: ['/a', 1] }],
    ['path', { path: '/a?b' }],
    ['path', { path: '/a b' }],
    ['path', { path: 1 }],
    ['through', { path: '/a', through: 'yes' }],
    ['pth', { pth: '/a' }],
    ['options', null]
  ]
  for (const [field, options] of bad) {
    untouched(made => refuses(field, () => by.attach(made, options as AttachOptions)))
  }
  refuses('server', () => by.attach({} as never))
})

void test('a closed gateway attaches nowhere', async t => {
  const by = gateway(t, SOMEWHERE)
  await by.close()
  untouched(made => assert.throws(() => by.attach(made, { path: '/ws' }), { code: 'ERR_RINGWAY_CLOSING' }))
})
