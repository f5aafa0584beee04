import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http'
import { Readable } from 'node:stream'

/** A whole answer of ours, in place of a server's. */
export interface Page {
  readonly status: number
  /** Names and values in turn, each name once, `Content-Type` and `Content-Length` among them. */
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
}

type Headers = Readonly<Record<string, string>>

/**
 * An answer that can be sent, made of what a user's code gave.
 *
 * @param own - headers that are ours
 * @param headers - the user's, which win
 * @throws RangeError, TypeError for what no answer can be
 */
export function toPage(
  status: number,
  own: Headers,
  headers: Headers | undefined,
  body: string | Buffer
): Page {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new RangeError(`An answer's status must be one of 200 to 599, not ${status}`)
  }
  const bytes = Buffer.from(body as string) // a copy of what it is, text or bytes
  const all = new Map<string, [string, string]>()
  for (const [name, value] of [...Object.entries(own), ...Object.entries(headers ?? {})]) {
    checkHeader(name, value)
    all.set(name.toLowerCase(), [name, value])
  }
  all.delete('transfer-encoding')
  all.set('content-length', ['Content-Length', String(bytes.length)])
  return { status, rawHeaders: [...all.values()].flat(), body: bytes }
}

/** @throws TypeError for what no head can hold */
export function checkHeader(name: string, value: string): void {
  validateHeaderName(name)
  if (typeof value !== 'string') throw new TypeError(`${name} must be a text, not a ${typeof value}`)
  validateHeaderValue(name, value)
}

/** As a server's answer would be, for whoever sends such ones on. */
export function pageAnswer({ status, rawHeaders, body }: Page): {
  readonly status: number
  readonly reason: string
  readonly rawHeaders: readonly string[]
  readonly body: Readable
} {
  return { status, reason: STATUS_CODES[status] ?? '', rawHeaders, body: Readable.from([body]) }
}
