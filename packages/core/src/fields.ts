import { inspect } from 'node:util'

import { ConfigError } from './errors.ts'

/** The longest time that a timer of Node's can take; it makes 1 ms of anything longer. */
const LONGEST = 2_147_483_647

/**
 * One object of options whose fields are asked for by name. A bad one throws a {@link ConfigError} with its whole path.
 * For Ringway's own packages and for what is built on them; an entry of its own, as it has no part in hashing.
 */
export class Fields {
  readonly #value: Readonly<Record<string, unknown>>
  readonly #path: string

  /**
   * @param value - what the user gave
   * @param path - where it stands; '' for the outermost object
   * @param known - the names that it may have; any other throws
   */
  constructor(value: unknown, path: string, known: readonly string[]) {
    this.#path = path
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new ConfigError(path || 'options', `must be an object, not ${show(value)}`)
    }
    this.#value = value as Readonly<Record<string, unknown>>
    const unknown = Object.keys(value).find(name => !known.includes(name))
    if (unknown !== undefined) throw this.error(unknown, `is no option; known here: ${known.join(', ')}`)
  }

  /** The field's whole path. */
  path(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`
  }

  /** The field as the user gave it. */
  get(name: string): unknown {
    return this.#value[name]
  }

  /** Whether the field is set to anything. */
  has(name: string): boolean {
    return this.get(name) !== undefined
  }

  /** The error that says what is wrong with the field. */
  error(name: string, problem: string): ConfigError {
    return new ConfigError(this.path(name), problem)
  }

  /** The error that says what the field must be, and what it is. */
  mismatch(name: string, wanted: string): ConfigError {
    return this.error(name, `must be ${wanted}, not ${show(this.get(name))}`)
  }

  /** A whole number of `from` to `to`. */
  integer(name: string, otherwise: number, from: number, to: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.#or(name, otherwise)
    if (Number.isSafeInteger(value) && (value as number) >= from && (value as number) <= to)
      return value as number
    throw this.mismatch(name, `an integer of ${range(from, to)}`)
  }

  /** A time in milliseconds of at least `from`. */
  milliseconds(name: string, otherwise: number, from: number): number {
    const value = this.#or(name, otherwise)
    if (typeof value === 'number' && value >= from && value <= LONGEST) return value
    throw this.mismatch(name, `a number of milliseconds of ${from} to ${LONGEST}`)
  }

  /** A code that an endpoint may send in a Close frame. */
  closeCode(name: string, otherwise: number): number {
    const code = this.integer(name, otherwise, 1000, 4999)
    if (!isCloseCode(code)) throw this.mismatch(name, 'a code that may be sent in a Close frame')
    return code
  }

  /** true or false. */
  boolean(name: string, otherwise: boolean): boolean {
    const value = this.#or(name, otherwise)
    if (typeof value === 'boolean') return value
    throw this.mismatch(name, 'true or false')
  }

  /** A text that isn't empty. */
  text(name: string): string | undefined {
    const value = this.get(name)
    if (value === undefined || (typeof value === 'string' && value !== '')) return value
    throw this.mismatch(name, 'a text that is not empty')
  }

  /** Only undefined stands for the default: null is what a broken configuration file gives. */
  #or(name: string, otherwise: unknown): unknown {
    return this.has(name) ? this.get(name) : otherwise
  }
}

/** Whether an endpoint may send it in a Close frame (RFC 6455 section 7.4). */
export function isCloseCode(code: number): boolean {
  const isRegistered = code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)
  return Number.isInteger(code) && (isRegistered || (code >= 3000 && code <= 4999))
}

/** A value as it stands in a message: short, and on one line. */
export function show(value: unknown): string {
  return inspect(value, { depth: 0, maxStringLength: 80, maxArrayLength: 3, breakLength: Infinity })
}

function range(from: number, to: number): string {
  return to === Number.MAX_SAFE_INTEGER ? `at least ${from}` : `${from} to ${to}`
}
