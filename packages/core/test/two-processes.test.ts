import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'

/** The picks of 5,000 keys by each strategy, in a process of its own. */
function picks(ids: readonly string[]): Record<string, string> {
  const script = `
    import { ketama, ring, maglev, rendezvous, boundedLoad } from ${JSON.stringify(new URL('../src/index.js', import.meta.url).href)}
    const members = ${JSON.stringify(ids)}.map(id => ({ id, weight: id.length % 3 + 1 }))
    const of = strategy => {
      const table = strategy.build(members)
      return Array.from({ length: 5000 }, (_, i) => table.pick(\`10.0.\${i >> 8}.\${i & 255}\`, () => true, () => 0).id).join()
    }
    const all = [ketama(), ring(), maglev(), rendezvous(), boundedLoad(ketama(), 1.5)]
    process.stdout.write(JSON.stringify(Object.fromEntries(all.map(each => [each.name, of(each)]))))
  `
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  return JSON.parse(output) as Record<string, string>
}

test('consistent-hash on npm: two processes agree on each key, whatever the order of their lists', () => {
  const ids = Array.from({ length: 12 }, (_, i) => `sre${i * i}.example:8080`)
  const one = picks(ids)
  assert.deepEqual(picks(ids.toReversed()), one)
  assert.equal(new Set(one['ketama']!.split(',')).size, 12)
})
