import { TunnelError } from './errors.ts'

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

/**
 * Reads the final head of an answer from bytes that come in any pieces. Strict (RFC 9112): what isn't exactly a
 * head is `ERR_RINGWAY_BAD_ANSWER`. Interim answers (100, 103) are dropped.
 */
export class ResponseHeadParser {
  #held: Buffer = Buffer.alloc(0)
  #scanned = 0
  #interim = 0

  /** Whether anything has come yet: tells a cut-off answer from none. */
  get started(): boolean {
    return this.#held.length > 0 || this.#interim > 0
  }

  /**
   * Takes the next bytes.
   *
   * @returns the final head and what followed it, or `undefined` while it isn't complete
   * @throws {@link TunnelError} `ERR_RINGWAY_BAD_ANSWER` when it never will be
   */
  push(chunk: Buffer): { head: ResponseHead; rest: Buffer } | undefined {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    for (;;) {
      const end = this.#held.indexOf('\r\n\r\n', Math.max(0, this.#scanned - 3), 'latin1')
      const length = end === -1 ? this.#held.length : end + 4
      if (this.#interim + length > LIMIT) throw malformed(`its head has more than ${LIMIT} bytes`)
      if (end === -1) {
        this.#scanned = this.#held.length
        rejectEarly(this.#held)
        return undefined
      }
      const head = parseHead(this.#held.toString('latin1', 0, end))
      const rest = this.#held.subarray(length)
      if (head.status >= 200 || head.status === 101) return { head, rest }
      this.#interim += length
      this.#held = rest
      this.#scanned = 0
    }
  }
}

/** Garbage is told from the first bytes on, not only at the time limit. */
function rejectEarly(bytes: Buffer): void {
  const start = bytes.toString('latin1', 0, 7)
  if (!'HTTP/1.'.startsWith(start)) throw malformed('it is not HTTP/1')
}

function parseHead(text: string): ResponseHead {
  const lines = text.split('\r\n')
  const status = /^HTTP\/(1\.[01]) ([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/.exec(lines[0]!)
  if (status === null) throw malformed('its status line is malformed')
  const rawHeaders: string[] = []
  for (let i = 1; i < lines.length; i++) {
    // No folding, no space before the colon, no control characters: RFC 9112 section 5.
    const line =
      /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*((?:[\x21-\x7e\x80-\xff]|[\t ]+(?=[^\t ]))*)[\t ]*$/.exec(
        lines[i]!
      )
    if (line === null) throw malformed('a header line is malformed')
    rawHeaders.push(line[1]!, line[2]!)
  }
  return { status: Number(status[2]), reason: status[3] ?? '', httpVersion: status[1]!, rawHeaders }
}

/** All values of one header. */
export function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.toLowerCase() === name) values.push(rawHeaders[i + 1]!)
  }
  return values
}

/** The error of an answer that is none. */
export function malformed(why: string): TunnelError {
  return new TunnelError('ERR_RINGWAY_BAD_ANSWER', `The backend's answer is invalid: ${why}`)
}
