import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import type { ConnectionEnds } from '@ringway/tunnel'
import { ProxyHeaderParser } from '@ringway/tunnel'
import type { Gateway, GatewayOptions, ListenOptions } from '../../src/index.ts'
import { createGateway } from '../../src/index.ts'
import type { Backend } from './gate-backend.ts'
import { backend } from './gate-backend.ts'
import type { Line } from './gate-host.ts'
import { recorder, settled } from './gate-host.ts'
import type { Head, Peer } from './gate-peer.ts'
import { switching } from './gate-peer.ts'

/** Takes the PROXY header that a connection begins with. */
export async function takeHeader(peer: Peer): Promise<ConnectionEnds | undefined> {
  const parser = new ProxyHeaderParser()
  for (;;) {
    const header = parser.push(await peer.take(1))
    if (header) return header.ends
  }
}

/** A connection as a backend behind a PROXY header sees it. */
export interface Proxied {
  readonly ends: ConnectionEnds | undefined
  readonly head: Head
  readonly peer: Peer
}

/** A backend that takes a header, then a handshake or a plain request, to which it answers `hello`. */
export async function proxiedBackend(t: TestContext): Promise<Backend & { seen: Proxied[] }> {
  const seen: Proxied[] = []
  const made = await backend(t, async peer => {
    const ends = await takeHeader(peer)
    const head = await peer.head()
    seen.push({ ends, head, peer })
    const [key] = head.values('sec-websocket-key')
    peer.write(
      key === undefined ? 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello' : `${switching(key)}hello`
    )
  })
  return { ...made, seen }
}

export interface Listening {
  readonly gateway: Gateway
  readonly port: number
  readonly lines: Line[]
}

/** A gateway with a server of its own; closed behind the test, when nothing may be left of it. */
export async function listening(
  t: TestContext,
  upstream: GatewayOptions['upstream'],
  how: ListenOptions = {}
): Promise<Listening> {
  const { log, lines } = recorder()
  const gateway = createGateway({ upstream, log })
  const server = await gateway.listen({ host: '127.0.0.1', ...how })
  t.after(async () => {
    await gateway.close()
    await settled(gateway)
  })
  return { gateway, port: (server.address() as AddressInfo).port, lines }
}
