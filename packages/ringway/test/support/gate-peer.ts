import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import type { TestContext } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { within } from './gate-waiting.ts'

// Tests run in dist/test, where the compiler doesn't copy these to.
function fixture(name: string): string {
  return readFileSync(new URL(`../../../test/fixtures/${name}`, import.meta.url), 'latin1')
}

/** For localhost and 127.0.0.1. */
export const certificate: { key: string; cert: string } = {
  key: fixture('gate-key.pem'),
  cert: fixture('gate-cert.pem')
}

/** A head as it stood on the wire. */
export interface Head {
  /** With the blank line. */
  readonly text: string
  /** The request line or the status line. */
  readonly first: string
  /** Of an answer. */
  readonly status: number
  /** All values of a header; `name` in lower case. */
  values(name: string): string[]
}

/** One end of a connection that the test plays, byte by byte. */
export class Peer {
  readonly socket: Socket
  /** The other end's FIN has come. */
  ended = false
  closed = false
  /** What befell the socket: a reset, say. */
  error: NodeJS.ErrnoException | undefined
  #chunks: Buffer[] = []
  #length = 0
  #waiting: (() => void)[] = []

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk)
      this.#length += chunk.length
      this.#wake()
    })
    socket.on('end', () => {
      this.ended = true
      this.#wake()
    })
    socket.on('error', error => {
      this.error = error
    })
    socket.on('close', () => {
      this.closed = true
      this.#wake()
    })
  }

  /** What has come and wasn't taken yet. */
  get unread(): Buffer {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0] ?? Buffer.alloc(0)
  }

  write(bytes: string | Buffer): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  }

  /** Takes the next bytes, exactly so many. */
  async take(length: number): Promise<Buffer> {
    await this.#until(() => this.#length >= length || this.ended, `${length} bytes`)
    if (this.#length < length)
      assert.fail(`a FIN before ${length} bytes, after ${this.unread.toString('latin1')}`)
    return this.#cut(length)
  }

  /** Takes the next head. */
  async head(): Promise<Head> {
    await this.#until(() => this.unread.includes('\r\n\r\n') || this.ended, 'a whole head')
    const end = this.unread.indexOf('\r\n\r\n')
    if (end === -1) assert.fail(`a FIN before a whole head, after ${this.unread.toString('latin1')}`)
    const text = this.#cut(end + 4).toString('latin1')
    const [first = '', ...lines] = text.trimEnd().split('\r\n')
    return {
      text,
      first,
      status: Number(first.split(' ')[1]),
      values: name =>
        lines
          .filter(line => line.toLowerCase().startsWith(`${name}:`))
          .map(line => line.slice(name.length + 1).trim())
    }
  }

  /** Takes all that comes up to the FIN. */
  async rest(): Promise<Buffer> {
    await this.#until(() => this.ended, 'a FIN')
    return this.#cut(this.#length)
  }

  /** Waits until the other end has let go, by a FIN or a RST. */
  async left(): Promise<void> {
    await this.#until(() => this.ended || this.closed, 'its end')
  }

  /** Waits until the socket is closed, however that came. */
  async gone(): Promise<void> {
    await this.#until(() => this.closed, 'its close')
  }

  /** Ends the connection with a RST. */
  reset(): void {
    this.socket.resetAndDestroy()
  }

  #cut(length: number): Buffer {
    const { unread } = this
    this.#chunks = length < unread.length ? [unread.subarray(length)] : []
    this.#length -= length
    return unread.subarray(0, length)
  }

  async #until(done: () => boolean, what: string): Promise<void> {
    while (!done()) {
      if (this.closed) {
        const how = this.error?.code ?? 'no error'
        assert.fail(`closed (${how}) before ${what}, after ${this.unread.toString('latin1')}`)
      }
      await within(new Promise<void>(resolve => this.#waiting.push(resolve)), what)
    }
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }
}

export const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

/** A client's handshake. */
export function handshake(target = '/', ...extra: string[]): string {
  return [
    `GET ${target} HTTP/1.1`,
    'Host: gate.test',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Key: ${KEY}`,
    'Sec-WebSocket-Version: 13',
    ...extra,
    '\r\n'
  ].join('\r\n')
}

/** The 101 that a key asks for. */
export function switching(key: string, ...extra: string[]): string {
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  return [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${accept}`,
    ...extra,
    '\r\n'
  ].join('\r\n')
}

export interface DialOptions {
  /** The address to come from, any of 127.0.0.0/8. */
  readonly from?: string
  readonly host?: string
  readonly tls?: boolean
}

const left = new WeakMap<TestContext, Set<Socket>>()

/** Destroys a socket behind the test. One hook for all of a test's: thousands of hooks are slow. */
export function destroyAfter(t: TestContext, socket: Socket): void {
  let sockets = left.get(t)
  if (!sockets) {
    const made = new Set<Socket>()
    left.set(t, (sockets = made))
    t.after(() => {
      for (const each of made) each.destroy()
    })
  }
  sockets.add(socket)
}

/** Connects a client; destroyed behind the test. */
export async function dial(t: TestContext, port: number, options: DialOptions = {}): Promise<Peer> {
  const where = {
    port,
    host: options.host ?? '127.0.0.1',
    allowHalfOpen: true,
    ...(options.from === undefined ? {} : { localAddress: options.from })
  }
  const socket = connect(where)
  const peer = new Peer(
    options.tls ? connectTls({ socket, ca: certificate.cert, servername: 'localhost' }) : socket
  )
  if (options.tls) {
    peer.socket.allowHalfOpen = true
    socket.on('error', () => {})
    peer.reset = () => socket.resetAndDestroy()
  }
  destroyAfter(t, socket)
  await new Promise<void>((resolve, reject) => {
    peer.socket.once(options.tls ? 'secureConnect' : 'connect', resolve).once('close', () => {
      reject(peer.error ?? new Error('closed before it was connected'))
    })
  })
  return peer
}

/** Connects a client that says `text`, and takes the head of the answer. */
export async function ask(
  t: TestContext,
  port: number,
  text: string = handshake(),
  options: DialOptions = {}
): Promise<{ peer: Peer; head: Head }> {
  const peer = await dial(t, port, options)
  peer.write(text)
  return { peer, head: await peer.head() }
}

/** Connects a client whose handshake must succeed. */
export async function tunnel(t: TestContext, port: number, options: DialOptions = {}): Promise<Peer> {
  const { peer, head } = await ask(t, port, handshake(), options)
  assert.equal(head.status, 101, head.text)
  return peer
}
