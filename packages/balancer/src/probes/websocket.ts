import { randomBytes } from 'node:crypto'

import { isExhausted } from '@ringway/core/errors'
import { WebSocket } from 'ws'

import { describe } from '../probe.ts'
import type { Check } from '../probe.ts'
import type { WebSocketHealthConfig } from './config.ts'
import { dial, hostHeader } from './dial.ts'
import type { Dialled, Place } from './dial.ts'

/** The longest message, and all that is read, in bytes. A server may greet with much, but not keep us busy. */
const LONGEST_MESSAGE = 2 ** 20
const ENOUGH = 2 ** 24

/**
 * A handshake, a ping, its pong and a close. Good is a pong in time; the close is for the server's sake, and whatever
 * becomes of it the probe stays good.
 *
 * @param place - whom to ask
 * @param health - what to ask for
 */
export function webSocketCheck(place: Place, health: WebSocketHealthConfig): Check {
  const headers = { host: hostHeader(place), 'user-agent': 'ringway', ...health.headers }
  return async signal => {
    const line = dial(place, signal, ['http/1.1'])
    const ws = open(line, health, headers)
    const talk = new Talk(ws, line)
    try {
      await talk.pong
      ws.close(1000)
      await line.closed
      return { ok: true, ...talk.status }
    } catch (error) {
      if (isExhausted(error)) throw error
      const problem = signal.aborted ? `${talk.missing} within ${health.timeout} ms` : describe(error)
      return { ok: false, ...talk.status, error: problem }
    } finally {
      ws.terminate()
      await line.end()
    }
  }
}

function open(line: Dialled, health: WebSocketHealthConfig, headers: Record<string, string>): WebSocket {
  // The origin is for show: the connection is ours, and so is Host. Nobody looks at messages, nor at their UTF-8.
  const ws = new WebSocket(`ws://localhost${health.path}`, [...health.protocols], {
    createConnection: () => line.socket,
    headers,
    perMessageDeflate: false,
    autoPong: false,
    maxPayload: LONGEST_MESSAGE,
    skipUTF8Validation: true
  })
  // ws gives a close that isn't answered 30 s by a timer that keeps the process alive, and has no option for that.
  let closeTimer: NodeJS.Timeout | null = null
  Object.defineProperty(ws, '_closeTimer', {
    get: () => closeTimer,
    set(timer: NodeJS.Timeout | null) {
      closeTimer = timer?.unref() ?? null
    }
  })
  return ws
}

/** What has come of a probe so far. */
class Talk {
  /** Fulfilled by the pong; rejects with what makes it impossible. */
  readonly pong: Promise<void>
  /** The answer's status, when there is one. */
  status: { readonly status?: number } = {}
  /** What is being waited for, as it stands before `within … ms`. */
  missing = 'no connection'

  constructor(ws: WebSocket, { socket, ready }: Dialled) {
    // Fresh in each probe: a pong may come unasked (RFC 6455 section 5.5.3), which then isn't ours.
    const payload = randomBytes(8)
    ready.then(
      () => (this.missing = 'no answer to the handshake'),
      // ws hears of it too.
      () => {}
    )
    this.pong = new Promise((resolve, reject) => {
      const fail = (problem: string): void => reject(new Error(problem))
      const readOne = (): void => {
        if (socket.bytesRead <= ENOUGH) return
        fail(`sent more than ${ENOUGH} bytes instead of a pong`)
        ws.terminate()
      }
      ws.on('error', reject)
      ws.on('unexpected-response', (_, { statusCode: status = 0 }) => {
        this.status = { status }
        fail(`answered ${status} to the handshake`)
      })
      ws.on('upgrade', () => {
        this.status = { status: 101 }
      })
      ws.on('open', () => {
        this.missing = 'no pong'
        ws.ping(payload)
      })
      ws.on('pong', data => {
        if (data.equals(payload)) return resolve()
        this.missing = 'no pong with the payload of the ping'
        readOne()
      })
      ws.on('message', readOne)
      ws.on('ping', data => {
        // A flood of pings needs no flood of pongs (RFC 6455 section 5.5.3 asks for the latest one only).
        if (ws.bufferedAmount < LONGEST_MESSAGE) ws.pong(data)
        readOne()
      })
      ws.on('close', code =>
        fail(
          code === 1006 ? 'lost the connection before the pong' : `closed with code ${code} before the pong`
        )
      )
    })
  }
}
