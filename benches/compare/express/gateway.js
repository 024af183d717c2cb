// The gateway in front of an Express service: token, rate limit per user, proxy. Kept connections
// to the service.
import { Agent } from 'node:http'
import express from 'express'
import { expressjwt } from 'express-jwt'
import { rateLimit } from 'express-rate-limit'
import { createProxyMiddleware } from 'http-proxy-middleware'

const [port, target, secret] = process.argv.slice(2)
const app = express()
app.use(expressjwt({ secret: Buffer.from(secret, 'base64'), algorithms: ['HS256'] }))
app.use(rateLimit({ windowMs: 60_000, limit: 100_000_000, keyGenerator: (req) => req.auth.sub }))
app.use(
  createProxyMiddleware({
    target,
    agent: new Agent({ keepAlive: true }),
    pathRewrite: { '^/api/v1': '' },
    on: { proxyReq: (proxied, req) => proxied.setHeader('x-hms-user', req.auth.sub) },
  }),
)
app.listen(Number(port), '127.0.0.1')
