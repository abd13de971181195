import compress from "@fastify/compress"
import cors from "@fastify/cors"
import rateLimit from "@fastify/rate-limit"
import { createVerifier } from "fast-jwt"
import Fastify, { type FastifyInstance, type FastifyReply, LogController } from "fastify"
import { Redis } from "ioredis"
import { randomUUID } from "node:crypto"
import type { AddressInfo } from "node:net"
import { Readable } from "node:stream"
import {
  audience,
  exported,
  exposedHeaders,
  few,
  findUser,
  hosts,
  isLimited,
  issuer,
  type Limited,
  limits,
  many,
  maxAge,
  methods,
  needsRedis,
  origins,
  pieces,
  problemHeaders,
  problems,
  type Refusal,
  report,
  requestHeaders,
  secret,
  unauthenticated,
  users,
  type Variant,
  window
} from "../work.js"
import { tokenOf } from "./bearer.js"
import { prefix, url } from "./redis.js"

class UserLocked extends Error {}

const trusted = new Set(hosts)

const user = {
  type: "object",
  properties: { id: { type: "integer" }, name: { type: "string" }, email: { type: "string" } }
}
const answers = (schema: object) => ({ schema: { response: { 200: schema } } })

/** As `@fastify/jwt` does it, which is `fast-jwt` in a hook. */
const authentication = (app: FastifyInstance) => {
  const verify = createVerifier({
    key: secret,
    algorithms: ["HS256"],
    allowedIss: issuer,
    allowedAud: audience,
    requiredClaims: ["iss", "aud", "exp"],
    cache: true
  })
  const refuse = (reply: FastifyReply, { body, headers }: Refusal) => {
    reply.code(401).headers(headers).send(body)
  }
  app.decorateRequest("user", null)
  app.addHook("onRequest", (request, reply, done) => {
    const { authorization } = request.headers
    if (authorization === undefined) return refuse(reply, unauthenticated.absent)
    const token = tokenOf(authorization)
    if (token === undefined) return refuse(reply, unauthenticated.invalid)
    try {
      request.setDecorator("user", verify(token))
    } catch {
      return refuse(reply, unauthenticated.invalid)
    }
    reply.header("cache-control", "private")
    reply.header("vary", `${reply.getHeader("vary")}, Authorization`)
    done()
  })
}

/** Made once, which its documentation leaves one free to do. */
const tooMany = { statusCode: 429 }

const limit = (app: FastifyInstance, variant: Limited) => {
  const unsaid = { "x-ratelimit-limit": false, "x-ratelimit-remaining": false, "x-ratelimit-reset": false }
  return app.register(rateLimit, {
    max: limits[variant],
    timeWindow: window,
    addHeaders: unsaid,
    addHeadersOnExceeding: unsaid,
    errorResponseBuilder: () => tooMany,
    ...needsRedis(variant) && { redis: new Redis(url), nameSpace: prefix }
  })
}

const stack = async (app: FastifyInstance) => {
  app.addHook("onRequest", (request, reply, done) => {
    reply.header("x-request-id", request.id)
    if (trusted.has(request.hostname)) return done()
    reply.code(400).headers(problemHeaders).send(problems.untrustedHost)
  })
  app.addHook("onSend", (_request, reply, _payload, done) => {
    reply.header("server-timing", `total;dur=${reply.elapsedTime.toFixed(1)}`)
    done()
  })
  await app.register(cors, {
    origin: origins,
    credentials: true,
    exposedHeaders,
    methods,
    allowedHeaders: requestHeaders,
    maxAge
  })
  app.setNotFoundHandler((_request, reply) => reply.code(404).headers(problemHeaders).send(problems.notFound))
  app.setErrorHandler((error, _request, reply) => {
    if (error === tooMany) return reply.code(429).headers(problemHeaders).send(problems.tooMany)
    if (!(error instanceof UserLocked)) throw error
    return reply.code(409).headers(problemHeaders).send(problems.userLocked)
  })
}

/** One line, when the response is sent, in place of Fastify's two. */
const accessLog = (app: FastifyInstance) => {
  app.addHook("onResponse", (request, reply, done) => {
    request.log.info({
      client: request.ip,
      method: request.method,
      path: request.url,
      status: reply.statusCode,
      duration: reply.elapsedTime
    })
    done()
  })
}

export const start = async (variant: Variant): Promise<number> => {
  const app = Fastify({
    genReqId: () => randomUUID(),
    logger: variant === "logged",
    logController: new LogController({ disableRequestLogging: true })
  })
  if (variant === "logged") accessLog(app)
  if (variant !== "bare") await stack(app)
  if (variant === "auth") authentication(app)
  if (variant === "compressed") await app.register(compress, { encodings: ["gzip"] })
  if (isLimited(variant)) await limit(app, variant)
  const list = answers({ type: "array", items: user })
  app.get("/users", list, (_request, reply) => reply.send(users))
  app.get("/few", list, (_request, reply) => reply.send(few))
  app.get("/report", list, (_request, reply) => reply.send(report()))
  app.get("/many", list, (_request, reply) => reply.send(many))
  app.get("/export", (_request, reply) => reply.type(exported.type).send(Readable.from(pieces())))
  app.get<{ Params: { id: string } }>("/users/:id", answers(user), (request, reply) => {
    const user = findUser(Number(request.params.id))
    if (user === undefined) throw new UserLocked()
    return reply.send(user)
  })
  await app.listen({ host: "127.0.0.1", port: 0 })
  return (app.server.address() as AddressInfo).port
}
