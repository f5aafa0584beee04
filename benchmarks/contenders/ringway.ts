// The gateway as it comes: ring, passive marks, probes, strict handshakes, limits. With "watch" it follows frames.
import { createServer } from 'node:http'
import { createGateway } from 'ringway'
import { report } from './report.ts'

const backend = Number(process.argv[2])
const gateway = createGateway({
  upstream: {
    servers: ['sre1:8080', 'sre2:8080', 'sre3:8080'].map(id => ({ id, host: '127.0.0.1', port: backend })),
    health: { type: 'http', path: '/healthz' }
  },
  watch: process.argv[3] === 'watch'
})
const server = createServer()
gateway.attach(server)
report(server)
