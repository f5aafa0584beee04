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

/** The documents, and how many samples each has. */
for (const [name, samples] of [
  ['health.md', 3],
  ['tunnel.md', 3]
] as const) {
  const text = readFileSync(new URL(`../../../../docs/${name}`, import.meta.url), 'utf8')

  for (const [, title, code] of text.matchAll(/^### ([^\n]+)\n(?:(?!^#)[^])*?```js\n([^]*?)```/gm)) {
    test(`docs/${name}: "${title}" runs as it stands, but for where servers and certificates are`, async t => {
      const servers = createServer((_, response) => response.end('well')).listen(0)
      await once(servers, 'listening')
      t.after(() => servers.close())
      const { port } = servers.address() as AddressInfo
      const here = code!
        .replaceAll('10.0.0.', '127.0.0.')
        .replaceAll('8080', String(port))
        .replace('3000', '0')
        .replaceAll(/(?=(?:cert|key)\.pem)/g, 'test/fixtures/gate-')
      const args = ['--input-type=module', '--eval', here]
      const { stdout } = await promisify(execFile)(process.execPath, args, { cwd, timeout: 60_000 })
      assert.equal(stdout, '')
    })
  }

  test(`docs/${name} has its ${samples} samples, each under a title`, () => {
    assert.equal(text.match(/^```js$/gm)?.length, samples)
  })
}
