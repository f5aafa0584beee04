import assert from 'node:assert/strict'
import { createCipheriv } from 'node:crypto'
import type { Head, Peer } from './gate-peer.ts'
import { handshake, switching } from './gate-peer.ts'
import type { World } from './race-world.ts'
import { PATHS, turns } from './race-world.ts'

type Random = () => number

/** One connection's life, from its first byte to where nothing is left of it here. */
export type Round = (world: World, random: Random) => Promise<void>

function pick<const Each>(random: Random, all: readonly Each[]): Each {
  return all[Math.floor(random() * all.length)]!
}

/** Bytes that look like chance and are the same for the same numbers. */
function noise(random: Random, most: number): Buffer {
  const key = Buffer.from(Array.from({ length: 16 }, () => random() * 256))
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(1 + random() * most))
}

/** Writes bytes in two pieces, cut anywhere. */
async function writeCut(peer: Peer, bytes: Buffer, random: Random): Promise<void> {
  const at = Math.floor(random() * (bytes.length + 1))
  peer.write(bytes.subarray(0, at))
  await turns(random() * 4)
  peer.write(bytes.subarray(at))
}

function accepting(head: Head): Buffer {
  return Buffer.from(switching(head.values('sec-websocket-key')[0]!))
}

/** Both ends of an open tunnel. */
export async function tunnel(world: World, path?: string): Promise<{ client: Peer; server: Peer }> {
  const client = await world.client()
  const { target, met } = world.expect(path)
  client.write(handshake(target))
  const { server, head } = await met()
  server.write(accepting(head))
  assert.equal((await client.head()).status, 101)
  return { client, server }
}

/** Says FIN on both sides and waits until both are closed. */
async function part(random: Random, ...peers: Peer[]): Promise<void> {
  for (const peer of random() < 0.5 ? peers : peers.toReversed()) {
    peer.socket.end()
    await turns(random() * 3)
  }
  for (const peer of peers) await peer.gone()
}

const FLOOD = Buffer.alloc(256 * 1024, 'flood')

const resets: Round = async (world, random) => {
  const moment = pick(random, ['half', 'before', 'with', 'after', 'flood', 'fin'])
  const who = moment === 'half' ? 'client' : pick(random, ['client', 'server', 'both'])
  const client = await world.client()
  const { target, met } = world.expect()
  const text = handshake(target)
  if (moment === 'half') {
    client.write(text.slice(0, Math.floor(random() * text.length)))
    await turns(random() * 4)
    client.reset()
    return client.gone()
  }
  client.write(text)
  const { server, head } = await met()
  if (moment !== 'before') server.write(accepting(head))
  if (moment === 'after' || moment === 'flood' || moment === 'fin') {
    assert.equal((await client.head()).status, 101)
  }
  if (moment === 'flood') {
    for (const peer of [client, server]) for (let i = 0; i < 2; i++) peer.write(FLOOD)
    await Promise.all([client.take(1_000), server.take(1_000)])
  }
  if (moment === 'fin') {
    // Bytes that it never reads make of its end a FIN and a RST.
    const first = pick(random, [client, server])
    first.socket.pause()
    for (const peer of [client, server]) if (peer !== first) peer.write('unread')
    await turns(random() * 4)
    first.socket.end()
    await turns(random() * 2)
    first.reset()
  }
  await turns(random() * 4)
  if (who !== 'server') client.reset()
  if (who !== 'client') server.reset()
  for (const peer of [client, server]) {
    await peer.left()
    peer.socket.destroy()
    await peer.gone()
  }
}

