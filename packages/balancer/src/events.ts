import { channel } from 'node:diagnostics_channel'

import type { RingwayError } from '@ringway/core'

import type { Reason } from './health.ts'
import type { UpstreamServer } from './server.ts'

/** The events of an {@link Upstream}, with their arguments. Each move of a server to another state is one event. */
export interface UpstreamEvents {
  /** A server joined the set; `server.state` tells how it begins. */
  'server:added': [server: UpstreamServer, reason: Reason]
  /** A server that the operator had down waits for its first probe. */
  'server:starting': [server: UpstreamServer, reason: Reason]
  /** A server takes traffic: after its first good probe, or as it is back. */
  'server:up': [server: UpstreamServer, reason: Reason]
  /** A server went out of use. */
  'server:down': [server: UpstreamServer, reason: Reason]
  /** A server that was down takes one try at a time. */
  'server:probation': [server: UpstreamServer, reason: Reason]
  /** A server left the set, and takes nothing new. */
  'server:draining': [server: UpstreamServer, reason: Reason]
  /** A server that left the set has no tunnel and no try any more. */
  'server:removed': [server: UpstreamServer, reason: Reason]
  /** Too few servers are well: all are used. */
  'panic:start': []
  /** Enough servers are well again. */
  'panic:end': []
  /** The look-up of a server's name failed; told once, until one has gone well. The last addresses stay. */
  'lookup:error': [host: string, error: RingwayError]
}

/** The same on `node:diagnostics_channel`, as `ringway:` and the event's name. */
export const channels: { readonly [Name in keyof UpstreamEvents]: ReturnType<typeof channel> } = {
  'server:added': channel('ringway:server:added'),
  'server:starting': channel('ringway:server:starting'),
  'server:up': channel('ringway:server:up'),
  'server:down': channel('ringway:server:down'),
  'server:probation': channel('ringway:server:probation'),
  'server:draining': channel('ringway:server:draining'),
  'server:removed': channel('ringway:server:removed'),
  'panic:start': channel('ringway:panic:start'),
  'panic:end': channel('ringway:panic:end'),
  'lookup:error': channel('ringway:lookup:error')
}
