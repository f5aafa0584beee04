import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Http2ServerRequest } from 'node:http2'
import test from 'node:test'
import { text } from 'node:stream/consumers'
import { WebSocketServer } from 'ws'
import { webSocketServer } from './support/gate-backend.ts'
import { settled } from './support/gate-host.ts'
import { browse, missing } from './support/chromium.ts'
import { until, within } from './support/gate-waiting.ts'
import { http2Host } from './support/h2-host.ts'
import type { Mount } from './support/h2-host.ts'

const absent = missing()
if (absent !== undefined && process.env['CI']) throw new Error(absent)

const MESSAGES = 1_000

/** Says so many messages, each when the one before is back, and tells what came. */
const PAGE = `<!doctype html><title>a page</title><script>
const tell = found => fetch('/found', { method: 'POST', body: JSON.stringify(found) })
const socket = new WebSocket('wss://' + location.host + '/ws', ['chat'])
let echoes = 0
socket.onopen = () => socket.send('0')
socket.onmessage = ({ data }) => {
  if (data === String(echoes)) echoes += 1
  if (echoes < ${MESSAGES}) socket.send(String(echoes))
  else socket.close(1000)
}
socket.onclose = ({ code, wasClean }) => {
  const [page] = performance.getEntriesByType('navigation')
  const other = new WebSocket('wss://' + location.host + '/other')
  const found = { echoes, code, wasClean, protocol: socket.protocol, page: page.nextHopProtocol }
  other.onmessage = ({ data }) => tell({ ...found, other: data })
  other.onclose = () => tell({ ...found, other: 'closed' })
}
</script>`

test(
  `a browser opens its WebSocket on the page's connection of HTTP/2: ${MESSAGES} messages there and back`,
  {
    skip: absent ?? false
  },
  async t => {
    const backend = await webSocketServer(t, 'a', { handleProtocols: () => 'chat' })
    const told: Promise<string>[] = []
    const byHttp1: string[] = []
    const mount: Mount = (server, gateway) => {
      server.on('request', (request: Http2ServerRequest, response) => {
        if (request.method !== 'POST') return response.end(PAGE)
        told.push(text(request))
        server.emit('told')
        return response.end()
      })
      gateway.attach(server, { path: '/ws' })
      // A WebSocket server of the host's own, which takes upgrades of HTTP/1.1 only.
      const others = new WebSocketServer({ server: server as never, path: '/other' })
      others.on('connection', (webSocket, request) => {
        byHttp1.push(`${request.method} HTTP/${request.httpVersion}`)
        webSocket.send('another')
      })
    }
    const host = await http2Host(t, [`127.0.0.1:${backend.port}`], {}, { tls: true, mount })
    const found = once(host.server, 'told')
    await browse(t, `https://localhost:${host.port}/`)
    await within(found, 'the page to tell')
    assert.deepEqual(JSON.parse(await told[0]!), {
      echoes: MESSAGES,
      code: 1000,
      wasClean: true,
      protocol: 'chat',
      page: 'h2',
      other: 'another'
    })
    await until(() => host.lines.length === 1, 'the line is written')
    const { method, target, status } = host.lines[0]!.fields
    // CONNECT is the method of HTTP/2: an upgrade is a GET.
    assert.deepEqual([method, target, status], ['CONNECT', '/ws', 101])
    assert.deepEqual(byHttp1, ['GET HTTP/1.1'])
    await settled(host.gateway)
  }
)
