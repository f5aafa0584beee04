import { connect as connectTcp } from 'node:net'
import type { Socket } from 'node:net'
import { addAbortSignal } from 'node:stream'
import { connect as connectTls } from 'node:tls'

import { Client } from 'undici'
import type { Dispatcher, buildConnector } from 'undici'

import { addressText } from '../address.ts'
import type { HealthConfig } from '../config.ts'
import { describe } from '../probe.ts'
import type { Check } from '../probe.ts'
import type { UpstreamServer } from '../server.ts'

/** So many bytes of a body are read, to let an ordinary one end in peace; the status has been judged by then. */
const ENOUGH = 65_536

type Connector = buildConnector.connector
type Place = Pick<UpstreamServer, 'address' | 'tls'>

/**
 * One GET on a connection of its own, so that it also finds out whether new connections are taken. Good is a
 * status that is expected, with a body that ends, or reaches 64 KiB, in time.
 *
 * @param server - whom to ask
 * @param health - what to ask for, and what is a good answer
 */
export function httpCheck(server: Place, health: HealthConfig): Check {
  const { address } = server
  const host = 'host' in address ? addressText(address) : 'localhost'
  const headers = { host, 'user-agent': 'ringway', ...health.headers }
  return async signal => {
    const connection = dial(server, signal)
    // The limit of time is the signal's alone. The origin is for show: the connection is ours, and so is Host.
    const limits = { headersTimeout: 0, bodyTimeout: 0 }
    const client = new Client('http://localhost', { connect: connection.connect, ...limits })
    try {
      const request = { method: 'GET', path: health.path, headers, reset: true, signal } as const
      const { statusCode: status, body } = await client.request(request)
      await readSome(body)
      return isGood(status, health.expect)
        ? { ok: true, status }
        : { ok: false, status, error: `answered ${status}` }
    } finally {
      await client.destroy()
      await connection.end()
    }
  }
}

/**
 * A connector for undici whose socket the signal ends at any time: undici forgets about a signal while it connects,
 * and would go on connecting. The socket doesn't keep the process alive: an upstream is nothing to wait for.
 */
function dial({ address, tls }: Place, signal: AbortSignal): { connect: Connector; end(): Promise<void> } {
  const target = 'host' in address ? { host: address.host, port: address.port } : { path: address.socketPath }
  let socket: Socket | undefined
  return {
    connect(_, callback) {
      const made =
        tls === undefined
          ? connectTcp(target)
          : connectTls({ ...tls, ...target, ALPNProtocols: ['http/1.1'] })
      socket = made
      addAbortSignal(signal, made).unref()
      // Wrapped, since undici tries again and again after an error whose code says that the names don't match.
      const failed = (error: Error): void => callback(new Error(describe(error), { cause: error }), null)
      made.once('error', failed)
      made.once(tls === undefined ? 'connect' : 'secureConnect', () => {
        made.off('error', failed)
        callback(null, made)
      })
      // To the end: what befalls a socket after its probe is nobody's concern.
      made.on('error', () => {})
    },
    async end() {
      const open = socket
      if (open === undefined || open.closed) return
      const closed = new Promise(resolve => open.once('close', resolve))
      open.destroy()
      await closed
    }
  }
}

/** Breaking off destroys the body. */
async function readSome(body: Dispatcher.ResponseData['body']): Promise<void> {
  let read = 0
  for await (const chunk of body) {
    read += (chunk as Buffer).length
    if (read >= ENOUGH) break
  }
}

function isGood(status: number, expect: readonly number[] | undefined): boolean {
  return expect === undefined ? status >= 200 && status <= 399 : expect.includes(status)
}
