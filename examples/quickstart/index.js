// Three WebSocket servers and the gateway in front of them. `--check` runs a client through it and ends; without, it
// serves a page on which you kill servers and watch their users move. Ports: --port, --tls-port, --page-port.
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { createGateway, remoteAddress } from 'ringway'
import { generate } from 'selfsigned'
import { Backend } from './backends.js'
import { check } from './check.js'
import { createPage } from './page.js'

const HOST = '127.0.0.1'
const { values: options } = parseArgs({
  options: {
    check: { type: 'boolean', default: false },
    port: { type: 'string' },
    'tls-port': { type: 'string' },
    'page-port': { type: 'string' }
  }
})

// Backends on free ports. Their ids are what is hashed, so the ring is the same in every run.
const backends = ['sre1:8080', 'sre2:8080', 'sre3:8080'].map(id => new Backend(id))
await Promise.all(backends.map(backend => backend.start()))

// A browser has one address, so all of its connections would have one server. Here a user is a key: ?user=ann
const byAddress = remoteAddress()
const gateway = createGateway({
  upstream: {
    servers: backends.map(({ id, port }) => ({ id, host: HOST, port })),
    health: { type: 'http', path: '/healthz', interval: 500, rise: 2, fall: 3 },
    key: source => new URL(`http://gateway${source.target}`).searchParams.get('user') ?? byAddress(source)
  }
})

// wss and https with a certificate made on the spot, ws and http without.
const certificate = await generate([{ name: 'commonName', value: 'localhost' }], {
  keyType: 'ec',
  algorithm: 'sha256'
})
const tls = { key: certificate.private, cert: certificate.cert }
const secure = await onPort('tls-port', 8443, port => gateway.listen({ host: HOST, port, tls }))
const plain = await onPort('port', 8080, port => gateway.listen({ host: HOST, port }))
const wss = `wss://${HOST}:${secure}`
const ws = `ws://${HOST}:${plain}`

if (options.check) {
  let failed = false
  try {
    await check({ gateway, backends, ws, wss, ca: certificate.cert })
  } catch (error) {
    failed = true
    console.error('FAILED:', error)
  }
  await stop()
  process.exitCode = failed ? 1 : 0
} else {
  const page = createPage({ gateway, backends, ws, wss })
  const pagePort = await onPort('page-port', 8000, async port => {
    await once(page.listen(port, HOST), 'listening')
    return page
  })
  const processes = backends.map(({ id, port, pid }) => `${id}  ${HOST}:${port}, process ${pid}`)
  console.log(`
  Open     http://${HOST}:${pagePort}  to kill servers and watch their users move
  Gateway  ${wss}  and https, with a certificate of its own making
           ${ws}  and http
  Servers  ${processes.join('\n           ')}

  Ctrl-C ends it.
`)
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => {
      page.close()
      page.closeAllConnections()
      void stop()
    })
  }
}

async function stop() {
  await gateway.close({ drain: 500 })
  await Promise.all(backends.map(backend => backend.stop()))
}

/**
 * The port that was asked for; else the usual one, or any that is free when that is in use.
 *
 * @param {'port' | 'tls-port' | 'page-port'} option
 * @param {number} usual
 * @param {(port: number) => Promise<import('node:net').Server>} listen
 */
async function onPort(option, usual, listen) {
  const asked = options[option]
  const server = await listen(Number(asked ?? usual)).catch((/** @type {NodeJS.ErrnoException} */ error) => {
    if (asked !== undefined || error.code !== 'EADDRINUSE') throw error
    console.log(`Port ${usual} is in use, taking a free one instead (or say --${option} PORT).`)
    return listen(0)
  })
  return /** @type {import('node:net').AddressInfo} */ (server.address()).port
}
