import { forwardedHops } from '@ringway/core/forwarded-address'
import type { Networks } from '@ringway/core/networks'
import type { Forwarding } from '@ringway/tunnel'
import type { AnyRequest } from './peer.ts'
import { headersOf, hostOf, peerOf } from './peer.ts'

/** Where a request comes from. */
export interface Origin {
  /** The client's, as a key; `undefined` on a Unix socket. */
  readonly address: string | undefined
  /** What servers are told of it. */
  readonly forwarding: Forwarding
}

/**
 * Where a request comes from: its peer, or what trusted peers tell. To be asked at once: a closed connection has no address.
 *
 * @param trusted - `undefined` for nobody
 */
export function originOf(request: AnyRequest, trusted: Networks | undefined): Origin {
  const { address, proto } = peerOf(request)
  const host = hostOf(request)
  if (trusted?.has(address) !== true) return { address, forwarding: { for: address, proto, host } }
  const headers = headersOf(request)
  const hops = forwardedHops({ address, headers }, trusted)
  const told = last(headers['x-forwarded-proto'])
  return {
    address: hops[0],
    forwarding: {
      // From the client on: what it wrote itself isn't among them.
      for: hops.length === 0 ? undefined : hops.join(', '),
      proto: told === 'http' || told === 'https' ? told : proto,
      host: last(headers['x-forwarded-host']) || host
    }
  }
}

/** What the nearest proxy wrote: others before it may have written their own. */
function last(value: string | string[] | undefined): string | undefined {
  return value?.toString().split(',').at(-1)!.trim()
}
