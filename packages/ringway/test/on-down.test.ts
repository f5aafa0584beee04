import assert from 'node:assert/strict'
import test from 'node:test'
import { connectAll, echoes, hasCode1012, moved, trio } from './support/gate-trio.ts'
import { until } from './support/gate-waiting.ts'

// https://github.com/cometd/cometd/issues/1063: clients of a server that hangs learn of it only by their own time limits.
const health = { type: 'http', path: '/healthz', interval: 50, timeout: 2_000, rise: 1, fall: 2 } as const

test("cometd 1063: with onDown: 'close' the clients of a server that hangs get Close 1012, over the spread", async t => {
  const spread = 400
  const { gate, ids, backends } = await trio(t, 81, {
    watch: true,
    upstream: { health, onDown: 'close', spread }
  })
  const clients = await connectAll(t, gate, 22, 300)
  const hung = ids[0]!
  const theirs = clients.filter(({ server }) => server === hung)
  const others = clients.filter(({ server }) => server !== hung)
  assert.ok(theirs.length >= 60, `${theirs.length}`)
  let ended = 0
  for (const { peer } of theirs) peer.socket.once('end', () => ended++)

  const down = moved(gate.gateway, 'server:down', hung)
  backends[0]!.process.kill('SIGSTOP')
  let endedBefore = -1
  let since = 0
  gate.gateway.once('server:down', () => {
    endedBefore = ended
    since = performance.now()
  })
  assert.equal(await down, 'probe')
  assert.equal(endedBefore, 0, 'nobody before it is known')
  await until(() => ended === theirs.length, 'all of its clients have their end')
  const took = performance.now() - since
  // The first is asked before the event is told, on a busy machine by some milliseconds.
  assert.ok(took >= spread * 0.75, `over the spread, not in ${took} ms`)
  theirs.forEach(hasCode1012)
  await Promise.all(others.map(echoes))

  const again = await connectAll(t, gate, 22, 300)
  assert.ok(again.every(({ server }) => server !== hung))
  const up = moved(gate.gateway, 'server:up', hung)
  backends[0]!.process.kill('SIGCONT')
  await up
  await Promise.all(others.map(echoes))
})

test("cometd 1063: with onDown: 'keep' no tunnel ends, and all go on when the server does", async t => {
  const { gate, ids, backends } = await trio(t, 82, {
    watch: true,
    upstream: { health, onDown: 'keep', spread: 0 }
  })
  const clients = await connectAll(t, gate, 23, 300)
  const hung = ids[0]!
  const down = moved(gate.gateway, 'server:down', hung)
  backends[0]!.process.kill('SIGSTOP')
  await down
  const up = moved(gate.gateway, 'server:up', hung)
  backends[0]!.process.kill('SIGCONT')
  await up
  assert.ok(clients.some(({ server }) => server === hung))
  await Promise.all(clients.map(echoes))
  assert.equal(gate.gateway.stats().tunnels.closed, 0)
})
