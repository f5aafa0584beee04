export { Upstream } from './upstream.ts'
export type { Tries } from './tries.ts'
export type { AcquireOptions } from './upstream.ts'
export type { UpstreamEvents } from './events.ts'
export type { Lease, Outcome, Recall } from './lease.ts'
export type { ServerAddress } from './address.ts'
export type { Reason, ServerState } from './health.ts'
export type { UpstreamServer } from './server.ts'
export type { ServerStats, ServerTotals, UpstreamStats } from './stats.ts'
export type { ProbeReport } from './probe.ts'
export type {
  DrainOptions,
  LimitOptions,
  OutlierOptions,
  QueueOptions,
  RetryBudgetOptions,
  RetryOptions,
  ServerOptions,
  ServerSettings,
  ServerTls,
  TcpServerOptions,
  UnixServerOptions,
  UpstreamOptions
} from './options.ts'
export type {
  HealthOptions,
  HttpHealthOptions,
  ProbeHeaders,
  ProbeOptions,
  TcpHealthOptions,
  WebSocketHealthOptions
} from './probes/options.ts'
export { fromDns } from './discovery/dns.ts'
export type { DnsAddressOptions, DnsOptions, DnsSettings, DnsSrvOptions } from './discovery/dns.ts'
export { fromFile } from './discovery/file.ts'
export type { FileOptions } from './discovery/file.ts'
export { fromStatic } from './discovery/static.ts'
export type { DiscoveredServer, Discovery, DiscoveryHooks } from './discovery/discovery.ts'
