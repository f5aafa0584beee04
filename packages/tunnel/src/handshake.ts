import { hash } from 'node:crypto'
import type { Socket } from 'node:net'
import type { Offer, RequestHead } from './admit.ts'
import type { Framing } from './body.ts'
import { framingOf, readBody } from './body.ts'
import type { Target, Wait } from './dial.ts'
import { dial, limit, nameOf } from './dial.ts'
import { TunnelError } from './errors.ts'
import { extensionNames, namedInConnection, takesHandshakeAway, valuesOf } from './fields.ts'
import type { Forwarding } from './headers.ts'
import { responseHeaders, upgradeRequest } from './headers.ts'
import type { ResponseHead } from './response-head.ts'
import { malformed, ResponseHeadParser } from './response-head.ts'

/** How long a try took, in milliseconds from its start. */
export interface Timing {
  /** Until the connection stood, TLS included. */
  readonly connect: number
  /** Until the whole head of the answer was there. */
  readonly answer: number
}

/** The backend took the upgrade: a valid `101`. */
export interface Accepted {
  /** Tells it from {@link Declined}. */
  readonly kind: 'accepted'
  /** Always 101. */
  readonly status: 101
  /** The reason phrase as sent, may be empty. */
  readonly reason: string
  /** Names and values in turn, hop-by-hop headers dropped, `Connection` and `Upgrade` set anew. */
  readonly rawHeaders: string[]
  /** Paused, with nothing of it read but `rest`. */
  readonly backend: Socket
  /** What the backend sent right behind its head. */
  readonly rest: Buffer
  readonly timing: Timing
}

/** The backend gave any other answer, to be relayed as it is. */
export interface Declined {
  /** Tells it from {@link Accepted}. */
  readonly kind: 'declined'
  /** 200 to 599. */
  readonly status: number
  /** The reason phrase as sent, may be empty. */
  readonly reason: string
  /** Names and values in turn, hop-by-hop headers dropped; `Content-Length` as sent. */
  readonly rawHeaders: string[]
  /** The body without its framing; throws a {@link TunnelError} when it is cut short. */
  readonly body: AsyncIterable<Buffer>
  /** To be destroyed once the body was read or isn't wanted. Nothing but our request was ever written to it. */
  readonly backend: Socket
  readonly timing: Timing
}

