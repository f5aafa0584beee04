import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'

const HTML = new URL('page.html', import.meta.url)

/**
 * Serves the page, tells it what goes on, and kills and revives backends for it. It stands beside the gateway, not
 * behind it: so it answers even when no backend is left.
 *
 * @param {object} demo
 * @param {import('ringway').Gateway} demo.gateway
 * @param {import('./backends.js').Backend[]} demo.backends
 * @param {string} demo.ws
 * @param {string} demo.wss
 */
export function createPage({ gateway, backends, ws, wss }) {
  return createServer((request, response) => {
    const { pathname, searchParams } = new URL(`http://page${request.url}`)
    const [, action, id] = pathname.split('/')

    if (request.method === 'GET' && pathname === '/') {
      response.setHeader('Content-Type', 'text/html; charset=utf-8')
      createReadStream(HTML).pipe(response)
      return
    }
    if (request.method === 'GET' && action === 'news') {
      tellNews(response)
      return
    }
    if (request.method === 'GET' && action === 'order') {
      const users = searchParams.getAll('user')
      const orders = users.map(user => [user, gateway.upstream.order(user).map(server => server.id)])
      response.setHeader('Content-Type', 'application/json')
      response.end(JSON.stringify(Object.fromEntries(orders)))
      return
    }

    const backend = backends.find(each => encodeURIComponent(each.id) === id)
    if (request.method !== 'POST' || !backend || (action !== 'kill' && action !== 'revive')) {
      response.writeHead(404).end()
      return
    }
    // Any site that the browser is on could send this POST; only our page may.
    if (request.headers.origin !== `http://${request.headers.host}`) {
      response.writeHead(403).end()
      return
    }
    const done = action === 'kill' ? backend.kill() : backend.start()
    done.then(
      () => response.writeHead(204).end(),
      error => response.writeHead(500).end(String(error))
    )
  })

  /**
   * Server-sent events: the state of all servers again and again, and each move in or out of use.
   *
   * @param {import('node:http').ServerResponse} response
   */
  function tellNews(response) {
    /** @type {(event: string, data: object) => void} */
    const tell = (event, data) => {
      response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
    }
    const tellState = () => {
      const servers = gateway.stats().upstream.servers.map((server, i) => ({
        id: server.id,
        usable: server.usable,
        tunnels: server.active,
        opened: server.totals.opened,
        pid: backends[i]?.pid ?? null
      }))
      tell('state', { servers })
    }
    /** @type {(server: { id: string }, reason: string) => void} */
    const tellDown = ({ id }, reason) => tell('down', { id, reason })
    /** @type {(server: { id: string }, reason: string) => void} */
    const tellUp = ({ id }, reason) => tell('up', { id, reason })

    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
    tell('hello', { ws, wss })
    tellState()
    const timer = setInterval(tellState, 250)
    gateway.on('server:down', tellDown).on('server:up', tellUp)
    response.once('close', () => {
      clearInterval(timer)
      gateway.off('server:down', tellDown).off('server:up', tellUp)
    })
  }
}
