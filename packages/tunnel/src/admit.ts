import { TunnelError } from './errors.ts'
import { extensionNames, takesHandshakeAway, tokens } from './fields.ts'

/** A client's request head, as it came. A server's `IncomingMessage` has all four; its `url` is the target. */
export interface RequestHead {
  /** As sent, such as `GET`. */
  readonly method: string
  /** The request target as sent, path and query, such as `/chat?room=1`. */
  readonly target: string
  /** Such as `1.1`. */
  readonly httpVersion: string
  /** Names and values in turn, as Node's `rawHeaders`: repeated headers stay apart, in the order sent. */
  readonly rawHeaders: readonly string[]
}

/** What a handshake offered, so that the backend's answer can be held against it. */
export interface Offer {
  /** The value of `Sec-WebSocket-Key`. */
  readonly key: string
  /** The subprotocols offered, in order. */
  readonly protocols: readonly string[]
  /** The names of the extensions offered. */
  readonly extensions: readonly string[]
}

/** The longest target, in bytes, and the most headers and bytes of them: more than any client needs. */
const LONGEST_TARGET = 8_192
const MOST_HEADERS = 100
const MOST_HEADER_BYTES = 65_536

/** Not `//`, nor the `/\` that many read as such: a backend may take what follows for a host. No fragment either. */
const PATH = /^\/(?![/\\])[\x21\x22\x24-\x7e\x80-\xff]*$/

/** A host and a port, roughly: RFC 3986 section 3.2, without the user's name that HTTP forbids. */
const HOST = /^[\w.~%!$&'()*+;=:[\]\x80-\xff-]+$/

/**
 * Reads a client's WebSocket handshake strictly: RFC 6455 section 4.2.1 in its order, and what a proxy must not
 * let pass besides (a body, another protocol in `Upgrade`, an absolute target).
 *
 * @param request - the client's request head
 * @returns what the client offered
 * @throws {@link TunnelError} `ERR_RINGWAY_BAD_HANDSHAKE` (400), `ERR_RINGWAY_BAD_VERSION` (426), or
 * `ERR_RINGWAY_HEAD_TOO_LARGE` (431) for a target of more than 8,192 bytes, more than 100 headers or 65,536 bytes of them;
 * the message names the fault in one line
 */
export function admit(request: RequestHead): Offer {
  checkSize(request)
  let hosts = 0
  let lengths = 0
  let hasBody = false
  let expects = false
  const upgrade: string[] = []
  const connection: string[] = []
  const keys: string[] = []
  const versions: string[] = []
  const protocols: string[] = []
  const extensions: string[] = []
  const raw = request.rawHeaders
  for (let i = 0; i < raw.length; i += 2) {
    const value = raw[i + 1]!
    switch (raw[i]!.toLowerCase()) {
      case 'host': {
        hosts += HOST.test(value) ? 1 : 2 // one that names no host is as wrong as two
        break
      }
      case 'upgrade': {
        upgrade.push(value)
        break
      }
      case 'connection': {
        connection.push(...tokens(value.toLowerCase()))
        break
      }
      case 'sec-websocket-key': {
        keys.push(value)
        break
      }
      case 'sec-websocket-version': {
        versions.push(value)
        break
      }
      case 'sec-websocket-protocol': {
        protocols.push(...tokens(value))
        break
      }
      case 'sec-websocket-extensions': {
        extensions.push(...extensionNames(value))
        break
      }
      case 'content-length': {
        lengths += 1
        hasBody ||= value !== '0'
        break
      }
      case 'transfer-encoding': {
        hasBody = true
        break
      }
      case 'expect': {
        expects = true
        break
      }
      default:
    }
  }
  if (request.method !== 'GET') throw bad('the method must be GET')
  if (request.httpVersion !== '1.1') throw bad('the HTTP version must be 1.1')
  if (!PATH.test(request.target)) throw bad('the request target must be a path')
  if (hosts !== 1) throw bad('there must be exactly one Host header, and it must name a host')
  if (upgrade.length !== 1 || upgrade[0]!.toLowerCase() !== 'websocket') {
    throw bad('the Upgrade header must be "websocket" and nothing else')
  }
  if (!connection.includes('upgrade')) throw bad('the Connection header must contain "upgrade"')
  if (takesHandshakeAway(connection)) {
    throw bad('the Connection header must not name a header that the handshake needs')
  }
  if (keys.length !== 1 || !/^[A-Za-z0-9+/]{22}==$/.test(keys[0]!)) {
    throw bad('there must be exactly one Sec-WebSocket-Key, 16 bytes in base64')
  }
  if (versions.length !== 1) throw bad('there must be exactly one Sec-WebSocket-Version')
  if (versions[0] !== '13')
    throw new TunnelError('ERR_RINGWAY_BAD_VERSION', 'Sec-WebSocket-Version must be 13')
  if (lengths > 1) throw bad('there must be at most one Content-Length')
  if (hasBody) throw bad('a WebSocket handshake has no body')
  if (expects) throw bad('a WebSocket handshake has no Expect header')
  return { key: keys[0]!, protocols, extensions }
}

function checkSize({ target, rawHeaders }: RequestHead): void {
  if (target.length > LONGEST_TARGET)
    throw tooLarge(`the request target has more than ${LONGEST_TARGET} bytes`)
  if (rawHeaders.length > MOST_HEADERS * 2) throw tooLarge(`there are more than ${MOST_HEADERS} headers`)
  let bytes = 0
  for (const text of rawHeaders) bytes += text.length
  if (bytes > MOST_HEADER_BYTES) throw tooLarge(`the headers have more than ${MOST_HEADER_BYTES} bytes`)
}

function tooLarge(fault: string): TunnelError {
  return new TunnelError('ERR_RINGWAY_HEAD_TOO_LARGE', `WebSocket handshake too large: ${fault}`)
}

function bad(fault: string): TunnelError {
  return new TunnelError('ERR_RINGWAY_BAD_HANDSHAKE', `Bad WebSocket handshake: ${fault}`)
}
