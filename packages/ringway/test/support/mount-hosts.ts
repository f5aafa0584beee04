import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { TestContext } from 'node:test'
import express from 'express'
import type { FastifyInstance } from 'fastify'
import fastify from 'fastify'
import ringway from '../../src/fastify.ts'
import type { Gateway } from '../../src/index.ts'
import type { Backend } from './mount-backend.ts'
import type { Place } from './mount-client.ts'
import { gateway } from './mount-gateway.ts'
import { cert, key, listen, makeServer, socketsOf, stop } from './mount-server.ts'

/** A host with a gateway at `/ws`. */
export interface Host extends Place {
  readonly server: Server
  readonly sockets: Set<Socket>
}

export interface Mount {
  readonly name: string
  /** @param refusal - what the host's own guard answers with 401, if there is a guard */
  readonly start: (t: TestContext, to: Backend, refusal?: string) => Promise<Host>
}

async function bare(
  t: TestContext,
  tls: boolean,
  mount: (made: Server, by: Gateway) => void,
  to: Backend
): Promise<Host> {
  const made = makeServer(tls)
  mount(made, gateway(t, [to]))
  return { server: made, sockets: socketsOf(made), port: await listen(t, made), tls }
}

async function withExpress(t: TestContext, tls: boolean, to: Backend, refusal?: string): Promise<Host> {
  const app = express()
  if (refusal !== undefined) app.use((_, response) => void response.status(401).send(refusal))
  const by = gateway(t, [to])
  app.use('/ws', by.middleware())
  const made = makeServer(tls, app)
  by.attach(made, { path: '/ws', through: true })
  return { server: made, sockets: socketsOf(made), port: await listen(t, made), tls }
}

async function withFastify(t: TestContext, tls: boolean, to: Backend, refusal?: string): Promise<Host> {
  const app = (tls ? fastify({ https: { cert, key } }) : fastify()) as unknown as FastifyInstance
  if (refusal !== undefined) app.addHook('onRequest', async (_, reply) => reply.code(401).send(refusal))
  await app.register(ringway, { prefix: '/ws', gateway: gateway(t, [to]) })
  return { ...(await start(t, app)), tls }
}

/** Lets a Fastify app listen on 127.0.0.1 until the test ends. */
export async function start(t: TestContext, app: FastifyInstance): Promise<Host> {
  const sockets = socketsOf(app.server)
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.after(async () => {
    for (const socket of sockets) socket.destroy()
    await app.close()
  })
  return { server: app.server, sockets, port: (app.server.address() as AddressInfo).port }
}

async function alone(t: TestContext, tls: boolean, to: Backend): Promise<Host> {
  const made = await gateway(t, [to]).listen({
    host: '127.0.0.1',
    path: '/ws',
    ...(tls ? { tls: { cert, key } } : {})
  })
  const sockets = socketsOf(made)
  t.after(async () => stop(made))
  return { server: made, sockets, port: (made.address() as AddressInfo).port, tls }
}

/** Mounts that run the app's own guards. */
export const guarded: readonly Mount[] = [
  { name: 'Express', start: async (t, to, refusal) => withExpress(t, false, to, refusal) },
  { name: 'Express over TLS', start: async (t, to, refusal) => withExpress(t, true, to, refusal) },
  { name: 'Fastify', start: async (t, to, refusal) => withFastify(t, false, to, refusal) },
  { name: 'Fastify over TLS', start: async (t, to, refusal) => withFastify(t, true, to, refusal) }
]

/** All ways to give upgrades to a gateway. */
export const mounts: readonly Mount[] = [
  {
    name: 'node:http',
    start: async (t, to) => bare(t, false, (made, by) => by.attach(made, { path: '/ws' }), to)
  },
  {
    name: 'node:https',
    start: async (t, to) => bare(t, true, (made, by) => by.attach(made, { path: '/ws' }), to)
  },
  {
    name: 'an upgrade listener',
    start: async (t, to) => bare(t, false, (made, by) => made.on('upgrade', by.handleUpgrade.bind(by)), to)
  },
  { name: 'listen', start: async (t, to) => alone(t, false, to) },
  { name: 'listen with TLS', start: async (t, to) => alone(t, true, to) },
  ...guarded
]
