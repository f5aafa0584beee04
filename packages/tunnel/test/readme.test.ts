import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { WebSocket, WebSocketServer } from 'ws'

test("the README's example runs", async t => {
  const backend = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  t.after(() => backend.close())
  await once(backend, 'listening')
  backend.on('connection', socket =>
    socket.on('message', (data: Buffer) => socket.send(`echo ${data.toString()}`))
  )

  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const example = /```js\n(.*?)```/s
    .exec(readme)![1]!
    .replace('9000', String((backend.address() as AddressInfo).port))
    .replace('listen(8080)', "listen(0, '127.0.0.1', () => console.log(server.address().port))")
  const folder = fileURLToPath(new URL('../..', import.meta.url))
  const child = spawn(process.execPath, ['--input-type=module', '--eval', example], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.after(() => child.kill())
  const [port] = (await once(child.stdout, 'data')) as [Buffer]

  const client = new WebSocket(`ws://127.0.0.1:${String(port).trim()}`)
  await once(client, 'open')
  client.send('hello')
  const [echo] = (await once(client, 'message')) as [Buffer]
  assert.equal(echo.toString(), 'echo hello')
  client.close()
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  assert.match(line.toString(), /^ended by (client|backend): fin; \d+ bytes up, \d+ down/)
})

test("the README's PROXY headers are those that it shows", () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const [, example, output] = /## The PROXY protocol.*?```js\n(.*?)```\n\n```text\n(.*?)```/s.exec(readme)!
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', example!], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    encoding: 'utf8'
  })
  assert.equal(stdout, output)
})
