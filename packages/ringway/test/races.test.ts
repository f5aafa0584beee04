import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { until } from './support/gate-waiting.ts'
import { TRANSPORTS, World } from './support/race-world.ts'
import { chaos, ROUNDS, tunnel } from './support/race-rounds.ts'
import type { Round } from './support/race-rounds.ts'

/** How many connections each race has: `npm run test:races` takes 2,000. */
const COUNT = Number(process.env['RINGWAY_ROUNDS'] ?? 200)

/** So many at once. */
const AT_ONCE = 50

/** Set `SEED` to the one of a failure to get its rounds again; which of two things comes first is chance still. */
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function randomFrom(start: number): () => number {
  let state = start
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Does it so often, some at once; a failure starts no more. */
async function often(count: number, run: (number: number) => Promise<void>): Promise<void> {
  let next = 0
  const work = async (): Promise<void> => {
    while (next < count) {
      const number = next++
      await run(number).catch((error: unknown) => {
        next = count
        throw new Error(`round ${number}, SEED=${seed}: ${String(error)}`, { cause: error })
      })
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
}

/** Runs so many rounds and sees that the host is as it was then. */
async function race(world: World, round: Round, count: number): Promise<void> {
  await often(count, async number => round(world, randomFrom(seed + number)))
  await world.settled()
  for (const { socket } of world.ignoring.splice(0)) socket.destroy()
  await until(() => world.open.size === 0, 'all ends are closed here')
  assert.equal(world.strays, 0)
  await world.answers()
  await world.settled()
}

const skip = process.platform === 'linux' ? false : 'there is no /proc'

// Side by side: each has a process of its own, and waits for it much of its time.
void describe('races', { concurrency: TRANSPORTS.length, skip }, () => {
  for (const transport of TRANSPORTS) {
    test(`${transport.name}: a host without any handler lives, and nothing is left`, async t => {
      t.diagnostic(`SEED=${seed}`)
      const world = await World.start(t, transport)
      await race(world, chaos, AT_ONCE) // what Node opens once and keeps is open then
      for (const [title, round] of Object.entries(ROUNDS)) {
        await t.test(`${title}: ${COUNT} rounds`, async () => race(world, round, COUNT))
      }

      await t.test(`http-proxy-3 23: after chaos opened − closed = active = 0`, async () => {
        await race(world, chaos, Math.ceil(COUNT * 1.25))
      })

      await t.test(
        `nodejs/node 53536: with ${COUNT} tunnels open close() and server.close() end`,
        async () => {
          const all: Awaited<ReturnType<typeof tunnel>>[] = []
          await often(COUNT, async () => void all.push(await tunnel(world)))
          for (const { client, server } of all) {
            for (const peer of [client, server]) peer.socket.on('end', () => peer.socket.end())
          }
          for (const [i, { client, server }] of all.entries()) {
            if (i % 3 === 0) client.write('some')
            if (i % 5 === 0) server.reset()
          }
          await world.end()
          for (const { client, server } of all) await Promise.all([client.left(), server.left()])
        }
      )
    })
  }
})
