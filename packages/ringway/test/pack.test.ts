import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../../../', import.meta.url))

test('the packages, as they would be published, install together and load by import and by require', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'ringway-pack-'))
  t.after(async () => rm(folder, { recursive: true, force: true }))
  const pack = ['-y', 'pnpm@12.21.0', '-r', '--filter', './packages/*', 'pack', '--pack-destination', folder]
  await run('npx', pack, { cwd: root })
  const tarballs = (await readdir(folder)).filter(name => name.endsWith('.tgz'))
  assert.equal(tarballs.length, 4, tarballs.join(', '))

  await writeFile(join(folder, 'package.json'), '{ "private": true }')
  const install = ['install', '--no-audit', '--no-fund', ...tarballs.map(name => `./${name}`)]
  await run('npm', install, { cwd: folder })
  const names = [
    'ringway',
    'ringway/fastify',
    '@ringway/core',
    '@ringway/core/address',
    '@ringway/core/errors',
    '@ringway/core/fields',
    '@ringway/core/networks'
  ]
  names.push('@ringway/balancer', '@ringway/tunnel')
  const list = JSON.stringify(names)
  const imports = `for (const name of ${list}) console.log(Object.keys(await import(name)).length > 0)`
  const requires = `for (const name of ${list}) console.log(Object.keys(require(name)).length > 0)`
  const all = names.map(() => 'true\n').join('')
  const module = await run(process.execPath, ['--input-type=module', '-e', imports], { cwd: folder })
  assert.equal(module.stdout, all)
  const script = await run(process.execPath, ['--input-type=commonjs', '-e', requires], { cwd: folder })
  assert.equal(script.stdout, all)

  // A gateway made from what was installed, and from nothing beside it.
  const use =
    "const { createGateway } = await import('ringway'); const gateway = createGateway({ upstream: { servers: ['sre1:80'] } }); " +
    'await gateway.listen(); await gateway.close(); console.log(gateway.stats().tunnels.active)'
  assert.equal(
    (await run(process.execPath, ['--input-type=module', '-e', use], { cwd: folder })).stdout,
    '0\n'
  )
})
