import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { clearInterval, setInterval } from 'node:timers'
import { randomFrom } from './support/bytes.ts'
import type { Scene } from './support/sockets.ts'
import { closed, flood, rst, scene, sharedReads } from './support/sockets.ts'
import { noSocketLeft, still, until } from './support/waiting.ts'

/** No limit ever: what ends here, ends by the reset alone. */
const OFF = { read: 0, send: 0, linger: 0, sharedReads }
const CHUNK = randomBytes(65_536)

const SIDES = [
  ['client', 'backend'],
  ['backend', 'client']
] as const

/** What a socket sees as its end: the error's code, or `close`. */
async function endOf(socket: Socket): Promise<string> {
  return new Promise(resolve => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code!))
    socket.once('close', () => resolve('close'))
  })
}

for (const [first, second] of SIDES) {
  test(`a reset by an idle ${first} reaches the ${second} as one`, async t => {
    const peers = await scene(t, OFF)
    peers[second].resume()
    const seen = endOf(peers[second])
    rst(peers[first])
    assert.match(await seen, /ECONNRESET|EPIPE/)
    const { by, how } = await peers.splice.ended
    assert.deepEqual({ by, how }, { by: first, how: 'reset' })
    await noSocketLeft()
  })

  test(`a reset by the ${first} in a flood reaches the ${second} as one, mostly`, async t => {
    let resets = 0
    for (let round = 0; round < 10; round++) {
      // A reset right behind data may come to us as a plain end: then it is one for the other too.
      const peers = await scene(t, { ...OFF, linger: 50 })
      for (const side of [peers.client, peers.backend]) flood(side.resume())
      await until(() => peers.splice.bytes > 2_000_000, 'the flood is there')
      const seen = endOf(peers[second])
      rst(peers[first])
      if (/ECONNRESET|EPIPE/.test(await seen)) resets += 1
      peers[second].destroy()
      await peers.splice.ended
    }
    assert.ok(resets >= 5, `only ${resets} of 10 were seen as resets`)
    await noSocketLeft()
  })

  test(`a ${first} that has stopped reading and resets: both are gone, without any limit`, async t => {
    const peers = await scene(t, OFF)
    flood(peers[second])
    await still(() => peers.splice.bytes)
    peers[second].resume()
    const seen = endOf(peers[second])
    rst(peers[first])
    assert.match(await seen, /ECONNRESET|EPIPE/)
    assert.equal((await peers.splice.ended).how, 'reset')
    await noSocketLeft()
  })

  test(`a reset by the ${first} with bytes stuck in the ${second}'s way: both are gone, without any limit`, async t => {
    const peers = await scene(t, OFF)
    await stick(peers, first, second)
    rst(peers[first])
    const { by, how } = await peers.splice.ended
    assert.deepEqual({ by, how }, { by: first, how: 'reset' })
    peers[second].destroy()
    await noSocketLeft()
  })

  test(`a flood by the ${first} against a stopped ${second}, then a reset: both are gone within send`, async t => {
    // A source that isn't read tells nothing of its reset: the limit is what ends this.
    const peers = await scene(t, { ...OFF, send: 300 })
    flood(peers[first])
    await still(() => peers.splice.bytes)
    rst(peers[first])
    await peers.splice.ended
    peers[second].destroy()
    await noSocketLeft()
  })
}

/** Sends small pieces until some stay with us that `second` doesn't take, but too few to stop reading `first`. */
async function stick(peers: Scene, first: 'client' | 'backend', second: 'client' | 'backend'): Promise<void> {
  const piece = CHUNK.subarray(0, 8192)
  for (let sent = piece.length; peers.ours[second].writableLength === 0; sent += piece.length) {
    peers[first].write(piece)
    await until(() => peers.splice.bytes === sent, 'the piece is through')
  }
  assert.equal(peers.ours[first].isPaused(), false)
}

test('TLS: a reset by either side ends both', async t => {
  for (const [first, second] of SIDES) {
    const peers = await scene(t, { ...OFF, client: 'tls', backend: 'tls' })
    peers[second].resume()
    const gone = closed(peers[second])
    peers[second].on('end', () => peers[second].end())
    peers.ours[first].destroy(new Error('as if by the network'))
    assert.equal((await peers.splice.ended).how, 'reset')
    await gone
    peers[first].destroy()
    await noSocketLeft()
  }
})

test('Unix sockets: an end that is not clean ends both', async t => {
  const peers = await scene(t, { ...OFF, client: 'unix', backend: 'unix' })
  flood(peers.backend)
  await still(() => peers.splice.bytes)
  peers.client.destroy()
  await peers.splice.ended
  assert.equal(peers.ours.backend.destroyed, true)
})

test('a FIN and a reset right behind it, by either side, leave nothing', async t => {
  for (const [first, second] of SIDES) {
    for (let round = 0; round < 30; round++) {
      const peers = await scene(t, { ...OFF, linger: 50 })
      peers[second].resume().on('end', () => {
        if (round % 2 === 0) peers[second].write('x')
        rst(peers[second])
      })
      peers[first].end('x'.repeat(round * 1_000))
      await peers.splice.ended
      peers[first].destroy()
    }
    await noSocketLeft()
  }
})

test('200 resets at random moments leave nothing', async t => {
  const random = randomFrom(7)
  for (let round = 0; round < 200; round += 20) {
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const peers = await scene(t, { ...OFF, linger: 50, send: 50 })
        const sides = [peers.client, peers.backend]
        for (const side of sides) {
          if (random() < 0.8) side.resume()
          if (random() < 0.4) flood(side)
        }
        let turns = random() * 15
        await new Promise<void>(resolve => {
          const timer = setInterval(() => {
            if (turns-- > 0) return
            clearInterval(timer)
            for (const side of sides) if (random() < 0.6) rst(side)
            rst(sides[Math.floor(random() * 2)]!)
            resolve()
          }, 1)
        })
        await peers.splice.ended
        for (const side of sides) side.destroy()
      })
    )
  }
  await noSocketLeft()
})
