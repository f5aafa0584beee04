// A gateway with a server that is well and one that refuses, and is never marked: each of its clients meets the refusal.
import { createServer } from 'node:http'
import { createGateway } from 'ringway'
import { report } from './report.ts'

const backend = Number(process.argv[2])
const gateway = createGateway({
  upstream: {
    // Nobody listens on port 1.
    servers: [
      { id: 'well', host: '127.0.0.1', port: backend },
      { id: 'refuses', host: '127.0.0.1', port: 1 }
    ],
    key: ({ target }) => target,
    maxFails: 0
  }
})
const server = createServer()
gateway.attach(server)

/** A target whose first choice this server is. */
function targetOf(id: string): string {
  for (let i = 0; ; i++) if (gateway.upstream.order(`/${i}`)[0]!.id === id) return `/${i}`
}
report(server, { well: targetOf('well'), refuses: targetOf('refuses') })
