import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { setImmediate, setTimeout } from 'node:timers/promises'

/** Milliseconds after which a test that waits has failed: far beyond what a busy machine needs. */
const GUARD = 20_000

/** Waits for what has no event. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + GUARD
  for (let turns = 0; !condition(); turns++) {
    if (performance.now() > deadline) assert.fail(`waited ${GUARD} ms in vain until ${what}`)
    await (turns < 100 ? setImmediate() : setTimeout(2))
  }
}

/** Waits until a number has not changed for a while. */
export async function still(value: () => number): Promise<void> {
  let seen = value()
  for (let same = 0; same < 20; same++) {
    await setTimeout(10)
    if (value() !== seen) same = 0
    seen = value()
  }
}

const known: { what: string; socket: Socket }[] = []

/** From now on {@link noSocketLeft} tells of it when it fails. */
export function remember(what: string, socket: Socket): void {
  known.push({ what, socket })
}

/** Waits until no connection is left in the process, begun ones and look-ups included. */
export async function noSocketLeft(): Promise<void> {
  await until(() => connections().length === 0, 'no socket is left').catch((error: unknown) => {
    const open = known
      .filter(({ socket }) => !socket.closed)
      .map(({ what, socket }) => `${what}, ${state(socket)}`)
    const left = [connections().join(' '), ...open].join('\n')
    throw new Error(`${String(error)}: ${left}`, { cause: error })
  })
  known.length = 0
}

/** What a socket that isn't closed has been through. More connections than such sockets: Node has lost their handles. */
function state(socket: Socket): string {
  const flags = ['connecting', 'destroyed', 'readableEnded', 'writableEnded', 'writableFinished'] as const
  const set = flags.filter(flag => socket[flag])
  return [...set, `${socket.writableLength} bytes to write`, socket.errored?.message ?? 'no error'].join(' ')
}

function connections(): string[] {
  return process.getActiveResourcesInfo().filter(name => /TCPSocket|Connect|TLSWrap|GetAddrInfo/.test(name))
}
