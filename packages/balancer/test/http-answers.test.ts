import assert from 'node:assert/strict'
import type { RequestListener } from 'node:http'
import { test } from 'node:test'
import type { TestContext } from 'node:test'

import type { HttpHealthOptions } from '../src/index.ts'
import { backend, cert, socketPath, tlsBackend, unixBackend } from './support/backend.ts'
import { fault, firstProbe, lastProbe, probeOnce, probing, rawServer } from './support/probing.ts'

type Result = Awaited<ReturnType<typeof probeOnce>>

/** How one HTTP probe of a server that answers so goes. */
async function ask(
  t: TestContext,
  answer: RequestListener,
  health: Partial<HttpHealthOptions>
): Promise<Result> {
  return probeOnce(await backend(t, answer), { type: 'http', ...health })
}

/** A body in chunks, each a chunk of the transfer coding too. */
function chunks(...list: (string | Buffer)[]): RequestListener {
  return (_, res) => {
    for (const chunk of list) res.write(chunk)
    res.end()
  }
}

const good = { ok: true, status: 200 }

for (const method of ['GET', 'HEAD', 'OPTIONS', 'POST'] as const) {
  test(`a probe by ${method} is sent without a body`, async t => {
    const seen: unknown[] = []
    const result = await ask(
      t,
      (req, res) => {
        req
          .on('data', () => seen.push('body'))
          .on('end', () => res.writeHead(200, { 'content-length': 2 }).end('ok'))
        seen.push(req.method, req.headers['content-length'], req.headers['transfer-encoding'])
      },
      { method }
    )
    assert.deepEqual(result, good)
    assert.deepEqual(seen, [method, method === 'POST' ? '0' : undefined, undefined])
  })
}

test('a function sees the status and the headers, and decides', async t => {
  const seen: unknown[] = []
  const expect: HttpHealthOptions['expect'] = (status, headers) => {
    seen.push(status, headers['x-ready'], headers['set-cookie'])
    return headers['x-ready'] === 'yes'
  }
  assert.deepEqual(
    await ask(t, (_, res) => res.writeHead(503, { 'X-Ready': 'yes', 'Set-Cookie': ['a=1', 'b=2'] }).end(), {
      expect
    }),
    { ok: true, status: 503 }
  )
  assert.deepEqual(seen, [503, 'yes', ['a=1', 'b=2']])
})

test('a function that says no makes a bad probe', async t => {
  assert.deepEqual(await ask(t, chunks('ok'), { expect: () => false }), {
    ok: false,
    status: 200,
    error: 'answered 200'
  })
})

test('a function that throws makes a bad probe, and the next one comes', async t => {
  let left = 2
  const port = await backend(t, chunks('ok'))
  const set = probing(t, port, {
    type: 'http',
    expect() {
      if (left-- > 0) throw new Error('no such header')
      return true
    }
  })
  assert.equal(await fault(set), 'expect threw: no such header')
  while (set.servers[0]?.state === 'down') await new Promise(setImmediate)
  assert.equal(lastProbe(set).ok, true)
})

test('a function that gives neither true nor false makes a bad probe', async t => {
  const expect = (() => Promise.resolve(true)) as unknown as () => boolean
  const { ok, error } = await ask(t, chunks('ok'), { expect })
  assert.equal(ok, false)
  assert.match(error ?? '', /^expect gave neither true nor false: Promise/)
})

for (const [title, body, match, ok] of [
  ['holds the text', ['{"status":"ok"}'], '"ok"', true],
  ['does not hold the text', ['{"status":"bad"}'], '"ok"', false],
  ['is empty', [], 'ok', false],
  ['holds the text across the borders of chunks', ['sta', 'tus', ': ok'], 'status: ok', true],
  ['has a character across the border of chunks', [Buffer.from([0xc3]), Buffer.from([0xa9])], 'é', true],
  ['fits the pattern', ['ready: ', '42'], /^ready: \d+$/, true],
  [
    'has a character of the pattern across a border',
    [Buffer.from([0xc3]), Buffer.from([0xa9])],
    /^é$/u,
    true
  ],
  ['does not fit the pattern', ['ready: no'], /^ready: \d+$/, false]
] as const) {
  test(`a body that ${title} is ${ok ? 'good' : 'bad'}`, async t => {
    const error = 'answered 200 with a body that does not match'
    assert.deepEqual(await ask(t, chunks(...body), { match }), ok ? good : { ok: false, status: 200, error })
  })
}

