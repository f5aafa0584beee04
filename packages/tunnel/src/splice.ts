import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Swept } from './clock.ts'
import { unwatch, watch } from './clock.ts'
import { KEEP_ALIVE } from './dial.ts'
import { TunnelError } from './errors.ts'
import { farewell } from './frames.ts'
import { readAll, Relay } from './relay.ts'
import { canShare } from './shared-read.ts'

/** Limits of a splice, in milliseconds; 0 turns one off. A limit never fires early, and at most 250 ms late. */
export interface SpliceOptions {
  /** Nothing has passed in either direction for so long: nginx's `proxy_read_timeout`. Default 60,000. */
  readonly read?: number
  /** Bytes wait for a side that has taken none for so long: nginx's `proxy_send_timeout`. Default 60,000. */
  readonly send?: number
  /** Nothing has passed for so long after one side has ended, or after {@link Splice.close}. Default 5,000. */
  readonly linger?: number
  /**
   * Follows where WebSocket frames end, so that the tunnel can be ended by a Close frame between two of them, which its
   * clients see as a code and a reason: by {@link Splice.close}, with 1001 at the `read` limit, with 1011 for the client
   * when the backend was lost, with 1001 for the backend when the client was. No byte that passes is changed. Default
   * false: tunnels end by a FIN or a reset.
   */
  readonly watch?: boolean
  /**
   * Whether plain sockets read into one buffer that all tunnels share, where this Node has what that needs: about a third
   * less time for each message. Default true; false takes Node's streams, as TLS sockets do anyway.
   */
  readonly sharedReads?: boolean
}

/** How a tunnel ended: who began it, how, and what had passed. */
export interface TunnelEnd {
  /** `gateway`: a limit, {@link Splice.close} or {@link Splice.destroy}. */
  readonly by: 'client' | 'backend' | 'gateway'
  /**
   * What began the end: `fin` and `reset` are the peers' ways, the limits are ours, `closed` and `destroyed` the
   * caller's. `linger` only cuts an end short that has begun, so it's never the answer.
   */
  readonly how: 'fin' | 'reset' | 'read' | 'send' | 'closed' | 'destroyed'
  /** Bytes taken from the client for the backend, glued ones included. */
  readonly bytesToBackend: number
  /** Bytes taken from the backend for the client, glued ones included. */
  readonly bytesToClient: number
  /** Milliseconds from the splice's start to its end. */
  readonly duration: number
}

/** What {@link Splice.stop} leaves: read from one side, not yet written to the other. */
export interface Rest {
  /** For the backend. */
  readonly fromClient: Buffer
  /** For the client. */
  readonly fromBackend: Buffer
}

const NOTHING: Buffer = Buffer.alloc(0)

const IDLE = farewell(1001, 'idle')
const CLIENT_LOST = farewell(1001, 'client lost')
const SERVER_LOST = farewell(1011, 'server lost')

