import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import type { TestContext } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { backend, echo } from './support/gate-backend.ts'
import { child } from './support/gate-child.ts'
import type { Known, Left, Outside } from './support/gate-child-everything.ts'
import { dial, handshake } from './support/gate-peer.ts'
import type { Peer } from './support/gate-peer.ts'
import { until, within } from './support/gate-waiting.ts'

/** What the gateways meet outside of their process, and how much of it they have met. */
async function outside(t: TestContext): Promise<{ there: Outside; met: () => string }> {
  const { port: good } = await echo(t)
  const silent = await backend(t, () => {})
  let queries = 0
  const resolver = createSocket('udp4', () => queries++)
  resolver.bind(0, '127.0.0.1')
  await once(resolver, 'listening')
  t.after(() => resolver.close())
  const folder = await mkdtemp(join(tmpdir(), 'ringway-left-behind-'))
  t.after(async () => rm(folder, { recursive: true }))
  const file = join(folder, 'servers.json')
  await writeFile(
    file,
    JSON.stringify([`127.0.0.1:${good}`, { id: 'listed', host: '127.0.0.1', port: good }])
  )
  return {
    there: { good, silent: silent.port, resolver: `127.0.0.1:${resolver.address().port}`, file },
    met: () => `${silent.peers.length} connections, ${queries} queries`
  }
}

/** Waits until the process knows this of itself. */
async function knows(process: ChildProcess, wanted: Known): Promise<void> {
  let known: Known = {}
  const asks = async (): Promise<void> => {
    while (!isDeepStrictEqual(known, wanted)) {
      const told = once(process, 'message')
      process.send('what do you know?')
      ;[known] = (await told) as [Known]
    }
  }
  await within(asks(), 'all to be under way').catch(() => assert.deepEqual(known, wanted))
}

async function dialAll(t: TestContext, port: number, path: string, count: number): Promise<Peer[]> {
  const from = Array.from({ length: count }, (_, i) => `127.57.0.${i + 1}`)
  return Promise.all(
    from.map(async address => {
      const peer = await dial(t, port, { from: address })
      peer.write(handshake(path))
      return peer
    })
  )
}

// Probes, names, marks, ejections, a queue, recalls, handshakes, requests, tunnels, watches: each of them could hold a
// process for a minute.
test(
  'a process that closes its gateways with everything under way ends by itself',
  { timeout: 60_000 },
  async t => {
    const { there, met } = await outside(t)
    const { process, message: port } = await child<number>(
      t,
      'gate-child-everything.js',
      JSON.stringify(there)
    )
    for (const path of ['/http', '/tcp', '/websocket', '/marked', '/ejected']) {
      for (const peer of await dialAll(t, port, path, 10)) assert.equal((await peer.head()).status, 101)
    }
    const queued = await dialAll(t, port, '/queued', 3)
    const asking = await dialAll(t, port, '/asked', 2)
    const request = await dial(t, port)
    request.write('GET /request HTTP/1.1\r\nHost: gate.test\r\n\r\n')
    // Six probes, a handshake and a request.
    await until(() => met() === '8 connections, 1 queries', 'all of it was met')
    process.send('drain')
    await knows(process, {
      '/http': '10 tunnels, 0 handshakes, 0 waiting: well starting, going draining',
      '/tcp': '10 tunnels, 0 handshakes, 0 waiting: well up, going draining',
      '/websocket': '10 tunnels, 0 handshakes, 0 waiting: well starting, going draining',
      '/marked': '10 tunnels, 0 handshakes, 0 waiting: dead down, well up',
      '/ejected': '10 tunnels, 0 handshakes, 0 waiting: dead down, well up',
      '/queued': '0 tunnels, 1 handshakes, 2 waiting: hangs up',
      '/request': '0 tunnels, 1 handshakes, 0 waiting: hangs up',
      '/listed': `0 tunnels, 0 handshakes, 0 waiting: 127.0.0.1:${there.good} up, listed up`
    })

    const exit = once(process, 'exit')
    const told = once(process, 'message')
    process.send('close')
    for (const peer of [...queued, request]) assert.equal((await peer.head()).status, 503)
    // Whoever waited for a look-up for 5 s, as on a busy machine, was told so before.
    for (const peer of asking) assert.match((await peer.head()).first, / 50[23] /)
    const [left] = (await within(told, 'what is left')) as [Left]
    assert.deepEqual(left, { timers: [], sockets: [], resources: [] })
    assert.deepEqual(await within(exit, 'its exit'), [0, null])
  }
)
