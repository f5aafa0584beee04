import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Stream } from 'node:http2'
import { constants } from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Networks } from '@ringway/core/networks'
import type { Offer, RequestHead } from '@ringway/tunnel'
import { admitConnect, StreamSide } from '@ringway/tunnel'
import type { Client } from './client.ts'
import { gone, guard } from './client.ts'
import { headOf } from './peer.ts'
import type { Origin } from './trust.ts'
import { originOf } from './trust.ts'

/**
 * The client's side of one upgrade that came as an extended CONNECT of HTTP/2 (RFC 8441), from the server's 'stream' event
 * until its tunnel begins or it is refused. Its 101 is a 200 behind which the stream goes on.
 */
export class StreamClient implements Client {
  readonly request: Http2ServerRequest
  readonly response: Http2ServerResponse
  readonly socket: Duplex
  readonly origin: Origin
  head: RequestHead
  readonly signal: AbortSignal
  readonly answered: Promise<void>
  readonly #stream: ServerHttp2Stream
  readonly #controller = new AbortController()
  #answered!: () => void

  /**
   * @param request - of the stream
   * @param response - of the stream
   * @param trusted - peers that are believed
   */
  constructor(request: Http2ServerRequest, response: Http2ServerResponse, trusted: Networks | undefined) {
    this.request = request
    this.response = response
    this.#stream = request.stream
    this.origin = originOf(request, trusted)
    this.head = headOf(request)
    this.signal = this.#controller.signal
    this.answered = new Promise(resolve => {
      this.#answered = resolve
    })
    this.socket = new StreamSide(this.#stream)
    guard(this.socket)
    this.socket.once('close', this.#gone)
    this.#stream.once('finish', this.#finished)
  }

  /** A stream waits for no other one. But who resets it in the same packet has no server dialled for it. */
  async ready(): Promise<void> {
    await new Promise(setImmediate)
    this.signal.throwIfAborted()
    if (this.socket.destroyed) throw gone('The client went away before it was answered')
  }

  admit(): Offer {
    const { head, offer } = admitConnect(this.request.rawHeaders)
    this.head = head
    return offer
  }

  abort(reason: Error): void {
    if (this.signal.aborted) this.socket.destroy()
    else this.#controller.abort(reason)
  }

  hurry(limit: number): void {
    const stream = this.#stream
    if (limit === 0 || stream.destroyed) return
    stream.setTimeout(limit)
    stream.off('timeout', this.#cut).on('timeout', this.#cut)
  }

  async takeOver(send: () => Promise<void>): Promise<Duplex> {
    const isFirst = !this.response.headersSent
    await send()
    const isOpen = this.response.headersSent && !this.#stream.writableEnded && !this.socket.destroyed
    if (!isFirst || !isOpen) throw gone('The client did not get the 101')
    this.#quit()
    this.#answered()
    return this.socket
  }

  #quit(): void {
    const stream = this.#stream
    stream.off('finish', this.#finished).off('timeout', this.#cut)
    if (!stream.destroyed) stream.setTimeout(0)
    this.socket.off('close', this.#gone)
  }

  /** A whole answer is out, and it was no 101: whatever the client still says may be frames, and reaches nobody. */
  readonly #finished = (): void => {
    this.#quit()
    this.#controller.abort(gone('The client was answered before its tunnel was open'))
    this.#answered()
    // The way to say that the rest isn't wanted (RFC 9113 section 8.1).
    if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_NO_ERROR)
  }

  readonly #cut = (): void => {
    this.socket.destroy()
  }

  readonly #gone = (): void => {
    this.#quit()
    this.#controller.abort(gone('The client went away before its tunnel was open'))
    this.#answered()
  }
}