/** What {@link open} needs to know of one try. A limit of 0 is none. */
export interface OpenOptions {
  /** Milliseconds for name look-up, TCP and TLS. */
  readonly connect: number
  /** Milliseconds from our request to the last byte of the answer's head. */
  readonly handshake: number
  /** Milliseconds of silence that the body of an answer other than 101 may have. */
  readonly read: number
  /** Ends the try: the socket is destroyed and the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/**
 * One try at one backend: dial, send our own upgrade request, await the final answer, check it.
 *
 * @param target - the backend
 * @param request - the client's request head
 * @param offer - what {@link admit} read in it
 * @param forwarding - what the backend is told of the client
 * @param options - limits in milliseconds, and a signal
 * @throws {@link TunnelError} `ERR_RINGWAY_CONNECT_FAILED`, `…_CONNECT_TIMEOUT`, `…_ANSWER_MISSING`,
 * `…_ANSWER_TIMEOUT` (all retryable) or `…_BAD_ANSWER`; the signal's reason; `TypeError` when a header of the
 * request would break out of its line
 */
export async function open(
  target: Target,
  request: RequestHead,
  offer: Offer,
  forwarding: Forwarding,
  options: OpenOptions
): Promise<Accepted | Declined> {
  const text = upgradeRequest(request, forwarding)
  const began = performance.now()
  const backend = await dial(target, { timeout: options.connect, signal: options.signal })
  const connect = performance.now() - began
  try {
    backend.write(text, 'latin1')
    const wait = { timeout: options.handshake, signal: options.signal }
    const { head, rest } = await readHead(backend, nameOf(target), wait)
    const timing = { connect, answer: performance.now() - began }
    if (head.status === 101) {
      checkAccepted(head, offer)
      return {
        kind: 'accepted',
        status: 101,
        reason: head.reason,
        rawHeaders: switchingHeaders(head.rawHeaders),
        backend,
        rest,
        timing
      }
    }
    return decline(head, rest, backend, options.read, timing)
  } catch (error) {
    backend.destroy()
    throw error
  }
}

/** Reads until the head is complete, then leaves the socket paused. */
async function readHead(
  backend: Socket,
  name: string,
  wait: Wait
): Promise<{ head: ResponseHead; rest: Buffer }> {
  return new Promise((resolve, reject) => {
    const parser = new ResponseHeadParser()
    const timer = limit(wait.timeout, () => {
      fail(new TunnelError('ERR_RINGWAY_ANSWER_TIMEOUT', `${name} did not answer within ${wait.timeout} ms`))
    })

    function settle(): void {
      clearTimeout(timer)
      backend.off('data', read).off('error', lost).off('end', lost).off('close', lost)
      wait.signal?.removeEventListener('abort', abort)
    }
    function read(chunk: Buffer): void {
      try {
        const answer = parser.push(chunk)
        if (answer === undefined) return
        backend.pause()
        settle()
        resolve(answer)
      } catch (error) {
        fail(error)
      }
    }
    function fail(reason: unknown): void {
      settle()
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- the signal's reason, whatever it is
      reject(reason)
    }
    function lost(cause?: unknown): void {
      const message = `${name} closed the connection ${parser.started ? 'in the middle of' : 'without'} an answer`
      fail(new TunnelError('ERR_RINGWAY_ANSWER_MISSING', message, cause instanceof Error ? { cause } : {}))
    }
    function abort(): void {
      fail(wait.signal!.reason)
    }
    if (wait.signal?.aborted) return abort()
    wait.signal?.addEventListener('abort', abort)
    backend.on('data', read).on('error', lost).on('end', lost).on('close', lost)
    return undefined
  })
}

/** RFC 6455 section 4.1, what a client must check of the answer. nginx and HAProxy pass all of it on. */
function checkAccepted(head: ResponseHead, offer: Offer): void {
  if (head.httpVersion !== '1.1') throw malformed('a 101 must be HTTP/1.1')
  const upgrade = valuesOf(head.rawHeaders, 'upgrade')
  if (upgrade.length !== 1 || upgrade[0]!.toLowerCase() !== 'websocket') {
    throw malformed('its Upgrade header is not "websocket"')
  }
  const connection = namedInConnection(head.rawHeaders)
  if (!connection.includes('upgrade')) throw malformed('its Connection header does not contain "upgrade"')
  if (takesHandshakeAway(connection)) {
    throw malformed('its Connection header names a header that the handshake needs')
  }
  const accept = valuesOf(head.rawHeaders, 'sec-websocket-accept')
  if (accept.length !== 1 || accept[0] !== acceptKey(offer.key)) {
    throw malformed('its Sec-WebSocket-Accept is not the one for this key')
  }
  const protocols = valuesOf(head.rawHeaders, 'sec-websocket-protocol')
  if (protocols.length > 1 || (protocols.length === 1 && !offer.protocols.includes(protocols[0]!))) {
    throw malformed('it chooses a subprotocol that was not offered')
  }
  const extensions = valuesOf(head.rawHeaders, 'sec-websocket-extensions').flatMap(extensionNames)
  if (!extensions.every(name => offer.extensions.includes(name))) {
    throw malformed('it chooses an extension that was not offered')
  }
}

/** The headers of a 101 as the client gets them. */
function switchingHeaders(raw: readonly string[]): string[] {
  const headers = responseHeaders(raw)
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    // Some servers send a length with it, which RFC 9110 section 8.6 forbids: a client could wait for a body.
    if (headers[i]!.toLowerCase() === 'content-length') headers.splice(i, 2)
  }
  headers.push('Connection', 'Upgrade', 'Upgrade', 'websocket')
  return headers
}

/**
 * The `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
 *
 * @param key - the header's value as sent
 * @see RFC 6455 section 4.2.2, item 5.4
 */
export function acceptKey(key: string): string {
  return hash('sha1', `${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`, 'base64')
}

function decline(head: ResponseHead, rest: Buffer, backend: Socket, read: number, timing: Timing): Declined {
  const framing = framingOf(head)
  const rawHeaders = responseHeaders(head.rawHeaders)
  // The one hop-by-hop header that a client needs to see: which versions or protocols would have been taken.
  if (head.status === 426) {
    for (const value of valuesOf(head.rawHeaders, 'upgrade')) rawHeaders.push('Upgrade', value)
  }
  backend.setTimeout(read).on('timeout', () => {
    const { bytesRead } = backend
    // Immediates run behind the sockets' reads: when the process was held up, what came meanwhile is counted first.
    setImmediate(() => {
      // What waits to be read means that the reader is slow, not the backend.
      if (backend.readableLength > 0 || backend.bytesRead > bytesRead) backend.setTimeout(read)
      else backend.destroy(malformed(`its body was silent for ${read} ms`))
    })
  })
  if (rest.length > 0) backend.unshift(rest)
  const body = readOnce(backend, framing)
  return { kind: 'declined', status: head.status, reason: head.reason, rawHeaders, body, backend, timing }
}

/** The body, and with its end the socket's, however it came: not every line of Node destroys a stream that was read. */
async function* readOnce(backend: Socket, framing: Framing): AsyncGenerator<Buffer, void, void> {
  try {
    yield* readBody(backend, framing)
  } finally {
    backend.destroy()
  }
}
