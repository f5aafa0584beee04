import assert from 'node:assert/strict'
import { on, once } from 'node:events'
import { WebSocket } from 'ws'

const USERS = ['ann', 'bob', 'cem', 'dia', 'eva', 'finn', 'gus', 'hana', 'ida', 'jon', 'kim', 'leo']

/**
 * The main job, step by step. Rejects at the first thing that isn't as it should be.
 *
 * @param {object} demo
 * @param {import('ringway').Gateway} demo.gateway
 * @param {import('./backends.js').Backend[]} demo.backends
 * @param {string} demo.ws
 * @param {string} demo.wss
 * @param {string} demo.ca - the certificate to trust
 */
export async function check({ gateway, backends, ws, wss, ca }) {
  /** @type {(users: string[], base: string) => Promise<Client[]>} */
  const connect = (users, base) => Promise.all(users.map(user => Client.connect(base, user, ca)))
  /** @type {(user: string) => string[]} */
  const orderOf = user => gateway.upstream.order(user).map(({ id }) => id)
  /** @type {(clients: Client[], choice: number) => void} */
  const assertOnChoice = (clients, choice) => {
    for (const { user, server } of clients) assert.equal(server, orderOf(user)[choice], `server of ${user}`)
  }

  console.log(`\n1. ${USERS.length} users connect to ${wss}; each is sent where the ring says`)
  const clients = await connect(USERS, wss)
  assertOnChoice(clients, 0)
  await Promise.all(clients.map(client => client.echo()))
  for (const { id } of backends) {
    const users = clients.filter(({ server }) => server === id).map(({ user }) => user)
    assert.ok(users.length > 0, `${id} has users`)
    console.log(`   ${id}  ${users.join(', ')}`)
  }

  console.log('2. They connect three times more, over ws and wss')
  for (const base of [ws, wss, ws]) {
    const again = await connect(USERS, base)
    assertOnChoice(again, 0)
    await Promise.all(again.map(client => client.leave()))
  }
  console.log('   each has the same server each time')

  const victim = backends.find(({ id }) => id === orderOf('ann')[0])
  assert.ok(victim)
  const theirs = clients.filter(({ server }) => server === victim.id)
  const others = clients.filter(({ server }) => server !== victim.id)
  console.log(`3. SIGKILL for ${victim.id} (process ${victim.pid}), the server of ann`)
  const down = moved(gateway, 'server:down', victim.id)
  const cut = Promise.all(theirs.map(({ socket }) => heard(socket, 'close')))
  await victim.kill()
  await cut
  console.log(`   its ${theirs.length} tunnels are cut`)

  console.log('4. Its users come back at once: each is sent to the second server of its order')
  const homeless = theirs.map(({ user }) => user)
  const guests = await connect(homeless, wss)
  assertOnChoice(guests, 1)
  await Promise.all(guests.map(client => client.echo()))
  for (const { user, server } of guests) console.log(`   ${user}: ${victim.id} → ${server}`)
  await down
  console.log(`   no handshake has failed, and the gateway knows that ${victim.id} is down`)

  console.log('5. Nobody else is disturbed')
  await Promise.all(others.map(client => client.echo()))
  console.log(`   all ${others.length} tunnels of the other servers are open, and echo`)

  console.log(`6. ${victim.id} is started again`)
  const up = moved(gateway, 'server:up', victim.id)
  await victim.start()
  const began = performance.now()
  await up
  console.log(`   its probes are good: back in use after ${Math.round(performance.now() - began)} ms`)

  console.log('7. Their next connections bring its users home; open tunnels stay where they are')
  const back = await connect(homeless, ws)
  assertOnChoice(back, 0)
  for (const { user, server } of back) console.log(`   ${user}: → ${server}`)
  await Promise.all([...others, ...guests, ...back].map(client => client.echo()))
  await Promise.all([...others, ...guests, ...back].map(client => client.leave()))
  console.log('\nAll as it should be.')
}

/** A user's open WebSocket, and the server that answered it. */
class Client {
  /** @param {string} user @param {WebSocket} socket @param {string} server */
  constructor(user, socket, server) {
    this.user = user
    this.socket = socket
    this.server = server
  }

  /** @param {string} base @param {string} user @param {string} ca */
  static async connect(base, user, ca) {
    const socket = new WebSocket(`${base}/chat?user=${user}`, { ca })
    const greeting = await heard(socket, 'message')
    socket.on('error', () => {}) // a cut is seen at its 'close'
    return new Client(user, socket, String(greeting))
  }

  async echo() {
    assert.equal(this.socket.readyState, WebSocket.OPEN, `the tunnel of ${this.user} must be open`)
    const answer = heard(this.socket, 'message')
    this.socket.send(`I am ${this.user}`)
    assert.equal(String(await answer), `I am ${this.user}`)
  }

  async leave() {
    const closed = heard(this.socket, 'close')
    this.socket.close()
    await closed
  }
}

/**
 * Waits until a move of one server is told: others may move at the same time, such as at their first good probe.
 *
 * @param {import('ringway').Gateway} gateway
 * @param {'server:up' | 'server:down'} event
 * @param {string} id
 */
async function moved(gateway, event, id) {
  const limit = AbortSignal.timeout(10_000)
  try {
    for await (const told of on(gateway, event, { signal: limit })) {
      const [server] = /** @type {{ id: string }[]} */ (told)
      if (server?.id === id) return
    }
  } catch (error) {
    throw limit.aborted ? new Error(`no '${event}' of ${id} within 10 seconds`) : error
  }
}

/**
 * What an event tells first. Rejects when it doesn't come within 10 seconds, or an error does.
 *
 * @param {import('node:events').EventEmitter} emitter
 * @param {string} event
 */
async function heard(emitter, event) {
  const limit = AbortSignal.timeout(10_000)
  const told = once(emitter, event, { signal: limit }).catch((/** @type {unknown} */ error) => {
    throw limit.aborted ? new Error(`no '${event}' within 10 seconds`) : error
  })
  return /** @type {unknown[]} */ (await told)[0]
}
