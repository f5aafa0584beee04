import type { IncomingMessage } from 'node:http'
import { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Networks } from '@ringway/core/networks'
import type { Offer, RequestHead } from '@ringway/tunnel'
import { admit, TunnelError } from '@ringway/tunnel'
import type { Lingering } from './linger.ts'
import type { AnyRequest, AnyResponse } from './peer.ts'
import { headOf } from './peer.ts'
import type { Origin } from './trust.ts'
import { originOf } from './trust.ts'

/** What the chain's responses are called by their socket; it isn't in Node's types. */
interface Assigned {
  _httpMessage?: ServerResponse | null
}

/** An error listener that a stream may be left with: what befalls a socket shows at its 'close'. */
export function guard(stream: Duplex): void {
  if (!stream.listeners('error').includes(ignore)) stream.on('error', ignore)
}

function ignore(): void {}

/** Waits until the responses to requests that came before on the same connection are done. */
export async function turn(socket: Duplex): Promise<void> {
  for (;;) {
    const pending = (socket as Assigned)._httpMessage
    if (!pending || socket.destroyed) return
    await new Promise<void>(resolve => {
      // Not every line of Node lets a response say 'close' when its socket has.
      const over = (): void => {
        pending.off('close', over)
        socket.off('close', over)
        resolve()
      }
      pending.on('close', over)
      socket.on('close', over)
    })
  }
}

/** The client's side of one upgrade, until its tunnel begins or it is refused. */
export interface Client {
  readonly request: AnyRequest
  readonly response: AnyResponse
  /** What its tunnel will carry. */
  readonly socket: Duplex
  readonly origin: Origin
  /** As sent until {@link admit}, then as the backend gets it. */
  readonly head: RequestHead
  /** Aborted when the client is gone, or by {@link abort}. */
  readonly signal: AbortSignal
  /** Resolves when the answer was given, or can't be. */
  readonly answered: Promise<void>

  /**
   * Waits until it can be answered.
   *
   * @param limit - milliseconds in which something must pass while it waits for those before it
   * @throws {@link TunnelError} `ERR_RINGWAY_CLIENT_GONE`, or the reason of {@link abort}
   */
  ready(limit: number): Promise<void>

  /** @throws {@link TunnelError} that names the fault of what is no good handshake */
  admit(): Offer

  /** Ends the wait for a backend with a reason of ours, which the client is told. At the second call it is cut off. */
  abort(reason: Error): void

  /** From now on a client that takes nothing of its answer for `limit` milliseconds is cut off. */
  hurry(limit: number): void

  /**
   * Sends the 101 in the words of the host, waits for it to be out, and lets the client go: what it said meanwhile is
   * still in its buffer.
   *
   * @param send - gives the 101 to the host
   * @returns what the tunnel carries
   * @throws {@link TunnelError} `ERR_RINGWAY_CLIENT_GONE` when the client is gone or the host answered otherwise
   */
  takeOver(send: () => Promise<void>): Promise<Duplex>
}

/**
 * The client's side of one upgrade, from the server's 'upgrade' event until its tunnel begins or it is refused.
 * It is answered through an ordinary response on the upgrade's socket, so that an app's chain can guard it; a 101 that no
 * chain has to do with is written without one.
 */
export class UpgradeClient implements Client {
  readonly request: IncomingMessage
  /** Not always the event's stream: Node 26 gives another one when the request has a body. */
  readonly socket: Socket
  readonly origin: Origin
  /** The client's head, with the target as it was sent, whatever the host's routers make of `request.url`. */
  readonly head: RequestHead
  readonly signal: AbortSignal
  readonly #lingering: Lingering
  readonly #controller = new AbortController()
  #answer: { readonly response: ServerResponse; readonly given: Promise<void> } | undefined
  #isReady = false
  #taking = false
  #switched = false

