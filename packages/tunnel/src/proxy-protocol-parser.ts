import { parseAddress, writeAddress } from '@ringway/core/address'
import { TunnelError } from './errors.ts'
import type { ConnectionEnds, Endpoint } from './proxy-protocol.ts'
import { LOCAL, PROXY, TCP4, TCP6, V1_START, V2_FIXED, V2_START } from './proxy-protocol.ts'

/** A PROXY header, read. */
export interface ParsedProxyHeader {
  /** Of the client's connection; `undefined` when it tells none, so that the connection's own addresses count. */
  readonly ends: ConnectionEnds | undefined
  /** What came behind the header. */
  readonly rest: Buffer
}

/** The longest line of v1, CRLF included. */
const LONGEST_LINE = 107

/** Bytes of both addresses and both ports of v2, by family and transport. */
const SIZES = new Map([
  [TCP4, 12],
  [TCP6, 36]
])

/** One space between all words, no zero before a number. Behind UNKNOWN anything may stand. */
const LINE =
  /^PROXY (?:UNKNOWN(?: .*)?|TCP([46]) ([\da-fA-F:.]+) ([\da-fA-F:.]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4}))$/s

/**
 * Reads one header of the PROXY protocol, v1 or v2, from bytes that come in any pieces. Holds 107 bytes at most: TLVs are
 * skipped as they come, and not looked at. Addresses are in the form that Ringway uses as keys: IPv4 inside IPv6 is IPv4.
 *
 * `UNKNOWN`, `LOCAL`, and what isn't TCP over IPv4 or IPv6 tell no ends.
 */
export class ProxyHeaderParser {
  readonly #held = Buffer.alloc(LONGEST_LINE)
  #length = 0
  /** How many bytes are to be held. */
  #wanted = LONGEST_LINE
  /** How many bytes are to be skipped behind them. */
  #skip = 0

  /** Whether anything has come yet: tells a header that was cut off from none. */
  get started(): boolean {
    return this.#length > 0
  }

  /**
   * Takes the next bytes. Not to be called again once it has given a header, or thrown.
   *
   * @returns the header and what followed it, or `undefined` while it isn't complete
   * @throws {@link TunnelError} `ERR_RINGWAY_BAD_PROXY_HEADER` when it never will be
   */
  push(chunk: Buffer): ParsedProxyHeader | undefined {
    let at = 0
    while (at < chunk.length && this.#length < this.#wanted) this.#take(chunk[at++]!)
    const skipped = Math.min(this.#skip, chunk.length - at)
    this.#skip -= skipped
    if (this.#length < this.#wanted || this.#skip > 0) return undefined
    return { ends: this.#isV2 ? this.#readEnds() : this.#readLine(), rest: chunk.subarray(at + skipped) }
  }

  get #isV2(): boolean {
    return this.#held[0] === V2_START[0]
  }

  #take(byte: number): void {
    const index = this.#length++
    this.#held[index] = byte
    const start = this.#isV2 ? V2_START : V1_START
    if (index < start.length && byte !== start[index]) throw bad('it begins like neither v1 nor v2')
    if (this.#isV2) {
      if (this.#length === V2_FIXED) this.#measure()
    } else if (byte === 0x0a && this.#held[index - 1] === 0x0d) {
      this.#wanted = this.#length
    } else if (this.#length === LONGEST_LINE) {
      throw bad(`its line has more than ${LONGEST_LINE} bytes`)
    }
  }

  #measure(): void {
    const command = this.#held[12]!
    if (command !== LOCAL && command !== PROXY) throw bad('its version or command is unknown')
    const size = command === LOCAL ? 0 : (SIZES.get(this.#held[13]!) ?? 0)
    const length = this.#held.readUInt16BE(14)
    if (length < size) throw bad('it is too short for its addresses')
    this.#wanted = V2_FIXED + size
    this.#skip = length - size
  }

  #readEnds(): ConnectionEnds | undefined {
    const bytes = this.#held.subarray(V2_FIXED, this.#length)
    if (bytes.length === 0) return undefined
    const middle = (bytes.length - 4) / 2
    return {
      source: { address: addressOf(bytes.subarray(0, middle)), port: bytes.readUInt16BE(middle * 2) },
      destination: {
        address: addressOf(bytes.subarray(middle, middle * 2)),
        port: bytes.readUInt16BE(middle * 2 + 2)
      }
    }
  }

  #readLine(): ConnectionEnds | undefined {
    const line = LINE.exec(this.#held.toString('latin1', 0, this.#length - 2))
    if (line === null) throw bad('its line is malformed')
    const [, family, source, destination, sourcePort, destinationPort] = line
    if (family === undefined) return undefined
    return {
      source: endpoint(family, source!, sourcePort!),
      destination: endpoint(family, destination!, destinationPort!)
    }
  }
}

function addressOf(bytes: Buffer): string {
  const words = Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readUInt16BE(i * 2))
  return writeAddress(words.length === 2 ? [0, 0, 0, 0, 0, 0xffff, ...words] : words)
}

function endpoint(family: string, text: string, port: string): Endpoint {
  const groups = text.includes(':') === (family === '6') ? parseAddress(text) : undefined
  if (groups === undefined || Number(port) > 65_535) throw bad('its line is malformed')
  return { address: writeAddress(groups), port: Number(port) }
}

function bad(why: string): TunnelError {
  return new TunnelError('ERR_RINGWAY_BAD_PROXY_HEADER', `The PROXY header is invalid: ${why}`)
}
