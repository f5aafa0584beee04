import type { ServerHttp2Stream } from 'node:http2'
import { constants } from 'node:http2'
import { Duplex } from 'node:stream'

/**
 * A stream of HTTP/2 in the shape of a socket, for a splice: END_STREAM is a FIN both ways, and RST_STREAM is a reset
 * (RFC 8441 section 5): the other side's destroys this one without an 'end', and one that is destroyed says CANCEL. Node's
 * own stream tells the two apart only by its code, as it 'ends' and 'finishes' at a reset too. Flow control is kept: nothing
 * is read ahead but this stream's own buffer. Errors of the stream are never thrown: it closes.
 */
export class StreamSide extends Duplex {
  readonly #stream: ServerHttp2Stream
  #isReading = false
  /** END_STREAM has come. */
  #hasEnded = false
  /** END_STREAM has gone out. */
  #hasFinished = false

  /** @param stream - nobody else reads it; who answers by it and doesn't splice ends it, too */
  constructor(stream: ServerHttp2Stream) {
    super({ allowHalfOpen: true })
    this.#stream = stream
    stream.on('error', () => {}) // for as long as it lives
    stream.once('aborted', this.#lost).once('close', this.#closed)
    if (stream.destroyed || stream.aborted) this.destroy()
  }

  /** Node's: reads on. */
  override _read(): void {
    const stream = this.#stream
    if (!this.#isReading) stream.on('data', this.#take).once('end', this.#end)
    this.#isReading = true
    stream.resume()
  }

  /** Node's: writes one chunk. */
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (chunk.length === 0) done() // no frame for nothing
    else this.#stream.write(chunk, done)
  }

  /** Node's: writes what has waited. */
  override _writev(
    writes: readonly { readonly chunk: Buffer }[],
    done: (error?: Error | null) => void
  ): void {
    this._write(Buffer.concat(writes.map(({ chunk }) => chunk)), 'binary', done)
  }

  /** Node's: END_STREAM. */
  override _final(done: (error?: Error | null) => void): void {
    // 'finish' of this one may come behind the stream's 'close'.
    this.#stream.end((error?: Error | null) => {
      this.#hasFinished = !error
      done(error)
    })
  }

  /** Node's: RST_STREAM, where it isn't over. */
  override _destroy(_error: Error | null, done: (error?: Error | null) => void): void {
    const stream = this.#stream
    stream.off('data', this.#take).off('aborted', this.#lost)
    const isDone = this.#hasEnded && this.#hasFinished // Node lets go of it
    if (!isDone && !stream.closed) {
      // Who has said all and wants to hear no more says so by NO_ERROR (RFC 9113 section 8.1).
      stream.close(this.#hasFinished ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_CANCEL)
      stream.destroy() // else it stays while the client's connection takes nothing
    }
    done()
  }

  readonly #take = (chunk: Buffer): void => {
    if (!this.push(chunk)) this.#stream.pause()
  }

  readonly #end = (): void => {
    this.#hasEnded = true
    // Some clients reset by END_STREAM and RST_STREAM in one packet: then it was no end.
    setImmediate(() => {
      if (!this.destroyed) this.push(null)
    })
  }

  readonly #lost = (): void => void this.destroy()

  readonly #closed = (): void => {
    const isGood = this.#hasEnded && this.#hasFinished && this.#stream.rstCode === constants.NGHTTP2_NO_ERROR
    if (!isGood) this.destroy() // else what was read is still to be taken
  }
}
