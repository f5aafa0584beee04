import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PassThrough } from 'node:stream'
import { canShare } from '../src/shared-read.ts'
import { digest, randomFrom, receive, send } from './support/bytes.ts'
import type { Kind } from './support/sockets.ts'
import { backendLeg, clientLeg, scene } from './support/sockets.ts'
import { noSocketLeft, still } from './support/waiting.ts'

test('this Node has what shared reads need, for sockets that were accepted and dialled', async t => {
  const legs = async (kind: Kind): Promise<boolean[]> =>
    [await clientLeg(t, kind), await backendLeg(t, kind)].map(({ ours }) => canShare(ours))
  assert.deepEqual(await legs('tcp'), [true, true])
  assert.deepEqual(await legs('unix'), [true, true])
  assert.deepEqual(await legs('tls'), [false, false])
  assert.equal(canShare(new PassThrough()), false)
})

for (const sharedReads of [true, false]) {
  const how = sharedReads ? 'shared reads' : 'streams'

  test(`24 tunnels with lazy readers at once, by ${how}: each byte arrives in its own tunnel`, async t => {
    const random = randomFrom(11)
    const one = async (): Promise<void> => {
      const peers = await scene(t, { sharedReads })
      const [up, down] = [randomBytes(1 << 21), randomBytes(1 << 21)]
      const [atBackend, atClient] = await Promise.all([
        receive(peers.backend, random() < 0.5),
        receive(peers.client, random() < 0.5),
        send(peers.client, up, random),
        send(peers.backend, down, random)
      ])
      assert.deepEqual(atBackend, digest(up))
      assert.deepEqual(atClient, digest(down))
      await peers.splice.ended
    }
    await Promise.all(Array.from({ length: 24 }, one))
    await noSocketLeft()
  })

  test(`a reader that stops, by ${how}: what the splice holds is bounded, and all of it arrives later`, async t => {
    const peers = await scene(t, { sharedReads, read: 0, send: 0 })
    const bytes = randomBytes(32 << 20)
    const sent = send(peers.client, bytes, randomFrom(12))
    await still(() => peers.splice.bytes)
    const { writableLength } = peers.ours.backend
    const held = writableLength + peers.ours.client.readableLength
    assert.ok(writableLength > 0 && held <= 256 << 10, `${held} bytes`)
    await sleep(50)
    // The other direction doesn't mind.
    peers.backend.write('meanwhile')
    peers.client.once('data', data => assert.equal(String(data), 'meanwhile'))
    assert.deepEqual(await receive(peers.backend), digest(bytes))
    await sent
    peers.backend.end()
    await peers.splice.ended
    await noSocketLeft()
  })
}