const BODIES: readonly [line: string, body: string][] = [
  ['Content-Length: 5', '12345'],
  ['Content-Length: 5', '12'],
  ['Content-Length: 5', ''],
  ['Content-Length: 5', '12345GET / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['Transfer-Encoding: chunked', '5\r\n12345\r\n0\r\n\r\n'],
  ['Transfer-Encoding: chunked', '5\r\n123']
]

const bodies: Round = async (world, random) => {
  const client = await world.client()
  const [line, body] = pick(random, BODIES)
  const text = Buffer.from(handshake(`${PATHS.usual}/stray`, line) + body)
  if (random() < 0.5) client.write(text)
  else await writeCut(client, text, random)
  if (random() < 0.3) {
    await turns(random() * 4)
    client.reset()
  } else {
    assert.equal((await client.head()).status, 400)
    await client.left()
    client.socket.end()
  }
  await client.gone()
}

const declines: Round = async (world, random) => {
  const client = await world.client()
  const { target, met } = world.expect()
  client.write(handshake(target))
  const { server } = await met()
  const status = pick(random, [200, 302, 400, 401, 403, 404, 426, 500, 503])
  const framing = pick(random, ['length', 'chunked', 'fin'])
  const body = noise(random, 20_000)
  const line = {
    length: `Content-Length: ${body.length}`,
    chunked: 'Transfer-Encoding: chunked',
    fin: 'X-A: b'
  }
  const head = `HTTP/1.1 ${status} So\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nX-Own: own\r\n${line[framing]}\r\n\r\n`
  const chunk = [`${body.length.toString(16)}\r\n`, body, '\r\n0\r\n\r\n'].map(each => Buffer.from(each))
  const bytes = Buffer.concat([Buffer.from(head), ...(framing === 'chunked' ? chunk : [body])])
  const cut = random() < 0.3 ? pick(random, ['client', 'server']) : undefined
  if (cut !== undefined) {
    server.write(bytes.subarray(0, Math.floor(random() * bytes.length)))
    await turns(random() * 4)
    if (cut === 'client') client.reset()
    else server.reset()
    for (const peer of [client, server]) {
      await peer.left()
      peer.socket.destroy()
    }
    return client.gone()
  }
  await writeCut(server, bytes, random)
  // Some keep their connection, some close it at once.
  if (framing === 'fin' || random() < 0.5) server.socket.end()
  const relayed = await client.head()
  assert.deepEqual(
    [relayed.status, relayed.values('set-cookie'), relayed.values('x-own')],
    [status, ['a=b', 'c=d'], ['own']]
  )
  const rest = await client.rest()
  assert.ok(
    body.equals(relayed.values('transfer-encoding').length > 0 ? dechunked(rest) : rest),
    'the body is whole'
  )
  await server.left()
  return part(random, client, server)
}

function dechunked(bytes: Buffer): Buffer {
  const chunks: Buffer[] = []
  for (let at = 0; ;) {
    const end = bytes.indexOf('\r\n', at)
    const size = Number.parseInt(bytes.toString('latin1', at, end), 16)
    if (size === 0) return Buffer.concat(chunks)
    assert.ok(size > 0, 'a chunk has a size')
    chunks.push(bytes.subarray(end + 2, end + 2 + size))
    at = end + 2 + size + 2
  }
}

/** The other side stays open here: what is left in the host is seen once all rounds are through. */
const ignores: Round = async (world, random) => {
  const ends = await tunnel(world)
  const [first, second] = pick(random, [
    [ends.client, ends.server],
    [ends.server, ends.client]
  ])
  if (random() < 0.5) first.write(noise(random, 2_000))
  if (random() < 0.5) {
    first.socket.end()
    await turns(random() * 4)
  }
  first.reset()
  await second.left()
  await first.gone()
  world.ignoring.push(second)
}

const glued: Round = async (world, random) => {
  const [up, down] = [noise(random, 2_000), noise(random, 2_000)]
  const client = await world.client()
  const { target, met } = world.expect()
  await writeCut(client, Buffer.concat([Buffer.from(handshake(target)), up]), random)
  const { server, head } = await met()
  await writeCut(server, Buffer.concat([accepting(head), down]), random)
  assert.equal((await client.head()).status, 101)
  assert.ok(up.equals(await server.take(up.length)), 'the server has what was glued')
  assert.ok(down.equals(await client.take(down.length)), 'the client has what was glued')
  for (const [from, to] of [
    [client, server],
    [server, client]
  ] as const) {
    from.write('second')
    assert.equal((await to.take(6)).toString(), 'second')
  }
  return part(random, client, server)
}

const silent: Round = async (world, random) => {
  const client = await world.client()
  const { target, met } = world.expect(PATHS.hasty)
  client.write(handshake(target))
  const { server } = await met()
  if (random() < 0.5) {
    await turns(random() * 10)
    client.reset()
  } else {
    assert.equal((await client.head()).status, 504)
    await client.left()
    client.socket.end()
  }
  await server.left()
  server.socket.destroy()
  await client.gone()
}

const refused: Round = async (world, random) => {
  const client = await world.client()
  client.write(handshake(`${PATHS.refused}/x`))
  if (random() < 0.3) {
    await turns(random() * 4)
    client.reset()
  } else {
    assert.match((await client.head()).first, / 50[23] /)
    await client.left()
    client.socket.end()
  }
  await client.gone()
}

const slow: Round = async (world, random) => {
  const ends = await tunnel(world)
  const [sender, reader] = pick(random, [
    [ends.client, ends.server],
    [ends.server, ends.client]
  ])
  const bytes = noise(random, 600_000)
  reader.socket.pause()
  sender.write(bytes)
  reader.write('meanwhile')
  assert.equal((await sender.take(9)).toString(), 'meanwhile')
  if (random() < 0.2) {
    // It will never read on.
    reader.reset()
    await sender.left()
    sender.socket.destroy()
    return sender.gone()
  }
  sender.socket.end()
  reader.socket.on('data', () => {
    reader.socket.pause()
    setImmediate(() => reader.socket.resume())
  })
  reader.socket.resume()
  assert.ok(bytes.equals(await reader.rest()), 'all of it has come')
  return part(random, reader, sender)
}

const halves: Round = async (world, random) => {
  const [up, down] = [noise(random, 50_000), noise(random, 50_000)]
  const early = pick(random, ['client', 'server', 'both', 'before'])
  const client = await world.client()
  const { target, met } = world.expect()
  client.write(handshake(target))
  if (early === 'client' || early === 'both') {
    client.write(up)
    client.socket.end()
  }
  const { server, head } = await met()
  if (early === 'before') {
    server.socket.end()
    assert.equal((await client.head()).status, 502)
    await client.left()
    return part(random, client, server)
  }
  server.write(accepting(head))
  if (early === 'server' || early === 'both') {
    server.write(down)
    server.socket.end()
  }
  assert.equal((await client.head()).status, 101)
  if (early === 'client') {
    assert.ok(up.equals(await server.rest()))
    server.write(down)
    server.socket.end()
  }
  assert.ok(down.equals(await client.rest()), 'the client has heard all')
  if (early === 'server') {
    client.write(up)
    client.socket.end()
  }
  if (early !== 'client') assert.ok(up.equals(await server.rest()), 'the server has heard all')
  await Promise.all([client.gone(), server.gone()])
}

const ended: Round = async (world, random) => {
  const client = await world.client()
  const { target, met } = world.expect(PATHS.ended)
  client.write(Buffer.concat([Buffer.from(handshake(target)), noise(random, 2_000)]))
  const { server, head } = await met()
  server.write(Buffer.concat([accepting(head), noise(random, 2_000)]))
  if (random() < 0.3) pick(random, [client, server]).reset()
  for (const peer of [client, server]) {
    await peer.left()
    peer.socket.end()
    await peer.gone()
  }
}

/** By what they come to, and who has met it. */
export const ROUNDS: { readonly [title: string]: Round } = {
  'http-proxy 1468, vite 2974, webpack-dev-server 1642: resets by either side or both, at any moment': resets,
  'Node 26, an upgrade with a body: 400, or a reset meanwhile': bodies,
  'http-proxy 624, 783, configurable-http-proxy 557, undici: answers other than 101, whole and cut': declines,
  'http-proxy 1510, configurable-http-proxy 434: a reset, and the other side takes no notice': ignores,
  'http-proxy 473: bytes glued to the handshake, cut anywhere': glued,
  'a backend that is silent': silent,
  'a backend that refuses': refused,
  'ws 1620, fastify-http-proxy: a reader that is slow, or stops and resets': slow,
  'half-close, and a FIN as early as can be': halves,
  'http-proxy-middleware 1051: a tunnel that is ended as it opens': ended
}

/** Any of them. */
export const chaos: Round = async (world, random) => pick(random, Object.values(ROUNDS))(world, random)
