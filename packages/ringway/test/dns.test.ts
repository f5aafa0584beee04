import assert from 'node:assert/strict'
import test from 'node:test'
import { fromDns } from '@ringway/balancer'
import { ketama } from '@ringway/core'
import { child } from './support/gate-child.ts'
import { host } from './support/gate-host.ts'
import { dnsmasq } from './support/gate-of-balancer.ts'
import type { Client } from './support/gate-trio.ts'
import { addressOf, connect, echoes } from './support/gate-trio.ts'
import { until } from './support/gate-waiting.ts'

const lack = dnsmasq.missing()
// Where everything must be tested, nothing is skipped.
const skip = process.env['CI'] === undefined && lack !== undefined ? lack : false

const ADDRESSES = [1, 2, 3, 4, 5].map(i => `127.90.0.${i}`)
/** Below the ports that the system gives away, as all of them have it. */
const PORT = 20_080

/** Where each client belongs, by a ring of our own. */
function homes(addresses: readonly string[]): (client: Client) => string {
  const members = addresses.map(each => ({ id: `${each}:${PORT}`, weight: 1 }))
  const table = ketama().build(members)
  return ({ address }) =>
    table
      .pick(
        address,
        () => true,
        () => 0
      )!
      .id.split(':')[0]!
}

/** Lines of a hosts file. */
function records(addresses: readonly string[]): string[] {
  return addresses.map(each => `${each} ws.test`)
}

test(
  'a zone goes from 3 to 5 to 2 servers under 500 tunnels, and its DNS server is killed for a while',
  { skip },
  async t => {
    assert.equal(lack, undefined, lack)
    await Promise.all(ADDRESSES.map(async each => child(t, 'gate-child-backend.js', each, String(PORT))))
    const three = ADDRESSES.slice(0, 3)
    const zone = await dnsmasq.Dnsmasq.start(t, [], records(three))

    let failures = 0
    const source = fromDns({
      host: 'ws.test',
      port: PORT,
      family: 4,
      resolvers: [zone.resolver],
      minTtl: 10,
      maxTtl: 20,
      timeout: 1_000,
      onError: () => failures++
    })
    const watching = new AbortController()
    t.after(() => watching.abort())
    const gate = await host(
      t,
      three.map(each => `${each}:${PORT}`),
      { timeouts: { linger: 100 } }
    )
    const { gateway } = gate
    const following = (async () => {
      for await (const servers of source.watch(watching.signal)) {
        void gateway.setServers(servers, { spread: 200, deadline: 60_000 })
      }
    })()

    /** Each client comes again, beside its tunnel; gives who came to another server than before. */
    let clients: Client[] = []
    const comeAgain = async (addresses: readonly string[]): Promise<Client[]> => {
      const homeOf = homes(addresses)
      const came = await Promise.all(clients.map(async ({ address }) => connect(t, gate, address)))
      for (const client of came) assert.equal(client.server, homeOf(client))
      const moves = came.filter(({ server }, i) => server !== clients[i]!.server)
      const expected = clients.filter(client => client.server !== homeOf(client))
      assert.equal(moves.length, expected.length, 'the moved share is that of the ring')
      // Of two tunnels that a client has now, the older one goes.
      for (const { peer } of clients) peer.socket.destroy()
      clients = came
      return moves
    }

    const homeOf = homes(three)
    clients = await Promise.all(
      Array.from({ length: 500 }, async (_, i) => connect(t, gate, addressOf(50, i)))
    )
    for (const client of clients) assert.equal(client.server, homeOf(client))

    await zone.reload(records(ADDRESSES))
    await until(() => gateway.upstream.servers.length === 5, 'five are there')
    await Promise.all(clients.map(echoes))
    const moves = await comeAgain(ADDRESSES)
    assert.ok(moves.length > 100 && moves.every(({ server }) => !three.includes(server)))

    await zone.stop()
    const before = failures
    await until(() => failures >= before + 3, 'nobody answers')
    await Promise.all(clients.map(echoes))
    assert.deepEqual(await comeAgain(ADDRESSES), [], 'nobody moved')
    assert.equal(gateway.upstream.servers.length, 5)

    const two = [ADDRESSES[1]!, ADDRESSES[3]!]
    await zone.reload(records(two))
    await zone.start([])
    await until(() => gateway.upstream.servers.length === 2, 'two are left, and nothing of the others')
    const staying = clients.filter(({ server }) => two.includes(server))
    assert.ok(staying.length > 100 && staying.length < 400)
    await Promise.all(staying.map(echoes))
    const gone = clients.filter(({ server }) => !two.includes(server))
    await Promise.all(gone.map(async ({ peer }) => peer.left()))
    const homeless = await comeAgain(two)
    assert.equal(homeless.length, gone.length, 'nobody else moved')
    await Promise.all(clients.map(echoes))

    watching.abort()
    await following
  }
)
