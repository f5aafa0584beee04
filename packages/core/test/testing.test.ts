import assert from 'node:assert/strict'
import test from 'node:test'
import {
  boundedLoad,
  crc32,
  jump,
  ketama,
  leastConnections,
  maglev,
  randomTwo,
  rendezvous,
  ring,
  roundRobin
} from '@ringway/core'
import type { Member, Strategy, Table } from '@ringway/core'
import { testStrategy } from '@ringway/core/testing'
import type { CheckName, TestOptions } from '@ringway/core/testing'

/** A sound strategy, to be broken in one place each: rendezvous by its own table. */
function sound(): Strategy {
  return rendezvous()
}

/** A strategy whose tables are those of another one, but for what is given. */
function broken(name: string, build: (members: readonly Member[], before?: Table) => Table): Strategy {
  return { name, build }
}

/** The failed checks' names with their details. */
function failures(strategy: Strategy, options?: TestOptions): Partial<Record<CheckName, string>> {
  const { passed, checks } = testStrategy(strategy, options)
  const failed = checks.filter(({ outcome }) => outcome === 'failed')
  assert.equal(passed, failed.length === 0)
  return Object.fromEntries(failed.map(({ name, details }) => [name, details]))
}

for (const strategy of [
  ketama(),
  ring(),
  rendezvous(),
  boundedLoad(ring(), 1.25),
  roundRobin(),
  leastConnections(),
  randomTwo()
]) {
  test(`${strategy.name} passes every check`, () => {
    const report = testStrategy(strategy)
    assert.ok(report.passed, String(report))
    assert.ok(report.checks.every(({ outcome }) => outcome === 'passed'))
  })
}

test('maglev passes when a percent may move without need, and is told on else', () => {
  const report = testStrategy(maglev(), { needlessMoves: 0.01 })
  assert.ok(report.passed, String(report))
  const failed = failures(maglev())
  assert.deepEqual(Object.keys(failed), ['joining', 'leaving', 'reweighting'])
  assert.match(
    failed.leaving!,
    /^0\.\d\d % of the keys moved without need, such as this: when "10\.0\.0\.\d+:8080" changed, key '.*' moved from ".*" to ".*"$/
  )
})

test('jump passes but for what its limits say', () => {
  assert.deepEqual(Object.keys(failures(jump())), ['leaving', 'reweighting', 'member order'])
  const report = testStrategy(jump(), { skip: ['leaving', 'reweighting', 'member order'] })
  assert.ok(report.passed, String(report))
})

test('a key-free strategy is put through the checks that apply', () => {
  const names = testStrategy(roundRobin()).checks.map(({ name }) => name)
  assert.deepEqual(names, ['contract', 'completeness', 'spread', 'weights'])
})

test('the report says in a line for each check what was found', () => {
  const text = String(testStrategy(ketama(), { skip: ['weights'] }))
  assert.match(text, /^strategy "ketama": 0 of 10 checks failed\n/)
  assert.match(text, /\n {2}passed {3}contract\n/)
  assert.match(
    text,
    /\n {2}passed {3}spread: 0\.\d{3} \("10\.0\.0\.\d+:8080"\) to 1\.\d{3} \(".*"\) of the fair share\n/
  )
  assert.match(text, /\n {2}skipped {2}weights\n/)
})

