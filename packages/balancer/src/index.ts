export { Upstream } from './upstream.ts'
export type { Lease, Outcome } from './lease.ts'
export type {
  HealthOptions,
  ServerOptions,
  ServerSettings,
  ServerTls,
  TcpServerOptions,
  UnixServerOptions,
  UpstreamOptions
} from './options.ts'
export type { Reason, ServerAddress, ServerState, UpstreamServer } from './server.ts'
export type {
  AcquireOptions,
  ProbeReport,
  ServerStats,
  ServerTotals,
  UpstreamEvents,
  UpstreamStats
} from './upstream.ts'
