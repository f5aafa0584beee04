import assert from 'node:assert/strict'
import { once } from 'node:events'
import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  Http2Server,
  IncomingHttpHeaders,
  IncomingHttpStatusHeader,
  OutgoingHttpHeaders
} from 'node:http2'
import { connect, constants, createSecureServer, createServer } from 'node:http2'
import type { Socket } from 'node:net'
import type { TestContext } from 'node:test'
import type { Gateway } from '../../src/index.ts'
import { createGateway } from '../../src/index.ts'
import { listen } from './gate-backend.ts'
import type { Line, Options } from './gate-host.ts'
import { recorder, settled } from './gate-host.ts'
import { certificate, Peer } from './gate-peer.ts'
import { until, within } from './gate-waiting.ts'

/** Of an answer. */
export type AnswerHeaders = IncomingHttpHeaders & IncomingHttpStatusHeader

export interface Http2Host {
  readonly gateway: Gateway
  readonly server: Http2Server
  readonly port: number
  readonly tls: boolean
  readonly lines: Line[]
  /** Streams that are open, on all connections. */
  readonly streams: () => number
}

/** What a host does with its server and a gateway. */
export type Mount = (server: Http2Server, gateway: Gateway) => void

/** How the host's server is made. */
export interface Http2HostOptions {
  /** With `allowHTTP1`. */
  readonly tls?: boolean
  /** Default: the gateway is attached, and the app answers 'the app'. */
  readonly mount?: Mount
}

/** A gateway attached to a server of HTTP/2; closed behind the test, when nothing may be left of it. */
export async function http2Host(
  t: TestContext,
  servers: readonly string[],
  options: Options = {},
  { tls = false, mount }: Http2HostOptions = {}
): Promise<Http2Host> {
  const { log, lines } = recorder()
  const gateway = createGateway({ log, ...options, upstream: { ...options.upstream, servers } })
  const server = tls ? createSecureServer({ ...certificate, allowHTTP1: true }) : createServer()
  if (mount) mount(server, gateway)
  else {
    server.on('request', (_, response) => response.end('the app'))
    gateway.attach(server)
  }
  let open = 0
  server.on('session', session => {
    session.on('stream', stream => {
      open += 1
      stream.once('close', () => (open -= 1))
    })
  })
  const port = await listen(t, server)
  t.after(async () => {
    await gateway.close()
    await settled(gateway)
    await until(() => open === 0, 'no stream is left')
  })
  return { gateway, server, port, tls, lines, streams: () => open }
}

/** Connects a client that knows that it may send extended CONNECTs; destroyed behind the test. */
export async function dialHttp2(
  t: TestContext,
  { port, tls = false }: { readonly port: number; readonly tls?: boolean }
): Promise<ClientHttp2Session> {
  const session = connect(`${tls ? 'https' : 'http'}://localhost:${port}`, {
    ca: certificate.cert,
    family: 4
  } as object)
  session.on('error', () => {})
  t.after(() => session.destroy())
  const [settings] = (await within(once(session, 'remoteSettings'), 'the settings')) as [
    { enableConnectProtocol: boolean }
  ]
  assert.equal(settings.enableConnectProtocol, true)
  return session
}

/** One stream that the test plays, as one end of a connection. */
export class StreamPeer extends Peer {
  readonly stream: ClientHttp2Stream
  #headers: AnswerHeaders | undefined

  constructor(stream: ClientHttp2Stream) {
    super(stream as unknown as Socket) // of which it uses what each stream has
    this.stream = stream
    stream.on('response', headers => {
      this.#headers = headers
      stream.emit('answered')
    })
    stream.on('close', () => stream.emit('answered'))
  }

  /** The headers of the answer; fails if there is none. */
  async answer(): Promise<AnswerHeaders> {
    if (!this.#headers && !this.closed) await within(once(this.stream, 'answered'), 'an answer')
    return this.#headers ?? assert.fail(`closed with ${this.stream.rstCode} before an answer`)
  }

  /** RST_STREAM. */
  override reset(): void {
    this.stream.close(constants.NGHTTP2_CANCEL)
  }
}

/** The head of an extended CONNECT. `undefined` takes a header away. */
export function connectHead(
  path = '/',
  more: Readonly<Record<string, string | readonly string[] | undefined>> = {}
): OutgoingHttpHeaders {
  const head = {
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':scheme': 'http',
    ':authority': 'gate.test',
    ':path': path,
    'sec-websocket-version': '13',
    ...more
  }
  return Object.fromEntries(
    Object.entries(head).filter(([, value]) => value !== undefined)
  ) as OutgoingHttpHeaders
}

/** Sends a head, with the stream left open. */
export function send(
  session: ClientHttp2Session,
  head: OutgoingHttpHeaders = connectHead(),
  options: object = {}
): StreamPeer {
  return new StreamPeer(session.request(head, { endStream: false, ...options }))
}

/** Opens a tunnel, which must succeed. */
export async function openTunnel(
  session: ClientHttp2Session,
  head: OutgoingHttpHeaders = connectHead()
): Promise<StreamPeer> {
  const peer = send(session, head)
  assert.equal((await peer.answer())[':status'], 200)
  return peer
}
