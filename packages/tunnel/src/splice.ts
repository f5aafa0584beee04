import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { unwatch, watch } from './clock.ts'
import { KEEP_ALIVE } from './dial.ts'
import { TunnelError } from './errors.ts'
import { StreamRelay } from './relay.ts'

/** Limits of a splice, in milliseconds; 0 turns one off. A limit never fires early, and at most 250 ms late. */
export interface SpliceOptions {
  /** Nothing has passed in either direction for so long: nginx's `proxy_read_timeout`. Default 60,000. */
  readonly read?: number
  /** Bytes wait for a side that has taken none for so long: nginx's `proxy_send_timeout`. Default 60,000. */
  readonly send?: number
  /** Nothing has passed for so long after one side has ended, or after {@link Splice.close}. Default 5,000. */
  readonly linger?: number
}

/** How a tunnel ended: who began it, how, and what had passed. */
export interface TunnelEnd {
  /** `gateway`: a limit, {@link Splice.close} or {@link Splice.destroy}. */
  readonly by: 'client' | 'backend' | 'gateway'
  /** `fin` and `reset` are the peers' ways, the limits are ours, `closed` and `destroyed` the caller's. */
  readonly how: 'fin' | 'reset' | 'read' | 'send' | 'linger' | 'closed' | 'destroyed'
  /** Bytes from the client to the backend, glued ones included. */
  readonly bytesToBackend: number
  /** Bytes from the backend to the client, glued ones included. */
  readonly bytesToClient: number
  /** Milliseconds from the splice's start to its end. */
  readonly duration: number
}

/** What {@link Splice.stop} leaves: read from one side, not yet written to the other. */
export interface Rest {
  readonly fromClient: Buffer
  readonly fromBackend: Buffer
}

const NOTHING: Buffer = Buffer.alloc(0)

/**
 * Carries bytes both ways between two sockets until both are done, and never changes one. A side's end (FIN) is
 * passed on, and the other goes on for as long as bytes pass; a side's reset is passed on as a reset. It owns
 * both sockets: when it has ended, they are gone.
 */
export class Splice {
  /** Resolves once, when both sockets are closed. Never rejects. */
  readonly ended: Promise<TunnelEnd>
  readonly #client: Duplex
  readonly #backend: Duplex
  readonly #toBackend: StreamRelay
  readonly #toClient: StreamRelay
  readonly #limits: Required<SpliceOptions>
  readonly #started = performance.now()
  #resolve!: (end: TunnelEnd) => void
  #by: TunnelEnd['by'] | undefined
  #how: TunnelEnd['how'] | undefined
  #open = 2
  #expired = false
  #endingSince = 0

