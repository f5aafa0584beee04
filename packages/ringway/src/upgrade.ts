import type { Lease, Recall } from '@ringway/balancer'
import type { Accepted, Declined, Forwarding, Offer } from '@ringway/tunnel'
import { open, Splice, TunnelError } from '@ringway/tunnel'
import type { Client } from './client.ts'
import type { Engine } from './engine.ts'
import { gatewayError, publicError } from './errors.ts'
import { pageAnswer } from './page.ts'
import { headersOf } from './peer.ts'
import { Record } from './record.ts'
import type { Reply } from './replies.ts'
import { targetFor } from './target.ts'
import { recallTunnel } from './tunnels.ts'

/**
 * Takes one admitted upgrade from the client's request to its open tunnel. Never throws: what fails is told to the
 * client and to the log.
 *
 * @param offer - what the client's handshake offered
 * @param reply - how the host answers
 * @param owner - the attachment that the upgrade came by
 */
export async function upgrade(
  engine: Engine,
  client: Client,
  offer: Offer,
  reply: Reply,
  owner: object
): Promise<void> {
  const { head } = client
  const { address } = client.origin
  const { method, target } = head
  const record = new Record(engine, 'upgrade', { address, method, target })
  try {
    const source = { address, method, target, headers: headersOf(client.request), request: reply.request }
    const refusal = await engine.hooks.refusal(source, client.signal)
    if (refusal) {
      const { status, reason, rawHeaders, body } = pageAnswer(refusal)
      client.hurry(engine.timeouts.send)
      await reply.send(status, reason, rawHeaders, body)
      await client.answered
      return record.end(status)
    }
    const key = await engine.keyOf(source, client.signal)
    const forwarding = await engine.hooks.forwarding(client.origin.forwarding, source, client.signal)
    const { lease, answer } = await firstAnswer(engine, client, offer, forwarding, key, record)
    client.hurry(engine.timeouts.send)
    if (answer.kind === 'declined') return await relay(engine, client, reply, lease, answer, record)

    // The valid 101 is the success: the tunnel's end may be days away.
    const opened = openLease(lease)
    const { reason, rawHeaders } = answer
    const socket = await client
      .takeOver(async () => void (await reply.send(101, reason, rawHeaders)))
      .catch((error: unknown) => {
        answer.backend.destroy()
        lease.settle('cancelled')
        throw error
      })
    const splice = new Splice(socket, answer.backend, { fromBackend: answer.rest }, engine.splice)
    engine.keep(splice, owner, lease, record, { server: lease.server.id, address, key })
    opened(splice)
  } catch (error) {
    const failure = publicError(error)
    record.fail(failure)
    client.hurry(engine.timeouts.send)
    if (!client.socket.destroyed) reply.fail(failure)
  }
}

/**
 * Tells the lease that it is a tunnel now. What is given back takes the tunnel, when it is there: it may be recalled
 * before, while the 101 is on its way. Apart from `upgrade`, so that for a tunnel's life no more is kept than this.
 */
function openLease(lease: Lease): (splice: Splice) => void {
  let splice: Splice | undefined
  let recalled: Recall | undefined
  lease.opened(recall => {
    recalled = recall
    if (splice) recallTunnel(splice, recall)
  })
  return opened => {
    splice = opened
    if (recalled) recallTunnel(opened, recalled)
  }
}

/** Asks one server after the other until one answers: the only place where another one is tried. */
async function firstAnswer(
  engine: Engine,
  client: Client,
  offer: Offer,
  forwarding: Forwarding,
  key: string | undefined,
  record: Record
): Promise<{ lease: Lease; answer: Accepted | Declined }> {
  const { signal } = client
  const tries = engine.upstream.tries(key, signal)
  let last: TunnelError | undefined
  for (;;) {
    const lease = await tries.next(last?.sent)
    if (!lease) throw last ?? gatewayError('ERR_RINGWAY_NO_SERVER')
    const { server } = lease
    try {
      const target = targetFor(server, client.request)
      const answer = await open(target, client.head, offer, forwarding, { ...engine.timeouts, signal })
      record.tried(server.id, answer.status, answer.timing)
      return { lease, answer }
    } catch (error) {
      // Not the server's fault: the client is gone, we are closing, or the request can't be written.
      const failed = error instanceof TunnelError && error.side === 'backend'
      record.tried(server.id, failed ? error.code : 'cancelled')
      lease.settle(failed ? 'failed' : 'cancelled')
      if (!failed || !error.retryable) throw error
      last = error
    }
  }
}

/** An honest 401, 403, 426… is the client's to see. What the client sends meanwhile never reaches the server. */
async function relay(
  engine: Engine,
  client: Client,
  reply: Reply,
  lease: Lease,
  answer: Declined,
  record: Record
): Promise<void> {
  const { backend } = answer
  const page = engine.pages.instead(answer.status, answer.rawHeaders, client.request)
  const { status, reason, rawHeaders, body } = page ? pageAnswer(page) : answer
  const stop = (): void => void backend.destroy()
  // A client that is slow to read it holds no handshake's place, and is cut off when its server has no time left.
  lease.opened(({ cut }) => {
    if (cut) client.socket.destroy()
  })
  client.socket.once('close', stop) // else a body that stalls would be awaited for a client that is gone
  let cut: unknown
  try {
    cut = await reply.send(status, reason, rawHeaders, body)
    await client.answered
  } finally {
    client.socket.off('close', stop)
    backend.destroy()
    lease.settle(cut instanceof TunnelError ? 'failed' : 'ok')
  }
  if (cut instanceof TunnelError) record.fail(publicError(cut))
  else record.end(status)
}
