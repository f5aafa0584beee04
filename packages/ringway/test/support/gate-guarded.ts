import { createServer } from 'node:http'
import type { RequestListener } from 'node:http'
import type { TestContext } from 'node:test'
import express from 'express'
import type { GatewayOptions } from '../../src/index.ts'
import { createGateway } from '../../src/index.ts'
import { listen } from './gate-backend.ts'

/** A gateway at /ws behind an Express app's guard, which lets all through and counts them. */
export async function guarded(
  t: TestContext,
  options: GatewayOptions
): Promise<{ readonly port: number; readonly passed: () => number }> {
  const gateway = createGateway(options)
  t.after(async () => gateway.close())
  let passed = 0
  const app = express()
  app.use((_request, _response, next) => {
    passed++
    next()
  })
  app.use('/ws', gateway.middleware())
  const server = createServer(app as RequestListener)
  gateway.attach(server, { path: '/ws', through: true })
  return { port: await listen(t, server), passed: () => passed }
}