  /**
   * Starts at once. The caller has written both heads (the 101 too) and reads nothing more from either side.
   *
   * @param client - the client's side
   * @param backend - the backend's side
   * @param glued - bytes that were read behind the heads, passed on first
   * @param options - limits in milliseconds
   */
  constructor(client: Duplex, backend: Duplex, glued: Partial<Rest> = {}, options: SpliceOptions = {}) {
    this.#client = client
    this.#backend = backend
    this.#limits = { read: 60_000, send: 60_000, linger: 5_000, ...options }
    this.ended = new Promise(resolve => {
      this.#resolve = resolve
    })
    this.#toBackend = new StreamRelay(client, backend, () => this.#finish('client', backend))
    this.#toClient = new StreamRelay(backend, client, () => this.#finish('backend', client))
    this.#own(client)
    this.#own(backend)
    watch(this)
    client.on('close', this.#clientClosed)
    backend.on('close', this.#backendClosed)
    // A side that died before the splice began may have said 'close' already.
    if (client.closed) this.#clientClosed()
    if (backend.closed) this.#backendClosed()
    if (client.destroyed || backend.destroyed) return
    this.#toBackend.start(glued.fromClient ?? NOTHING)
    this.#toClient.start(glued.fromBackend ?? NOTHING)
  }

  /** Bytes passed so far, both ways. */
  get bytes(): number {
    return this.#toBackend.bytes + this.#toClient.bytes
  }

  /** Ends both sides with a FIN behind what is already under way; what is left after `linger` is destroyed. */
  close(): void {
    this.#note('gateway', 'closed')
    this.#client.end()
    this.#backend.end()
  }

  /** Destroys both sockets now. Bytes that were not yet sent are lost. */
  destroy(): void {
    this.#note('gateway', 'destroyed')
    this.#client.destroy()
    this.#backend.destroy()
  }

  /**
   * Stops carrying and hands the two sockets back, both alive: the splice takes nothing more from them once this
   * is called, and has written all that it took once this resolves. `ended` then never resolves.
   *
   * @returns what was read but not passed on
   * @throws {@link TunnelError} `ERR_RINGWAY_TUNNEL_ENDED` when a side has ended or ends before that
   */
  async stop(): Promise<Rest> {
    this.#refuseEnded()
    this.#toBackend.stop()
    this.#toClient.stop()
    // An empty write is called back when all before it are with the kernel, or when the side is gone.
    const written = [this.#client, this.#backend].map(
      side => new Promise<void>(resolve => void side.write(NOTHING, () => resolve()))
    )
    await Promise.all(written)
    this.#refuseEnded()
    this.#release()
    return { fromClient: readAll(this.#client), fromBackend: readAll(this.#backend) }
  }

  /** Destroys the tunnel and waits for its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy()
    await this.ended
  }

  /**
   * Looks after the limits: called by the clock, not by users.
   *
   * @param now - milliseconds of `performance.now()`
   */
  sweep(now: number): void {
    const toBackend = this.#toBackend
    const toClient = this.#toClient
    toBackend.sweep(now)
    toClient.sweep(now)
    if (this.#expired) return
    const { read, send, linger } = this.#limits
    const movedAt = Math.max(toBackend.movedAt, toClient.movedAt)
    // Bytes that wait behind one side's end have the `send` limit, unless it is we who are closing.
    const lingers =
      this.#how !== undefined && (this.#by === 'gateway' || toBackend.waiting + toClient.waiting === 0)
    if (lingers && linger > 0 && now - Math.max(movedAt, this.#endingSince) >= linger) this.#expire('linger')
    else if (send > 0 && now - Math.min(toBackend.takenAt, toClient.takenAt) >= send) this.#expire('send')
    else if (read > 0 && now - movedAt >= read) this.#expire('read')
  }

  #own(side: Duplex): void {
    if (side instanceof Socket) side.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE).setTimeout(0)
    // An https server's sockets have it off: what the other side says after this one's FIN would be lost.
    side.allowHalfOpen = true
    side.on('error', ignore)
  }

  readonly #clientClosed = (): void => this.#sideClosed('client', this.#client, this.#backend)
  readonly #backendClosed = (): void => this.#sideClosed('backend', this.#backend, this.#client)

  #sideClosed(name: 'client' | 'backend', side: Duplex, other: Duplex): void {
    // Only an unclean end reaches over: after a clean one the other side may still have bytes to take.
    if (!side.readableEnded || !side.writableFinished) {
      this.#note(name, 'reset')
      if (!this.#expired) reset(other)
    }
    this.#open -= 1
    if (this.#open > 0) return
    this.#release()
    this.#resolve({
      by: this.#by!,
      how: this.#how!,
      bytesToBackend: this.#toBackend.bytes,
      bytesToClient: this.#toClient.bytes,
      duration: performance.now() - this.#started
    })
  }

  #release(): void {
    unwatch(this)
    this.#client.off('close', this.#clientClosed)
    this.#backend.off('close', this.#backendClosed)
    this.#toBackend.stop()
    this.#toClient.stop()
  }

  #refuseEnded(): void {
    if (this.#how !== undefined) throw new TunnelError('ERR_RINGWAY_TUNNEL_ENDED', 'The tunnel has ended')
  }

  /** One side has ended: so does what the other hears. */
  #finish(from: 'client' | 'backend', to: Duplex): void {
    this.#note(from, 'fin')
    to.end()
  }

  #expire(limit: 'read' | 'send' | 'linger'): void {
    this.#note('gateway', limit)
    this.#expired = true
    for (const side of [this.#client, this.#backend]) {
      // As nginx: a FIN for a side that takes it at once; bytes that wait for a stopped reader are given up.
      if (side.writableLength > 0) side.destroy()
      else side.end(() => side.destroy())
    }
  }

  /** The first cause is the cause. */
  #note(by: TunnelEnd['by'], how: TunnelEnd['how']): void {
    if (this.#how !== undefined) return
    this.#by = by
    this.#how = how
    this.#endingSince = performance.now()
  }
}

/** Ends a socket so that its peer can tell: with a RST where there is one, by destroying elsewhere. */
function reset(stream: Duplex): void {
  if (stream.destroyed) return
  try {
    // Throws on Unix sockets, and on TLS ones, which are sockets too.
    if (stream instanceof Socket) stream.resetAndDestroy()
    else stream.destroy()
  } catch {
    stream.destroy()
  }
}

/** 'close' follows and says all. */
function ignore(): void {}

function readAll(stream: Duplex): Buffer {
  const chunks: Buffer[] = []
  for (let chunk = stream.read() as Buffer | null; chunk !== null; chunk = stream.read() as Buffer | null) {
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
