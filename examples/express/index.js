import { createServer } from 'node:http'
import express from 'express'
import session from 'express-session'
import morgan from 'morgan'
import { createGateway } from 'ringway'

const servers = (process.env.SERVERS ?? 'sre1:8080,sre2:8080,sre3:8080').split(',')
const secret = process.env.SECRET ?? 'change me'
const gateway = createGateway({ upstream: { servers } })

const app = express()
app.use(morgan('tiny')) // GET /ws 101
app.use(session({ secret, resave: false, saveUninitialized: false, rolling: true }))

app.post('/login', (request, response) => {
  request.session.user = 'ann' // once you have checked her password
  response.sendStatus(204)
})

/** @type {express.RequestHandler} */
const members = (request, response, next) => {
  if (request.session.user) next()
  else response.status(401).send('Log in first.\n')
}
app.use('/ws', members, gateway.middleware())

const server = createServer(app)
gateway.attach(server, { path: '/ws', through: true }) // upgrades go through the app, so past its guards
server.listen(process.env.PORT ?? 3000, () => console.log('Listening on', server.address()))

process.once('SIGTERM', () => {
  server.close()
  void gateway.close({ drain: 10_000 })
})
