import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Swept } from './clock.ts'
import { unwatch, watch } from './clock.ts'
import { KEEP_ALIVE } from './dial.ts'
import { ConfigError } from '@ringway/core/errors'
import { TunnelError } from './errors.ts'
import { farewell } from './frames.ts'
import { readAll, Relay } from './relay.ts'
import { canShare } from './shared-read.ts'
import { DEFAULTS } from './splice-options.ts'
import type { Rest, SpliceOptions, TunnelEnd } from './splice-options.ts'

const NOTHING: Buffer = Buffer.alloc(0)

const IDLE = farewell(1001, 'idle')
const CLIENT_LOST = farewell(1001, 'client lost')
const SERVER_LOST = farewell(1011, 'server lost')
const OLD = farewell(1012, 'lifetime')
const TOO_LARGE = farewell(1009, 'message too large')
const CLIENT_REFUSED = farewell(1001, 'client refused')

/** Milliseconds that the FIN of an expired tunnel may take: TLS writes something for it, and that can get stuck. */
const PARTING = 1_000

/** Milliseconds that a side has to answer our Close frame, before the FIN. */
const ANSWER = 2_000

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
  /** When it is closed for its age, of the monotonic clock. */
  readonly #diesAt: number
  #pings: { readonly every: number; readonly timeout: number; readonly side: 'client' | 'backend' }[] = []
  #controller: AbortController | undefined
  #resolve!: (end: TunnelEnd) => void
  #by: TunnelEnd['by'] | undefined
  #how: TunnelEnd['how'] | undefined
  #code: number | undefined
  #carrying = false
  #stopped = false
  #endingSince = 0
  #expiredAt: number | undefined
  /** Who was sent a Close frame and hasn't answered, and since when. */
  readonly #unanswered = new Map<Duplex, number>()
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
    this.#limits = { ...DEFAULTS, ...options }
    const { watch: isWatched, sharedReads, maxMessage, rate, lifetime, signal } = this.#limits
    const isShared = sharedReads && canShare(client) && canShare(backend)
    this.#diesAt = lifetime === 0 ? Infinity : this.#started + lifetime * (0.9 + Math.random() * 0.2)
    this.ended = new Promise(resolve => {
      this.#resolve = resolve
    })
    this.#toBackend = new Relay(client, backend, {
      watched: isWatched ? 'client' : undefined,
      isShared,
      maxMessage,
      rate,
      onEnd: () => this.#finish('client'),
      onTooLarge: () => this.#closeBy('maxMessage', TOO_LARGE, CLIENT_REFUSED),
      onAnswer: () => this.#answered(client)
    })
    this.#toClient = new Relay(backend, client, {
      watched: isWatched ? 'backend' : undefined,
      isShared,
      onEnd: () => this.#finish('backend'),
      onAnswer: () => this.#answered(backend)
    })
    signal?.addEventListener('abort', this.#aborted)
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
    if (signal?.aborted === true) this.destroy()
  }

  /** Aborted when the tunnel has ended, with its {@link TunnelEnd} as the reason. Made when it is first asked for. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    return this.#controller.signal
  }

  /** Bytes passed so far, both ways. */
  get bytes(): number {
    return this.#toBackend.bytes + this.#toClient.bytes
  }

  /** Bytes held now, both ways: read from one side, and not yet given to the kernel for the other. */
  get held(): number {
    return this.#toBackend.underWay + this.#toClient.underWay
  }

  /**
   * Ends both sides with a FIN behind what was already passed on; what comes in after is dropped, and what is left
   * after `linger` destroyed. With `watch` a frame that is half through passes whole first, then comes a Close frame, on each
   * side that has had none yet, and the FIN when that side has answered it, after 2 s at the latest. Does nothing after {@link Splice.stop}.
   *
   * @param code - of the Close frame, as in RFC 6455 section 7.4. Default 1001, going away
   * @param reason - at most 123 bytes of UTF-8. Default none
   * @throws ConfigError for a code that may not be sent, or a reason that is too long
   */
  close(code = 1001, reason = ''): void {
    const last = farewell(code, reason)
    if (this.#stopped) return
    this.#closeBy('closed', last, last)
  }

  /**
   * Puts a WebSocket Ping on one side, between two frames, whenever nothing has come from it for a time, and ends the tunnel
   * when nothing comes then either. What answers, a Pong, goes through to the other side, which ignores it (RFC 6455 section
   * 5.5.3), and counts as life for the `read` limit. Needs `watch`.
   *
   * @param every - milliseconds
   * @param timeout - milliseconds from the Ping on in which something must come
   * @param side - whom to ask. Default the client
   * @throws ConfigError for a time of less than a millisecond, or without `watch`
   */
  ping(every: number, timeout: number, side: 'client' | 'backend' = 'client'): void {
    for (const [field, value] of Object.entries({ every, timeout })) {
      if (!(value >= 1))
        throw new ConfigError(field, `must be a number of milliseconds of at least 1, not ${value}`)
    }
    if (!this.#limits.watch) throw new ConfigError('watch', 'must be true for a ping')
    this.#pings = [...this.#pings.filter(each => each.side !== side), { every, timeout, side }]
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
    return {
      fromClient: rest(this.#toBackend, this.#client),
      fromBackend: rest(this.#toClient, this.#backend)
    }
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
    for (const [side, since] of this.#unanswered) if (now - since >= ANSWER) this.#answered(side)
    if (this.#expiredAt !== undefined) {
      if (now - this.#expiredAt >= PARTING) this.destroy()
      return
    }
    const { read, send, linger } = this.#limits
    if (now >= this.#diesAt && this.#how === undefined) this.#closeBy('lifetime', OLD, OLD)
    const movedAt = Math.max(toBackend.movedAt, toClient.movedAt)
    // Bytes that wait behind one side's end have the `send` limit, unless it is we who are closing.
    const lingers =
      this.#how !== undefined && (this.#by === 'gateway' || toBackend.waiting + toClient.waiting === 0)
    if (lingers && linger > 0 && now - Math.max(movedAt, this.#endingSince) >= linger) this.#expire(now)
    else if (send > 0 && now - Math.min(toBackend.takenAt, toClient.takenAt) >= send)
      this.#expire(now, 'send')
    else if (read > 0 && now - movedAt >= read) this.#expire(now, 'read')
    else if (this.#pings.some(({ every, timeout, side }) => !this.#isAlive(side, every, timeout, now))) {
      this.#expire(now, 'ping')
    }
  }

  /** Whether a side was heard of, or still has time; asks it when that is due. */
  #isAlive(side: 'client' | 'backend', every: number, timeout: number, now: number): boolean {
    const [to, from] =
      side === 'client' ? [this.#toClient, this.#toBackend] : [this.#toBackend, this.#toClient]
    const { heardAt } = from
    if (to.pingedAt > heardAt) return now - to.pingedAt < timeout
    if (now - heardAt >= every) to.ping()
    return true
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
    const end = this.#describe()
    this.#resolve(end)
    this.#controller?.abort(end)
  }

  #describe(): TunnelEnd {
    const isClients = this.#toBackend.closedAt <= this.#toClient.closedAt
    const first = isClients ? this.#toBackend : this.#toClient
    const isClosed = first.closedAt < Infinity
    // A FIN in the order that WebSocket asks for is the second word of whoever said it.
    const isByClose = isClosed && this.#how === 'fin'
    return {
      by: isByClose ? (isClients ? 'client' : 'backend') : this.#by!,
      how: isByClose ? 'close' : this.#how!,
      code: isClosed ? first.closeCode : this.#code,
      bytesToBackend: this.#toBackend.bytes,
      bytesToClient: this.#toClient.bytes,
      duration: performance.now() - this.#started
    }
  }

  #closeBy(how: TunnelEnd['how'], forClient: Buffer, forBackend: Buffer): void {
    this.#note('gateway', how)
    this.#part(this.#toClient, this.#client, forClient)
    this.#part(this.#toBackend, this.#backend, forBackend)
  }

  #part(relay: Relay, to: Duplex, last: Buffer): void {
    const back = relay === this.#toClient ? this.#toBackend : this.#toClient
    this.#code ??= this.#limits.watch ? last.readUInt16BE() : undefined
    relay.part(last, isSaid => {
      this.#unanswered.set(to, performance.now())
      if (!isSaid || !back.mayClose) this.#answered(to)
      relay.drain()
    })
  }

  /** A side has answered our Close frame, or won't. */
  #answered(side: Duplex): void {
    if (this.#unanswered.delete(side)) side.end()
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
    if (!other.writableEnded) other.end() // a second time, Node makes an error for nobody: dear, by its stack
    other.resume()
  }

  /** Tells the other side by a Close frame that this one was lost; gives whether it could. */
  #tellLost(side: Duplex): boolean {
    return side === this.#backend
      ? this.#say(this.#toClient, SERVER_LOST)
      : this.#say(this.#toBackend, CLIENT_LOST)
  }

  #say(relay: Relay, last: Buffer): boolean {
    const isSaid = relay.say(last)
    if (isSaid) this.#code ??= last.readUInt16BE()
    return isSaid
  }

  #release(): void {
    unwatch(this.#swept)
    this.#limits.signal?.removeEventListener('abort', this.#aborted)
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
  #finish(from: 'client' | 'backend'): void {
    this.#note(from, 'fin')
    const [side, other] = from === 'client' ? [this.#client, this.#backend] : [this.#backend, this.#client]
    // When it is we who are closing, each side has its own time.
    if (this.#by === 'gateway') return this.#answered(side)
    other.end()
    if (!this.#limits.halfClose) side.end()
  }

  readonly #aborted = (): void => this.destroy()

  #expire(now: number, limit?: 'read' | 'send' | 'ping'): void {
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
    else if (isIdle && this.#say(relay, IDLE)) {
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

/** What was read of a side and not passed on. */
function rest({ held }: Relay, side: Duplex): Buffer {
  const more = readAll(side)
  return held.length === 0 ? more : Buffer.concat([held, more])
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
