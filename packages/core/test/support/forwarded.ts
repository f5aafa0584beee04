import { forwardedAddress } from '@ringway/core'
import { sourceWith } from './key-source.ts'

/** The proxies that tests trust. */
export const trust: string[] = ['10.0.0.0/8', '2001:db8:ffff::/48']
/** One of them. */
export const peer = '10.0.0.1'

/** The client's key by X-Forwarded-For. */
export function byList(value: string | string[] | undefined, address: string | undefined = peer): unknown {
  const headers = { 'x-forwarded-for': value, forwarded: 'for=6.6.6.6' }
  return forwardedAddress({ trust })(sourceWith({ address, headers }))
}

/** The client's key by Forwarded. */
export function byElements(
  value: string | string[] | undefined,
  address: string | undefined = peer
): unknown {
  const headers = { forwarded: value, 'x-forwarded-for': '6.6.6.6' }
  return forwardedAddress({ trust, header: 'forwarded' })(sourceWith({ address, headers }))
}
