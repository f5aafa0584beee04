import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { receive } from './support/bytes.ts'
import type { Received } from './support/bytes.ts'
import type { Kind } from './support/sockets.ts'
import { backend, flood, scene, sharedReads } from './support/sockets.ts'
import type { Holding } from './support/stalled-child.ts'
import { still } from './support/waiting.ts'

const OFF = { read: 0, send: 0, linger: 0, sharedReads }
const MB = 1_000_000
const KIB = 1024
const MIB = 1024 * KIB

/** Writes so many megabytes as they are taken, counting them, and then a FIN. */
async function push(socket: Socket, megabytes: number, pushed: { bytes: number }): Promise<Received> {
  const hash = createHash('sha256')
  const chunk = randomBytes(MB)
  for (let i = 0; i < megabytes; i++) {
    chunk.writeUInt32BE(i)
    hash.update(chunk)
    // What waits in the stream is looked at when it is sent: no two of them may share their bytes.
    const isTaken = socket.write(Buffer.from(chunk))
    pushed.bytes += MB
    if (!isTaken) await once(socket, 'drain')
  }
  socket.end()
  return { bytes: megabytes * MB, sha256: hash.digest('hex') }
}

for (const [first, second, kinds, megabytes, pause] of [
  ['client', 'backend', ['tcp', 'tcp'], 300, 10_000],
  ['backend', 'client', ['tcp', 'tcp'], 300, 0],
  ['client', 'backend', ['tls', 'tcp'], 100, 0],
  ['backend', 'client', ['tcp', 'tls'], 100, 0],
  ['client', 'backend', ['tcp', 'tls'], 100, 0],
  ['backend', 'client', ['unix', 'unix'], 100, 0]
] as ['client' | 'backend', 'client' | 'backend', [Kind, Kind], number, number][]) {
  const time = pause > 0 ? ` for ${pause / 1000} s` : ''
  const title = `${kinds.join(' to ')}: a ${second} stops reading${time} while ${megabytes} MB are pushed at it`
  test(`${title}: we hold at most 256 KiB, and all of it arrives`, async t => {
    const peers = await scene(t, { ...OFF, client: kinds[0], backend: kinds[1] })
    const pushed = { bytes: 0 }
    const sent = push(peers[first], megabytes, pushed)
    let most = 0
    const watch = (): number => {
      most = Math.max(most, peers.splice.held)
      return peers.splice.bytes
    }
    await still(watch)
    await setTimeout(pause)
    watch()
    assert.ok(pushed.bytes < (megabytes * MB) / 2, `the sender was not stopped: ${pushed.bytes} bytes`)
    assert.ok(most > 0)
    peers.ours[second].on('drain', watch)
    peers[second].end()
    const received = await receive(peers[second])
    assert.deepEqual(received, await sent)
    assert.ok(most <= 256 * KIB, `${most} bytes were held`)
    peers[first].resume()
    assert.equal((await peers.splice.ended).how, 'fin')
    assert.equal(peers.splice.held, 0)
  })
}

for (const shared of [true, false]) {
  const title = `100 stalled tunnels add at most 30 MiB to a process${shared ? '' : ', by streams'}`
  test(title, { skip: process.platform !== 'linux' && 'what is resident means less elsewhere' }, async t => {
    const behind: Socket[] = []
    const { port } = await backend(t, socket => behind.push(socket.pause()))
    const child = fork(
      fileURLToPath(new URL('support/stalled-child.js', import.meta.url)),
      [String(port), String(shared)],
      { execArgv: ['--expose-gc'], stdio: ['ignore', 1, 2, 'ipc'] }
    )
    t.after(() => child.kill('SIGKILL'))
    const [front] = (await once(child, 'message')) as [number]
    const ask = async (): Promise<Holding> => {
      const answer = once(child, 'message') as Promise<[Holding]>
      child.send('how much')
      return (await answer)[0]
    }
    /** Waits until nothing of what the child tells has changed for a while. */
    const settled = async (isDone: (holding: Holding) => boolean): Promise<Holding> => {
      let last = await ask()
      for (let same = 0; same < 10;) {
        await setTimeout(50)
        const next = await ask()
        same = next.bytes === last.bytes && next.most === last.most && isDone(next) ? same + 1 : 0
        last = next
      }
      return last
    }

    const clients = Array.from({ length: 100 }, () => connect(front, '127.0.0.1').on('error', () => {}))
    t.after(() => {
      for (const client of clients) client.destroy()
    })
    // What a busy process has anyway: its code compiled, its buffers made.
    const warm = randomBytes(MIB)
    for (const client of clients) client.write(warm)
    await settled(({ tunnels }) => tunnels === 100)
    for (const socket of behind) socket.resume()
    const before = await settled(({ bytes, most }) => bytes === 100 * MIB && most === 0)

    for (const socket of behind) socket.pause()
    for (const client of clients) flood(client)
    const stalled = await settled(({ bytes, most }) => bytes > before.bytes && most > 0)
    for (const client of clients) assert.ok(client.writableLength > 0, 'each sender is stopped')
    assert.ok(stalled.most <= 256 * KIB, `${stalled.most} bytes`)
    const added = (stalled.rss - before.rss) / MIB
    assert.ok(added <= 30, `${added} MiB`)
    t.diagnostic(`${added.toFixed(1)} MiB`)
  })
}
