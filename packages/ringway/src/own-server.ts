import type { RequestListener } from 'node:http'
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

/** @throws ConfigError for options that can't be used */
export function tlsServer(tls: HttpsOptions, handler: RequestListener): UpgradeServer {
  try {
    return createTlsServer(tls, handler)
  } catch (error) {
    throw new ConfigError('tls', (error as Error).message)
  }
}
