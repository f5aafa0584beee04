/** Milliseconds. A timer that should wait longer is over at once. */
const LONGEST_TIMER = 2 ** 31 - 1

/** So many milliseconds times a number between these two, another one each time, so that gateways don't wait in step. */
export function jittered(milliseconds: number, least: number, most: number): number {
  return Math.min(milliseconds * (least + Math.random() * (most - least)), LONGEST_TIMER)
}

/**
 * Waits for a promise that never rejects.
 *
 * @param limit - milliseconds, after which it isn't waited for any longer
 * @param signal - ends the wait: it rejects with the signal's reason
 */
export async function settled(
  promise: Promise<unknown>,
  limit: number,
  signal: AbortSignal | undefined
): Promise<void> {
  let abort!: () => void
  let timer: NodeJS.Timeout | undefined
  const ended = new Promise<void>((resolve, reject) => {
    timer = setTimeout(resolve, limit)
    timer.unref()
    // A signal may be aborted with any reason, as `throwIfAborted` throws it.
    // oxlint-disable-next-line typescript/prefer-promise-reject-errors
    abort = () => reject(signal!.reason)
  })
  signal?.addEventListener('abort', abort)
  try {
    await Promise.race([promise, ended])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
  }
}
