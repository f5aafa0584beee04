import type { Answer, SrvData } from 'dns-packet'

import { ask } from './dns-query.ts'
import type { Question, Resolver } from './dns-query.ts'

/** Records of one name and type. None when the name has none of the type, or doesn't exist. */
export interface Records<T> {
  readonly data: readonly T[]
  /** In seconds: how long they may be kept. Infinity when there are none. */
  readonly ttl: number
}

/** How resolvers are asked. */
export interface Asking {
  /** At least one; asked in this order. */
  readonly resolvers: readonly Resolver[]
  /** For one try of one resolver, in milliseconds. */
  readonly timeout: number
}

/** What a question's records hold. */
interface DataOf {
  A: string
  AAAA: string
  SRV: SrvData
}

/** A datagram may be lost. */
const ROUNDS = 2
/** More aliases in a row than anybody means; they may also go in a circle. */
const MOST_ALIASES = 16

/**
 * Asks the resolvers in turn until one can tell. Rejects when none could, with what each said; a name that doesn't
 * exist is no such failure.
 */
export async function lookUp<T extends keyof DataOf>(
  name: string,
  type: T,
  { resolvers, timeout }: Asking,
  signal: AbortSignal
): Promise<Records<DataOf[T]>> {
  const question: Question = { name, type }
  let problems: string[] = []
  for (let round = 0; round < ROUNDS; round++) {
    problems = []
    for (const resolver of resolvers) {
      try {
        return select<DataOf[T]>(await ask(resolver, question, timeout, signal), question)
      } catch (error) {
        signal.throwIfAborted()
        problems.push(`${resolver.address} port ${resolver.port}: ${(error as Error).message}`)
      }
    }
  }
  throw new Error(`no resolver could tell the ${type} records of ${name} (${problems.join('; ')})`)
}

/** Takes the question's records, by way of aliases; a resolver sends the whole chain (RFC 1034 section 4.3.2). */
function select<T>(answers: readonly Answer[], question: Question): Records<T> {
  let owner = question.name.toLowerCase()
  let ttl = Infinity
  for (let aliases = 0; aliases <= MOST_ALIASES; aliases++) {
    const own = answers.filter(answer => answer.name.toLowerCase() === owner)
    const wanted = own.filter(({ type }) => type === question.type)
    if (wanted.length > 0) {
      return {
        data: wanted.map(answer => (answer as { data: unknown }).data as T),
        ttl: Math.min(ttl, ...wanted.map(ttlOf))
      }
    }
    const alias = own.find(answer => answer.type === 'CNAME')
    if (alias === undefined) break
    ttl = Math.min(ttl, ttlOf(alias))
    owner = (alias as { data: string }).data.toLowerCase()
  }
  return { data: [], ttl: Infinity }
}

/** A TTL with its highest bit set is 0 (RFC 2181 section 8). */
function ttlOf(answer: Answer): number {
  const { ttl = 0 } = answer as { ttl?: number }
  return ttl > 0x7fff_ffff ? 0 : ttl
}
