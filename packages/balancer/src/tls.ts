import { isIP } from 'node:net'
import { createSecureContext } from 'node:tls'
import type { SecureContextOptions } from 'node:tls'

import { Fields } from '@ringway/core/fields'

import type { ServerTls } from './options.ts'

const NAMES = ['servername', 'ca', 'cert', 'key', 'rejectUnauthorized']

/**
 * Checks the field `tls`; undefined when it isn't there, or false.
 *
 * @param parent - the options that it is a field of
 * @param otherwise - the name for SNI when none is given
 */
export function checkTls(parent: Fields, otherwise: string | undefined): ServerTls | undefined {
  const given = parent.get('tls')
  if (given === undefined || given === false) return undefined
  const fields = new Fields(given === true ? {} : given, parent.path('tls'), NAMES)
  const servername = fields.text('servername') ?? otherwise
  if (servername !== undefined && isIP(servername) !== 0) throw fields.mismatch('servername', 'a name')
  const materials: SecureContextOptions = {}
  for (const name of ['ca', 'cert', 'key'] as const) {
    if (fields.has(name)) Object.assign(materials, { [name]: fields.get(name) })
  }
  try {
    createSecureContext(materials)
  } catch (error) {
    throw parent.error('tls', `ca, cert or key can't be used: ${(error as Error).message}`)
  }
  return Object.freeze({
    ...(servername === undefined ? {} : { servername }),
    ...(materials as ServerTls),
    rejectUnauthorized: fields.boolean('rejectUnauthorized', true)
  })
}