test('one that picks members that are not usable fails the contract', () => {
  const strategy = broken('stubborn', members => ({ pick: () => members[0] }))
  const failed = failures(strategy)
  assert.match(failed.contract!, /got \{ id: '10\.0\.0\.1:8080'.*\}, though nobody was usable/)
  assert.match(failed.failover!, /picked "10\.0\.0\.1:8080", which is not usable/)
  assert.match(failed.completeness!, /^none of 20000 keys has "10\.0\.0\.2:8080", "10/)
  assert.match(String(testStrategy(strategy)), /\n {2}FAILED {3}contract: key/)
})

test('one that picks the second choice though it is not usable fails the contract', () => {
  const strategy = broken('hasty', members => {
    const table = sound().build(members)
    return {
      pick: (key, usable, load) => {
        const choice = table.pick(key, () => true, load)
        if (choice === undefined || usable(choice)) return choice
        return members.some(usable) ? members.find(member => member !== choice) : undefined
      }
    }
  })
  assert.match(failures(strategy).contract!, /got "10\.0\.0\.\d+:8080", which was not usable/)
})

test('one that picks copies, ids or promises fails the contract', () => {
  const copies = broken('copies', members => {
    const table = sound().build(members)
    return {
      pick: (...args) => {
        const member = table.pick(...args)
        return member && { ...member }
      }
    }
  })
  assert.match(failures(copies).contract!, /got \{ id: .* \}, which is not of the set/)
  const late = broken('late', members => {
    const table = sound().build(members)
    const pick = (...args: Parameters<Table['pick']>): unknown =>
      members.some(args[1]) ? Promise.resolve(table.pick(...args)) : undefined
    return { pick } as unknown as Table // a pick is synchronous
  })
  assert.match(failures(late).contract!, /got Promise/)
})

test('one that picks nobody though members are usable fails the contract', () => {
  const strategy = broken('picky', members => {
    const table = sound().build(members)
    return {
      pick: (key, usable, load) => {
        const choice = table.pick(key, () => true, load)
        return choice && usable(choice) ? choice : undefined
      }
    }
  })
  const failed = failures(strategy)
  assert.match(failed.contract!, /got nobody, though \d+ members were usable/)
  assert.match(failed.completeness!, /comes to 1 members, not to 10/)
})

test('one that picks somebody of a set without members fails the contract', () => {
  const strategy = broken('inventive', members => {
    const table = sound().build(members)
    return { pick: (...args) => (members.length === 0 ? { id: 'me:1', weight: 1 } : table.pick(...args)) }
  })
  assert.match(failures(strategy).contract!, /a table without members picked \{ id: 'me:1'/)
})

test('one that changes what it was given, or throws, fails each check with what it threw', () => {
  const strategy = broken('tidy', members => {
    ;(members as Member[]).reverse()
    return sound().build(members)
  })
  const failed = failures(strategy)
  assert.match(failed.determinism!, /^threw TypeError: .*read only/)
  assert.equal(Object.keys(failed).length, 10)
  const picky = broken('picky', members => ketama().build([...members, members[0]!]))
  assert.match(failures(picky).determinism!, /members\[10\]\.id: .* used twice/)
})

test('one that leaves a choice to chance, or remembers, fails determinism', () => {
  let turn = 0
  const strategy = broken('turning', members => {
    const table = sound().build(members)
    return { pick: (key, usable, load) => table.pick(`${key}${turn++ % 2}`, usable, load) }
  })
  assert.match(
    failures(strategy).determinism!,
    /^\d+ of 20000 keys, such as '.*', were sent to other members by another table of the same members, asked in another order: to ".*" rather than ".*"$/
  )
})

test('one that takes over wrongly from an earlier table fails determinism', () => {
  // It keeps what it knew of a member that had another weight.
  const strategy = broken('conservative', (members, before?: Table & { weights?: Map<string, number> }) => {
    const weights = new Map(members.map(({ id, weight }) => [id, before?.weights?.get(id) ?? weight]))
    const given = new Map(members.map(member => [member.id, member]))
    const table = sound().build(members.map(({ id }) => ({ id, weight: weights.get(id)! })))
    const pick: Table['pick'] = (key, usable, load) => {
      const copy = table.pick(key, ({ id }) => usable(given.get(id)!), load)
      return copy && given.get(copy.id)
    }
    return Object.assign({ pick }, { weights })
  })
  assert.match(
    failures(strategy).determinism!,
    /by a table built with an earlier one: to ".*" rather than ".*"$/
  )
})

test('one whose first choice and failover disagree fails failover', () => {
  const strategy = broken('fickle', members => {
    const table = sound().build(members)
    return {
      // With an even number of usable members the key is another.
      pick: (key, usable, load) =>
        table.pick(members.filter(usable).length % 2 === 0 ? key : `${key}!`, usable, load)
    }
  })
  assert.match(failures(strategy).failover!, /^key '.*' prefers ".*", but got ".*" rather than ".*" when/)
})

test('one whose shares are not even, or not by weights, fails spread and weights', () => {
  const doubled = broken('doubled', members => {
    const table = sound().build(members)
    const [favourite] = members
    return {
      pick: (key, usable, load) =>
        favourite && key.endsWith('1') && usable(favourite) ? favourite : table.pick(key, usable, load)
    }
  })
  assert.match(
    failures(doubled).spread!,
    /\("10\.0\.0\.1:8080"\) of the fair share, which is more than 0\.25 away from it$/
  )
  const equal = broken('equal', members => {
    const given = new Map(members.map(member => [member.id, member]))
    const table = sound().build(members.map(({ id }) => ({ id, weight: 1 })))
    return {
      pick: (key, usable, load) => {
        const copy = table.pick(key, ({ id }) => usable(given.get(id)!), load)
        return copy && given.get(copy.id)
      }
    }
  })
  assert.deepEqual(Object.keys(failures(equal)), ['weights', 'reweighting'])
})

test('one that goes by the remainder moves most keys, and fails the checks of moves', () => {
  const strategy = broken('remainder', members => ({
    pick: (key, usable) => {
      const start = crc32(key)
      return members.map((_, step) => members[(start + step) % members.length]!).find(usable)
    }
  }))
  const failed = failures(strategy)
  assert.deepEqual(
    Object.keys(failed),
    ['weights', 'joining', 'leaving', 'reweighting', 'member order'].filter(name => name in failed)
  )
  assert.match(failed.joining!, /^8\d\.\d\d % of the keys moved without need/)
  assert.match(failed['member order']!, /when the members were listed in another order/)
})

test('a strategy that keeps each key to a few members passes when the kit is told so', () => {
  const strategy = broken('paired', members => {
    const table = sound().build(members)
    return {
      pick: (key, usable, load) => {
        const first = table.pick(key, () => true, load)
        const second = table.pick(key, member => member !== first, load)
        return [first, second].find(member => member !== undefined && usable(member))
      }
    }
  })
  assert.ok(testStrategy(strategy, { reach: 2 }).passed)
  assert.match(failures(strategy, { reach: 3 }).completeness!, /comes to 2 members, not to 3/)
})

test('members and keys of your own are used', () => {
  const seen = new Set<string>()
  const members = ['x:1', 'y:1', 'z:1'].map(id => ({ id, weight: 3 }))
  const keys = Array.from({ length: 2000 }, (_, index) => `tenant-${index}`)
  const strategy = broken('curious', given => {
    for (const { id } of given) seen.add(id)
    const table = sound().build(given)
    return {
      pick: (key, usable, load) => {
        assert.match(key, /^tenant-/)
        return table.pick(key, usable, load)
      }
    }
  })
  const report = testStrategy(strategy, { members, keys })
  assert.ok(report.passed, String(report))
  assert.deepEqual([...seen].toSorted(), ['192.0.2.99:8080', 'x:1', 'y:1', 'z:1'])
  assert.ok(!Object.isFrozen(members[0]), "the caller's members are left as they are")
})

test('options that can’t be used are refused by name', () => {
  const good = { id: 'a:1', weight: 1 }
  assert.throws(() => testStrategy(ketama(), { members: [good] }), {
    code: 'ERR_RINGWAY_CONFIG',
    field: 'members'
  })
  assert.throws(() => testStrategy(ketama(), { members: [good, good, good] }), { field: 'members[1].id' })
  assert.throws(() => testStrategy(ketama(), { keys: ['a'] }), {
    field: 'keys',
    message: /at least 500 texts/
  })
  assert.throws(() => testStrategy(ketama(), { tolerance: -1 }), { field: 'tolerance' })
  assert.throws(() => testStrategy(ketama(), { needlessMoves: Number.NaN }), { field: 'needlessMoves' })
  assert.throws(() => testStrategy(ketama(), { reach: 11 }), { field: 'reach' })
  // @ts-expect-error no array
  assert.throws(() => testStrategy(ketama(), { keys: 'keys' }), { field: 'keys' })
  // @ts-expect-error a number is wanted
  assert.throws(() => testStrategy(ketama(), { tolerance: '1' }), { field: 'tolerance' })
  // @ts-expect-error an array is wanted
  assert.throws(() => testStrategy(ketama(), { skip: 'weights' }), { field: 'skip' })
  // @ts-expect-error no strategy
  assert.throws(() => testStrategy(ketama), { field: 'strategy', message: /such as ketama\(\)/ })
  // @ts-expect-error no such check
  assert.throws(() => testStrategy(ketama(), { skip: ['speed'] }), { field: 'skip', message: /'speed'/ })
  // @ts-expect-error no such option
  assert.throws(() => testStrategy(ketama(), { member: [] }), { field: 'member' })
})

/** A strategy that is rendezvous but for its table's method. */
function twisted(
  name: string,
  pick: (table: Table, members: readonly Member[]) => Table['pick'],
  build?: (members: readonly Member[], before?: Table) => Table
): Strategy {
  return broken(name, (members, before) => ({
    pick: pick(build === undefined ? sound().build(members) : build(members, before), members)
  }))
}

test('one whose failover depends on the order of the list fails member order', () => {
  const strategy = twisted('listed', (table, members) => (key, usable, load) => {
    const first = table.pick(key, () => true, load)
    return first && usable(first) ? first : members.find(usable)
  })
  assert.deepEqual(Object.keys(failures(strategy)), ['member order'])
})

test('one whose failover differs from table to table fails determinism', () => {
  let tables = 0
  const strategy = twisted('salted', table => {
    const salt = tables++
    return (key, usable, load) => {
      const first = table.pick(key, () => true, load)
      return first && usable(first) ? first : table.pick(`${key}${salt}`, usable, load)
    }
  })
  assert.ok('determinism' in failures(strategy))
})

test('one that keeps an earlier table when a member left picks what is not of its set', () => {
  const strategy = broken('clinging', (members, before?: Table & { size?: number }) => {
    if (before?.size !== undefined && before.size >= members.length) return before
    return Object.assign(sound().build(members), { size: members.length })
  })
  assert.match(
    failures(strategy).determinism!,
    /a table built with an earlier one picked .*, which is not of its set/
  )
})

test('one that spoils the table that it takes over from fails determinism', () => {
  const strategy = broken('greedy', (members, before) => {
    const table = sound().build(members)
    if (before !== undefined) before.pick = () => undefined
    return { pick: (...args) => table.pick(...args) }
  })
  assert.match(
    failures(strategy).determinism!,
    /after another table took over from theirs: to nobody rather than/
  )
})

test('one that gives a member that joins nothing, or a larger weight nothing, is told so', () => {
  const strategy = broken('closed', members => sound().build(members.slice(0, 10)))
  assert.match(failures(strategy).joining!, /^when "192\.0\.2\.99:8080" changed, no key moved for it$/)
  const equal = broken('equal', members => {
    const given = new Map(members.map(member => [member.id, member]))
    const table = sound().build(members.map(({ id }) => ({ id, weight: 1 })))
    return {
      pick: (key, usable, load) => {
        const copy = table.pick(key, ({ id }) => usable(given.get(id)!), load)
        return copy && given.get(copy.id)
      }
    }
  })
  assert.match(failures(equal).reweighting!, /no key moved for it/)
})

test('one that sends keys to nobody when a member leaves fails leaving', () => {
  const strategy = twisted('lossy', (table, members) => (key, usable, load) => {
    const first = table.pick(key, () => true, load)
    return members.length === 9 && first?.id === members[0]?.id ? undefined : table.pick(key, usable, load)
  })
  assert.match(failures(strategy).leaving!, /moved from ".*" to nobody$/)
})

test('one that fails with a key that is no address, or with one key in a thousand, fails the contract', () => {
  const picky = twisted('picky', table => (key, usable, load) => {
    if (!/^[\d.]+$/.test(key)) throw new RangeError('no address')
    return table.pick(key, usable, load)
  })
  assert.match(failures(picky).contract!, /^threw RangeError: no address/)
  let picks = 0
  const rare = twisted(
    'rare',
    (table, members) => (key, usable, load) =>
      ++picks % 5000 === 0 && members.some(usable)
        ? members.find(member => !usable(member))
        : table.pick(key, usable, load)
  )
  assert.match(failures(rare).contract!, /was not usable|got nobody/)
})

test('one that makes up members without end is stopped', () => {
  let made = 0
  const strategy = broken('fertile', members => ({
    pick: (_key, usable) => (members.some(usable) ? { id: `${made++}`, weight: 1 } : undefined)
  }))
  const endless = broken('endless', members => ({
    pick: () => (members.length > 0 ? { id: `${made++}`, weight: 1 } : undefined)
  }))
  assert.match(failures(strategy).contract!, /which is not of the set/)
  assert.match(failures(endless).completeness!, /none of 20000 keys|more members than a set can have/)
})
