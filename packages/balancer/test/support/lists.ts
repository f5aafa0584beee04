import { EventEmitter, once } from 'node:events'
import type { TestContext } from 'node:test'

import type { RingwayError } from '@ringway/core'

import type { DiscoveredServer, Discovery } from '../../src/index.ts'

/** A watch that a test asks for its lists, and which ends with the test. */
export interface Lists {
  /** The ids of the next list, with `*` behind those of backups and `-` behind those that are terminating. */
  ids(): Promise<string[]>
  /** The next list. */
  next(): Promise<readonly DiscoveredServer[]>
  /** Waits for a list, ends the watch after something else, and says whether there was none. */
  end(after?: Promise<unknown>): Promise<boolean>
}

/** Watches as `for await` does. A watch holds nothing open itself, so the test has to. */
export function lists(t: TestContext, discovery: Discovery): Lists {
  const controller = new AbortController()
  const iterator = discovery.watch(controller.signal)[Symbol.asyncIterator]()
  const open = setInterval(() => {}, 60_000)
  t.after(() => {
    clearInterval(open)
    controller.abort()
  })
  const next = async (): Promise<readonly DiscoveredServer[]> => {
    const result = await iterator.next()
    if (result.done === true) throw new Error('the watch has ended')
    return result.value
  }
  return {
    next,
    ids: async () => (await next()).map(idWithMarks),
    async end(after) {
      const waiting = iterator.next()
      await after
      controller.abort()
      return (await waiting).done === true
    }
  }
}

function idWithMarks({ id, backup, terminating }: DiscoveredServer): string {
  return `${id}${backup === true ? '*' : ''}${terminating === true ? '-' : ''}`
}

/** The failures that a watch tells of. */
export class Failures extends EventEmitter<{ failure: [error: RingwayError, failures: number] }> {
  /** All of them so far. */
  readonly messages: string[] = []

  /** To be given to the watch. */
  readonly onError = (error: RingwayError, failures: number): void => {
    this.messages.push(error.message)
    this.emit('failure', error, failures)
  }

  /** The next one. */
  async next(): Promise<{ error: RingwayError; failures: number }> {
    const [error, failures] = (await once(this, 'failure')) as [RingwayError, number]
    return { error, failures }
  }
}
