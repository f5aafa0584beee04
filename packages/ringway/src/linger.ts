import type { Socket } from 'node:net'

/**
 * Connections behind an answer that was no 101: each is read to its end, for a while. To close at once on unread bytes
 * would be a reset, which can overtake the answer.
 */
export class Lingering {
  readonly #limit: number
  readonly #sockets = new Set<Socket>()
  #over = false

  /** @param limit - milliseconds that a client has to hear the answer and end */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Ends our side of the socket, and destroys it when the other side hasn't ended in time. */
  add(socket: Socket): void {
    if (socket.closed) return
    if (this.#over) return socket.destroySoon()
    this.#sockets.add(socket)
    const timer = setTimeout(() => socket.destroy(), this.#limit).unref()
    socket.once('close', () => {
      clearTimeout(timer)
      this.#sockets.delete(socket)
    })
    socket.end()
    socket.resume()
  }

  /** Destroys what is left; what comes later has only time to take its answer. */
  cut(): void {
    this.#over = true
    for (const socket of this.#sockets) socket.destroy()
  }
}
