import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import type { ClientHttp2Session, Http2Server, Http2ServerRequest } from 'node:http2'
import { connect as connectHttp2, createServer as createH2cServer, createSecureServer } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import type { Server, Socket } from 'node:net'
import { createServer } from 'node:net'
import test from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { arrived, fronted, HEADER, HEADERS, plainClient, startTls, whose } from './support/fronted.ts'
import { certificate, Peer } from './support/gate-peer.ts'
import { within } from './support/gate-waiting.ts'

const GET = 'GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n'

/** Says whose the connection is, then all that comes. */
function echo(socket: Socket): void {
  socket.on('error', () => {})
  socket.write(`${whose(socket)}|`)
  socket.pipe(socket)
}

/** What a plain client's connection is without a header. */
function itself({ localAddress, localPort }: Socket): string {
  return `${localAddress} ${localPort} IPv4`
}

const page = (request: { socket: Partial<Socket> }, response: { end(text: string): unknown }): void => {
  response.end(whose(request.socket))
}

/** Servers whose protocol the client speaks right behind the header, what it says, and what must come behind the answer's head. */
const PLAIN: [name: string, make: () => Server, says: string, answer: (whose: string) => string][] = [
  ['net', () => createServer({ allowHalfOpen: true }, echo), 'hello', name => `${name}|hello`],
  [
    'http',
    () => createHttpServer(page),
    GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'),
    name => name
  ]
]

for (const [protocol, make, says, answer] of PLAIN) {
  for (const [name, header, tells] of HEADERS) {
    test(`${name} in front of a ${protocol} server is read, split wherever it may be`, async t => {
      const server = await fronted(t, make())
      const all = Buffer.concat([header, Buffer.from(says)])
      await Promise.all(
        Array.from(all, async (_, at) => {
          const client = await plainClient(t, server.port)
          const own = itself(client)
          const peer = new Peer(client)
          client.write(all.subarray(0, at))
          if (at > 0) await arrived(server, client, at)
          client.end(all.subarray(at))
          const text = (await peer.rest()).toString()
          assert.ok(text.endsWith(answer(tells ?? own)), `at ${at}: ${text}`)
        })
      )
      assert.deepEqual(server.lines, [])
    })
  }
}

for (const [name, header, tells] of HEADERS) {
  test(`${name} goes before TLS, and the TLS socket tells it`, async t => {
    const server = await fronted(t, createTlsServer(certificate, echo))
    await Promise.all(
      Array.from({ length: header.length + 1 }, async (_, at) => {
        const client = await plainClient(t, server.port)
        const own = itself(client)
        client.write(header.subarray(0, at))
        if (at > 0) await arrived(server, client, at)
        const peer = new Peer(await startTls(client, header.subarray(at)))
        peer.write('hello')
        const wanted = `${tells ?? own}|hello`
        assert.equal((await peer.take(wanted.length)).toString(), wanted)
      })
    )
  })
}

test('a header of one byte at a time, TLVs of 60,000 bytes with it', async t => {
  const server = await fronted(t, createServer(echo))
  const bare = HEADERS.find(([name]) => name === 'v2 of IPv6')![1]
  const long = Buffer.concat([bare, Buffer.alloc(60_000)])
  long.writeUInt16BE(bare.length - 16 + 60_000, 14)
  const client = await plainClient(t, server.port)
  const peer = new Peer(client)
  for (let at = 0; at < 80; at++) {
    client.write(long.subarray(at, at + 1))
    await arrived(server, client, at + 1)
  }
  client.write(Buffer.concat([long.subarray(80), Buffer.from('behind')]))
  const wanted = '2001:db8::7 51001 IPv6|behind'
  assert.equal((await peer.take(wanted.length)).toString(), wanted)
})

test('an https server, with keep-alive', async t => {
  const server = await fronted(t, createHttpsServer(certificate, page))
  const client = await plainClient(t, server.port)
  const peer = new Peer(await startTls(client, HEADER))
  for (let i = 0; i < 3; i++) {
    peer.write(GET)
    await peer.head()
    assert.equal((await peer.take(22)).toString(), '203.0.113.7 51000 IPv4')
  }
})

