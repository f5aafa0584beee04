import Fastify from 'fastify'
import ringway from 'ringway/fastify'

const servers = (process.env.SERVERS ?? 'sre1:8080,sre2:8080,sre3:8080').split(',')
const token = process.env.TOKEN ?? 'change me'

const fastify = Fastify({ logger: true })
fastify.get('/', () => 'The app answers here as before.\n')

await fastify.register(async guarded => {
  guarded.addHook('onRequest', async (request, reply) => {
    if (request.headers.authorization !== `Bearer ${token}`) await reply.code(401).send('Who are you?\n')
  })
  await guarded.register(ringway, { prefix: '/ws', upstream: { servers }, drain: 10_000 })
})

await fastify.listen({ port: Number(process.env.PORT ?? 3000) })

process.once('SIGTERM', () => void fastify.close())
