import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import test from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** Where `ringway` is the package of that name. This file runs in packages/ringway/dist/test. */
const cwd = fileURLToPath(new URL('../..', import.meta.url))
const text = readFileSync(new URL('../../../../docs/health.md', import.meta.url), 'utf8')

for (const [, title, code] of text.matchAll(/^### ([^\n]+)\n(?:(?!^#)[^])*?```js\n([^]*?)```/gm)) {
  test(`docs/health.md: "${title}" runs as it stands, but for where the servers are`, async t => {
    const servers = createServer((_, response) => response.end('well')).listen(0)
    await once(servers, 'listening')
    t.after(() => servers.close())
    const { port } = servers.address() as AddressInfo
    const here = code!.replaceAll('10.0.0.', '127.0.0.').replaceAll('8080', String(port)).replace('3000', '0')
    const args = ['--input-type=module', '--eval', here]
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd, timeout: 60_000 })
    assert.equal(stdout, '')
  })
}

test('docs/health.md has its three recipes', () => {
  assert.equal(text.match(/^```js$/gm)?.length, 3)
})
