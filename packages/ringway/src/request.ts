import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { canonicalAddress } from '@ringway/core'
import type { Lease, UpstreamServer } from '@ringway/balancer'
import { requestHeaders, responseHeaders } from '@ringway/tunnel'
import { headOf } from './client.ts'
import type { Engine } from './engine.ts'
import { GatewayError, gatewayError, publicError } from './errors.ts'
import { Record } from './record.ts'
import type { Reply } from './reply.ts'

/** A server's answer to a plain request, its body not yet read. */
interface Answer {
  readonly status: number
  readonly rawHeaders: readonly string[]
  readonly body: Readable
}

/** May be sent twice without doing more than once would (RFC 9110 section 9.2.2). */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])

/** The connection was never there, so the server has seen nothing of the request. */
const NOT_CONNECTED =
  /^(?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ENOENT|EACCES|ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT|ERR_TLS_.*|ERR_SSL_.*|.*CERT.*|.*SIGNATURE.*)$/

/** The server took too long. */
const TIMED_OUT = /^(?:ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT|UND_ERR_HEADERS_TIMEOUT|UND_ERR_BODY_TIMEOUT)$/

/**
 * Takes one plain HTTP request to the server that its key belongs to, and the answer back. Never throws: what fails
 * is told to the client and to the log.
 *
 * @param reply - how the host answers
 * @param controller - ends it before its time; aborted here when the client is gone
 */
export async function handle(
  engine: Engine,
  request: IncomingMessage,
  response: ServerResponse,
  reply: Reply,
  controller: AbortController
): Promise<void> {
  const { remoteAddress } = request.socket
  const address = remoteAddress === undefined ? undefined : canonicalAddress(remoteAddress)
  const { method, target } = headOf(request)
  const record = new Record(engine.log, 'request', { address, method, target })
  const gone = (): void =>
    controller.abort(new GatewayError('ERR_RINGWAY_CLIENT_GONE', 499, 'The client went away'))
  response.once('close', gone)
  try {
    if (engine.closing) throw gatewayError('ERR_RINGWAY_CLOSING')
    if (!target.startsWith('/')) throw gatewayError('ERR_RINGWAY_BAD_REQUEST')
    const hasBody =
      'transfer-encoding' in request.headers || Number(request.headers['content-length'] ?? 0) > 0
    if (hasBody && request.readableDidRead) throw gatewayError('ERR_RINGWAY_BODY_CONSUMED')
    const source = { address, method, target, headers: request.headers, request: reply.request }
    const key = await engine.keyOf(source, controller.signal)
    const { lease, answer } = await firstAnswer(
      engine,
      request,
      hasBody,
      address,
      key,
      record,
      controller.signal
    )
    await reply.send(answer.status, '', responseHeaders(answer.rawHeaders), answer.body)
    answer.body.destroy()
    lease.settle('ok')
    record.end(answer.status)
  } catch (error) {
    const failure = publicError(error)
    record.fail(failure)
    if (!response.destroyed) reply.fail(failure)
  } finally {
    response.off('close', gone)
  }
}

/** Asks one server after the other until one answers: the only place where another one is tried. */
async function firstAnswer(
  engine: Engine,
  request: IncomingMessage,
  hasBody: boolean,
  address: string | undefined,
  key: string | undefined,
  record: Record,
  signal: AbortSignal
): Promise<{ lease: Lease; answer: Answer }> {
  const { method, target, rawHeaders } = headOf(request)
  const proto = 'encrypted' in request.socket ? 'https' : 'http'
  const headers = requestHeaders(rawHeaders, { for: address, proto, host: request.headers.host })
  const body = hasBody ? new Body(request) : undefined
  const tried = new Set<UpstreamServer>()
  let last: GatewayError | undefined
  for (;;) {
    const lease = await engine.upstream.acquire(key, { except: tried, signal })
    if (!lease) throw last ?? gatewayError('ERR_RINGWAY_NO_SERVER')
    tried.add(lease.server)
    try {
      const answer = await engine.pools.of(lease.server).request({
        method,
        path: target,
        headers,
        // undici takes any async iterable, its types don't say so. A Readable it would destroy, and with it the request.
        body: body ? (body.read() as unknown as Readable) : null,
        signal,
        responseHeaders: 'raw'
      })
      const { statusCode: status, headers: raw, body: answerBody } = answer
      record.tried(lease.server.id, status)
      // 'raw' asks for names and values in turn; the types don't say so.
      return { lease, answer: { status, rawHeaders: raw as unknown as string[], body: answerBody } }
    } catch (error) {
      if (signal.aborted) {
        lease.settle('cancelled')
        throw signal.reason as Error
      }
      const code = codeOf(error)
      record.tried(lease.server.id, code)
      lease.settle('failed')
      last = TIMED_OUT.test(code)
        ? new GatewayError('ERR_RINGWAY_ANSWER_TIMEOUT', 504, 'Gateway Timeout', {}, { cause: error })
        : new GatewayError('ERR_RINGWAY_ANSWER_MISSING', 502, 'Bad Gateway', {}, { cause: error })
      const again =
        body === undefined
          ? IDEMPOTENT.has(method) || NOT_CONNECTED.test(code)
          : !body.started && NOT_CONNECTED.test(code)
      if (!again) throw last
    }
  }
}

/** A request's body, which must still be whole when a try fails before any of it was sent. */
class Body {
  started = false
  readonly #request: IncomingMessage

  constructor(request: IncomingMessage) {
    this.#request = request
  }

  /** For one try. Leaving it early doesn't destroy the request, whose connection still awaits an answer. */
  async *read(): AsyncGenerator<Buffer, void, void> {
    this.started = true
    yield* this.#request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
  }
}

function codeOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0])
  const { code } = error as { code?: unknown }
  return typeof code === 'string' ? code : 'ERR_RINGWAY_ANSWER_MISSING'
}
