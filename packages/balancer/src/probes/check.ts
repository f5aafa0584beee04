import type { Check } from '../probe.ts'
import type { HealthConfig } from './config.ts'
import { probePlace } from './dial.ts'
import type { Place } from './dial.ts'
import { httpCheck } from './http.ts'
import { tcpCheck } from './tcp.ts'
import { webSocketCheck } from './websocket.ts'

/** What one probe of a server is, by the type that the options name. */
export function makeCheck(server: Place, health: HealthConfig): Check {
  const place = probePlace(server, health)
  if (health.type === 'http') return httpCheck(place, health)
  return health.type === 'tcp' ? tcpCheck(place, health) : webSocketCheck(place, health)
}
