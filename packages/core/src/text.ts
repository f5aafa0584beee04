import { RingwayError } from './errors.ts'
import { show } from './fields.ts'

/**
 * Throws for what is no text. A number has no length, so that all numbers would hash alike, and all their clients go to
 * one server.
 *
 * @throws {@link RingwayError} `ERR_RINGWAY_KEY`
 */
export function assertText(text: string): void {
  if (typeof text !== 'string')
    throw new RingwayError('ERR_RINGWAY_KEY', `A key must be a text, not ${show(text)}`)
}