/** Milliseconds that the FIN of an expired tunnel may take: TLS writes something for it, and that can get stuck. */
const PARTING = 1_000

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
  readonly #toBackend: Relay
  readonly #toClient: Relay
  readonly #limits: Required<SpliceOptions>
  readonly #started = performance.now()
  #resolve!: (end: TunnelEnd) => void
  #by: TunnelEnd['by'] | undefined
  #how: TunnelEnd['how'] | undefined
  #carrying = false
  #stopped = false
  #endingSince = 0
  #expiredAt: number | undefined
  readonly #gone = new Set<Duplex>()
  readonly #swept: Swept = { sweep: now => this.#sweep(now) }

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
    this.#limits = { read: 60_000, send: 60_000, linger: 5_000, watch: false, sharedReads: true, ...options }
    const { watch: isWatched, sharedReads } = this.#limits
    const isShared = sharedReads && canShare(client) && canShare(backend)
    this.ended = new Promise(resolve => {
      this.#resolve = resolve
    })
    this.#toBackend = new Relay(
      client,
      backend,
      () => this.#finish('client', backend),
      isWatched ? 'client' : undefined,
      isShared
    )
    this.#toClient = new Relay(
      backend,
      client,
      () => this.#finish('backend', client),
      isWatched ? 'backend' : undefined,
      isShared
    )
    this.#own(client)
    this.#own(backend)
    watch(this.#swept)
    client.on('close', this.#clientClosed)
    backend.on('close', this.#backendClosed)
    // A side that died before the splice began may say 'close' still, or have said it.
    if (client.destroyed) this.#clientClosed()
    if (backend.destroyed) this.#backendClosed()
    if (this.#gone.size > 0) return
    this.#carrying = true
    this.#toBackend.start(glued.fromClient ?? NOTHING)
    this.#toClient.start(glued.fromBackend ?? NOTHING)
  }

  /** Bytes passed so far, both ways. */
  get bytes(): number {
    return this.#toBackend.bytes + this.#toClient.bytes
  }

  /**
   * Ends both sides with a FIN behind what was already passed on; what comes in after is dropped, and what is left
   * after `linger` destroyed. With `watch` a frame that is half through passes whole first, and a Close frame stands before
   * the FIN, on each side that has had none yet. Does nothing after {@link Splice.stop}.
   *
   * @param code - of the Close frame, as in RFC 6455 section 7.4. Default 1001, going away
   * @param reason - at most 123 bytes of UTF-8. Default none
   * @throws ConfigError for a code that may not be sent, or a reason that is too long
   */
  close(code = 1001, reason = ''): void {
    const last = farewell(code, reason)
    if (this.#stopped) return
    this.#note('gateway', 'closed')
    this.#part(this.#toClient, this.#client, last)
    this.#part(this.#toBackend, this.#backend, last)
  }

  /** Destroys both sockets now: bytes that were not yet sent are lost. Does nothing after {@link Splice.stop}. */
  destroy(): void {
    if (this.#stopped) return
    this.#note('gateway', 'destroyed')
    this.#client.destroy()
    this.#backend.destroy()
  }

  /**
   * Stops carrying and hands the two sockets back, paused: the splice takes nothing more from them once this is
   * called, and has written all that it took once this resolves. `ended` then never resolves. A FIN that comes
   * meanwhile stays with its socket, whose `readableEnded` tells. When it rejects the tunnel goes on to its end.
   *
   * @returns what was read but not passed on
   * @throws {@link TunnelError} `ERR_RINGWAY_TUNNEL_ENDED` when the tunnel is ending, a side dies before all is
   * written, or it was stopped before
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
    this.#stopped = true
    this.#release()
    return { fromClient: readAll(this.#client), fromBackend: readAll(this.#backend) }
  }

  /** Destroys the tunnel and waits for its end; at once after {@link Splice.stop}. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stopped) return
    this.destroy()
    await this.ended
  }

  /** Looks after the limits. */
  #sweep(now: number): void {
    const toBackend = this.#toBackend
    const toClient = this.#toClient
    toBackend.sweep(now)
    toClient.sweep(now)
    if (this.#expiredAt !== undefined) {
      if (now - this.#expiredAt >= PARTING) this.destroy()
      return
    }
    const { read, send, linger } = this.#limits
    const movedAt = Math.max(toBackend.movedAt, toClient.movedAt)
    // Bytes that wait behind one side's end have the `send` limit, unless it is we who are closing.
    const lingers =
      this.#how !== undefined && (this.#by === 'gateway' || toBackend.waiting + toClient.waiting === 0)
    if (lingers && linger > 0 && now - Math.max(movedAt, this.#endingSince) >= linger) this.#expire(now)
    else if (send > 0 && now - Math.min(toBackend.takenAt, toClient.takenAt) >= send)
      this.#expire(now, 'send')
    else if (read > 0 && now - movedAt >= read) this.#expire(now, 'read')
  }

  #own(side: Duplex): void {
    if (side instanceof Socket) side.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE).setTimeout(0)
    // An https server's sockets have it off: what the other side says after this one's FIN would be lost.
    side.allowHalfOpen = true
    side.off('error', ignore).on('error', ignore) // once, however many splices it has been in
  }

  readonly #clientClosed = (): void => this.#sideClosed('client', this.#client, this.#backend)
  readonly #backendClosed = (): void => this.#sideClosed('backend', this.#backend, this.#client)

  #sideClosed(name: 'client' | 'backend', side: Duplex, other: Duplex): void {
    if (this.#gone.has(side)) return
    this.#gone.add(side)
    const clean = side.readableEnded && side.writableFinished
    this.#note(name, clean ? 'fin' : 'reset')
    if (this.#gone.size < 2) {
      this.#reachOver(side, other)
      return
    }
    this.#release()
    this.#resolve({
      by: this.#by!,
      how: this.#how!,
      bytesToBackend: this.#toBackend.bytes,
      bytesToClient: this.#toClient.bytes,
      duration: performance.now() - this.#started
    })
  }

  #part(relay: Relay, to: Duplex, last: Buffer): void {
    relay.part(last, () => {
      to.end()
      relay.drain()
    })
  }

  /** What the end of one side means for the other. */
  #reachOver(side: Duplex, other: Duplex): void {
    // When it is we who are closing, both were told, and the other has `linger` for what is under way.
    if (this.#by === 'gateway' || this.#expiredAt !== undefined) return
    const isClean = side.readableEnded && this.#carrying
    if (!isClean && !this.#tellLost(side)) return reset(other)
    // All that it said before its FIN must come; only what it was to hear has nowhere to go, and is read and dropped.
    // A close would be too early: the kernel answers bytes that nobody reads with a RST, which overtakes what it
    // still holds. So the other side has `linger` to see the FIN.
    other.end()
    other.resume()
  }

  /** Tells the other side by a Close frame that this one was lost; gives whether it could. */
  #tellLost(side: Duplex): boolean {
    return side === this.#backend ? this.#toClient.say(SERVER_LOST) : this.#toBackend.say(CLIENT_LOST)
  }

  #release(): void {
    unwatch(this.#swept)
    this.#client.off('close', this.#clientClosed)
    this.#backend.off('close', this.#backendClosed)
    this.#toBackend.stop()
    this.#toClient.stop()
  }

  #refuseEnded(): void {
    const dead = this.#client.destroyed || this.#backend.destroyed
    if (this.#how === undefined && !dead && !this.#stopped) return
    const state = this.#stopped ? 'was stopped' : 'has ended'
    throw new TunnelError('ERR_RINGWAY_TUNNEL_ENDED', `The tunnel ${state}`)
  }

  /** One side has ended: so does what the other hears. */
  #finish(from: 'client' | 'backend', to: Duplex): void {
    this.#note(from, 'fin')
    to.end()
  }

  #expire(now: number, limit?: 'read' | 'send'): void {
    if (limit !== undefined) this.#note('gateway', limit)
    this.#expiredAt = now
    this.#expireSide(this.#client, this.#toClient, limit === 'read')
    this.#expireSide(this.#backend, this.#toBackend, limit === 'read')
  }

  #expireSide(side: Duplex, relay: Relay, isIdle: boolean): void {
    // As nginx: a FIN for a side that takes it at once; bytes that wait for a stopped reader are given up.
    if (side.writableLength > 0) side.destroy()
    // Who gets a Close frame answers it, and a reset for that answer could overtake the frame: the end comes with the
    // other side's, or after PARTING.
    else if (isIdle && relay.say(IDLE)) {
      side.end()
      side.resume()
    } else side.end(() => side.destroy())
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
  // Behind a FIN there is no way to a RST: libuv refuses (EINVAL), and Node loses the handle then, on 20 to 26.
  if (stream.writableEnded || !(stream instanceof Socket)) {
    stream.destroy()
    return
  }
  const stuck = stream.writableLength > 0
  try {
    stream.resetAndDestroy() // throws on Unix sockets, and on TLS ones, which are sockets too
  } catch {
    stream.destroy()
  }
  // It waits until all is written, which a stopped reader can put off for ever.
  if (stuck) stream.destroy()
}

/** 'close' follows and says all. */
function ignore(): void {}