/** The text of an answer. */
async function asked(session: ClientHttp2Session, body?: Buffer): Promise<string> {
  const stream = session.request({ ':method': body ? 'POST' : 'GET' })
  stream.end(body)
  let text = ''
  stream.setEncoding('utf8').on('data', (part: string) => (text += part))
  await within(once(stream, 'end'), 'an answer')
  return text
}

/** Answers with whose the connection is, and how much has come. */
function serveStreams(server: Http2Server): Http2Server {
  return server.on('request', (request: Http2ServerRequest, response) => {
    let length = 0
    request.on('data', (chunk: Buffer) => (length += chunk.length))
    request.on('end', () => {
      response.end(`${whose(request.socket)} ${length}`)
    })
  })
}

test('servers of http2, with and without TLS; the other side of allowHTTP1 too', async t => {
  const secure = await fronted(t, serveStreams(createSecureServer({ ...certificate, allowHTTP1: true })))
  const plain = await fronted(t, serveStreams(createH2cServer()))
  for (const { port, tls } of [
    { port: secure.port, tls: true },
    { port: plain.port, tls: false }
  ]) {
    const socket = await plainClient(t, port)
    if (!tls) socket.write(HEADER)
    const connection = tls ? await startTls(socket, HEADER, { ALPNProtocols: ['h2'] }) : socket
    const session = connectHttp2('http://gate.test', { createConnection: () => connection })
    session.on('error', () => {})
    t.after(() => session.destroy())
    for (const body of [undefined, Buffer.alloc(40_000), undefined]) {
      assert.equal(await asked(session, body), `203.0.113.7 51000 IPv4 ${body?.length ?? 0}`)
    }
  }
  const peer = new Peer(await startTls(await plainClient(t, secure.port), HEADER))
  peer.write(GET)
  assert.equal((await peer.head()).status, 200)
})

test('what comes with the header and fills the buffer is all there: net, http, h2c', async t => {
  const body = Buffer.alloc(1_000_000, 'x')
  const net = await fronted(t, createServer({ allowHalfOpen: true }, echo))
  const one = new Peer(await plainClient(t, net.port))
  one.socket.end(Buffer.concat([HEADER, body]))
  assert.equal((await one.rest()).length, 23 + body.length)

  let length = 0
  const http = await fronted(
    t,
    createHttpServer((request, response) => {
      request.on('data', (chunk: Buffer) => (length += chunk.length)).on('end', () => response.end())
    })
  )
  const two = new Peer(await plainClient(t, http.port))
  const head = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`
  two.write(Buffer.concat([HEADER, Buffer.from(head), body]))
  assert.equal((await two.head()).status, 200)
  assert.equal(length, body.length)

  const h2c = await fronted(t, serveStreams(createH2cServer()))
  const socket = await plainClient(t, h2c.port)
  socket.cork()
  socket.write(HEADER)
  const session = connectHttp2('http://gate.test', { createConnection: () => socket })
  t.after(() => session.destroy())
  socket.uncork()
  assert.equal(await asked(session, body), `203.0.113.7 51000 IPv4 ${body.length}`)
})

test('a FIN right behind the header is told to the server', async t => {
  const server = createServer({ allowHalfOpen: true }, socket => {
    socket.on('end', () => socket.end(whose(socket))).resume()
  })
  const { port } = await fronted(t, server)
  const peer = new Peer(await plainClient(t, port))
  peer.socket.end(HEADER)
  assert.equal((await peer.rest()).toString(), '203.0.113.7 51000 IPv4')
})

function stateOf(socket: Socket): object {
  const listeners = socket.eventNames().map(name => [name, socket.listenerCount(name)])
  return { flowing: socket.readableFlowing, listeners }
}

test('a socket is handed on as it was: no listener of ours, and not flowing', async t => {
  const seen: object[] = []
  const make = (): Server =>
    createServer(socket => {
      setImmediate(() => {
        seen.push(stateOf(socket))
        socket.end('.').resume()
      })
    })
  const read = await fronted(t, make())
  const alone = await fronted(t, make(), { from: ['192.0.2.1'] })
  for (const { port } of [read, alone]) {
    const peer = new Peer(await plainClient(t, port))
    peer.write(HEADER)
    await peer.take(1)
  }
  assert.deepEqual(seen[0], seen[1])
})
