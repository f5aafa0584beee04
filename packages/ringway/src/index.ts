export {
  boundedLoad,
  canonicalAddress,
  checkMembers,
  ConfigError,
  cookie,
  crc32,
  forwardedAddress,
  header,
  ipHash,
  jump,
  ketama,
  leastConnections,
  maglev,
  movedShare,
  order,
  path,
  plainHash,
  query,
  randomTwo,
  remoteAddress,
  rendezvous,
  ring,
  RingwayError,
  roundRobin,
  xxh64
} from '@ringway/core'
export type {
  ForwardedAddressOptions,
  Hash64,
  KeyFunction,
  KeySource,
  MaglevOptions,
  Member,
  RemoteAddressOptions,
  RingOptions,
  Strategy,
  Table
} from '@ringway/core'
export { acceptProxy } from './accept-proxy.ts'
export type { AcceptProxyOptions } from './accept-proxy.ts'
export { createGateway, Gateway } from './gateway.ts'
export type {
  AttachOptions,
  Detach,
  GatewayEvents,
  GatewayStats,
  ListenOptions,
  Middleware
} from './gateway.ts'
export type { AddressLimits } from './address-limits.ts'
export { GatewayError } from './errors.ts'
export type { ErrorAnswer, ErrorPage, ErrorPages } from './error-pages.ts'
export type { StreamServer } from './connects.ts'
export type { UpgradeServer } from './dispatcher.ts'
export type { AnyRequest, AnyResponse } from './peer.ts'
export type { Authorize, HeaderChanges, Refusal, RequestHook } from './hooks.ts'
export type { CloseOptions, GatewayOptions, Log, PingOptions, Timeouts } from './options.ts'
export type { Tunnel, TunnelAbout } from './tunnel.ts'
