import { ConfigError } from './errors.ts'
import { show } from './fields.ts'
import { TOKEN, headerText, trim, utf8 } from './header-text.ts'
import type { KeyFunction } from './keys.ts'

const WHOLE_TOKEN = new RegExp(`^${TOKEN}$`)

/** What an absolute-form target has before its path (RFC 9112 3.2.2). */
const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i

/**
 * A header's value as key, like nginx's `hash $http_NAME consistent`. Several lines are joined with `, ` (nginx 1.22 takes
 * the first). Bytes
 * that Node has read as latin1 are read as UTF-8, so that the key's bytes are those that the client sent; malformed
 * ones become U+FFFD. No such header or an empty one: no key.
 *
 * @param name - in any case
 * @throws ConfigError with the `field` `name` when it is no token (RFC 9110 5.6.2)
 */
export function header(name: string): KeyFunction {
  const lower = checkToken(name).toLowerCase()
  return ({ headers }) => utf8(headerText(headers, lower, ', ')) || undefined
}

/**
 * A cookie's value as key, like nginx's `hash $cookie_NAME consistent`: the first of the name, without blanks at its
 * ends, otherwise as it was sent: quotes stay and nothing is decoded, but that bytes are read as UTF-8 as by
 * {@link header}. No such cookie or an empty one: no key.
 *
 * @param name - in the case in which the cookie has it (RFC 6265; nginx takes any)
 * @throws ConfigError with the `field` `name` when it is no token (RFC 6265 4.1.1)
 */
export function cookie(name: string): KeyFunction {
  checkToken(name)
  return ({ headers }) => {
    const value = firstValue(headerText(headers, 'cookie', '; '), ';', name, trim)
    return value === undefined ? undefined : utf8(value) || undefined
  }
}

/**
 * An argument of the target's query as key, like nginx's `hash $arg_NAME consistent`: the first of the name. Nothing
 * is decoded, neither in the name nor in the value: `%41` and `A` are two keys. No such argument or an empty one: no
 * key.
 *
 * @param name - as it stands in the query, case included (nginx takes any)
 * @throws ConfigError with the `field` `name` when it is empty, or has a `&`, `=` or `#` in it
 */
export function query(name: string): KeyFunction {
  if (typeof name !== 'string' || !/^[^&=#]+$/.test(name)) {
    throw new ConfigError('name', `must be a text that is not empty, without &, = and #, not ${show(name)}`)
  }
  return ({ target }) => {
    const [before] = splitAt(utf8(target), '#')
    return firstValue(splitAt(before, '?')[1], '&', name, text => text) || undefined
  }
}

/**
 * What a pattern takes from the target's path as key. Nothing is decoded. A path that doesn't match, or of which
 * nothing is taken: no key.
 *
 * A text is compared segment by segment. `:name` takes one segment that isn't empty, a last `*` lets any number
 * follow, and a `/` at the end makes no difference. The key is what the `:name`s took, joined by `/`:
 * `/tenants/:tenant/rooms/:room/*` makes `acme/7` of `/tenants/acme/rooms/7/chat`.
 *
 * A RegExp is run on the path without the query. The key is what its groups took, joined by `/`, or all that
 * matched if it has no groups. It keeps no state: the flags g and y are taken off. It is run on what clients send:
 * beware of patterns that take long.
 *
 * @param pattern - a text that begins with `/` and has a `:name`, or a RegExp
 * @throws ConfigError with the `field` `pattern` when it is neither
 */
export function path(pattern: string | RegExp): KeyFunction {
  const match = pattern instanceof RegExp ? regExpMatcher(pattern) : segmentMatcher(pattern)
  return ({ target }) => {
    const whole = pathOf(utf8(target))
    return whole === undefined ? undefined : match(whole)?.join('/') || undefined
  }
}

/** What is taken from a path; `undefined` if it doesn't match. */
type Matcher = (path: string) => string[] | undefined

function regExpMatcher(pattern: RegExp): Matcher {
  const stateless = new RegExp(pattern.source, pattern.flags.replaceAll(/[gy]/g, ''))
  return text => {
    const match = stateless.exec(text)
    if (match === null) return undefined
    // A group that took no part is undefined, whatever the types say.
    const groups: readonly (string | undefined)[] = match.slice(match.length > 1 ? 1 : 0)
    return groups.filter(group => group !== undefined)
  }
}

function segmentMatcher(pattern: string): Matcher {
  const wanted = parsePattern(pattern)
  const open = wanted.at(-1) === '*'
  if (open) wanted.pop()
  return text => {
    const segments = segmentsOf(text)
    if (open ? segments.length < wanted.length : segments.length !== wanted.length) return undefined
    const taken: string[] = []
    for (const [index, want] of wanted.entries()) {
      const segment = segments[index]!
      if (!want.startsWith(':')) {
        if (segment !== want) return undefined
      } else if (segment === '') {
        return undefined
      } else {
        taken.push(segment)
      }
    }
    return taken
  }
}

function parsePattern(pattern: string): string[] {
  if (typeof pattern !== 'string' || !pattern.startsWith('/')) {
    throw new ConfigError('pattern', `must be a RegExp or a text that begins with /, not ${show(pattern)}`)
  }
  if (/[?#]/.test(pattern)) {
    throw new ConfigError('pattern', `is matched against the path, which has no ? and #: ${show(pattern)}`)
  }
  const wanted = segmentsOf(pattern)
  if (wanted.some(want => want.startsWith(':') && !/^:\w+$/.test(want))) {
    throw new ConfigError(
      'pattern',
      `must name what it takes as :name, a segment of its own: ${show(pattern)}`
    )
  }
  if (wanted.some((want, index) => want.includes('*') && (want !== '*' || index < wanted.length - 1))) {
    throw new ConfigError('pattern', `may have a * only as its last segment: ${show(pattern)}`)
  }
  if (!wanted.some(want => want.startsWith(':'))) {
    throw new ConfigError('pattern', `must have a :name to take: ${show(pattern)}`)
  }
  return wanted
}

/** The segments of a path that begins with `/`; one `/` at the end is left out. */
function segmentsOf(text: string): string[] {
  const segments = text.slice(1).split('/')
  if (segments.at(-1) === '') segments.pop()
  return segments
}

/** The target's path; `undefined` where it has none, as `*` hasn't. */
function pathOf(target: string): string | undefined {
  const origin = ORIGIN.exec(target)?.[0]
  const [text] = splitAt(splitAt(target, '#')[0], '?')
  const found = origin === undefined ? text : text.slice(origin.length) || '/'
  return found.startsWith('/') ? found : undefined
}

/** The first value that a list of `name=value` has for a name. `clean` takes away what is no part of either. */
function firstValue(
  list: string,
  separator: string,
  name: string,
  clean: (text: string) => string
): string | undefined {
  let start = 0
  while (start < list.length) {
    const found = list.indexOf(separator, start)
    const end = found === -1 ? list.length : found
    const pair = list.slice(start, end)
    const equals = pair.indexOf('=')
    if (equals !== -1 && clean(pair.slice(0, equals)) === name) return clean(pair.slice(equals + 1))
    start = end + 1
  }
  return undefined
}

/** What stands before a character's first place and what behind it; all of it and nothing if it isn't there. */
function splitAt(text: string, char: string): [before: string, after: string] {
  const index = text.indexOf(char)
  return index === -1 ? [text, ''] : [text.slice(0, index), text.slice(index + 1)]
}

function checkToken(name: string): string {
  if (typeof name === 'string' && WHOLE_TOKEN.test(name)) return name
  throw new ConfigError('name', `must be a token such as x-tenant, not ${show(name)}`)
}
