/** Whether a header's name is one: RFC 9110 section 5.6.2. */
export function isToken(name: string): boolean {
  return /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)
}

/** Whether a header's value is one: RFC 9110 section 5.5, no control character but the tab, one byte a character. */
export function isFieldValue(value: string): boolean {
  return !/[^\t\x20-\x7e\x80-\xff]/.test(value)
}

/**
 * Without the spaces and tabs around it. Not `trim()`, which takes more than HTTP's white space off, such as
 * U+00A0; not a regular expression, which takes quadratic time on a long run of blanks.
 */
export function trimBlanks(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isBlank(text, start)) start += 1
  while (end > start && isBlank(text, end - 1)) end -= 1
  return text.slice(start, end)
}

function isBlank(text: string, at: number): boolean {
  return text[at] === ' ' || text[at] === '\t'
}

/** The tokens of a comma-separated header value. */
export function tokens(value: string): string[] {
  return value
    .split(',')
    .map(trimBlanks)
    .filter(token => token !== '')
}

/** The names in a `Sec-WebSocket-Extensions` value. A comma in a quoted parameter splits too: then a name never matches. */
export function extensionNames(value: string): string[] {
  return tokens(value).map(extension => trimBlanks(extension.split(';', 1)[0]!))
}

/**
 * All values of one header.
 *
 * @param rawHeaders - names and values in turn
 * @param name - in lower case
 */
export function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.toLowerCase() === name) values.push(rawHeaders[i + 1]!)
  }
  return values
}

/** The names in all `Connection` headers, in lower case. */
export function namedInConnection(rawHeaders: readonly string[]): string[] {
  return valuesOf(rawHeaders, 'connection').flatMap(value => tokens(value.toLowerCase()))
}

/**
 * Whether a `Connection` header takes the handshake itself away: what it names is dropped on the way (RFC 9110
 * section 7.6.1).
 */
export function takesHandshakeAway(named: readonly string[]): boolean {
  return named.some(name => name === 'host' || name.startsWith('sec-websocket-'))
}
