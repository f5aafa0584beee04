import { Socket } from 'node:net'

/*
 * Node gives each read of a socket a buffer of its own, and takes it through the machinery of streams: that is most of what
 * a small message costs, and half of what a large one does. For sockets that are dialled there is a documented way around,
 * the option `onread`; for those that a server accepted there is none. So we set on any socket what that option sets. None
 * of it is documented, so it's used only where all of it is there as expected, and nowhere else than in this file.
 */

/** What `onread` sets on a socket. */
interface Symbols {
  readonly buffer: symbol
  readonly callback: symbol
  readonly next: symbol
}

interface Reading {
  [key: symbol]: unknown
  readonly _handle?: { readonly useUserBuffer?: (buffer: Buffer) => void } | null
}

/** As large as what a read gets at most by itself. */
const SIZE = 65_536

/** Where all sockets read to; what is there has been taken out when the callback returns. */
const landing = Buffer.allocUnsafeSlow(SIZE)

const symbols = find()

function find(): Symbols | undefined {
  const socket = new Socket()
  const own = Object.getOwnPropertySymbols(socket)
  const [buffer, callback, next] = ['kBuffer', 'kBufferCb', 'kBufferGen'].map(name => {
    const all = own.filter(({ description }) => description === name)
    return all.length === 1 && (socket as unknown as Reading)[all[0]!] === null ? all[0] : undefined
  })
  socket.destroy()
  if (buffer === undefined || callback === undefined || next === undefined) return undefined
  return { buffer, callback, next }
}

/** Whether a socket's reads can be shared: a plain one of Node's own, on a Node that has what we know. */
export function canShare(stream: object): stream is Socket {
  // A TLS socket is one too, with bytes of its own making.
  if (symbols === undefined || Object.getPrototypeOf(stream) !== Socket.prototype) return false
  return typeof (stream as Reading)._handle?.useUserBuffer === 'function'
}

/**
 * From now on what a socket reads is handed to `take`, and goes through its stream no more; its end, errors, `pause()` and
 * `resume()` are as ever. What the stream holds already must have been read.
 *
 * @param socket - one that {@link canShare}
 * @param take - gets the bytes, which are gone when it returns; `false` pauses
 */
export function shareReads(socket: Socket, take: (bytes: Buffer) => boolean): void {
  const { buffer, callback, next } = symbols!
  const reading = socket as unknown as Reading
  const isNew = reading[buffer] === null
  reading[buffer] = landing
  reading[next] = null
  reading[callback] = (length: number): boolean => take(landing.subarray(0, length))
  if (isNew) reading._handle!.useUserBuffer!(landing)
}

/** Gives what a socket reads back to its stream. */
export function unshareReads(socket: Socket): void {
  shareReads(socket, bytes => socket.push(Buffer.from(bytes)))
}

/** Buffers that were lent, and are back. */
const spare: Buffer<ArrayBuffer>[] = []
/** So many are kept: beyond that they are left to the garbage collector. */
const SPARES = 64

let current: Buffer<ArrayBuffer> = Buffer.allocUnsafeSlow(SIZE)

/** Copies bytes to where they may stay while they are written, which nearly always is done at once. */
export function lend(bytes: Buffer): Buffer {
  bytes.copy(current)
  return current.subarray(0, bytes.length)
}

/** What was lent last is still being written: gives a function that takes it back when that is done. */
export function keepLent(): () => void {
  const kept = current
  current = spare.pop() ?? Buffer.allocUnsafeSlow(SIZE)
  return () => {
    if (spare.length < SPARES) spare.push(kept)
  }
}
