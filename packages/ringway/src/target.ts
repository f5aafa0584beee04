import type { UpstreamServer } from '@ringway/balancer'
import type { Target } from '@ringway/tunnel'
import { proxyHeader } from '@ringway/tunnel'
import type { AnyRequest } from './peer.ts'
import { endsOf } from './peer.ts'

/** Where a server is dialled for a request: with `sendProxy` its connection begins with the client's addresses. */
export function targetFor({ address, tls, sendProxy }: UpstreamServer, request: AnyRequest): Target {
  return { ...address, tls, proxyHeader: sendProxy && proxyHeader(sendProxy, endsOf(request)) }
}
