import { TunnelError } from './errors.ts'
import { valuesOf } from './fields.ts'
import type { ResponseHead } from './response-head.ts'
import { malformed } from './response-head.ts'

/** How the end of a body is told (RFC 9112 section 6.3): a length in bytes, chunks, or the end of the connection. */
export type Framing = number | 'chunked' | 'close'

/** Bytes that a chunk's size line or all trailers may have. */
const LINE_LIMIT = 16_384

/**
 * Reads how an answer's body is framed.
 *
 * @throws {@link TunnelError} `ERR_RINGWAY_BAD_ANSWER` when two readers could see it differently
 */
export function framingOf(head: ResponseHead): Framing {
  const encodings = valuesOf(head.rawHeaders, 'transfer-encoding')
  const lengths = valuesOf(head.rawHeaders, 'content-length')
  if (head.status === 204 || head.status === 304) return 0
  if (encodings.length > 0) {
    if (lengths.length > 0) throw malformed('it has both Content-Length and Transfer-Encoding')
    if (encodings.length > 1 || encodings[0]!.toLowerCase() !== 'chunked' || head.httpVersion === '1.0') {
      throw malformed('its Transfer-Encoding is not "chunked"')
    }
    return 'chunked'
  }
  if (lengths.length === 0) return 'close'
  if (lengths.length > 1 || !/^\d{1,15}$/.test(lengths[0]!))
    throw malformed('its Content-Length is not one number')
  return Number(lengths[0])
}

/**
 * The content of a body, without its framing, as it comes. Ends when the body does, whatever follows.
 *
 * @param source - the bytes after the head
 * @param framing - from {@link framingOf}
 * @throws {@link TunnelError} `ERR_RINGWAY_BAD_ANSWER` when the source ends or fails before the body, or chunks are
 * malformed; a `TunnelError` of the source itself
 */
export async function* readBody(
  source: AsyncIterable<Buffer>,
  framing: Framing
): AsyncGenerator<Buffer, void, void> {
  try {
    if (framing === 'close') yield* source
    else if (framing === 'chunked') yield* readChunked(source)
    else yield* readLength(source, framing)
  } catch (cause) {
    if (cause instanceof TunnelError) throw cause
    throw malformed(CUT_SHORT, { cause }) // a reset, say
  }
}

const CUT_SHORT = 'its body ended too early'

async function* readLength(
  source: AsyncIterable<Buffer>,
  length: number
): AsyncGenerator<Buffer, void, void> {
  let left = length
  if (left === 0) return
  for await (const bytes of source) {
    yield bytes.subarray(0, left)
    left -= Math.min(left, bytes.length)
    if (left === 0) return
  }
  throw malformed(CUT_SHORT)
}

/** RFC 9112 section 7.1. Extensions and trailers are read and dropped. */
async function* readChunked(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  let state: 'size' | 'data' | 'data-end' | 'trailer' = 'size'
  let left = 0
  let line = ''
  let trailers = 0
  for await (const bytes of source) {
    let at = 0
    while (at < bytes.length) {
      if (state === 'data') {
        const data = bytes.subarray(at, at + left)
        at += data.length
        left -= data.length
        if (left === 0) state = 'data-end'
        yield data
        continue
      }
      const newline = bytes.indexOf(0x0a, at)
      const end = newline === -1 ? bytes.length : newline + 1
      line += bytes.toString('latin1', at, end)
      at = end
      if (line.length + trailers > LINE_LIMIT) throw malformed('a chunk header or its trailers are too long')
      if (newline === -1) continue
      if (!line.endsWith('\r\n')) throw malformed('a chunk ends in a bare line feed')
      if (state === 'trailer') {
        if (line === '\r\n') return
        trailers += line.length
      } else if (state === 'data-end') {
        if (line !== '\r\n') throw malformed('a chunk is longer than it says')
        state = 'size'
      } else {
        const size = /^([0-9A-Fa-f]{1,12})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n$/.exec(line)
        if (size === null) throw malformed("a chunk's size is malformed")
        left = Number.parseInt(size[1]!, 16)
        state = left === 0 ? 'trailer' : 'data'
      }
      line = ''
    }
  }
  throw malformed(CUT_SHORT)
}
