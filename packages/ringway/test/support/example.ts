import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { WebSocket, WebSocketServer } from 'ws'

/** The folder of all examples. This file runs in packages/ringway/dist/test/support. */
export const EXAMPLES: URL = new URL('../../../../../examples/', import.meta.url)

/** Beyond what a busy machine needs. */
const GUARD = 30_000

/** An example as a process of its own, and what it prints. */
export class Example {
  readonly #child: ChildProcess
  readonly #end: Promise<[code: number | null, signal: string | null]>
  /** All that it has printed, errors too. */
  output = ''

  /**
   * @param folder - below examples/
   * @param env - besides this process's own
   * @param file - the program
   */
  constructor(
    t: TestContext,
    folder: string,
    args: readonly string[] = [],
    env: Record<string, string> = {},
    file = 'index.js'
  ) {
    const program = fileURLToPath(new URL(`${folder}/${file}`, EXAMPLES))
    this.#child = spawn(process.execPath, [program, ...args], {
      env: { ...process.env, PORT: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe']
    })
    // At 'close', not 'exit': then all processes that write where it writes are gone.
    this.#end = once(this.#child, 'close') as Promise<[number | null, string | null]>
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
        this.#child.emit('printed')
      })
    }
    t.after(async () => {
      this.#child.kill('SIGKILL')
      await this.#end
    })
  }

  /** Waits until it has printed what matches. */
  async printed(pattern: RegExp): Promise<RegExpMatchArray> {
    for (;;) {
      const match = pattern.exec(this.output)
      if (match) return match
      const more = once(this.#child, 'printed').then(() => true)
      const ended = this.#end.then(() => false)
      if (!(await within(Promise.race([more, ended]), `${pattern}`, this)) && !pattern.test(this.output))
        throw new Error(`It ended without printing ${pattern}:\n${this.output}`)
    }
  }

  /** The port in the address that it prints. */
  async port(): Promise<number> {
    const [, port] = await this.printed(/(?:port: |127\.0\.0\.1:)(\d+)\D/)
    return Number(port)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Waits until it and all processes that it has started are gone. */
  async ended(): Promise<{ code: number | null; signal: string | null }> {
    const [code, signal] = await within(this.#end, 'its end', this)
    return { code, signal }
  }
}

async function within<T>(promise: Promise<T>, what: string, example: Example): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`Waited ${GUARD} ms in vain for ${what}:\n${example.output}`)),
      GUARD
    )
  })
  return Promise.race([promise, expired]).finally(() => clearTimeout(timer))
}

/** A real `ws` server for an example to stand before: it greets with its own address, then echoes. */
export interface ExampleBackend {
  readonly address: string
  /** Ends it with all of its connections. */
  stop(): Promise<void>
}

let backends = 0

export async function exampleBackend(t: TestContext): Promise<ExampleBackend> {
  const server = createServer((_, response) => response.end('ok\n'))
  const sockets = new WebSocketServer({ server })
  // An address of its own: when it has stopped, its port is nobody else's there.
  backends += 1
  const host = `127.78.0.${backends}`
  server.listen(0, host)
  await once(server, 'listening')
  const address = `${host}:${(server.address() as AddressInfo).port}`
  sockets.on('connection', socket => {
    socket.on('error', () => {})
    socket.on('message', (data, binary) => socket.send(data, { binary }))
    socket.send(address)
  })
  const stop = async (): Promise<void> => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets.clients) socket.terminate()
    server.closeAllConnections()
    await closed
  }
  t.after(stop)
  return { address, stop }
}

/** What a client's handshake came to. */
export interface Handshake {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  /** Of an answer that is no 101. */
  readonly body: string
  /** Of the server that a 101 came from. */
  readonly server: string | undefined
  readonly socket: WebSocket
}

/** Shakes hands by a real `ws` client. */
export async function shakeHands(
  t: TestContext,
  url: string,
  headers: Record<string, string> = {}
): Promise<Handshake> {
  const socket = new WebSocket(url, { headers })
  t.after(() => socket.terminate())
  const open = once(socket, 'upgrade') as Promise<[IncomingMessage]>
  const greeting = once(socket, 'message') as Promise<[Buffer]>
  const refused = once(socket, 'unexpected-response') as Promise<[unknown, IncomingMessage]>
  for (const promise of [open, greeting, refused]) promise.catch(() => {})
  const answer = await Promise.race([open.then(([each]) => each), refused.then(([, each]) => each)])
  socket.on('error', () => {})
  const { statusCode: status = 0 } = answer
  if (status === 101) {
    return { status, headers: answer.headers, body: '', server: String((await greeting)[0]), socket }
  }
  let body = ''
  for await (const text of answer.setEncoding('utf8') as AsyncIterable<string>) body += text
  return { status, headers: answer.headers, body, server: undefined, socket }
}

/** Says something and gives back the answer. */
export async function say(socket: WebSocket, text: string): Promise<string> {
  const answer = once(socket, 'message') as Promise<[Buffer]>
  socket.send(text)
  return String((await answer)[0])
}
