import type { ServerResponse } from 'node:http'
import { STATUS_CODES } from 'node:http'
import { pipeline } from 'node:stream/promises'
import type { UpgradeClient } from './client.ts'
import type { Pages } from './error-pages.ts'
import type { AnyRequest, AnyResponse } from './peer.ts'
import type { Reply } from './replies.ts'
import { forgetBody } from './replies.ts'
import { streamReply } from './stream-reply.ts'

/** Answers by the response alone. */
export function plainReply(request: AnyRequest, response: AnyResponse, pages: Pages): Reply {
  if ('stream' in response) return streamReply(request, response, pages)
  return {
    request,
    fail(error) {
      if (response.headersSent) return // the host's chain has answered meanwhile
      // What was set for another answer says nothing of this one's body.
      forgetBody(response)
      const { status, rawHeaders, body } = pages.of(error, request)
      if (error.status === 408) response.shouldKeepAlive = false // the rest of the request may still come
      setHeaders(response, status, rawHeaders)
      response.writeHead(status, STATUS_CODES[status] ?? '') // named, as a reason that Node refused may be set
      response.end(body)
    },
    async send(status, reason, rawHeaders, body) {
      if (response.headersSent) return undefined
      setHeaders(response, status, rawHeaders)
      // undici reads it as UTF-8, so it may hold what no HTTP head can.
      response.writeHead(status, /[^\t\x20-\x7e\x80-\xff]/.test(reason) ? '' : reason)
      if (body === undefined) return void response.end()
      response.flushHeaders() // the first byte of the body may take its time
      try {
        await pipeline(body, response)
        return undefined
      } catch (error) {
        return error // the response is destroyed, so that the client can tell
      }
    }
  }
}

/** Answers an upgrade that goes through no chain: its 101 needs no response, all else has one. */
export function upgradeReply(client: UpgradeClient, pages: Pages): Reply {
  const { request } = client
  return {
    request,
    fail(error) {
      plainReply(request, client.response, pages).fail(error)
    },
    async send(status, reason, rawHeaders, body) {
      if (status === 101) return client.switchProtocols(reason, rawHeaders)
      return plainReply(request, client.response, pages).send(status, reason, rawHeaders, body)
    }
  }
}

/** Answers by the response, and gives errors of ours to the chain: Express and Connect. */
export function middlewareReply(
  request: AnyRequest,
  response: AnyResponse,
  pages: Pages,
  next: (error?: unknown) => void
): Reply {
  return {
    ...plainReply(request, response, pages),
    fail(error) {
      if (response.headersSent) return
      // Express shows it to clients, unless NODE_ENV is production. The log has the cause, and its stack.
      error.stack = String(error)
      try {
        next(error)
      } catch {
        response.destroy() // a chain that can't even be told
      }
    }
  }
}

/** Sets a backend's headers. They win over what the host's chain has set, but its cookies stay. */
export function setHeaders(response: ServerResponse, status: number, rawHeaders: readonly string[]): void {
  if (status === 101) {
    // A chain sets these for the page that it expected: on a 101 they would be a lie.
    forgetBody(response)
    response.sendDate = false // nothing is added to the backend's 101
  }
  const seen = new Set(['set-cookie'])
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!
    if (seen.has(name.toLowerCase())) response.appendHeader(name, rawHeaders[i + 1]!)
    else response.setHeader(name, rawHeaders[i + 1]!)
    seen.add(name.toLowerCase())
  }
  if (status === 426) response.setHeader('Connection', 'close, upgrade')
}
