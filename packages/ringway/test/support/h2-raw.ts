import type { OutgoingHttpHeaders } from 'node:http2'
import { constants } from 'node:http2'
import type { TestContext } from 'node:test'
import type { Peer } from './gate-peer.ts'
import { dial } from './gate-peer.ts'

const HEADERS = 1
const RST_STREAM = 3
const SETTINGS = 4
const GOAWAY = 7
const END_HEADERS = 4

/** A client that makes its frames itself (RFC 9113), for what Node's would never send. */
export class RawHttp2 {
  readonly peer: Peer

  private constructor(peer: Peer) {
    this.peer = peer
  }

  static async dial(t: TestContext, port: number): Promise<RawHttp2> {
    const raw = new RawHttp2(await dial(t, port))
    raw.peer.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    raw.frame(SETTINGS, 0, 0, Buffer.alloc(0))
    return raw
  }

  frame(type: number, flags: number, stream: number, payload: Buffer): void {
    const head = Buffer.alloc(9)
    head.writeUIntBE(payload.length, 0, 3)
    head[3] = type
    head[4] = flags
    head.writeUInt32BE(stream, 5)
    this.peer.write(Buffer.concat([head, payload]))
  }

  /** HEADERS, each header a literal (RFC 7541 section 6.2.2), none longer than 126 bytes. */
  headers(stream: number, headers: OutgoingHttpHeaders): void {
    const lines = Object.entries(headers).flatMap(([name, value]) =>
      [value].flat().map(each => [name, `${each}`])
    )
    // Pseudo-headers come first.
    lines.sort(([a], [b]) => Number(b!.startsWith(':')) - Number(a!.startsWith(':')))
    const fields = lines.map(([name, value]) =>
      Buffer.concat([
        Buffer.of(0),
        ...[name!, value!].map(text => Buffer.from(`${String.fromCodePoint(text.length)}${text}`))
      ])
    )
    this.frame(HEADERS, END_HEADERS, stream, Buffer.concat(fields))
  }

  /** RST_STREAM. */
  reset(stream: number, code: number): void {
    const payload = Buffer.alloc(4)
    payload.writeUInt32BE(code)
    this.frame(RST_STREAM, 0, stream, payload)
  }

  /** Opens streams and resets each at once, all in as few packets as can be. */
  storm(first: number, count: number, head: OutgoingHttpHeaders): void {
    this.peer.socket.cork()
    for (let i = 0; i < count; i++) {
      this.headers(first + 2 * i, head)
      this.reset(first + 2 * i, constants.NGHTTP2_CANCEL)
    }
    this.peer.socket.uncork()
  }

  /** What a stream hears first: a status of HPACK's table, such as `400`, or `RST_STREAM` and its code. */
  async answer(stream: number): Promise<string> {
    for (;;) {
      const { type, of, payload } = await this.#next()
      if (of !== stream) continue
      if (type === RST_STREAM) return `RST_STREAM ${payload.readUInt32BE(0)}`
      if (type !== HEADERS) continue
      const known: Record<number, string> = { 0x88: '200', 0x8c: '400', 0x8d: '404', 0x8e: '500' }
      for (const byte of payload) if (byte in known) return known[byte]!
    }
  }

  /** Waits until the server wants no more of this connection. Not each line of Node closes it then by itself. */
  async goaway(): Promise<void> {
    while ((await this.#next()).type !== GOAWAY);
  }

  async #next(): Promise<{ type: number; of: number; payload: Buffer }> {
    const head = await this.peer.take(9)
    const payload = await this.peer.take(head.readUIntBE(0, 3))
    return { type: head[3]!, of: head.readUInt32BE(5), payload }
  }
}
