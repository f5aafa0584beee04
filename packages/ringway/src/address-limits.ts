import { remoteAddress } from '@ringway/core'
import { Fields } from '@ringway/core/fields'
import { LRUCache } from 'lru-cache'

/** How much one client address may have; an IPv6 address stands for its /64, which is what one household has. 0 is no limit. */
export interface AddressLimits {
  /** Upgrades under way and open tunnels. Default 0. nginx: `limit_conn`. HAProxy: `sc_conn_cur`. */
  readonly tunnelsPerAddress?: number
  /**
   * Upgrades in a second, on the average: what a second allows may come at once. Default 0. nginx: `limit_req` with
   * `burst` and `nodelay`. HAProxy: `sc_http_req_rate`.
   */
  readonly handshakesPerSecond?: number
}

/** Addresses whose upgrades are counted; beyond it the one that was seen the longest ago is forgotten. */
const MOST_ADDRESSES = 16_384

/** What is known of an address that comes and goes. */
interface Bucket {
  /** Upgrades that it may have now. */
  tokens: number
  /** When that was true, of the monotonic clock. */
  at: number
  /** Whether it was told that it has none. */
  isTold: boolean
}

/** What is known of an address that has tunnels. */
interface Holder {
  tunnels: number
  isTold: boolean
}

const network = remoteAddress({ ipv6Prefix: 64 })

/** Counts what each address has. */
export class AddressCounts {
  readonly #most: number
  readonly #rate: number
  readonly #holders = new Map<string, Holder>()
  readonly #buckets: LRUCache<string, Bucket> | undefined

  constructor({ tunnelsPerAddress, handshakesPerSecond }: Required<AddressLimits>) {
    this.#most = tunnelsPerAddress
    this.#rate = handshakesPerSecond
    if (handshakesPerSecond > 0) this.#buckets = new LRUCache({ max: MOST_ADDRESSES })
  }

  /**
   * An upgrade has come. Clients on a Unix socket have no address, and no limit.
   *
   * @param side - what it came by: it counts until that is closed
   * @returns `'again'` for one that is refused, as the last one was
   */
  enter(address: string | undefined, side: { once(event: 'close', listener: () => void): unknown }): Verdict {
    if (address === undefined || (this.#most === 0 && this.#rate === 0)) return 'admitted'
    const key = network({ address, method: '', target: '', headers: {}, request: undefined }) as string
    const holder = this.#holders.get(key) ?? { tunnels: 0, isTold: false }
    if (this.#most > 0 && holder.tunnels >= this.#most) return refuse(holder)
    const bucket = this.#bucketOf(key)
    if (bucket !== undefined && bucket.tokens < 1) return refuse(bucket)
    if (bucket !== undefined) bucket.tokens--
    if (this.#most === 0) return 'admitted'
    holder.tunnels++
    this.#holders.set(key, holder)
    side.once('close', () => {
      holder.tunnels--
      holder.isTold = false
      if (holder.tunnels === 0) this.#holders.delete(key)
    })
    return 'admitted'
  }

  #bucketOf(key: string): Bucket | undefined {
    if (this.#buckets === undefined) return undefined
    const now = performance.now()
    const most = Math.max(this.#rate, 1)
    const bucket = this.#buckets.get(key) ?? { tokens: most, at: now, isTold: false }
    bucket.tokens = Math.min(most, bucket.tokens + ((now - bucket.at) / 1000) * this.#rate)
    bucket.at = now
    if (bucket.tokens === most) bucket.isTold = false
    this.#buckets.set(key, bucket)
    return bucket
  }
}

/** Whether an upgrade is let in; `'again'` if it isn't, and an earlier one of the same burst wasn't either. */
export type Verdict = 'admitted' | 'refused' | 'again'

function refuse(of: { isTold: boolean }): Verdict {
  const verdict = of.isTold ? 'again' : 'refused'
  of.isTold = true
  return verdict
}

/** @throws ConfigError that names the first bad limit */
export function checkAddressLimits(options: Fields): Required<AddressLimits> {
  const given = options.has('limits') ? options.get('limits') : {}
  const fields = new Fields(given, 'limits', ['tunnelsPerAddress', 'handshakesPerSecond'])
  return {
    tunnelsPerAddress: fields.integer('tunnelsPerAddress', 0, 0),
    handshakesPerSecond: fields.integer('handshakesPerSecond', 0, 0)
  }
}
