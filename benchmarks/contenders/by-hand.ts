// What people write first: an 'upgrade' listener, a socket to the backend, two pipes. No ring, no checks, no limits.
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { report } from './report.ts'

const backend = Number(process.argv[2])
const server = createServer()
server.on('upgrade', (request, client, head) => {
  const upstream = connect(backend, '127.0.0.1', () => {
    let text = `${request.method} ${request.url} HTTP/1.1\r\n`
    const raw = request.rawHeaders
    for (let i = 0; i < raw.length; i += 2) text += `${raw[i]!}: ${raw[i + 1]!}\r\n`
    upstream.write(`${text}\r\n`)
    upstream.write(head)
    client.pipe(upstream).pipe(client)
  })
  upstream.setNoDelay(true)
  client.on('error', () => upstream.destroy())
  upstream.on('error', () => client.destroy())
})
report(server)
