import assert from 'node:assert/strict'
import test from 'node:test'
import { ketama, order } from '@ringway/core'
import type { Strategy, Table } from '@ringway/core'

/** A strategy as a user would write it: some keys have a place of their own. */
function pinned(pins: Record<string, string>): Strategy {
  return {
    name: 'pinned',
    build(members) {
      const table = ketama().build(members)
      return {
        pick(key, usable, load) {
          const pin = members.find(({ id }) => id === pins[key])
          return pin !== undefined && usable(pin) ? pin : table.pick(key, usable, load)
        }
      }
    }
  }
}

test("a user's strategy is one method, may stand on another, and order works on its table", () => {
  const members = ['a:1', 'b:1', 'c:1'].map(id => ({ id, weight: 1 }))
  const plain = order(ketama().build(members), 'key').map(({ id }) => id)
  const table = pinned({ key: plain[2]! }).build(members)
  assert.deepEqual(
    order(table, 'key').map(({ id }) => id),
    [plain[2], plain[0], plain[1]]
  )
})

test('order stops at a table that picks what is not usable', () => {
  const member = { id: 'a:1', weight: 1 }
  const stubborn: Table = { pick: () => member }
  assert.throws(() => order(stubborn, 'key'), { code: 'ERR_RINGWAY_STRATEGY' })
})
