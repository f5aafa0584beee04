import assert from 'node:assert/strict'
import { test } from 'node:test'
import { closeFrame, farewell, FrameTracker } from '../src/frames.ts'
import { randomFrom, singles } from './support/bytes.ts'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))

interface Frame {
  readonly opcode: number
  readonly bytes: Buffer
}

/** A frame with whatever may stand in one; the length in a form that need not be the shortest. */
function frame(random: () => number, opcode: number, length: number): Frame {
  const isMasked = random() < 0.5
  const shortest = length < 126 ? length : length < 65_536 ? 126 : 127
  const forms = opcode >= 8 || shortest === 127 ? [shortest] : [shortest, 126, 127]
  const form = forms[Math.floor(random() * forms.length)]!
  const extended = Buffer.alloc(form === 127 ? 8 : form === 126 ? 2 : 0)
  if (form === 127) extended.writeBigUInt64BE(BigInt(length))
  if (form === 126) extended.writeUInt16BE(length)
  const first = Math.floor(random() * 16) * 16 + opcode
  const payload = Buffer.alloc(length + (isMasked ? 4 : 0), Math.floor(random() * 256))
  return { opcode, bytes: Buffer.concat([Buffer.of(first, (isMasked ? 0x80 : 0) + form), extended, payload]) }
}

function frames(random: () => number): Frame[] {
  const sizes = [0, 1, 2, 100, 125, 126, 127, 1000, 65_535, 65_536, 70_000]
  return Array.from({ length: 1 + Math.floor(random() * 12) }, () => {
    const opcode = Math.floor(random() * 16)
    const size = sizes[Math.floor(random() * (opcode >= 8 ? 5 : sizes.length))]!
    return frame(random, opcode, size)
  })
}

/** The same bytes cut anywhere, into few or many pieces. */
function* pieces(bytes: Buffer, random: () => number): Generator<Buffer> {
  const most = random() < 0.3 ? 3 : 40_000
  for (let at = 0; at < bytes.length;) {
    const size = 1 + Math.floor(random() * most)
    yield bytes.subarray(at, at + size)
    at += size
  }
}

test(`borders are where the frames end, however the bytes are cut (seed ${seed})`, () => {
  const random = randomFrom(seed)
  for (let round = 0; round < 1_000; round++) {
    const all = frames(random)
    const borders = new Set<number>([0])
    let closeFrom = Infinity
    let end = 0
    for (const { opcode, bytes } of all) {
      if (opcode === 8) closeFrom = Math.min(closeFrom, end)
      end += bytes.length
      borders.add(end)
    }
    const tracker = new FrameTracker()
    let at = 0
    for (const piece of pieces(Buffer.concat(all.map(({ bytes }) => bytes)), random)) {
      tracker.track(piece)
      at += piece.length
      assert.equal(tracker.isAtBorder, borders.has(at), `round ${round}, byte ${at}`)
      assert.equal(tracker.sawClose, at > closeFrom, `round ${round}, byte ${at}`)
    }
    assert.equal(tracker.isLost, false)
  }
})

test(`the next border is found, whatever was tracked before it (seed ${seed})`, () => {
  const random = randomFrom(seed)
  for (let round = 0; round < 1_000; round++) {
    const all = frames(random).map(({ bytes }) => bytes)
    const bytes = Buffer.concat(all)
    const from = Math.floor(random() * bytes.length)
    let next = 0
    for (const each of all) if (next <= from) next += each.length
    const tracker = new FrameTracker()
    tracker.track(bytes.subarray(0, from))
    let found = -1
    let at = from
    for (const piece of pieces(bytes.subarray(from), random)) {
      found = tracker.trackToBorder(piece)
      if (found >= 0) break
      at += piece.length
    }
    assert.equal(at + found, next, `round ${round}`)
    assert.equal(tracker.isAtBorder, true)
  }
})

test('what is no frame has no border any more', () => {
  const bad = {
    'a length beyond 2^53': Buffer.of(0x82, 127, 0, 0x40, 0, 0, 0, 0, 0, 0),
    'a length with its first bit set': Buffer.of(0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0),
    'a ping in the long form': Buffer.of(0x89, 126, 0, 126)
  }
  for (const [what, bytes] of Object.entries(bad)) {
    for (const cut of [[bytes], singles(bytes)]) {
      const tracker = new FrameTracker()
      for (const piece of cut) tracker.track(piece)
      assert.equal(tracker.isLost, true, what)
      assert.equal(tracker.isAtBorder, false, what)
      tracker.track(Buffer.alloc(100))
      assert.equal(tracker.trackToBorder(Buffer.alloc(100)), -1, what)
    }
  }
})

test('a Close frame is written as RFC 6455 says, masked or not', () => {
  assert.deepEqual(closeFrame(farewell(1012, 'bye'), false), Buffer.from('880503f4627965', 'hex'))
  const masked = closeFrame(farewell(1012, 'bye'), true)
  assert.equal(masked.readUInt16BE(), 0x8885)
  const key = masked.subarray(2, 6)
  assert.deepEqual(
    masked.subarray(6).map((byte, i) => byte ^ key[i % 4]!),
    Buffer.from('03f4627965', 'hex')
  )
  assert.notDeepEqual(closeFrame(farewell(1012, 'bye'), true), masked, 'each with a key of its own')
})

test('a code that may not be sent, and a reason that is too long, are refused', () => {
  for (const code of [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 1000.5, NaN]) {
    assert.throws(() => closeFrame(farewell(code, ''), false), { code: 'ERR_RINGWAY_CONFIG', field: 'code' })
  }
  assert.equal(closeFrame(farewell(1000, 'ä'.repeat(61)), false).length, 126)
  assert.throws(() => closeFrame(farewell(1000, 'ä'.repeat(62)), false), { field: 'reason' })
})
