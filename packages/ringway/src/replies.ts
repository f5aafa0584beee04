import type { GatewayError } from './errors.ts'
import type { AnyResponse } from './peer.ts'

/** How an answer is given in the words of the host: plain Node, Express or Fastify. Neither call throws. */
export interface Reply {
  /** What key functions get as `request`. */
  readonly request: unknown
  /** Answers with an error of ours. */
  fail(error: GatewayError): void
  /**
   * Answers with what a backend said; without a body for a 101. Resolves when it is said or the client is gone, with
   * the error that cut the body short if there was one.
   */
  send(
    status: number,
    reason: string,
    rawHeaders: readonly string[],
    body?: AsyncIterable<Buffer>
  ): Promise<unknown>
}

/** Takes away what was set for the body of another answer. */
export function forgetBody(response: AnyResponse): void {
  for (const name of response.getHeaderNames()) if (describesBody(name)) response.removeHeader(name)
}

/** Whether a header speaks of a body, which a 101 hasn't. */
export function describesBody(name: string): boolean {
  return name.startsWith('content-') || name === 'transfer-encoding'
}
