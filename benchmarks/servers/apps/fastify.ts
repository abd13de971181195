import compress from "@fastify/compress"
import cookie from "@fastify/cookie"
import cors from "@fastify/cors"
import rateLimit from "@fastify/rate-limit"
import { createVerifier } from "fast-jwt"
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from "fastify"
import { Redis } from "ioredis"
import { randomUUID } from "node:crypto"
import type { AddressInfo } from "node:net"
import { Readable } from "node:stream"
import { keep, kept } from "../../sessions/apps/cookies.js"
import { sessionOf } from "../../sessions/apps/fastify.js"
import { register } from "../../sessions/apps/fastifySession.js"
import {
  cookieName,
  counted,
  nobody,
  seconds as lifetime,
  secret as sessionSecret,
  type Visitor,
  visitor
} from "../../sessions/work.js"
import {
  audience,
  exported,
  exposedHeaders,
  few,
  findUser,
  hosts,
  isLimited,
  issuer,
  isWhole,
  type Limited,
  limits,
  many,
  maxAge,
  me,
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
  securityHeaders,
  team,
  unauthenticated,
  users,
  type Variant,
  type Whole,
  window
} from "../work.js"
import { type Claims, tokenOf } from "./bearer.js"
import { proxy } from "./proxy.js"
import { prefix, url } from "./redis.js"

class UserLocked extends Error {}

const trusted = new Set(hosts)

const user = {
  type: "object",
  properties: { id: { type: "integer" }, name: { type: "string" }, email: { type: "string" } }
}
const answers = (schema: object) => ({ schema: { response: { 200: schema } } })

/** As `@fastify/jwt` does it, which is `fast-jwt` in a hook. */
const authentication = (app: FastifyInstance, hook: "onRequest" | "preHandler" = "onRequest") => {
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
  app.addHook(hook as "onRequest", (request, reply, done) => {
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

const limit = (app: FastifyInstance, variant: Limited, says = false) => {
  const unsaid = { "x-ratelimit-limit": false, "x-ratelimit-remaining": false, "x-ratelimit-reset": false }
  return app.register(rateLimit, {
    max: limits[variant],
    timeWindow: window,
    ...!says && { addHeaders: unsaid, addHeadersOnExceeding: unsaid },
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

interface Sessions {
  readonly read: (request: FastifyRequest) => Visitor | undefined
  readonly write: (request: FastifyRequest, reply: FastifyReply, visitor: Visitor) => unknown
}

/** `@fastify/cookie` signs by HMAC with SHA-256; `@fastify/secure-session` encrypts, which is more than is asked for. */
const inCookie: Sessions = {
  read: (request) => {
    const sent = request.cookies[cookieName]
    const { valid, value } = sent === undefined ? { valid: false, value: null } : request.unsignCookie(sent)
    return valid && value !== null ? kept(Buffer.from(value, "base64url").toString()) : undefined
  },
  write: (_request, reply, visitor) =>
    reply.setCookie(cookieName, Buffer.from(keep(visitor)).toString("base64url"), {
      signed: true,
      path: "/",
      httpOnly: true,
      secure: true,
      sameSite: "lax",
      maxAge: lifetime
    })
}

const inSession: Sessions = {
  read: (request) => sessionOf(request).get("visitor"),
  write: (request, _reply, visitor) => sessionOf(request).set("visitor", visitor)
}

const whole = async (app: FastifyInstance, variant: Whole) => {
  app.addHook("onRequest", (_request, reply, done) => {
    reply.headers(securityHeaders)
    done()
  })
  await stack(app)
  await app.register(compress, { encodings: ["gzip"] })
  await limit(app, variant, true)
  if (needsRedis(variant)) await register(app)
  else await app.register(cookie, { secret: sessionSecret })
  // the limit is a hook of each route, which runs after those of the application
  authentication(app, "preHandler")

  const { read, write } = needsRedis(variant) ? inSession : inCookie
  const visitorOf = (request: FastifyRequest, reply: FastifyReply) => {
    reply.header("vary", `${reply.getHeader("vary")}, Cookie`)
    return read(request)
  }
  const subjectOf = (request: FastifyRequest) => request.getDecorator<Claims>("user").sub
  const visits = { type: "integer" }
  const mine = answers({ ...user, properties: { ...user.properties, visits } })
  app.get("/me", mine, (request, reply) => {
    const { visits } = visitorOf(request, reply) ?? nobody
    return reply.send(me(subjectOf(request), visits))
  })
  app.get(
    "/me/team",
    answers({ type: "object", properties: { visits, users: { type: "array", items: user } } }),
    (request, reply) => {
      const { visits } = visitorOf(request, reply) ?? nobody
      return reply.send(team(visits))
    }
  )
  app.post("/me/visits", mine, (request, reply) => {
    const changed = counted(visitorOf(request, reply) ?? visitor)
    write(request, reply, changed)
    return reply.send(me(subjectOf(request), changed.visits))
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
    trustProxy: isWhole(variant) && proxy,
    logger: variant === "logged",
    logController: new LogController({ disableRequestLogging: true })
  })
  if (isWhole(variant)) {
    await whole(app, variant)
    return listen(app)
  }
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
  return listen(app)
}

const listen = async (app: FastifyInstance): Promise<number> => {
  await app.listen({ host: "127.0.0.1", port: 0 })
  return (app.server.address() as AddressInfo).port
}
