import type { Http2ServerResponse } from 'node:http2'
import { pipeline } from 'node:stream/promises'
import { streamHeaders } from '@ringway/tunnel'
import type { Pages } from './error-pages.ts'
import type { AnyRequest } from './peer.ts'
import type { Reply } from './replies.ts'
import { forgetBody } from './replies.ts'

/** Answers by the response alone, over HTTP/2: a 101 is a 200 whose stream stays open (RFC 8441 section 5). */
export function streamReply(request: AnyRequest, response: Http2ServerResponse, pages: Pages): Reply {
  return {
    request,
    fail(error) {
      if (response.headersSent || response.stream.destroyed) return
      forgetBody(response)
      const { status, rawHeaders, body } = pages.of(error, request)
      setStreamHeaders(response, rawHeaders)
      response.statusCode = status
      response.end(body)
    },
    async send(status, _reason, rawHeaders, body) {
      if (response.headersSent || response.stream.destroyed) return undefined
      setStreamHeaders(response, rawHeaders)
      if (status === 101) {
        forgetBody(response)
        response.sendDate = false
        return void response.writeHead(200)
      }
      response.writeHead(status) // at once: the first byte of the body may take its time
      if (body === undefined) return void response.end()
      try {
        await pipeline(body, response)
        return undefined
      } catch (error) {
        return error // the stream is reset, so that the client can tell
      }
    }
  }
}

/** Sets a backend's headers. They win over what the host's chain has set, but its cookies stay. */
export function setStreamHeaders(response: Http2ServerResponse, rawHeaders: readonly string[]): void {
  const headers = streamHeaders(rawHeaders)
  const joined = new Map<string, string>()
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!.toLowerCase()
    const value = headers[i + 1]!
    if (name === 'set-cookie') response.appendHeader(name, value)
    // On one line, as Node refuses many names that come twice, such as 'etag', by a throw.
    else joined.set(name, joined.has(name) ? `${joined.get(name)}, ${value}` : value)
  }
  for (const [name, value] of joined) response.setHeader(name, value)
}
