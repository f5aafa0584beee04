/**
 * Waits for a promise that may never settle, until the signal is aborted or the limit is over. The promise may still
 * settle after, to nobody's notice.
 *
 * @param limit - milliseconds; 0 for none
 * @throws the signal's reason; an error when it took too long
 */
export async function within<T>(promise: Promise<T>, signal: AbortSignal, limit = 0): Promise<T> {
  signal.throwIfAborted()
  let timer: NodeJS.Timeout | undefined
  let abort!: () => void
  const cut = new Promise<never>((_, reject) => {
    abort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', abort)
    const late = (): void => reject(new Error(`No answer came within ${limit} ms`))
    if (limit > 0) timer = setTimeout(late, limit)
  })
  try {
    return await Promise.race([promise, cut])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
  }
}
