import assert from 'node:assert/strict'
import test from 'node:test'
import { accept, backend, echo, REFUSED } from './support/gate-backend.ts'
import { host, settled } from './support/gate-host.ts'
import { ask, dial, handshake, tunnel } from './support/gate-peer.ts'
import { until } from './support/gate-waiting.ts'

test('when all others are dead the backup takes the client, and when it is dead too, 502', async t => {
  const spare = await echo(t)
  const [name, port] = spare.address.split(':') as [string, string]
  const gate = await host(t, [REFUSED, '127.0.0.2:1', { host: name, port: Number(port), backup: true }])
  const peer = await tunnel(t, gate.port)
  assert.deepEqual(
    (gate.lines[0]?.fields['tries'] as { server: string }[] | undefined) ?? [],
    [],
    'the tunnel is open, its line comes at its end'
  )
  assert.equal(gate.gateway.upstream.servers[2]!.active, 1)
  peer.socket.end()
  await settled(gate.gateway)
  const tries = gate.lines[0]!.fields['tries'] as { server: string; result: unknown }[]
  assert.equal(tries.length, 3)
  assert.deepEqual(tries[2], { server: spare.address, result: 101 })
})

test('retry.tries bounds what is tried for an upgrade, and for a plain request', async t => {
  const { port, lines } = await host(t, [REFUSED, '127.0.0.2:1', '127.0.0.3:1'], {
    upstream: { retry: { tries: 2 }, maxFails: 0 }
  })
  assert.equal((await ask(t, port)).head.status, 502)
  assert.equal((lines[0]!.fields['tries'] as unknown[]).length, 2)
})

test('with one handshake at a time the second client waits, and is let in by the first one’s 101', async t => {
  const answers: (() => void)[] = []
  const slow = await backend(t, async peer => {
    await new Promise<void>(resolve => void answers.push(resolve))
    await accept(peer)
  })
  const { gateway, port } = await host(t, [slow.address], { upstream: { pendingHandshakes: 1 } })
  const first = tunnel(t, port)
  await until(() => answers.length === 1, 'the first handshake is under way')
  const second = tunnel(t, port)
  await until(() => gateway.stats().upstream.waiting === 1, 'the second one waits')
  assert.equal(slow.peers.length, 1)
  answers[0]!()
  const one = await first
  await until(() => answers.length === 2, 'the second handshake is under way')
  answers[1]!()
  const two = await second
  assert.equal(gateway.upstream.servers[0]!.active, 2)
  for (const peer of [one, two]) peer.socket.end()
  for (const peer of slow.peers) peer.socket.end()
  await settled(gateway)
})

test('whom the queue has no room for gets 503 with Retry-After, and so does who has waited too long', async t => {
  const silent = await backend(t, () => {})
  const { gateway, port, lines } = await host(t, [silent.address], {
    upstream: { pendingHandshakes: 1, queue: { size: 1, timeout: 300 } }
  })
  const first = ask(t, port).catch(() => {})
  await until(() => gateway.upstream.servers[0]!.handshakes === 1, 'the first handshake is under way')
  // Both ask at once, so that whoever of them is the second still waits when the third comes.
  const others = [await dial(t, port), await dial(t, port)]
  for (const each of others) each.write(handshake())
  for (const each of others) {
    const head = await each.head()
    assert.equal(head.status, 503)
    assert.match(head.values('retry-after')[0]!, /^[1-9]\d*$/)
  }
  assert.deepEqual(
    lines.map(({ fields }) => fields['code']),
    ['ERR_RINGWAY_QUEUE_FULL', 'ERR_RINGWAY_QUEUE_TIMEOUT']
  )
  await gateway.close()
  await first
})

test('a client that goes while it waits leaves the queue, and one that waits at the close is told', async t => {
  const silent = await backend(t, () => {})
  const { gateway, port } = await host(t, [silent.address], { upstream: { pendingHandshakes: 1 } })
  const first = ask(t, port).catch(() => {})
  await until(() => gateway.upstream.servers[0]!.handshakes === 1, 'the first handshake is under way')
  const gone = await dial(t, port)
  gone.write(handshake())
  await until(() => gateway.stats().upstream.waiting === 1, 'the second one waits')
  gone.socket.destroy()
  await until(() => gateway.stats().upstream.waiting === 0, 'it has left')

  const third = ask(t, port)
  await until(() => gateway.stats().upstream.waiting === 1, 'the third one waits')
  await gateway.close()
  assert.equal((await third).head.status, 503)
  await first
  assert.equal(gateway.stats().upstream.waiting, 0)
})

test('HAProxy’s maxconn: 50 open tunnels hold no handshake’s place, so that the 51st is let in at once', async t => {
  const { address } = await echo(t)
  const { gateway, port } = await host(t, [address], { upstream: { pendingHandshakes: 1 } })
  for (let i = 0; i < 50; i++) await tunnel(t, port)
  assert.deepEqual(
    gateway.upstream.servers.map(({ active, handshakes }) => ({ active, handshakes })),
    [{ active: 50, handshakes: 0 }]
  )
  await tunnel(t, port)
})

test('a refusal that its client is slow to read holds no handshake’s place, and no drain beyond its deadline', async t => {
  const refusing = await backend(t, async peer => {
    await peer.head()
    peer.write(`HTTP/1.1 403 No\r\nContent-Length: 50000000\r\n\r\n${'x'.repeat(1_000_000)}`)
  })
  const servers = [refusing.address, { host: '127.0.0.1', port: 1, backup: true }]
  const { gateway, port } = await host(t, servers, { upstream: { pendingHandshakes: 1 } })
  const slow = await ask(t, port)
  slow.peer.socket.pause()
  assert.equal(slow.head.status, 403)
  assert.equal((await ask(t, port)).head.status, 403)
  await gateway.setServers([{ host: '127.0.0.1', port: 2 }], { spread: 0, deadline: 100 })
  assert.deepEqual(
    gateway.upstream.servers.map(({ active, handshakes }) => active + handshakes),
    [0]
  )
})

test('whom a limit of the whole upstream leaves no room gets 503 with Retry-After', async t => {
  const answers: (() => void)[] = []
  const slow = await backend(t, async peer => {
    await new Promise<void>(resolve => void answers.push(resolve))
    await accept(peer)
  })
  for (const limits of [{ connections: 1 }, { handshakes: 1 }]) {
    const { port, lines } = await host(t, [slow.address], { upstream: { limits } })
    const first = tunnel(t, port)
    await until(() => answers.length === 1, 'the first handshake is under way')
    const { head } = await ask(t, port)
    assert.equal(head.status, 503)
    assert.match(head.values('retry-after')[0]!, /^[1-9]\d*$/)
    assert.equal(lines[0]!.fields['code'], 'ERR_RINGWAY_LIMIT')
    answers.pop()!()
    await first
    // An open tunnel is a connection, and no handshake.
    const second = ask(t, port)
    if (limits.handshakes === 1) {
      await until(() => answers.length === 1, 'the second handshake is under way')
      answers.pop()!()
    }
    assert.equal((await second).head.status, limits.connections === 1 ? 503 : 101)
  }
})
