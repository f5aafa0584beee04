import type { Duplex } from 'node:stream'

const waiting = new WeakMap<Duplex, Set<() => void>>()

/**
 * Calls `gone` when the socket closes; at once when it has. One listener a socket, however many requests a client has
 * sent on it behind each other. (A response that waits behind others never says 'close' itself.)
 *
 * @returns forgets it
 */
export function whenGone(socket: Duplex, gone: () => void): () => void {
  if (socket.destroyed) gone()
  let calls = waiting.get(socket)
  if (!calls) {
    calls = new Set()
    waiting.set(socket, calls)
    const all = calls
    socket.once('close', () => {
      for (const call of all) call()
    })
  }
  calls.add(gone)
  return () => void waiting.get(socket)?.delete(gone)
}
