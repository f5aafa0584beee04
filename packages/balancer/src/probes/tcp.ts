import type { Check } from '../probe.ts'
import type { TcpHealthConfig } from './config.ts'
import { dial } from './dial.ts'
import type { Place } from './dial.ts'

/**
 * A connect, with its TLS handshake where TLS is on. Good is a connection that is there in time; then it is ended in
 * peace, so that the server's log isn't full of resets.
 *
 * @param place - whom to ask
 * @param health - for the limit of time, as it stands in an error
 */
export function tcpCheck(place: Place, health: TcpHealthConfig): Check {
  return async signal => {
    const line = dial(place, signal)
    try {
      await line.ready
      await new Promise<void>(resolve => {
        line.socket.end(resolve)
        // A FIN that can't be written, or the end of the probe.
        void line.closed.then(resolve)
      })
      return { ok: true }
    } catch (error) {
      if (signal.aborted) return { ok: false, error: `no connection within ${health.timeout} ms` }
      throw error
    } finally {
      await line.end()
    }
  }
}
