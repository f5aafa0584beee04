import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import test from 'node:test'
import type { TestContext } from 'node:test'
import type { Backend } from './support/gate-backend.ts'
import { accept, backend } from './support/gate-backend.ts'
import type { Child } from './support/gate-child.ts'
import { child } from './support/gate-child.ts'
import type { HostOptions, HostReport } from './support/gate-child-host.ts'
import { ask, dial, handshake } from './support/gate-peer.ts'
import type { Peer } from './support/gate-peer.ts'
import { until } from './support/gate-waiting.ts'

const ROUNDS = 200
const FLOOD = Buffer.alloc(256 * 1024, 'flood')

/** A pair of ends, the gateway between them. */
interface Ends {
  readonly client: Peer
  readonly server: Peer
}

/** When one of the ends resets: each brings a fresh client up to that moment. */
const MOMENTS: Record<string, (t: TestContext, gate: Gate) => Promise<Ends>> = {
  'before the 101': async (t, gate) => {
    const client = await dial(t, gate.port, gate)
    const server = await gate.next(() => client.write(handshake()))
    await server.head()
    return { client, server }
  },
  'after the 101': async (t, gate) => {
    const client = await dial(t, gate.port, gate)
    const server = await gate.next(() => client.write(handshake()))
    await accept(server)
    assert.equal((await client.head()).status, 101)
    return { client, server }
  },
  'during a flood both ways': async (t, gate) => {
    const client = await dial(t, gate.port, gate)
    const server = await gate.next(() => client.write(handshake()))
    await accept(server)
    assert.equal((await client.head()).status, 101)
    for (let i = 0; i < 4; i++) {
      client.write(FLOOD)
      server.write(FLOOD)
    }
    await Promise.all([client.take(1_000), server.take(1_000)])
    return { client, server }
  }
}

class Gate {
  readonly child: Child<number>
  readonly tls: boolean
  readonly #backend: Backend

  constructor(gate: Child<number>, behind: Backend, tls: boolean) {
    this.child = gate
    this.#backend = behind
    this.tls = tls
  }

  get port(): number {
    return this.child.message
  }

  /** The backend's end of the connection that comes of an action. */
  async next(action: () => void): Promise<Peer> {
    const connection = once(this.#backend.server, 'connection')
    action()
    await connection
    return this.#backend.peers.pop()!
  }

  /** Open descriptors of the host's process. */
  get descriptors(): number {
    return readdirSync(`/proc/${this.child.process.pid}/fd`).length
  }

  async report(): Promise<HostReport> {
    const answer = once(this.child.process, 'message')
    this.child.process.send('report')
    return ((await answer) as [HostReport])[0]
  }

  /** Its report once no tunnel and no lease is left. */
  async settled(): Promise<HostReport> {
    const deadline = performance.now() + 20_000
    for (;;) {
      const report = await this.report()
      if (report.active + report.leases === 0) return report
      assert.ok(performance.now() < deadline, `still there: ${JSON.stringify(report)}`)
    }
  }
}

async function start(t: TestContext, tls: boolean): Promise<Gate> {
  const behind = await backend(t, () => {})
  const gateway: HostOptions['gateway'] = {
    upstream: { servers: [behind.address] },
    timeouts: { linger: 500 }
  }
  return new Gate(await child<number>(t, 'gate-child-host.js', JSON.stringify({ tls, gateway })), behind, tls)
}

/** A plain request, on a connection that is closed after it. */
async function answers(t: TestContext, gate: Gate): Promise<void> {
  const text = 'GET / HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n'
  const { peer, head } = await ask(t, gate.port, text, gate)
  assert.equal(head.status, 200)
  peer.socket.end()
  await peer.gone()
}

const noProc = process.platform === 'linux' ? false : 'there is no /proc'

for (const tls of [false, true]) {
  for (const [when, meet] of Object.entries(MOMENTS)) {
    for (const side of ['client', 'server'] as const) {
      const title = `${ROUNDS} resets by a ${side} ${when}, ${tls ? 'TLS' : 'plain TCP'} in front`

      test(`${title}: the host lives, and nothing is left`, { skip: noProc }, async t => {
        const gate = await start(t, tls)
        await answers(t, gate)
        let before = 0
        for (let round = 0; round < ROUNDS; round++) {
          const ends = await meet(t, gate)
          const other = side === 'client' ? ends.server : ends.client
          ends[side].reset()
          // A server that resets before the 101 has failed: the client gets an answer of ours.
          await other.left()
          other.socket.destroy()
          ends[side].socket.destroy()
          await other.gone()
          if (round === 0) {
            await gate.settled()
            before = gate.descriptors
          }
        }
        assert.equal(gate.child.process.exitCode, null)
        await until(() => gate.descriptors <= before, `its descriptors are ${before} again`)
        const { opened, closed } = await gate.settled()
        assert.equal(opened, closed)
        assert.equal(opened, when === 'before the 101' ? 0 : ROUNDS)
        await answers(t, gate)
      })
    }
  }
}

test('both ends reset at the same moment, 200 times', { skip: noProc }, async t => {
  const gate = await start(t, false)
  for (let round = 0; round < ROUNDS; round++) {
    const { client, server } = await MOMENTS[round % 2 === 0 ? 'after the 101' : 'before the 101']!(t, gate)
    client.reset()
    server.reset()
  }
  await answers(t, gate)
  assert.equal((await gate.settled()).opened, ROUNDS / 2)
})

test('a client that resets half a handshake, 200 times', { skip: noProc }, async t => {
  const gate = await start(t, false)
  const text = handshake()
  for (let round = 0; round < ROUNDS; round++) {
    const client = await dial(t, gate.port)
    await new Promise<void>(resolve =>
      client.socket.write(text.slice(0, 1 + (round % text.length)), () => resolve())
    )
    client.reset()
  }
  await answers(t, gate)
  assert.equal(gate.child.process.exitCode, null)
})
