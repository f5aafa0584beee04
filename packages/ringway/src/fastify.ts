import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { ConfigError } from '@ringway/core'
import type {
  FastifyInstance,
  FastifyPluginCallback,
  FastifyReply,
  FastifyRequest,
  RegisterOptions
} from 'fastify'
import type { Attachment } from './engine.ts'
import { isUpgrade } from './engine.ts'
import type { Pages } from './error-pages.ts'
import { createGateway, engineOf, Gateway } from './gateway.ts'
import { checkClose } from './options.ts'
import type { GatewayOptions } from './options.ts'
import type { Reply } from './replies.ts'
import { describesBody } from './replies.ts'
import { plainReply } from './reply.ts'

/** What the plugin takes: a gateway of yours, or the options of one that it makes and closes with the app. */
export type RingwayFastifyOptions = {
  /** Upgrades and requests at and below it. Default `/`. */
  readonly prefix?: string
  /** Milliseconds that tunnels have when the app closes, as in `gateway.close({ drain })`. Default 0. */
  readonly drain?: number
} & ({ readonly gateway: Gateway } | (GatewayOptions & { readonly gateway?: undefined }))

/**
 * A Fastify 5 plugin: `fastify.register(ringway, { prefix: '/ws', upstream })`. Upgrades and plain requests below the
 * prefix run through the app's hooks, then go to the upstream. It is encapsulated: hooks registered beside it apply,
 * its own content-type parser (which leaves bodies alone) stays inside.
 *
 * @throws {@link ConfigError} as {@link createGateway} does, when the app is made ready
 */
const ringway: FastifyPluginCallback<RingwayFastifyOptions> = (app, options, done) => {
  try {
    mount(app, options)
  } catch (error) {
    return done(error as Error) // thrown from here it would be nobody's to catch
  }
  done()
}

export default ringway

function mount(app: FastifyInstance, options: RingwayFastifyOptions & RegisterOptions): void {
  const { prefix: _, logLevel: _level, logSerializers: _serializers, gateway: given, ...rest } = options
  const { drain: _drain, ...own } = rest
  const close = checkClose(options.drain === undefined ? {} : { drain: options.drain })
  if (given !== undefined) {
    if (!(given instanceof Gateway)) throw new ConfigError('gateway', 'must be made by createGateway')
    const [name] = Object.keys(own)
    if (name !== undefined)
      throw new ConfigError(name, 'must be given to createGateway, as the gateway is yours')
  }
  const gateway = given ?? createGateway({ log: app.log, ...(own as GatewayOptions) })
  try {
    const engine = engineOf(gateway)
    // Bodies go to the backend as they come.
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', (_request, _payload, parsed) => parsed(null))
    const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
      await engine.enter(request.raw, reply.raw, fastifyReply(request, reply, engine.pages))
      return reply
    }
    app.all('/', handler)
    app.all('/*', handler)

    const [attachment] = engine.attach(app.server, [app.prefix || '/'], (request, response) => {
      app.routing(request as IncomingMessage, response as ServerResponse) // or those of HTTP/2, as the app's server
    }) as [Attachment]
    app.addHook('preClose', async () => {
      if (given) await engine.leave(attachment, close)
      else await gateway.close(close)
    })
  } catch (error) {
    if (!given) void gateway.close() // nobody else has it
    throw error
  }
}

/** Answers in Fastify's words, so that its hooks run: cookies are set, the log has the status. */
function fastifyReply(request: FastifyRequest, reply: FastifyReply, pages: Pages): Reply {
  const upgraded = isUpgrade(request.raw)
  return {
    request,
    fail(error) {
      if (!reply.sent) void reply.send(error)
    },
    async send(status, reason, rawHeaders, body) {
      if (reply.sent) return undefined
      if (upgraded && 'stream' in reply.raw) {
        // Its open stream is none that Fastify could send; what the hooks have set is sent.
        for (const [name, value] of Object.entries(reply.getHeaders())) reply.raw.setHeader(name, value ?? '')
      } else if (upgraded) {
        // The same way for a 101 as for a refusal: hooks see both.
        reply.code(status).headers(headersOf(rawHeaders))
        reply.raw.statusMessage = reason
        if (status === 101) {
          for (const name of Object.keys(reply.getHeaders()))
            if (describesBody(name)) reply.removeHeader(name)
          reply.raw.sendDate = false // nothing is added to the backend's 101
        }
        void reply.send(body && Readable.from(body, { objectMode: false }))
        return undefined
      }
      // A plain answer is streamed as it comes: nothing of it is Fastify's to serialise.
      reply.hijack()
      return plainReply(request.raw, reply.raw, pages).send(status, reason, rawHeaders, body)
    }
  }
}

/** Names and values in turn, in Fastify's shape: a repeated header is a list. */
function headersOf(raw: readonly string[]): Record<string, string | string[]> {
  const headers = new Map<string, string[]>()
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase()
    headers.set(name, [...(headers.get(name) ?? []), raw[i + 1]!])
  }
  return Object.fromEntries([...headers].map(([name, all]) => [name, all.length === 1 ? all[0]! : all]))
}
