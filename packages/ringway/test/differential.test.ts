import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import test from 'node:test'
import { WebSocket } from 'ws'
import { webSocketServer } from './support/gate-backend.ts'
import { host, settled } from './support/gate-host.ts'
import { missing, pythonClient } from './support/python.ts'

// Where everything must be tested, nothing is skipped.
if (missing !== undefined && process.env['CI']) throw new Error(missing)

/** Set `SEED` to the one of a failure to get its messages again. */
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))

const MIB = 1 << 20
const EDGES = [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 64 * MIB]

const COMPRESSED = { threshold: 0, zlibDeflateOptions: { level: 1 } }

interface Message {
  readonly bytes: Buffer
  readonly isBinary: boolean
}

/** Messages of all sizes in any order, half of them text. */
function messages(random: () => number): Message[] {
  const sizes = [...EDGES, ...Array.from({ length: 100 }, () => Math.floor(random() ** 6 * MIB))]
  return sizes
    .map(size => ({ size, place: random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ size }) => {
      // A piece again and again: chance itself can't be compressed, and takes long.
      const piece = Buffer.from(
        Array.from({ length: 1 + Math.floor(random() * 5_000) }, () => random() * 128)
      )
      return { bytes: Buffer.alloc(size, piece), isBinary: random() < 0.5 }
    })
}

/** Sends all of them, whole or in fragments, with pings between. */
async function send(socket: WebSocket, all: readonly Message[], random: () => number): Promise<void> {
  for (const { bytes, isBinary } of all) {
    const options = { binary: isBinary, compress: random() < 0.8 }
    const cuts = Array.from({ length: random() < 0.5 ? 0 : Math.floor(random() * 5) }, () => random())
    let from = 0
    for (const cut of cuts.sort((a, b) => a - b)) {
      const to = Math.floor(cut * bytes.length)
      socket.send(bytes.subarray(from, to), { ...options, fin: false })
      if (random() < 0.3) socket.ping(randomBytes(Math.floor(random() * 126)))
      from = to
    }
    await new Promise<void>((resolve, reject) => {
      socket.send(bytes.subarray(from), options, error => (error ? reject(error) : resolve()))
    })
  }
}

async function compare(socket: WebSocket, sent: readonly Message[], told: string): Promise<void> {
  let next = 0
  await new Promise<void>((resolve, reject) => {
    socket.on('message', (data, isBinary) => {
      const { bytes, isBinary: wasBinary } = sent[next++]!
      if (isBinary !== wasBinary || !bytes.equals(data as Buffer))
        reject(new Error(`message ${next - 1} of ${bytes.length} came as another, ${told}`))
      else if (next === sent.length) resolve()
    })
    socket.on('close', code => reject(new Error(`closed with ${code} after ${next} messages, ${told}`)))
  })
}

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

for (const { tls, watch } of [
  { tls: false, watch: false },
  { tls: false, watch: true },
  { tls: true, watch: true }
]) {
  const how = `${tls ? 'TLS in front' : 'plain TCP'}, ${watch ? 'watched' : 'unwatched'}`

  test(`ws to ws, compressed, ${how}: random messages up to 64 MiB pass both ways as they were`, async t => {
    const told = `SEED=${seed}`
    t.diagnostic(told)
    const { port, webSockets } = await webSocketServer(t, 'a', { perMessageDeflate: COMPRESSED })
    const gate = await host(t, [`127.0.0.1:${port}`], { watch }, { tls })
    const joined = once(webSockets, 'connection') as Promise<[WebSocket]>
    const client = new WebSocket(`${tls ? 'wss' : 'ws'}://127.0.0.1:${gate.port}/`, {
      rejectUnauthorized: false,
      perMessageDeflate: COMPRESSED
    })
    t.after(() => client.terminate())
    await once(client, 'open')
    assert.match(client.extensions, /permessage-deflate/)
    const [server] = await joined
    server.removeAllListeners('message') // it doesn't send back: it has messages of its own
    const [up, down] = [messages(randomFrom(seed)), messages(randomFrom(seed + 1))]
    await Promise.all([
      compare(server, up, told),
      compare(client, down, told),
      send(client, up, randomFrom(seed + 2)),
      send(server, down, randomFrom(seed + 3))
    ])
    client.close(1000)
    await once(client, 'close')
    await settled(gate.gateway)
  })

  test(
    `python3-websockets, compressed, ${how}: random messages up to 64 MiB come back as they were`,
    { skip: missing ?? false },
    async t => {
      t.diagnostic(`SEED=${seed}`)
      const { port, webSockets } = await webSocketServer(t, 'a', { perMessageDeflate: COMPRESSED })
      const extensions: string[] = []
      webSockets.on('connection', webSocket => {
        extensions.push(webSocket.extensions)
        webSocket.on('message', (data, isBinary) => {
          if (!isBinary && (data as Buffer).toString() === 'close') webSocket.close(4001, 'as you say')
        })
      })
      const gate = await host(t, [`127.0.0.1:${port}`], { watch }, { tls })
      const found = await pythonClient(t, `${tls ? 'wss' : 'ws'}://127.0.0.1:${gate.port}/`, seed)
      assert.match(extensions.join(), /^permessage-deflate/)
      assert.deepEqual(found, { messages: 109, code: 4001, reason: 'as you say' })
      await settled(gate.gateway)
    }
  )
}
