import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const readme = readFileSync(`${root}/README.md`, 'utf8')
const examples = [...readme.matchAll(/```js\n((?:(?!```)[^])*)```\n\n```text\n([^]*?)```/g)]

test('the README has its example', () => {
  assert.equal(examples.length, 1)
})

for (const [index, [, code, output]] of examples.entries()) {
  test(`example ${index + 1} of the README prints what the README says`, () => {
    const args = ['--input-type=module', '--eval', code!]
    assert.equal(execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' }), output)
  })
}
