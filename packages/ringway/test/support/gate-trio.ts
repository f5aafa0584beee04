import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { TestContext } from 'node:test'
import type { Reason, UpstreamServer } from '@ringway/balancer'
import type { Gateway } from '../../src/index.ts'
import type { Child } from './gate-child.ts'
import { child } from './gate-child.ts'
import type { Host, Options } from './gate-host.ts'
import { host } from './gate-host.ts'
import { ask, handshake } from './gate-peer.ts'
import type { Peer } from './gate-peer.ts'
import { within } from './gate-waiting.ts'

/** A client's tunnel, and the server that it came to. */
export interface Client {
  readonly address: string
  readonly peer: Peer
  readonly server: string
}

/** Three echo servers in processes of their own, and a gateway in front. */
export interface Trio {
  readonly gate: Host
  readonly ids: readonly string[]
  /** In the order of `ids`. */
  readonly backends: Child<number>[]
}

/**
 * Starts three servers, which can be stopped or killed.
 *
 * @param net - their addresses are 127.net.0.1 to 3: a port of theirs that is free for a while is nobody else's there
 * @param delay - milliseconds that each of them takes for a handshake. Default: 0
 */
export async function trio(t: TestContext, net: number, options: Options, delay = 0): Promise<Trio> {
  const ids = [1, 2, 3].map(i => `127.${net}.0.${i}`)
  const backends = await Promise.all(
    ids.map(async id => child<number>(t, 'gate-child-backend.js', id, '0', String(delay)))
  )
  const servers = ids.map((id, i) => ({ id, host: id, port: backends[i]!.message }))
  // A server that is stopped answers no FIN: nobody waits for that here.
  const gate = await host(t, servers, { ...options, timeouts: { linger: 100, ...options.timeouts } })
  return { gate, ids, backends }
}

/** A tunnel from an address. A handshake that fails is a failure of the test. */
export async function connect(t: TestContext, { port }: Host, address: string): Promise<Client> {
  const { peer, head } = await ask(t, port, handshake(), { from: address })
  assert.equal(head.status, 101, head.text)
  // As a browser does.
  peer.socket.on('end', () => peer.socket.end())
  return { address, peer, server: head.values('x-server')[0]! }
}

/** A client's address, for each number up to 4,095 another one. */
export function addressOf(net: number, i: number): string {
  return `127.${net}.${i >> 4}.${(i & 15) + 1}`
}

/** So many clients' addresses whose own server this is, or fewer if 4,000 have no more. */
export function addressesAt({ gateway }: Host, net: number, id: string, count: number): string[] {
  return Array.from({ length: 4_000 }, (_, i) => addressOf(net, i))
    .filter(address => gateway.upstream.order(address)[0]!.id === id)
    .slice(0, count)
}

/** So many tunnels, each from an address of its own. */
export async function connectAll(t: TestContext, gate: Host, net: number, count: number): Promise<Client[]> {
  const addresses = Array.from({ length: count }, (_, i) => addressOf(net, i))
  return Promise.all(addresses.map(async address => connect(t, gate, address)))
}

/** What a client says comes back to it. */
export async function echoes({ peer, address }: Client): Promise<void> {
  peer.write(address)
  assert.equal((await peer.take(address.length)).toString(), address)
}

/** A client that said nothing has got a Close frame of code 1012, and then the end. */
export function hasCode1012({ peer }: Client): void {
  assert.equal(peer.error, undefined)
  assert.equal(peer.unread[0], 0x88)
  assert.equal(peer.unread.readUInt16BE(2), 1012)
  assert.equal(peer.unread.length, 2 + peer.unread[1]!, 'nothing but that')
}

/** Waits for a server's move, whatever others do meanwhile. */
export async function moved(gateway: Gateway, to: 'server:up' | 'server:down', id: string): Promise<Reason> {
  for (;;) {
    const event = once(gateway, to) as Promise<[UpstreamServer, Reason]>
    const [server, reason] = await within(event, `${id} ${to}`)
    if (server.id === id) return reason
  }
}
