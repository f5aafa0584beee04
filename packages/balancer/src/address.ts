import { isIP, isIPv6 } from 'node:net'

import { ConfigError } from '@ringway/core'

import { show } from '@ringway/core/fields'

/** Where a server listens. */
export type ServerAddress = { readonly host: string; readonly port: number } | { readonly socketPath: string }

const FORMS = "'host:port', '[::1]:port' or 'unix:/path'"

/**
 * Reads a server's text form.
 *
 * @param text - `host:port`, `[::1]:port` or `unix:/path`
 * @param path - of the option, for the error
 */
export function parseAddress(text: string, path: string): ServerAddress {
  if (text.startsWith('unix:')) {
    const socketPath = text.slice('unix:'.length)
    if (socketPath.startsWith('/')) return Object.freeze({ socketPath })
    throw new ConfigError(path, `the path after 'unix:' must begin with '/': ${show(text)}`)
  }

  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:[]*))(?::(.*))?$/s.exec(text) ?? []
  const host = bracketed ?? plain
  if (host === undefined) throw new ConfigError(path, `${show(text)} is not ${FORMS}`)
  const problem =
    bracketed === undefined ? hostProblem(host) : isIPv6(host) ? undefined : 'is no IPv6 address'
  if (problem !== undefined) throw new ConfigError(path, `${show(host)} ${problem}; a server is ${FORMS}`)
  if (port === undefined) {
    throw new ConfigError(path, `the port is missing; write ${show(`${text}:80`)} or whichever it is`)
  }
  if (!/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65_535) {
    throw new ConfigError(path, `the port must be an integer of 1 to 65535, not ${show(port)}`)
  }
  return Object.freeze({ host, port: Number(port) })
}

/** The text form of an address. */
export function addressText(address: ServerAddress): string {
  if ('socketPath' in address) return `unix:${address.socketPath}`
  return isIPv6(address.host) ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}

/** What keeps a text from being a host, put after it in a message; undefined when it is one. */
export function hostProblem(host: string): string | undefined {
  if (isIP(host) !== 0) return undefined
  if (host.startsWith('[')) return 'must stand without brackets here'
  // A resolver would read 10.1 or 2130706433 as an IPv4 address, surely not the one that was meant.
  if (/^[\d.]*$/.test(host)) return 'is no host name and no whole IPv4 address'
  // Underscores are in no host name of RFC 1123, but in many of Docker's.
  if (host.length > 253 || !/^[a-z\d_](?:[a-z\d_.-]*[a-z\d_.])?$/i.test(host)) return 'is no host name'
  return undefined
}

/** The name to send as SNI: the host, unless it is an address (RFC 6066 section 3). */
export function serverName(address: ServerAddress): string | undefined {
  return 'host' in address && isIP(address.host) === 0 ? address.host : undefined
}
