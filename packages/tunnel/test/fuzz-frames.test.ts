import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { FrameTracker } from '../src/frames.ts'
import { singles } from './support/bytes.ts'
import { always, anyCuts, cut } from './support/fuzz.ts'

/** What there is to know of a stream once so many bytes of it were seen. */
interface Known {
  readonly isAtBorder: boolean
  readonly isLost: boolean
  readonly sawClose: boolean
  readonly closeCode: number | undefined
  readonly messages: number
}

/** A whole stream, read at once: what is known behind each byte, and where the frame begins that is too large. */
interface Story {
  readonly known: readonly Known[]
  /** Where its frame begins, and how many bytes tell that it is too large. */
  readonly tooLarge: { readonly from: number; readonly at: number } | undefined
}

/** RFC 6455 section 5.2, frame by frame. */
function model(bytes: Buffer, maxMessage: number): Story {
  const known: Known[] = [
    { isAtBorder: true, isLost: false, sawClose: false, closeCode: undefined, messages: 0 }
  ]
  /** Up to `end` nothing is new but what is said. */
  const until = (end: number, news: Partial<Known>): void => {
    while (known.length <= Math.min(end, bytes.length))
      known.push({ ...known.at(-1)!, isAtBorder: false, ...news })
  }
  let message = 0n
  for (let at = 0; at < bytes.length;) {
    const opcode = bytes[at]! & 15
    until(at + 1, opcode === 8 ? { sawClose: true } : {})
    if (at + 2 > bytes.length) break
    const isMasked = bytes[at + 1]! > 127
    const short = bytes[at + 1]! & 127
    const header = at + 2 + (short === 126 ? 2 : short === 127 ? 8 : 0)
    const isLong = short > 125
    if (isLong && opcode > 7) until(bytes.length, { isLost: true })
    until(header - 1, {})
    if (header > bytes.length || known.at(-1)!.isLost) break
    const length = BigInt(isLong ? `0x${bytes.toString('hex', at + 2, header)}` : short)
    if (opcode < 8) {
      message = opcode === 0 ? message + length : length
      if (maxMessage > 0 && message > maxMessage) return { known, tooLarge: { from: at, at: header } }
    }
    const messages = known.at(-1)!.messages + (opcode > 0 && opcode < 8 ? 1 : 0)
    if (length >= 2n ** 53n) until(bytes.length, { isLost: true, messages })
    const payload = header + (isMasked ? 4 : 0)
    const end = payload + Number(length)
    if (end > header) until(header, { messages })
    if (opcode === 8 && length > 1n && payload + 2 <= bytes.length) {
      until(payload + 1, {})
      const key = isMasked ? bytes.readUInt16BE(header) : 0
      until(payload + 2, { closeCode: known.at(-1)!.closeCode ?? bytes.readUInt16BE(payload) ^ key })
    }
    until(end - 1, {})
    if (end <= bytes.length) known[end] = { ...known.at(-1)!, ...known[end], messages, isAtBorder: true }
    at = end
  }
  return { known, tooLarge: undefined }
}

function compare(tracker: FrameTracker, expected: Known): void {
  const { isAtBorder, isLost, sawClose, closeCode, messages } = tracker
  const isSame =
    isAtBorder === expected.isAtBorder &&
    isLost === expected.isLost &&
    sawClose === expected.sawClose &&
    closeCode === expected.closeCode &&
    messages === expected.messages
  // For its message only: it is slow.
  if (!isSame) assert.deepEqual({ isAtBorder, isLost, sawClose, closeCode, messages }, expected)
}

/** Tracks pieces, some of them border by border, and holds each step against the model. */
function check(
  pieces: readonly Buffer[],
  { known, tooLarge }: Story,
  maxMessage: number,
  byBorders: number
): void {
  const tracker = new FrameTracker(maxMessage)
  let at = 0
  for (const [i, piece] of pieces.entries()) {
    let rest = piece
    if ((byBorders >> (i % 8)) & 1) {
      const border = tracker.trackToBorder(piece)
      const next = known.findIndex(
        ({ isAtBorder }, place) => isAtBorder && place > at && place <= at + piece.length
      )
      if (next >= 0 && !known[at]!.isLost) {
        assert.equal(at + border, next)
        rest = piece.subarray(border)
        at = next
        compare(tracker, known[at]!)
      } else if (tooLarge !== undefined && tooLarge.at <= at + piece.length) {
        assert.equal(tracker.isTooLarge, true)
        assert.equal(border, tooLarge.from >= at ? tooLarge.from - at : -1)
        return
      } else {
        assert.equal(border, -1)
        rest = piece.subarray(piece.length)
        at += piece.length
      }
    }
    const passed = tracker.track(rest)
    if (tooLarge !== undefined && tooLarge.at <= at + rest.length) {
      assert.equal(tracker.isTooLarge, true)
      assert.equal(passed, tooLarge.from >= at ? tooLarge.from - at : -1)
      return
    }
    at += rest.length
    assert.equal(passed, rest.length)
    assert.equal(tracker.isTooLarge, false)
    compare(tracker, known[at]!)
  }
}

const anyLength = fc.oneof(
  { arbitrary: fc.nat(10), weight: 6 },
  { arbitrary: fc.integer({ min: 100, max: 140 }), weight: 2 },
  { arbitrary: fc.constantFrom(65_535, 65_536, 2 ** 32, 2 ** 53 - 1), weight: 1 }
)
const anyFrame = fc
  .record({
    first: fc.nat(255),
    isMasked: fc.boolean(),
    length: anyLength,
    isLonger: fc.constantFrom(false, false, false, true),
    fill: fc.nat(255),
    high: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0x80, 0x20, 1)
  })
  .map(({ first, isMasked, length, isLonger, fill, high }) => {
    const form = length > 65_535 || (isLonger && length > 125) ? 127 : length > 125 || isLonger ? 126 : length
    const extended = Buffer.alloc(form === 127 ? 8 : form === 126 ? 2 : 0)
    if (form === 127) extended.writeBigUInt64BE(BigInt(length))
    if (form === 127) extended[0]! |= high
    if (form === 126) extended.writeUInt16BE(length)
    // Of the largest ones only the beginning.
    const payload = Buffer.alloc((isMasked ? 4 : 0) + Math.min(length, 150))
    for (let i = 0; i < payload.length; i++) payload[i] = (fill * (i + 1)) & 255
    return Buffer.concat([Buffer.of(first, form | (isMasked ? 128 : 0)), extended, payload])
  })
const anyBytes = fc
  .tuple(fc.array(anyFrame, { maxLength: 5 }), fc.uint8Array({ maxLength: 12 }))
  .map(([frames, behind]) => Buffer.concat([...frames, behind]))

test('100,000 streams of frames and of garbage are followed as a model follows them, however they are cut', () => {
  const seen = { lost: 0, tooLarge: 0, closeCode: 0 }
  const limits = fc.constantFrom(0, 0, 5, 130, 70_000)
  always(fc.tuple(anyBytes, anyCuts, limits, fc.nat(255)), ([bytes, cuts, maxMessage, byBorders]) => {
    const story = model(bytes, maxMessage)
    const last = story.known.at(-1)!
    if (last.isLost) seen.lost++
    if (last.closeCode !== undefined) seen.closeCode++
    if (story.tooLarge !== undefined) seen.tooLarge++
    check([bytes], story, maxMessage, byBorders)
    check(cut(bytes, cuts), story, maxMessage, byBorders)
    check(singles(bytes), story, maxMessage, byBorders)
  })
  for (const [what, times] of Object.entries(seen)) assert.ok(times > 2_000, `${what}: only ${times} times`)
})