  /**
   * @param request - of the 'upgrade' event
   * @param stream - of the 'upgrade' event
   * @param head - of the 'upgrade' event: what came behind the request
   * @param lingering - takes the socket behind an answer that is no 101
   * @param trusted - peers that are believed
   */
  constructor(
    request: IncomingMessage,
    stream: Duplex,
    head: Buffer,
    lingering: Lingering,
    trusted: Networks | undefined
  ) {
    this.request = request
    this.socket = request.socket
    guard(this.socket)
    guard(stream)
    this.#lingering = lingering
    this.origin = originOf(request, trusted)
    this.head = headOf(request)
    this.signal = this.#controller.signal
    // Back into the socket's own buffer: one place for all that the client says before its tunnel begins.
    if (head.length > 0 && stream === this.socket) this.socket.unshift(head)
    if (stream !== this.socket) {
      request.resume() // the body must pass before the socket says anything more
      stream.resume()
    }
    this.socket.on('drain', this.#drained)
    // A client that ends and has nothing more to say doesn't wait for an answer; nginx sees it the same way.
    this.socket.once('end', this.#gone).once('close', this.#gone)
  }

  /** Made when it is first asked for, as few upgrades need it; on the socket once {@link ready} has resolved. */
  get response(): ServerResponse {
    return this.#answered().response
  }

  /** Resolves when the answer was given, or can't be. */
  get answered(): Promise<void> {
    return this.#answered().given
  }

  #answered(): { readonly response: ServerResponse; readonly given: Promise<void> } {
    if (this.#answer) return this.#answer
    const response = new ServerResponse(this.request)
    response.on('error', ignore)
    response.shouldKeepAlive = false // what follows on this connection may be frames
    const given = new Promise<void>(resolve => {
      response.once('finish', () => {
        this.#release(response)
        resolve()
      })
      response.once('close', resolve)
      if (this.socket.closed) resolve()
    })
    if (this.#isReady) response.assignSocket(this.socket)
    return (this.#answer = { response, given })
  }

  /** Waits until it's the turn of this upgrade's response. */
  async ready(limit: number): Promise<void> {
    if ((this.socket as Assigned)._httpMessage) {
      this.hurry(limit)
      await turn(this.socket)
      this.socket.setTimeout(0).off('timeout', this.#cut)
    }
    this.signal.throwIfAborted()
    if (this.socket.destroyed) throw gone('The client went away before it was answered')
    this.#isReady = true
    this.#answer?.response.assignSocket(this.socket)
  }

  admit(): Offer {
    return admit(this.head)
  }

  abort(reason: Error): void {
    if (this.signal.aborted) this.socket.destroy()
    else this.#controller.abort(reason)
  }

  hurry(limit: number): void {
    if (limit > 0) this.socket.setTimeout(limit).off('timeout', this.#cut).on('timeout', this.#cut)
  }

  async takeOver(send: () => Promise<void>): Promise<Socket> {
    this.#taking = true
    await send()
    if (this.#answer) {
      await this.#answer.given
      const { statusCode, writableFinished } = this.#answer.response
      this.#switched = statusCode === 101 && writableFinished
    }
    this.#quit()
    if (this.#switched && !this.socket.destroyed) return this.socket
    throw gone('The client did not get the 101')
  }

  /** Writes a 101 without a response, and waits for it to be out. */
  async switchProtocols(reason: string, rawHeaders: readonly string[]): Promise<void> {
    const { socket } = this
    let head = `HTTP/1.1 101 ${reason}\r\n`
    for (let i = 0; i < rawHeaders.length; i += 2) head += `${rawHeaders[i]!}: ${rawHeaders[i + 1]!}\r\n`
    await new Promise<void>(resolve => {
      socket.write(`${head}\r\n`, 'latin1', error => {
        this.#switched = !error
        resolve()
      })
    })
    this.request.resume() // else it never says 'close', for which loggers wait
  }

  /** The answer is out: the response lets the socket go. */
  #release(response: ServerResponse): void {
    const { socket } = this
    if ((socket as Assigned)._httpMessage !== response) return
    response.detachSocket(socket)
    this.request.resume() // else it never says 'close', for which loggers wait
    // As Node does behind each response: later, so that all who wait for 'finish' hear it first.
    process.nextTick(() => response.emit('close'))
    if (!this.#taking || response.statusCode !== 101) this.#dismiss()
  }

  #dismiss(): void {
    this.#quit()
    this.#controller.abort(gone('The client was answered before its tunnel was open'))
    this.#lingering.add(this.socket)
  }

  #quit(): void {
    this.socket.setTimeout(0).off('timeout', this.#cut)
    this.socket.off('drain', this.#drained).off('end', this.#gone).off('close', this.#gone)
  }

  /** Node takes its own listener off at an upgrade; without, a body over 64 KiB would never go on. */
  readonly #drained = (): void => {
    // Ours, or one before it on this connection that isn't out yet.
    ;(this.socket as Assigned)._httpMessage?.emit('drain')
  }

  readonly #cut = (): void => {
    this.socket.destroy()
  }

  readonly #gone = (): void => {
    this.#quit()
    this.#controller.abort(gone('The client went away before its tunnel was open'))
    this.socket.destroy()
    this.request.destroy() // as Node does with a plain request: it says 'close', for which loggers wait
  }
}

/** The client went away, or hears nothing more. */
export function gone(message: string): TunnelError {
  return new TunnelError('ERR_RINGWAY_CLIENT_GONE', message)
}
