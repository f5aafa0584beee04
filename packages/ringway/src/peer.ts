import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Stream } from 'node:http2'
import { constants } from 'node:http2'
import type { Socket } from 'node:net'
import { canonicalAddress } from '@ringway/core'
import type { ConnectionEnds, RequestHead } from '@ringway/tunnel'
import { plainHeaders } from '@ringway/tunnel'

/** A request of a host's server, of HTTP/1.1 or HTTP/2. */
export type AnyRequest = IncomingMessage | Http2ServerRequest

/** The response to a request, of HTTP/1.1 or HTTP/2. */
export type AnyResponse = ServerResponse | Http2ServerResponse

/** What a request came by, and its answer goes: a socket, or one stream of a connection. */
export function sideOf(request: AnyRequest): Socket | ServerHttp2Stream {
  return 'stream' in request ? request.stream : request.socket
}

/** Who sent a request. To be read at once: a closed connection has no address. */
export function peerOf(request: AnyRequest): { address: string | undefined; proto: 'http' | 'https' } {
  const socket = socketOf(request)
  const remoteAddress = socket?.remoteAddress
  const address = remoteAddress === undefined ? undefined : canonicalAddress(remoteAddress)
  return { address, proto: socket && 'encrypted' in socket ? 'https' : 'http' }
}

/** Both ends of the client's connection; `undefined` on a Unix socket, which has no addresses, and once it is closed. */
export function endsOf(request: AnyRequest): ConnectionEnds | undefined {
  const { remoteAddress, remotePort, localAddress, localPort } = socketOf(request) ?? {}
  if (remoteAddress === undefined || remotePort === undefined) return undefined
  if (localAddress === undefined || localPort === undefined) return undefined
  return {
    source: { address: remoteAddress, port: remotePort },
    destination: { address: localAddress, port: localPort }
  }
}

function socketOf(request: AnyRequest): Socket | undefined {
  if (!('stream' in request)) return request.socket
  const { session } = request.stream as { session: ServerHttp2Stream['session'] }
  return session === undefined || session.destroyed ? undefined : session.socket
}

/** The head of a request, with the target as the client sent it: Express cuts the mount path off `url`. */
export function headOf(request: AnyRequest): RequestHead {
  const { originalUrl } = request as { originalUrl?: unknown }
  return {
    method: request.method ?? '',
    target: typeof originalUrl === 'string' ? originalUrl : (request.url ?? ''),
    httpVersion: request.httpVersion,
    rawHeaders: 'stream' in request ? plainHeaders(request.rawHeaders) : request.rawHeaders
  }
}

/** A request's headers by their names, as key functions get them: the same for HTTP/2, so without pseudo-headers. */
export function headersOf(request: AnyRequest): Readonly<Record<string, string | string[] | undefined>> {
  if (!('stream' in request)) return request.headers
  const headers = Object.entries(request.headers).filter(([name]) => !name.startsWith(':'))
  return { ...Object.fromEntries(headers), host: hostOf(request) }
}

/** The host that a request is for, as the client named it. */
export function hostOf(request: AnyRequest): string | undefined {
  const { headers } = request
  return 'stream' in request ? (request.headers[':authority'] ?? headers.host) : headers.host
}

/** Whether a request has a body. One of HTTP/2 needn't say how long it is. */
export function bodyComes(request: AnyRequest): boolean {
  const { headers } = request
  if ('stream' in request) return !request.stream.endAfterHeaders && headers['content-length'] !== '0'
  return 'transfer-encoding' in headers || Number(headers['content-length'] ?? 0) > 0
}

/** Whether a stream has closed since all was said on it: with a socket, which is there for the next request, a close is news. */
export function isOver(request: AnyRequest): boolean {
  return (
    'stream' in request && !request.stream.aborted && request.stream.rstCode === constants.NGHTTP2_NO_ERROR
  )
}
