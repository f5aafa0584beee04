import { Client } from 'undici'
import type { Dispatcher, buildConnector } from 'undici'

import { show } from '@ringway/core/fields'

import { describe } from '../probe.ts'
import type { Check } from '../probe.ts'
import type { HttpHealthConfig } from './config.ts'
import { dial, hostHeader } from './dial.ts'
import type { Dialled, Place } from './dial.ts'
import type { ProbeHeaders } from './options.ts'

/**
 * One request on a connection of its own, so that it also finds out whether new connections are taken. Good is a
 * status that is expected, with a body that holds what it must, and that ends, or reaches `maxBody`, in time.
 *
 * @param place - whom to ask
 * @param health - what to ask for, and what is a good answer
 */
export function httpCheck(place: Place, health: HttpHealthConfig): Check {
  const { method, path, maxBody } = health
  const headers = { host: hostHeader(place), 'user-agent': 'ringway', ...health.headers }
  return async signal => {
    const line = dial(place, signal, ['http/1.1'])
    // The limit of time is the signal's alone. The origin is for show: the connection is ours, and so is Host.
    const limits = { headersTimeout: 0, bodyTimeout: 0 }
    const client = new Client('http://localhost', { connect: connector(line), ...limits })
    try {
      const answer = await client.request({ method, path, headers, reset: true, signal })
      const status = answer.statusCode
      const problem = statusProblem(status, answer.headers, health.expect)
      const body = await read(answer.body, maxBody)
      const error = problem ?? bodyProblem(status, body, health)
      return error === undefined ? { ok: true, status } : { ok: false, status, error }
    } finally {
      await client.destroy()
      await line.end()
    }
  }
}

/** Gives undici our connection, once: a probe that it would repeat on another one is a bad probe. */
function connector(line: Dialled): buildConnector.connector {
  let given = false
  return (_, callback) => {
    if (given) return callback(new Error('the server closed the connection'), null)
    given = true
    void hand(line, callback)
  }
}

async function hand({ socket, ready }: Dialled, callback: buildConnector.Callback): Promise<void> {
  const failure = await ready.then(() => undefined, wrap)
  if (failure === undefined) callback(null, socket)
  else callback(failure, null)
}

/** Without the code: undici tries again and again after an error whose code says that the names don't match. */
function wrap(error: unknown): Error {
  return new Error(describe(error), { cause: error })
}

/** Breaking off destroys the body. */
async function read(body: Dispatcher.ResponseData['body'], limit: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    chunks.push(chunk as Buffer)
    length += (chunk as Buffer).length
    if (length >= limit) break
  }
  return Buffer.concat(chunks).subarray(0, limit)
}

function statusProblem(
  status: number,
  headers: ProbeHeaders,
  expect: HttpHealthConfig['expect']
): string | undefined {
  const unexpected = `answered ${status}`
  if (expect === undefined) return status >= 200 && status <= 399 ? undefined : unexpected
  if (typeof expect !== 'function') return expect.includes(status) ? undefined : unexpected
  try {
    const verdict: unknown = expect(status, headers)
    if (typeof verdict === 'boolean') return verdict ? undefined : unexpected
    return `expect gave neither true nor false: ${show(verdict)}`
  } catch (error) {
    return `expect threw: ${describe(error)}`
  }
}

function bodyProblem(status: number, body: Buffer, { match, maxBody }: HttpHealthConfig): string | undefined {
  if (match === undefined) return undefined
  if (typeof match === 'string' ? body.includes(match) : test(match, body.toString())) return undefined
  const which = body.length < maxBody ? 'a body that does' : `a body whose first ${maxBody} bytes do`
  return `answered ${status} with ${which} not match`
}

function test(match: RegExp, text: string): boolean {
  // A global or sticky one would go on where it stopped in the last probe's body.
  match.lastIndex = 0
  return match.test(text)
}
