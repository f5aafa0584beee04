/**
 * Writes `fixtures/nginx-hash.json` anew from the nginx of this machine; README.md there says how to run it. The
 * ports are others each time, but nothing depends on them.
 */
import { startNginx } from './live-nginx.ts'
import type { LiveServer } from './live-nginx.ts'

const sets: Record<string, { note: string; servers: LiveServer[] }> = {
  equal: { note: 'three servers of the same weight', servers: serversOf([1, 1, 1]) },
  weights: { note: 'weights 1, 2 and 5', servers: serversOf([1, 2, 5]) },
  ten: { note: 'ten servers of the same weight', servers: serversOf(Array.from({ length: 10 }, () => 1)) },
  down: {
    note: 'the third of five servers is down: it keeps its places',
    servers: serversOf([2, 1, 3, 1, 2], 2)
  }
}

const keys = [
  'a A 0 1 10 "quoted" ключ 日本語 é e\u0301 😀 👩‍👩‍👧 192.0.2.7 2001:db8::7'.split(' '),
  ['key with space', 'x'.repeat(1000)],
  Array.from({ length: 44 }, (_, index) => `user-${index}`)
].flat()

const addresses = [
  // No address: the client of a Unix socket. (nginx can't be told of 255.255.255.255.)
  'unix: 0.0.0.0 255.255.255.254 192.0.2.0 192.0.2.7 192.0.2.255 192.0.3.7 198.51.100.7'.split(' '),
  ':: ::1 2001:db8::7 2001:db8::8 fe80::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'.split(' '),
  '::ffff:192.0.2.7 ::ffff:192.0.2.8 ::ffff:10.0.0.1 64:ff9b::192.0.2.7'.split(' '),
  Array.from({ length: 26 }, (_, index) => `10.${index * 7}.${255 - index}.${index}`),
  Array.from({ length: 16 }, (_, index) => `2001:db8:${(index * 259).toString(16)}::${index + 1}`)
].flat()

function serversOf(weights: number[], down?: number): LiveServer[] {
  return weights.map((weight, index) => ({ address: `127.0.1.${index + 1}`, weight, down: index === down }))
}

async function record(method: 'plainHash' | 'ipHash', servers: LiveServer[], all: string[]): Promise<string> {
  await using nginx = await startNginx(method, [servers])
  const rows: string[] = []
  for (const key of all) rows.push(JSON.stringify([key, await nginx.tried(0, key)]))
  return `"${method}": [\n${rows.join(',\n')}\n]`
}

const setUps: string[] = []
for (const [name, { note, servers }] of Object.entries(sets)) {
  const lines = servers.map(({ address, weight, down }) => {
    return { server: `${address}:8080`, ...(weight > 1 && { weight }), ...(down === true && { down }) }
  })
  setUps.push(
    [
      `"${name}": {"note":${JSON.stringify(note)},"servers":${JSON.stringify(lines)}`,
      await record('plainHash', servers, keys),
      `${await record('ipHash', servers, addresses)}}`
    ].join(',\n')
  )
}
process.stdout.write(`{\n${setUps.join(',\n')}\n}\n`)
