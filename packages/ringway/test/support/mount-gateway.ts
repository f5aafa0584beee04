import type { TestContext } from 'node:test'
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

/** A gateway to some backends, closed with the test. */
export function gateway(
  t: TestContext,
  backends: readonly (Backend | string)[],
  more: Partial<GatewayOptions> = {}
): Gateway {
  const servers = backends.map(each => (typeof each === 'string' ? each : each.address))
  const made = createGateway({ log: new Lines(), ...more, upstream: { ...more.upstream, servers } })
  t.after(async () => made.close())
  return made
}
