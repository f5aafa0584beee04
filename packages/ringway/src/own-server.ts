import type { RequestListener, ServerOptions } from 'node:http'
import { createServer } from 'node:http'
import type { ServerOptions as HttpsOptions } from 'node:https'
import { createServer as createTlsServer } from 'node:https'
import { ConfigError } from '@ringway/core'
import type { UpgradeServer } from './dispatcher.ts'
import { gatewayError } from './errors.ts'

/** Listens; rejects with the server's error, or when it is closed meanwhile. */
export async function listening(
  server: UpgradeServer,
  port: number,
  host: string | undefined
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const closed = (): void => reject(gatewayError('ERR_RINGWAY_CLOSING'))
    server.once('error', reject).once('close', closed)
    server.listen({ port, host }, () => {
      server.off('error', reject).off('close', closed)
      resolve()
    })
  })
}

/** Whether the options have a certificate at all. */
export function canServe(tls: HttpsOptions | null): boolean {
  return typeof tls === 'object' && tls !== null && Boolean(tls.cert ?? tls.pfx ?? tls.SNICallback)
}

/**
 * Makes a server.
 *
 * @param headersTimeout - milliseconds for a request's head; 0 is no limit
 * @throws ConfigError for TLS options that can't be used
 */
export function ownServer(
  tls: HttpsOptions | undefined,
  headersTimeout: number,
  handler: RequestListener
): UpgradeServer {
  // Node looks only so often whether a head is late, each 30 s by itself; a later one than 5 % is no limit.
  const interval = Math.min(1000, Math.max(50, headersTimeout / 20))
  // A body may take as long as it likes; the limit `read` is for one that stalls.
  const times: ServerOptions = { headersTimeout, requestTimeout: 0, connectionsCheckingInterval: interval }
  if (tls === undefined) return createServer(times, handler)
  try {
    return createTlsServer({ ...times, ...tls }, handler)
  } catch (error) {
    throw new ConfigError('tls', (error as Error).message)
  }
}
