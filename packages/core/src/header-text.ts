import type { KeySource } from './keys.ts'

/** The characters of a token (RFC 9110 5.6.2), for use in a RegExp. */
export const TOKEN = "[\\w!#$%&'*+.^`|~-]+"

const BEYOND_ASCII = /[\u0080-\uffff]/
const BEYOND_LATIN1 = /[\u0100-\uffff]/

/** A byte order mark is kept, as it is a part of the key's bytes. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/**
 * A header's value, several lines joined; the empty text if there is none. Names are looked up as the object's own
 * only: `constructor` is a header that a client may leave out.
 */
export function headerText(headers: KeySource['headers'], name: string, separator: string): string {
  const value = Object.hasOwn(headers, name) ? headers[name] : undefined
  if (typeof value === 'string') return value
  return Array.isArray(value) ? value.join(separator) : ''
}

/**
 * The text whose UTF-8 bytes are those that Node has read as latin1; malformed ones become U+FFFD. A text with
 * other characters than bytes was not read by Node, and is left alone.
 */
export function utf8(text: string): string {
  if (!BEYOND_ASCII.test(text) || BEYOND_LATIN1.test(text)) return text
  return decoder.decode(Uint8Array.from(text, char => char.charCodeAt(0)))
}

/**
 * The text without blanks and tabs at its ends. `String.trim` would also take a no-break space, which is part of a
 * character when bytes are read as latin1. A RegExp would look at a long run of blanks once for each of them.
 */
export function trim(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isBlank(text[start])) start++
  while (start < end && isBlank(text[end - 1])) end--
  return text.slice(start, end)
}

function isBlank(char: string | undefined): boolean {
  return char === ' ' || char === '\t'
}
