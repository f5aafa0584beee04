/**
 * The base of every error that Ringway makes. Match on {@link RingwayError.code}, not on the class: two copies
 * of a package may be loaded in one process.
 */
export class RingwayError extends Error {
  /** Stable, of the form `ERR_RINGWAY_…`. */
  readonly code: string

  /**
   * @param code - stable, of the form `ERR_RINGWAY_…`
   * @param message - what happened, to whom, and what to do
   * @param options - `cause`: the error behind this one
   */
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/** An option that can't be used. Thrown at creation; its `code` is `ERR_RINGWAY_CONFIG`. */
export class ConfigError extends RingwayError {
  /** The option's path, such as `upstream.servers[1].weight`. */
  readonly field: string

  /**
   * @param field - the option's path, such as `upstream.servers[1].weight`
   * @param problem - what is wrong and what would be right, put after the field's name in the message
   */
  constructor(field: string, problem: string) {
    super('ERR_RINGWAY_CONFIG', `${field}: ${problem}`)
    this.field = field
  }
}

/** What the kernel says when this process, or this machine, has no more to give. */
const EXHAUSTED: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'])

/**
 * Whether an error, or the one behind it, says that there are no file descriptors or buffers left here: then no connection
 * can be made to anybody, and no server is to blame.
 *
 * @param error - whatever was thrown
 */
export function isExhausted(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code, cause } = error as NodeJS.ErrnoException
  return (
    EXHAUSTED.has(code) || (cause instanceof Error && EXHAUSTED.has((cause as NodeJS.ErrnoException).code))
  )
}
