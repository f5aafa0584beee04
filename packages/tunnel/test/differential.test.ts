import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { randomFrom } from './support/bytes.ts'
import { frameStream, sendPieces } from './support/frame-stream.ts'
import type { FrameStream } from './support/frame-stream.ts'
import type { Kind } from './support/sockets.ts'
import { scene } from './support/sockets.ts'
import { noSocketLeft, until } from './support/waiting.ts'

const MIB = 1 << 20

/** Set `SEED` to the one of a failure to get its frames again. */
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))

const LEGS: [client: Kind, backend: Kind, sharedReads: boolean][] = [
  ['tcp', 'tcp', true],
  ['tcp', 'tcp', false],
  ['tls', 'tcp', true],
  ['tcp', 'tls', true],
  ['unix', 'unix', true]
]

/** Compares what comes with what was sent, byte by byte, and keeps what comes behind. */
class Comparison {
  behind = Buffer.alloc(0)
  at = 0
  ended = false

  constructor(socket: Socket, sent: Buffer, told: string) {
    socket.on('end', () => {
      this.ended = true
    })
    socket.on('data', (chunk: Buffer) => {
      const part = chunk.subarray(0, Math.max(0, sent.length - this.at))
      const isSame = part.equals(sent.subarray(this.at, this.at + part.length))
      if (!isSame) socket.destroy(new Error(`other bytes came than were sent after ${this.at}, ${told}`))
      this.at += part.length
      if (part.length < chunk.length) this.behind = Buffer.concat([this.behind, chunk.subarray(part.length)])
    })
  }
}

/** The payload of the only frame in these bytes, which must be a Close. */
function closePayload(bytes: Buffer, isMasked: boolean, told: string): string {
  assert.equal(bytes[0], 0x88, told)
  const length = bytes[1]! & 0x7f
  assert.equal(bytes[1], length | (isMasked ? 0x80 : 0), told)
  assert.equal(bytes.length, length + (isMasked ? 6 : 2), told)
  if (!isMasked) return bytes.toString('latin1', 2)
  const key = bytes.subarray(2, 6)
  return Buffer.from(bytes.subarray(6).map((byte, i) => byte ^ key[i % 4]!)).toString('latin1')
}

const GOODBYE = '\u0003\u00f4goodbye' // 1012

for (const [index, [client, backend, sharedReads]] of LEGS.entries()) {
  const legs = `${client} to ${backend}${sharedReads ? '' : ', by streams'}`

  for (const watch of [false, true]) {
    test(`${legs}, ${watch ? 'watched' : 'unwatched'}: frames of any kind up to 64 MiB arrive byte for byte, both ways`, async t => {
      const random = randomFrom(seed + index)
      const told = `SEED=${seed}`
      t.diagnostic(told)
      const up = frameStream(random, true, 64 * MIB).bytes
      const down = frameStream(random, false, 8 * MIB).bytes
      const peers = await scene(t, { client, backend, watch, sharedReads })
      for (const side of [peers.client, peers.backend]) side.setNoDelay(true)
      const atBackend = new Comparison(peers.backend, up, told)
      const atClient = new Comparison(peers.client, down, told)
      await Promise.all([
        sendPieces(peers.client, up, randomFrom(seed + 1)),
        sendPieces(peers.backend, down, randomFrom(seed + 2))
      ])
      await until(() => atBackend.at === up.length && atClient.at === down.length, `all is there, ${told}`)
      // That it has followed each frame is seen by its Close, which it puts nowhere else than at a border.
      if (watch) peers.splice.close(1012, 'goodbye')
      for (const side of [peers.client, peers.backend]) side.end()
      await until(() => atBackend.ended && atClient.ended, `both FINs are there, ${told}`)
      assert.equal((await peers.splice.ended).how, watch ? 'closed' : 'fin')
      if (watch) {
        assert.equal(closePayload(atBackend.behind, true, told), GOODBYE, told)
        assert.equal(closePayload(atClient.behind, false, told), GOODBYE, told)
      } else assert.equal(atBackend.behind.length + atClient.behind.length, 0, told)
      await noSocketLeft()
    })
  }

  test(`${legs}: a close at any moment comes behind whole frames, on both sides`, async t => {
    const random = randomFrom(seed + index)
    const told = `SEED=${seed}`
    t.diagnostic(told)
    for (let round = 0; round < 10; round++) {
      const up = frameStream(random, true, MIB)
      const down = frameStream(random, false, MIB)
      const peers = await scene(t, { client, backend, watch: true, sharedReads })
      const sides = [
        [peers.client, up],
        [peers.backend, down]
      ] as const
      const seen = Promise.all([collect(peers.backend), collect(peers.client)])
      const moment = random() * (up.bytes.length + down.bytes.length) * 0.9
      const sending = Promise.all(
        sides.map(async ([side, { bytes }]) => sendPieces(side.setNoDelay(true), bytes, random))
      )
      await until(() => peers.splice.bytes >= moment, `so much has passed, ${told}`)
      peers.splice.close(1012, 'goodbye')
      await sending
      for (const [side] of sides) side.end()
      assert.equal((await peers.splice.ended).how, 'closed')
      for (const [i, [, sent]] of sides.entries()) {
        assertCut((await seen)[i]!, sent, i === 0, `round ${round}, ${told}`)
      }
    }
    await noSocketLeft()
  })
}

async function collect(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(socket, 'end')
  return Buffer.concat(chunks)
}

/** What came is what was sent, up to a border, and a Close. */
function assertCut(received: Buffer, sent: FrameStream, isMasked: boolean, told: string): void {
  const border = received.length - GOODBYE.length - (isMasked ? 6 : 2)
  assert.ok(sent.borders.has(border), `${border} is where a frame ends, ${told}`)
  assert.ok(received.subarray(0, border).equals(sent.bytes.subarray(0, border)), told)
  assert.equal(closePayload(received.subarray(border), isMasked, told), GOODBYE, told)
}
