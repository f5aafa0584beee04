import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import type { TestContext } from 'node:test'
import { connect as connectTls, TLSSocket } from 'node:tls'
import { cert } from './mount-server.ts'

/** One HTTP answer, as it came. */
export interface Answer {
  readonly status: number
  readonly reason: string
  /** Names in lower case, and values, in the order sent. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Empty for a 101, whose connection goes on as a tunnel. */
  readonly body: Buffer
}

/** The one value of a header, or undefined. */
export function header(answer: Answer, name: string): string | undefined {
  const values = headers(answer, name)
  assert.ok(values.length < 2, `${name} comes ${values.length} times`)
  return values[0]
}

/** All values of a header, in the order sent. */
export function headers(answer: Answer, name: string): string[] {
  return answer.headers.filter(([each]) => each === name).map(([, value]) => value)
}

/** The text of a WebSocket handshake. */
export function handshake(target: string, ...lines: string[]): string {
  return requestHead(
    `GET ${target}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    ...lines
  )
}

/** The head of any request. */
export function requestHead(methodAndTarget: string, ...lines: string[]): string {
  return `${[`${methodAndTarget} HTTP/1.1`, 'Host: example.com', ...lines].join('\r\n')}\r\n\r\n`
}

/** Where to connect to. */
export interface Place {
  readonly port: number
  readonly tls?: boolean
  readonly host?: string
}

/** A client that says what it's told, byte by byte, and reads answers one after the other. */
export class Client {
  readonly socket: Socket
  #received = Buffer.alloc(0)
  #ended = false
  #error: Error | undefined
  #heads = 0

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk])
    })
    socket.on('end', () => {
      this.#ended = true
    })
    socket.on('error', error => {
      this.#error = error
    })
  }

  /** Connects, and says something with its first packet. Ends with the test. */
  static async connect(
    t: TestContext,
    { port, tls, host = '127.0.0.1' }: Place,
    first = ''
  ): Promise<Client> {
    const where = { port, host, allowHalfOpen: true }
    const socket = tls ? connectTls({ ...where, ca: cert, servername: 'localhost' }) : connect(where)
    t.after(() => socket.destroy())
    const client = new Client(socket)
    await once(socket, tls ? 'secureConnect' : 'connect')
    client.say(first)
    return client
  }

  say(bytes: string | Buffer): void {
    this.socket.write(bytes)
  }

  /** The next answer, whole. */
  async answer(method = 'GET'): Promise<Answer> {
    const end = await this.#until(() => this.#received.indexOf('\r\n\r\n') + 1, 'a head')
    const [first = '', ...lines] = this.#take(end + 3)
      .toString('latin1')
      .trimEnd()
      .split('\r\n')
    const [, status, reason] =
      /^HTTP\/1\.1 (\d{3}) (.*)$/.exec(first) ?? assert.fail(`no status line: ${first}`)
    const pairs = lines.map(line => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
    })
    this.#heads += 1
    const head = { status: Number(status), reason: reason!, headers: pairs, body: Buffer.alloc(0) }
    if ([101, 204, 304].includes(head.status) || method === 'HEAD') return head
    return {
      ...head,
      body: await this.#body(header(head, 'content-length'), header(head, 'transfer-encoding'))
    }
  }

  async #body(length: string | undefined, encoding: string | undefined): Promise<Buffer> {
    if (length !== undefined) {
      const size = Number(length)
      if (size > 0) await this.#until(() => this.#received.length >= size, `${size} bytes of body`)
      return this.#take(size)
    }
    if (encoding === undefined) {
      await this.#until(() => this.#ended, 'the end of the body')
      return this.#take(this.#received.length)
    }
    const chunks: Buffer[] = []
    for (;;) {
      const end = await this.#until(() => this.#received.indexOf('\r\n') + 1, 'a chunk')
      const size = Number.parseInt(this.#take(end + 1).toString('latin1'), 16)
      await this.#until(() => this.#received.length >= size + 2, 'a whole chunk')
      chunks.push(this.#take(size))
      this.#take(2)
      if (size === 0) return Buffer.concat(chunks)
    }
  }

  /** Waits for a text among what isn't read yet, and takes all up to its end. */
  async hear(text: string): Promise<string> {
    const end = await this.#until(() => this.#received.indexOf(text) + 1, JSON.stringify(text))
    return this.#take(end - 1 + Buffer.byteLength(text)).toString('latin1')
  }

  /** Says something into an open tunnel to a backend that echoes. */
  async echoes(text: string): Promise<void> {
    this.say(text)
    await this.hear(text)
  }

  /** Waits for the server's FIN. Nothing more may have come, and no reset. */
  async ends(): Promise<void> {
    await this.#until(() => this.#ended, 'a FIN')
    assert.equal(this.#received.toString('latin1'), '', 'nothing comes behind the last answer')
    this.socket.end()
    if (!this.socket.closed) await once(this.socket, 'close')
    assert.equal(this.#error, undefined)
  }

  /** Waits until the server has cut the connection, in any way. What was received and not read is given. */
  async cut(): Promise<string> {
    await this.#until(() => this.#ended || this.socket.closed, 'an end')
    return this.#received.toString('latin1')
  }

  /** Goes away without a word: with a reset, which TLS can't. */
  vanish(): void {
    if (this.socket instanceof TLSSocket) this.socket.destroy()
    else this.socket.resetAndDestroy()
  }

  #take(bytes: number): Buffer {
    const taken = this.#received.subarray(0, bytes)
    this.#received = this.#received.subarray(bytes)
    return taken
  }

  /** Asks again at each thing that comes, until the answer isn't 0 or false. */
  async #until<Found extends number | boolean>(find: () => Found, what: string): Promise<Found> {
    for (;;) {
      const found = find()
      if (found) return found
      if (this.#ended || this.socket.closed) {
        const rest = this.#received.toString('latin1')
        assert.fail(
          `ended (${this.#error?.message ?? 'FIN'}) without ${what} after ${this.#heads} answers: ${rest}`
        )
      }
      await new Promise<void>(resolve => {
        const go = (): void => {
          this.socket.off('data', go).off('end', go).off('close', go)
          resolve()
        }
        this.socket.on('data', go).on('end', go).on('close', go)
      })
    }
  }
}
