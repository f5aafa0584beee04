import type { Fields } from '@ringway/core/fields'
import { valuesOf } from '@ringway/tunnel'
import { gatewayError } from './errors.ts'

/** A scheme with `://`, `*.` for any sub-domain, a name or address, and a port. */
const ORIGIN = /^([a-z][a-z\d+.-]*:\/\/)(\*\.)?([^\s/:*@?#[\]]+|\[[\da-f:.]+\])(:\d+)?$/
const HOST = /^()(\*\.)?([^\s/:*@?#[\]]+|\[[\da-f:.]+\])(:\d+)?$/

const PORTS: Readonly<Record<string, string>> = { 'http://': ':80', 'https://': ':443' }

/** One entry of a list, or what a client sent, taken apart. */
interface Place {
  readonly scheme: string
  readonly anySubdomain: boolean
  readonly name: string
  /** With the colon; empty for none. */
  readonly port: string
}

/** Which upgrades and requests are let in, by what their heads say. */
export class Admission {
  readonly #origins: readonly Place[] | undefined
  readonly #hosts: readonly Place[] | undefined

  /** @throws ConfigError that names the first bad entry */
  constructor(fields: Fields) {
    this.#origins = placesOf(
      fields,
      'origins',
      ORIGIN,
      "an origin, such as 'https://app.example' or 'https://*.app.example'"
    )
    this.#hosts = placesOf(
      fields,
      'hosts',
      HOST,
      "a host, such as 'app.example', '*.app.example' or 'app.example:8443'"
    )
  }

  /**
   * @param rawHeaders - names and values in turn
   * @throws GatewayError `ERR_RINGWAY_ORIGIN` for a page that may not open WebSockets here
   */
  checkOrigin(rawHeaders: readonly string[]): void {
    if (this.#origins === undefined) return
    const sent = valuesOf(rawHeaders, 'origin')
    // Only browsers send one, and scripts in them can't change it; whoever sends none could send any.
    if (sent.length === 0) return
    const origin = sent.length === 1 ? placeOf(sent[0]!, ORIGIN) : undefined
    if (origin === undefined || !this.#origins.some(each => isWithin(origin, each))) {
      throw gatewayError('ERR_RINGWAY_ORIGIN')
    }
  }

  /** @throws GatewayError `ERR_RINGWAY_HOST` for a name that isn't served */
  checkHost(sent: string | undefined): void {
    if (this.#hosts === undefined) return
    const host = placeOf(sent ?? '', HOST)
    // Without a port an entry is for all of them.
    const matches = (each: Place): boolean =>
      host !== undefined && isWithin(each.port === '' ? { ...host, port: '' } : host, each)
    if (!this.#hosts.some(matches)) throw gatewayError('ERR_RINGWAY_HOST')
  }
}

function placesOf(fields: Fields, name: string, form: RegExp, wanted: string): readonly Place[] | undefined {
  if (!fields.has(name)) return undefined
  const list = fields.get(name)
  if (!Array.isArray(list)) throw fields.mismatch(name, 'a list')
  return list.map((entry: unknown, i) => {
    const place = typeof entry === 'string' ? placeOf(entry, form) : undefined
    if (place === undefined) throw fields.error(`${name}[${i}]`, `must be ${wanted}`)
    return place
  })
}

function placeOf(text: string, form: RegExp): Place | undefined {
  const [, scheme, wildcard, name, port = ''] = form.exec(text.toLowerCase()) ?? []
  if (scheme === undefined || name === undefined) return undefined
  // A final dot is the same name.
  return {
    scheme,
    anySubdomain: wildcard !== undefined,
    name: name.replace(/\.$/, ''),
    port: port || (PORTS[scheme] ?? '')
  }
}

function isWithin(sent: Place, allowed: Place): boolean {
  if (sent.anySubdomain || sent.scheme !== allowed.scheme || sent.port !== allowed.port) return false
  return allowed.anySubdomain ? sent.name.endsWith(`.${allowed.name}`) : sent.name === allowed.name
}
