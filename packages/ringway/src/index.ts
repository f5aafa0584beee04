export { ConfigError, ketama, leastConnections, order, remoteAddress, RingwayError } from '@ringway/core'
export type { KeyFunction, KeySource, Member, Strategy, Table } from '@ringway/core'
export { createGateway, Gateway } from './gateway.ts'
export type {
  AttachOptions,
  CloseOptions,
  Detach,
  GatewayEvents,
  GatewayStats,
  ListenOptions,
  Middleware
} from './gateway.ts'
export { GatewayError } from './errors.ts'
export type { UpgradeServer } from './dispatcher.ts'
export type { GatewayOptions, Log, Timeouts } from './options.ts'
export type { TunnelInfo } from './tunnels.ts'
