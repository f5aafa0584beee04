import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import { fileURLToPath } from 'node:url'

/** Where `ringway` is the package of that name. This file runs in packages/ringway/dist/test. */
const cwd = fileURLToPath(new URL('../..', import.meta.url))
const text = readFileSync(new URL('../../../../docs/health.md', import.meta.url), 'utf8')

for (const [, title, code] of text.matchAll(/^### ([^\n]+)\n(?:(?!^#)[^])*?```js\n([^]*?)```/gm)) {
  test(`docs/health.md: "${title}" runs as it stands`, () => {
    const args = ['--input-type=module', '--eval', code!]
    assert.equal(execFileSync(process.execPath, args, { cwd, encoding: 'utf8', timeout: 60_000 }), '')
  })
}

test('docs/health.md has its three recipes', () => {
  assert.equal(text.match(/^```js$/gm)?.length, 3)
})
