import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { connect, isIPv6 } from 'node:net'

import { RECURSION_DESIRED, decode, encode } from 'dns-packet'
import type { Answer } from 'dns-packet'

/** A DNS server. */
export interface Resolver {
  /** An IP address. */
  readonly address: string
  readonly port: number
}

/** What is asked for. */
export interface Question {
  /** Absolute, without the last dot. */
  readonly name: string
  readonly type: 'A' | 'AAAA' | 'SRV'
}

/** RFC 1035 section 4.1.1. */
const RCODES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED']
const HEADER = 12

/**
 * Asks one resolver: over UDP, and over TCP when the answer was cut. Rejects when it doesn't answer in time, can't be
 * reached, or answers that it can't tell. Gives no records for a name that doesn't exist.
 *
 * There is no EDNS in it: what is longer than 512 bytes comes over TCP, where no fragment can be lost or forged.
 *
 * @param timeout - in milliseconds, for both ways together
 */
export async function ask(
  resolver: Resolver,
  question: Question,
  timeout: number,
  signal: AbortSignal
): Promise<readonly Answer[]> {
  // With the random source port that the system gives each new socket this is what a forger has to guess.
  const query = encode({
    type: 'query',
    id: randomInt(0x1_0000),
    flags: RECURSION_DESIRED,
    questions: [question]
  })
  const limit = new AbortController()
  const stop = (): void => limit.abort(signal.reason)
  signal.addEventListener('abort', stop)
  const timer = setTimeout(() => limit.abort(new Error(`no answer within ${timeout} ms`)), timeout).unref()
  try {
    signal.throwIfAborted()
    let message = await overUdp(resolver, query, limit.signal)
    // An abort that has happened is told to no listener.
    limit.signal.throwIfAborted()
    if (isCut(message)) message = await overTcp(resolver, query, limit.signal)
    return read(message)
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
  }
}

function read(message: Buffer): readonly Answer[] {
  const code = message.readUInt8(3) & 0xf
  const rcode = RCODES[code] ?? `RCODE ${code}`
  if (rcode !== 'NOERROR' && rcode !== 'NXDOMAIN') throw new Error(`answered ${rcode}`)
  try {
    const { answers = [] } = decode(message)
    // The decoder reads past the end of a short message, and makes `10.0.0.undefined` of it.
    if (decode.bytes > message.length) throw new RangeError(`${message.length} bytes of ${decode.bytes}`)
    return answers
  } catch (cause) {
    throw new Error('answered what is no DNS message', { cause })
  }
}

/** Whether the message answers the query: same id, same question. A reply may change the case of letters. */
function isReply(message: Buffer, query: Buffer): boolean {
  if (message.length < query.length) return false
  const response = (message.readUInt8(2) & 0x80) !== 0
  const one = message.readUInt16BE(4) === 1
  // The first name of a message can't be compressed, so the question stands as we wrote it.
  const asked = (from: Buffer): string => from.toString('latin1', HEADER, query.length).toLowerCase()
  return (
    response && one && message.readUInt16BE(0) === query.readUInt16BE(0) && asked(message) === asked(query)
  )
}

function isCut(message: Buffer): boolean {
  return (message.readUInt8(2) & 0x02) !== 0
}

/** What is no reply to the query is somebody else's, or forged: it is passed over and the real one waited for. */
function overUdp({ address, port }: Resolver, query: Buffer, limit: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4').unref()
    const end = (): void => {
      limit.removeEventListener('abort', aborted)
      socket.close()
    }
    const fail = (error: Error): void => {
      // A second error of the same socket has nobody to tell.
      socket.off('error', fail).on('error', () => {})
      end()
      reject(error)
    }
    const aborted = (): void => fail(limit.reason as Error)
    limit.addEventListener('abort', aborted)
    socket.on('error', fail)
    socket.on('message', message => {
      if (!isReply(message, query)) return
      end()
      resolve(message)
    })
    // Connected, the system passes on what the resolver itself sends, and says when nobody listens there.
    socket.connect(port, address)
    socket.on('connect', () => socket.send(query))
  })
}

/** RFC 1035 section 4.2.2: two bytes of length before each message. */
function overTcp({ address, port }: Resolver, query: Buffer, limit: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port }).unref()
    let received = Buffer.alloc(0)
    const fail = (error: Error): void => {
      limit.removeEventListener('abort', aborted)
      socket.destroy()
      reject(error)
    }
    const aborted = (): void => fail(limit.reason as Error)
    limit.addEventListener('abort', aborted)
    socket.on('error', fail)
    socket.on('close', () => fail(new Error('ended the connection without an answer')))
    socket.on('data', chunk => {
      received = Buffer.concat([received, chunk])
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return
      const message = received.subarray(2, 2 + received.readUInt16BE(0))
      if (isReply(message, query)) resolve(message)
      // After resolve() this only cleans up.
      fail(new Error('answered another question'))
    })
    const length = Buffer.alloc(2)
    length.writeUInt16BE(query.length)
    socket.write(Buffer.concat([length, query]))
  })
}
