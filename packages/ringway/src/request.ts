import type { Readable } from 'node:stream'
import type { Lease } from '@ringway/balancer'
import { requestHeaders, responseHeaders, TunnelError, valuesOf } from '@ringway/tunnel'
import type { Engine } from './engine.ts'
import { GatewayError, gatewayError, publicError } from './errors.ts'
import { whenGone } from './gone.ts'
import { pageAnswer } from './page.ts'
import type { AnyRequest, AnyResponse } from './peer.ts'
import { bodyComes, headersOf, headOf, hostOf, isOver, sideOf } from './peer.ts'
import { Record } from './record.ts'
import type { Reply } from './replies.ts'
import { originOf } from './trust.ts'
import { within } from './within.ts'

/** A request as servers get it, its body apart. */
interface Sent {
  readonly method: string
  readonly path: string
  readonly headers: string[]
}

/** A server's answer to a plain request, its body not yet read. */
interface Answer {
  readonly status: number
  readonly reason: string
  readonly rawHeaders: readonly string[]
  readonly body: Readable
}

/** What undici says of a request that it won't send, or that isn't as long as it said. */
const UNFIT = /^UND_ERR_(?:INVALID_ARG|NOT_SUPPORTED|REQ_CONTENT_LENGTH_MISMATCH)$/

/** May be sent twice without doing more than once would (RFC 9110 section 9.2.2). */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])

/**
 * Takes one plain HTTP request to the server that its key belongs to, and the answer back. Never throws: what fails
 * is told to the client and to the log.
 *
 * @param reply - how the host answers
 * @param controller - ends it before its time; aborted here when the client is gone
 */
export async function handle(
  engine: Engine,
  request: AnyRequest,
  response: AnyResponse,
  reply: Reply,
  controller: AbortController
): Promise<void> {
  const { address, forwarding } = originOf(request, engine.trusted)
  const { method, target, rawHeaders } = headOf(request)
  const record = new Record(engine, 'request', { address, method, target })
  const { signal } = controller
  let body: Body | undefined
  const forget = whenGone(sideOf(request), () => {
    if (isOver(request)) return
    controller.abort(new GatewayError('ERR_RINGWAY_CLIENT_GONE', 499, 'The client went away'))
  })
  try {
    if (engine.closing) throw gatewayError('ERR_RINGWAY_CLOSING')
    if (!target.startsWith('/') || valuesOf(rawHeaders, 'host').length > 1)
      throw gatewayError('ERR_RINGWAY_BAD_REQUEST')
    engine.admission.checkHost(hostOf(request))
    const source = { address, method, target, headers: headersOf(request), request: reply.request }
    const refusal = await engine.hooks.refusal(source, signal)
    if (refusal) {
      await relay(engine, request, response, pageAnswer(refusal), reply, signal)
      return record.end(refusal.status)
    }
    const key = await engine.keyOf(source, signal)
    const told = await engine.hooks.forwarding(forwarding, source, signal)
    const hasBody = bodyComes(request)
    if (hasBody && request.readableDidRead) throw gatewayError('ERR_RINGWAY_BODY_CONSUMED')
    const stalled = (): void => controller.abort(gatewayError('ERR_RINGWAY_BODY_TIMEOUT'))
    body = hasBody ? new Body(request, engine.timeouts.read, stalled) : undefined
    const headers = requestHeaders(rawHeaders, told)
    const sent: Sent = { method, path: target, headers }
    const { lease, answer } = await firstAnswer(engine, request, sent, body, key, record, signal)
    // A download or a stream of events may go on for hours: it holds no handshake's place, and is cut when its server
    // has no time left. It can't be asked to end.
    lease.opened(({ cut }) => {
      if (cut) controller.abort(gatewayError('ERR_RINGWAY_CLOSING'))
    })
    const page = engine.pages.instead(answer.status, answer.rawHeaders, request)
    if (page) answer.body.on('error', () => {}).destroy() // nobody reads it
    try {
      await relay(engine, request, response, page ? pageAnswer(page) : answer, reply, signal)
    } finally {
      answer.body.destroy()
      lease.settle('ok')
    }
    record.end(page?.status ?? answer.status)
  } catch (error) {
    const failure = publicError(error)
    record.fail(failure)
    if (!response.destroyed) reply.fail(failure)
  } finally {
    forget()
    body?.leave()
  }
}

/** Sends the answer on, until it is all sent or nobody is there for it. */
async function relay(
  engine: Engine,
  request: AnyRequest,
  response: AnyResponse,
  answer: Answer,
  reply: Reply,
  signal: AbortSignal
): Promise<void> {
  const { status, reason, rawHeaders, body } = answer
  const side = sideOf(request)
  const { send } = engine.timeouts
  const stuck = (): void => {
    if (side.writableLength > 0) side.destroy()
    else side.setTimeout(send) // it is the backend that is silent
  }
  if (send > 0) response.setTimeout(send, stuck)
  body.on('error', () => {}) // the client is told by the response
  // Such answers have no body whatever their Content-Length says (RFC 9112 section 6.3), which undici takes amiss.
  const bodiless = request.method === 'HEAD' || status === 204 || status === 304
  const told = reply.send(status, reason, responseHeaders(rawHeaders), bodiless ? undefined : body)
  await within(told, signal)
  signal.throwIfAborted()
}

