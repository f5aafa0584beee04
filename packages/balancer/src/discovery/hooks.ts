import type { Fields } from '@ringway/core/fields'

import type { DiscoveryHooks } from './discovery.ts'

/** Checks the hooks among a source's options. */
export function checkHooks(fields: Fields): DiscoveryHooks {
  if (!fields.has('onError')) return {}
  const onError = fields.get('onError')
  if (typeof onError !== 'function') throw fields.mismatch('onError', 'a function')
  return { onError: onError as NonNullable<DiscoveryHooks['onError']> }
}
