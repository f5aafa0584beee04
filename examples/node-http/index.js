import { createServer } from 'node:http'
import { createGateway } from 'ringway'

const servers = (process.env.SERVERS ?? 'sre1:8080,sre2:8080,sre3:8080').split(',')

// The server that you have already.
const server = createServer((_request, response) => {
  response.end('The app answers here as before.\n')
})

const gateway = createGateway({
  upstream: { servers, health: { type: 'http', path: '/healthz', interval: 5_000 } }
})
gateway.attach(server, { path: '/ws' })

server.listen(process.env.PORT ?? 3000, () => console.log('Listening on', server.address()))

process.once('SIGTERM', () => {
  server.close()
  void gateway.close({ drain: 10_000 })
})