/** Asks one server after the other until one answers: the only place where another one is tried. */
async function firstAnswer(
  engine: Engine,
  request: AnyRequest,
  sent: Sent,
  body: Body | undefined,
  key: string | undefined,
  record: Record,
  signal: AbortSignal
): Promise<{ lease: Lease; answer: Answer }> {
  const tries = engine.upstream.tries(key, signal)
  let last: TunnelError | undefined
  for (;;) {
    const lease = await tries.next(last?.sent)
    if (!lease) throw last ?? gatewayError('ERR_RINGWAY_NO_SERVER')
    try {
      const answer = await engine.pools.request(lease.server, request, {
        ...sent,
        // undici takes any async iterable, its types don't say so. A Readable it would destroy, and with it the request.
        body: body ? (body.read() as unknown as Readable) : null,
        signal,
        responseHeaders: 'raw'
      })
      const { statusCode: status, statusText: reason, headers: raw, body: answerBody } = answer
      record.tried(lease.server.id, status)
      // 'raw' asks for names and values in turn; the types don't say so.
      return { lease, answer: { status, reason, rawHeaders: raw as unknown as string[], body: answerBody } }
    } catch (error) {
      if (signal.aborted) {
        lease.settle('cancelled')
        throw signal.reason as Error
      }
      const { code } = error as { code?: unknown }
      // What we sent was no good, or broke off: no server is to blame for that, and none needs to be tried again.
      if (body?.broken || (typeof code === 'string' && UNFIT.test(code))) {
        lease.settle('cancelled')
        throw gatewayError('ERR_RINGWAY_BAD_REQUEST', error)
      }
      last = failureOf(error)
      record.tried(lease.server.id, last.code)
      // A connection that was kept alive may be closed by the server at any moment, in all health.
      const reused = lease.server.sendProxy === undefined && wasReused(error)
      const isTheirs = last.side === 'backend' && !(last.code === 'ERR_RINGWAY_ANSWER_MISSING' && reused)
      lease.settle(isTheirs ? 'failed' : 'cancelled')
      // Where there was no connection, the server has seen nothing of the request.
      const again = !last.sent || IDEMPOTENT.has(sent.method)
      if (!again || !last.retryable || body?.started) throw last
    }
  }
}

/** A request's body, which must still be whole when a try fails before any of it was sent. */
class Body {
  started = false
  /** The client's connection failed in the middle of it. */
  broken = false
  readonly #request: AnyRequest
  readonly #limit: number
  readonly #stalled: () => void
  #left = false

  /**
   * @param limit - milliseconds of silence while it is read; 0 for none
   * @param stalled - called then
   */
  constructor(request: AnyRequest, limit: number, stalled: () => void) {
    this.#request = request
    this.#limit = limit
    this.#stalled = stalled
  }

  /** Nobody waits for the rest: it is read and dropped, since the next request on this connection is behind it. */
  leave(): void {
    this.#left = true
    this.#request.resume() // of no effect while undici still reads, hence the other one
  }

  /** For one try. Leaving it early doesn't destroy the request, whose connection still awaits an answer. */
  async *read(): AsyncGenerator<Buffer, void, void> {
    this.started = true
    const wait = (): NodeJS.Timeout | undefined =>
      this.#limit > 0 ? setTimeout(this.#stalled, this.#limit) : undefined
    let timer = wait()
    try {
      for await (const chunk of this.#request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        clearTimeout(timer)
        yield chunk
        timer = wait()
      }
      // Over HTTP/2 a body that is cut off ends like any other.
      if ('stream' in this.#request && this.#request.aborted) throw new Error('The request was cut off')
    } catch (error) {
      this.broken = true
      throw error
    } finally {
      clearTimeout(timer)
      if (this.#left) this.#request.resume()
    }
  }
}

/** A failed try in the words of a failed upgrade. */
function failureOf(error: unknown): TunnelError {
  if (error instanceof TunnelError) return error
  const { code, message } = error as { code?: unknown; message?: string }
  if (code === 'UND_ERR_HEADERS_TIMEOUT')
    return new TunnelError('ERR_RINGWAY_ANSWER_TIMEOUT', message!, { cause: error })
  if (typeof code === 'string' && /^(?:HPE_|UND_ERR_HEADERS_OVERFLOW)/.test(code)) {
    return new TunnelError('ERR_RINGWAY_BAD_ANSWER', String(message), { cause: error })
  }
  return new TunnelError('ERR_RINGWAY_ANSWER_MISSING', String(message), { cause: error })
}

/** Whether the connection that failed had carried an answer before, as far as can be told: a bare reset doesn't say. */
function wasReused(error: unknown): boolean {
  const { code, socket } = error as { code?: unknown; socket?: { bytesRead?: number } }
  return code === 'ECONNRESET' || code === 'EPIPE' || (socket?.bytesRead ?? 0) > 0
}
