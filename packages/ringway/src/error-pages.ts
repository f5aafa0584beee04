import { readFileSync } from 'node:fs'
import { STATUS_CODES } from 'node:http'
import { extname } from 'node:path'
import { Fields } from '@ringway/core/fields'
import Negotiator from 'negotiator'
import { GatewayError } from './errors.ts'
import type { Log } from './options.ts'
import type { Page } from './page.ts'
import { toPage } from './page.ts'
import type { AnyRequest } from './peer.ts'

/** An answer in place of an error's. */
export interface ErrorAnswer {
  /** Default: the error's. */
  readonly status?: number
  /** Besides those that belong to the error, such as `Retry-After`. Default: `Content-Type: text/html; charset=utf-8`. */
  readonly headers?: Readonly<Record<string, string>>
  readonly body: string | Buffer
}

/**
 * What clients read of an error: a file, which is read once, when the gateway is made; HTML; or what a function gives, where
 * `undefined` is the default page. The function is called within the answer, so it isn't waited for; when it throws, the
 * answer is the default page, and the log has one line.
 */
export type ErrorPage =
  | { readonly file: string }
  | { readonly html: string }
  | ((error: GatewayError, request: AnyRequest) => ErrorAnswer | undefined)

/** Error pages by status (`'503'`) or class of statuses (`'5xx'`); the status goes before its class. */
export type ErrorPages = Readonly<Record<string, ErrorPage>>

type MakePage = (error: GatewayError, request: AnyRequest) => ErrorAnswer | undefined

/** By a file's extension; any other is HTML. */
const TYPES: Readonly<Record<string, string>> = {
  '.json': 'application/json',
  '.txt': 'text/plain; charset=utf-8',
  '.svg': 'image/svg+xml'
}

/** What a status means nothing without (RFC 9110): kept of a server's answer that is replaced. */
const KEPT = new Set(['www-authenticate', 'allow', 'retry-after', 'upgrade', 'sec-websocket-version'])

const PLAIN = 'text/plain'
const HTML = 'text/html'
const JSON_TYPE = 'application/json'

/** What clients read of errors. */
export class Pages {
  readonly #pages: ReadonlyMap<string, MakePage>
  readonly #intercepts: boolean
  readonly #log: Log

  /** @param intercepts - whether errors of servers get pages too */
  constructor(pages: ReadonlyMap<string, MakePage>, intercepts: boolean, log: Log) {
    this.#pages = pages
    this.#intercepts = intercepts
    this.#log = log
  }

  /** The answer to an error. Never throws. */
  of(error: GatewayError, request: AnyRequest): Page {
    try {
      const answer = this.#for(error.status)?.(error, request)
      if (answer !== undefined) return pageOf(error, answer)
    } catch (cause) {
      this.#log.error({ error: cause }, `the error page of ${error.status} failed`)
    }
    return pageOf(error, standard(error, request))
  }

  /** The answer in place of a server's; `undefined` where that one goes to the client as it is. Never throws. */
  instead(status: number, rawHeaders: readonly string[], request: AnyRequest): Page | undefined {
    if (!this.#intercepts || this.#for(status) === undefined) return undefined
    const error = new GatewayError('ERR_RINGWAY_INTERCEPTED', status, STATUS_CODES[status] ?? 'Error')
    const page = this.of(error, request)
    const kept = [...page.rawHeaders]
    for (let i = 0; i < rawHeaders.length; i += 2) {
      if (KEPT.has(rawHeaders[i]!.toLowerCase())) kept.push(rawHeaders[i]!, rawHeaders[i + 1]!)
    }
    return { ...page, rawHeaders: kept }
  }

  #for(status: number): MakePage | undefined {
    return this.#pages.get(String(status)) ?? this.#pages.get(`${Math.floor(status / 100)}xx`)
  }
}

/** @throws ConfigError that names the first bad page */
export function checkErrorPages(options: Fields, log: Log): Pages {
  const pages = new Map<string, MakePage>()
  const intercepts = options.boolean('interceptErrors', false)
  if (!options.has('errorPages')) {
    if (intercepts) throw options.error('interceptErrors', 'needs errorPages')
    return new Pages(pages, false, log)
  }
  const given = options.get('errorPages')
  const names = typeof given === 'object' && given !== null ? Object.keys(given) : []
  const fields = new Fields(given, 'errorPages', names)
  for (const name of names) {
    if (!/^[45](?:xx|\d\d)$/.test(name)) {
      throw fields.error(name, "is none of the statuses '400' to '599', nor '4xx' or '5xx'")
    }
    pages.set(name, checkPage(fields, name))
  }
  return new Pages(pages, intercepts, log)
}

function checkPage(pages: Fields, name: string): MakePage {
  const page = pages.get(name)
  if (typeof page === 'function') return page as MakePage
  const fields = new Fields(page, pages.path(name), ['file', 'html'])
  const [file, html] = [fields.text('file'), fields.text('html')]
  if ((file === undefined) === (html === undefined)) {
    throw pages.error(name, 'must be { file }, { html } or a function')
  }
  if (html !== undefined) return () => ({ body: html })
  const answer = readPage(fields, file!)
  return () => answer
}

function readPage(fields: Fields, file: string): ErrorAnswer {
  try {
    const headers = { 'Content-Type': TYPES[extname(file).toLowerCase()] ?? `${HTML}; charset=utf-8` }
    return { headers, body: readFileSync(file) }
  } catch (error) {
    throw fields.error('file', `can't be read: ${(error as Error).message}`)
  }
}

function pageOf(error: GatewayError, { status = error.status, headers, body }: ErrorAnswer): Page {
  return toPage(status, { 'Content-Type': `${HTML}; charset=utf-8`, ...error.headers }, headers, body)
}

/** A line of text, or what the client would rather have. */
function standard(error: GatewayError, request: AnyRequest): ErrorAnswer {
  const type = new Negotiator({ headers: request.headers }).mediaType([PLAIN, HTML, JSON_TYPE]) ?? PLAIN
  const charset = type === JSON_TYPE ? '' : '; charset=utf-8'
  return { headers: { 'Content-Type': `${type}${charset}`, Vary: 'Accept' }, body: standardBody(type, error) }
}

function standardBody(type: string, { status, code, message }: GatewayError): string {
  const title = `${status} ${STATUS_CODES[status] ?? ''}`.trim()
  if (type === JSON_TYPE) return `${JSON.stringify({ status, code, message })}\n`
  if (type === PLAIN) return `${title}: ${message}\n`
  const text = escaped(message)
  return `<!doctype html><meta charset="utf-8"><title>${title}</title><h1>${title}</h1><p>${text}\n`
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
