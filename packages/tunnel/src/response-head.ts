import { TunnelError } from './errors.ts'
import { isFieldValue, isToken, trimBlanks } from './fields.ts'

/** The head of a backend's answer. */
export interface ResponseHead {
  readonly status: number
  /** The reason phrase, may be empty. */
  readonly reason: string
  /** `1.0` or `1.1`. */
  readonly httpVersion: string
  /** Names and values in turn, in the order sent. */
  readonly rawHeaders: string[]
}

/** Bytes that one answer's head, interim answers included, may have. */
const LIMIT = 65_536

const STATUS_LINE = /^HTTP\/(1\.[01]) ([1-5]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/

/**
 * Reads the final head of an answer from bytes that come in any pieces, line by line, so that a fault is told as
 * soon as its line is there. Strict (RFC 9112): what isn't exactly a head is `ERR_RINGWAY_BAD_ANSWER`. Interim
 * answers (100, 103) are dropped.
 */
export class ResponseHeadParser {
  #size = 0
  #line = ''
  #head: ResponseHead | undefined

  /** Whether anything has come yet: tells a cut-off answer from none. */
  get started(): boolean {
    return this.#size > 0
  }

  /**
   * Takes the next bytes.
   *
   * @returns the final head and what followed it, or `undefined` while it isn't complete
   * @throws {@link TunnelError} `ERR_RINGWAY_BAD_ANSWER` when it never will be
   */
  push(chunk: Buffer): { head: ResponseHead; rest: Buffer } | undefined {
    let at = 0
    while (at < chunk.length) {
      const newline = chunk.indexOf(0x0a, at)
      const end = newline === -1 ? chunk.length : newline + 1
      this.#size += end - at
      if (this.#size > LIMIT) throw malformed(`its head has more than ${LIMIT} bytes`)
      const before = this.#line.length
      // Never looked at before it is complete: joining strings costs nothing until then.
      this.#line += chunk.toString('latin1', at, end)
      at = end
      // Garbage may have no line feed at all.
      if (this.#head === undefined && before < 7 && !'HTTP/1.'.startsWith(this.#line.slice(0, 7))) {
        throw malformed('it is not HTTP/1')
      }
      if (newline === -1) return undefined
      const head = this.#takeLine()
      if (head !== undefined) return { head, rest: chunk.subarray(at) }
    }
    return undefined
  }

  /** @returns the head when this line was the end of a final one */
  #takeLine(): ResponseHead | undefined {
    if (!this.#line.endsWith('\r\n')) throw malformed('a line of its head ends in a bare line feed')
    const line = this.#line.slice(0, -2)
    this.#line = ''
    const head = this.#head
    if (head === undefined) {
      const status = STATUS_LINE.exec(line)
      if (status === null) throw malformed('its status line is malformed')
      this.#head = {
        status: Number(status[2]),
        reason: status[3] ?? '',
        httpVersion: status[1]!,
        rawHeaders: []
      }
    } else if (line !== '') {
      head.rawHeaders.push(...parseHeader(line))
    } else if (head.status >= 200 || head.status === 101) {
      return head
    } else {
      this.#head = undefined
    }
    return undefined
  }
}

/** No folding, no space before the colon, no control characters: RFC 9112 section 5. */
function parseHeader(line: string): [name: string, value: string] {
  const colon = line.indexOf(':')
  const name = line.slice(0, Math.max(colon, 0))
  const value = trimBlanks(line.slice(colon + 1))
  if (!isToken(name) || !isFieldValue(value)) throw malformed('a header line is malformed')
  return [name, value]
}

/** The error of an answer that is none. */
export function malformed(why: string, options?: ErrorOptions): TunnelError {
  return new TunnelError('ERR_RINGWAY_BAD_ANSWER', `The backend's answer is invalid: ${why}`, options)
}