test('a global or sticky pattern begins anew in each body, and stays as the user left it', async t => {
  const port = await backend(t, chunks('ok'))
  for (const match of [/ok/g, /ok/y]) {
    const health = { type: 'http', match } as const
    const set = probing(t, port, health)
    await firstProbe(set)
    const first = lastProbe(set)
    while (lastProbe(set) === first) await new Promise(setImmediate)
    assert.equal(lastProbe(set).ok, true)
    assert.equal(match.lastIndex, 0)
  }
})

for (const [title, position, ok] of [
  ['ends at maxBody', 98, true],
  ['lies across maxBody', 99, false],
  ['comes after maxBody', 100, false]
] as const) {
  test(`in a body that is longer, a match that ${title} is ${ok ? 'good' : 'bad'}`, async t => {
    const body = `${'-'.repeat(position)}ok${'-'.repeat(1000)}`
    const error = 'answered 200 with a body whose first 100 bytes do not match'
    for (const match of ['ok', /ok/]) {
      assert.deepEqual(
        await ask(t, chunks(body.slice(0, 50), body.slice(50)), { match, maxBody: 100 }),
        ok ? good : { ok: false, status: 200, error }
      )
    }
  })
}

test('of a body that never ends no more than maxBody is waited for', async t => {
  assert.deepEqual(await ask(t, (_, res) => res.write('-'.repeat(100)), { maxBody: 100 }), good)
})

test('a bad status is told before a body that does not match', async t => {
  const { error } = await ask(t, (_, res) => res.writeHead(500).end('oops'), { match: 'ok' })
  assert.equal(error, 'answered 500')
})

test('another port is probed when the options say so, and is in Host', async t => {
  const hosts: unknown[] = []
  const port = await backend(t, (req, res) => {
    hosts.push(req.headers.host)
    res.end()
  })
  // The server itself is nobody's.
  assert.deepEqual(await probeOnce(1, { type: 'http', port }), good)
  assert.deepEqual(hosts, [`127.0.0.1:${port}`])
})

test('a server on a Unix socket is probed there, whatever the port', async t => {
  const path = socketPath(t)
  const server = await unixBackend(path, chunks('ok'))
  t.after(() => server.stop())
  assert.deepEqual(await probeOnce({ address: { socketPath: path } }, { type: 'http', port: 1 }), good)
})

test("the probe's TLS stands in the place of the server's", async t => {
  const names: unknown[] = []
  const port = await tlsBackend(t, names)
  const address = { host: 'localhost', port }
  assert.deepEqual(await probeOnce({ address }, { type: 'http', tls: { ca: cert } }), good)
  const wrong = { ca: cert, servername: 'elsewhere.example' }
  const right = { ca: cert, servername: 'localhost' }
  assert.deepEqual(await probeOnce({ address, tls: wrong }, { type: 'http', tls: right }), good)
  assert.deepEqual(names, ['localhost', 'localhost'])
  const set = probing(t, { ...address, tls: right }, { type: 'http', tls: true })
  assert.match(await fault(set), /self-signed/)
})

test("a probe in plain text of a server that speaks TLS is the options' to ask for", async t => {
  const port = await backend(t, chunks('ok'))
  const address = { host: '127.0.0.1', port: 1 }
  assert.deepEqual(await probeOnce({ address, tls: {} }, { type: 'http', port, tls: false }), good)
})

const head = 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n'
for (const [title, sent] of [
  ['before its answer', ''],
  ['in the middle of its headers', head],
  ['in the middle of its body', `${head}\r\nhalf`]
] as const) {
  test(`a server that resets the connection ${title} is bad, and is asked once`, async t => {
    let asked = 0
    const server = await rawServer(t, socket => {
      socket.once('data', () => {
        asked++
        socket.write(sent, () => socket.resetAndDestroy())
      })
    })
    await assert.rejects(probeOnce(server.port, { type: 'http' }))
    assert.equal(asked, 1)
    await server.none()
  })
}

test('a server that ends the connection without an answer is bad, and is asked once', async t => {
  let asked = 0
  const { port } = await rawServer(t, socket => {
    asked++
    socket.resume().end()
  })
  await assert.rejects(probeOnce(port, { type: 'http' }))
  assert.equal(asked, 1)
})
