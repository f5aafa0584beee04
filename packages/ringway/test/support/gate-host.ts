import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { TestContext } from 'node:test'
import type { Gateway, GatewayOptions, Log } from '../../src/index.ts'
import { createGateway } from '../../src/index.ts'
import { listen } from './gate-backend.ts'
import { certificate } from './gate-peer.ts'
import { until } from './gate-waiting.ts'

/** One log line. */
export interface Line {
  readonly level: keyof Log
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** A log that keeps its lines, those of servers going up and down apart. */
export function recorder(): { log: Log; lines: Line[]; moves: Line[] } {
  const lines: Line[] = []
  const moves: Line[] = []
  const level =
    (name: keyof Log) =>
    (fields: object, message: string): void => {
      const line = { level: name, message, fields: fields as Record<string, unknown> }
      ;(/^server (?:up|down|probation)$/.test(message) ? moves : lines).push(line)
    }
  return { log: { info: level('info'), warn: level('warn'), error: level('error') }, lines, moves }
}

export interface Host {
  readonly gateway: Gateway
  readonly server: Server
  readonly port: number
  /** The log, but for servers going up and down. */
  readonly lines: Line[]
  /** The log of servers going up and down. */
  readonly moves: Line[]
}

export type Options = Omit<GatewayOptions, 'upstream'> & { upstream?: Partial<GatewayOptions['upstream']> }

/** A gateway attached to a server whose app answers 200; closed behind the test, when nothing may be left of it. */
export async function host(
  t: TestContext,
  servers: GatewayOptions['upstream']['servers'],
  options: Options = {},
  how: { tls?: boolean; address?: string } = {}
): Promise<Host> {
  const { log, lines, moves } = recorder()
  const gateway = createGateway({ log, ...options, upstream: { servers, ...options.upstream } })
  const server = how.tls
    ? createTlsServer(certificate, (_, response) => response.end('the app'))
    : createServer((_, response) => response.end('the app'))
  gateway.attach(server)
  const port = await listen(t, server, how.address)
  t.after(async () => {
    await gateway.close()
    await settled(gateway)
  })
  return { gateway, server, port, lines, moves }
}

/** Waits until no lease is out and no tunnel open, as the counts say. */
export async function settled(gateway: Gateway): Promise<void> {
  const counts = (): object => {
    const { tunnels, upstream } = gateway.stats()
    return {
      active: tunnels.active,
      rest: tunnels.opened - tunnels.closed,
      servers: upstream.servers.map(server => server.active + server.handshakes).join()
    }
  }
  const zero = { active: 0, rest: 0, servers: gateway.upstream.servers.map(() => 0).join() }
  await until(() => JSON.stringify(counts()) === JSON.stringify(zero), 'all counts are 0').catch(() => {
    assert.deepEqual(counts(), zero)
  })
}
