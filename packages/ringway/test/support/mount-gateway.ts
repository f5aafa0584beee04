import type { TestContext } from 'node:test'
import type { TcpServerOptions } from '@ringway/balancer'
import type { Gateway, GatewayOptions, Log } from '../../src/index.ts'
import { createGateway } from '../../src/index.ts'
import type { Backend } from './mount-backend.ts'

/** Keeps lines for the test to look at. */
export class Lines implements Log {
  readonly all: { level: string; message: string; fields: object }[] = []
  info(fields: object, message: string): void {
    this.all.push({ level: 'info', message, fields })
  }
  warn(fields: object, message: string): void {
    this.all.push({ level: 'warn', message, fields })
  }
  error(fields: object, message: string): void {
    this.all.push({ level: 'error', message, fields })
  }
}

/** Backends as servers: each in the same place of the ring in each run, wherever it listens. */
export function named(backends: readonly (Backend | string)[]): TcpServerOptions[] {
  return backends.map((each, i) => {
    const address = typeof each === 'string' ? each : each.address
    const [host, port] = address.split(':') as [string, string]
    return { id: `server-${i}`, host, port: Number(port) }
  })
}

/** A gateway to some backends, closed with the test. */
export function gateway(
  t: TestContext,
  backends: readonly (Backend | string)[],
  more: Partial<GatewayOptions> = {}
): Gateway {
  const servers = named(backends)
  const made = createGateway({ log: new Lines(), ...more, upstream: { ...more.upstream, servers } })
  t.after(async () => made.close())
  return made
}
