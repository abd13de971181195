import cors from "@koa/cors"
import Router from "@koa/router"
import { Redis } from "ioredis"
import Koa from "koa"
import { randomBytes, randomUUID } from "node:crypto"
import { createServer } from "node:http"
import { promisify } from "node:util"
import { gzip } from "node:zlib"
import { keep, kept } from "../../sessions/apps/cookies.js"
import { cookieName, counted, nobody, seconds as lifetime, secret, type Visitor, visitor } from "../../sessions/work.js"
import {
  exposedHeaders,
  findUser,
  hosts,
  isLimited,
  isWhole,
  type Limited,
  maxAge,
  me,
  methods,
  needsRedis,
  origins,
  problemHeaders,
  problems,
  type Refusal,
  requestHeaders,
  securityHeaders,
  team,
  unauthenticated,
  users,
  type Variant,
  type Whole
} from "../work.js"
import { tokenOf } from "./bearer.js"
import type { Claims } from "./bearer.js"
import { consumer, limiter, standingOf } from "./flexible.js"
import { verify } from "./jsonwebtoken.js"
import { listen } from "./listen.js"
import { whenSent } from "./log.js"
import { prefix, url } from "./redis.js"
import { seconds } from "./window.js"

class UserLocked extends Error {}

const trusted = new Set(hosts)
const allowed = new Set(origins)

const problem = (ctx: Koa.Context, status: number, body: string) => {
  ctx.status = status
  ctx.set(problemHeaders)
  ctx.body = body
}

const stack = (app: Koa, logs: boolean, secure?: Koa.Middleware, compress?: Koa.Middleware) => {
  app.use(async (ctx, next) => {
    const began = performance.now()
    await next()
    ctx.set("server-timing", `total;dur=${(performance.now() - began).toFixed(1)}`)
  })
  app.use((ctx, next) => {
    ctx.state.requestId = randomUUID()
    ctx.set("x-request-id", ctx.state.requestId)
    if (logs) whenSent(ctx.res, ctx.state.requestId)
    return next()
  })
  if (secure !== undefined) app.use(secure)
  app.use((ctx, next) => trusted.has(ctx.hostname) ? next() : problem(ctx, 400, problems.untrustedHost))
  app.use(
    cors({
      origin: (ctx) => {
        const origin = ctx.get("origin")
        return allowed.has(origin) ? origin : ""
      },
      credentials: true,
      exposeHeaders: exposedHeaders,
      allowMethods: methods,
      allowHeaders: requestHeaders,
      maxAge
    })
  )
  if (compress !== undefined) app.use(compress)
  app.use(async (ctx, next) => {
    try {
      await next()
    } catch (error) {
      if (!(error instanceof UserLocked)) throw error
      return problem(ctx, 409, problems.userLocked)
    }
    if (ctx.status === 404 && ctx.body === undefined) problem(ctx, 404, problems.notFound)
  })
}

const authentication: Koa.Middleware = (ctx, next) => {
  const refuse = ({ body, headers }: Refusal) => {
    ctx.status = 401
    ctx.set(headers)
    ctx.body = body
  }
  const { authorization } = ctx.headers
  if (authorization === undefined) return refuse(unauthenticated.absent)
  const token = tokenOf(authorization)
  ctx.state.user = token === undefined ? undefined : verify(token)
  if (ctx.state.user === undefined) return refuse(unauthenticated.invalid)
  ctx.set("cache-control", "private")
  ctx.vary("Authorization")
  return next()
}

const limit = (variant: Limited): Koa.Middleware => {
  const wait = limiter(variant)
  return async (ctx, next) => {
    const seconds = await wait(ctx.ip)
    if (seconds === undefined) return next()
    ctx.set("retry-after", seconds)
    problem(ctx, 429, problems.tooMany)
  }
}

const secured: Koa.Middleware = (ctx, next) => {
  ctx.set(securityHeaders)
  return next()
}

const gzipped = promisify(gzip)

/** As `koa-compress` does it, which is not installed, for what is no stream. */
const compress: Koa.Middleware = async (ctx, next) => {
  ctx.vary("Accept-Encoding")
  await next()
  const { body } = ctx
  if (typeof body !== "object" || body === null || ctx.acceptsEncodings("gzip", "identity") !== "gzip") return
  const text = JSON.stringify(body)
  if (text.length < 1024) return
  const { type } = ctx
  ctx.body = await gzipped(text)
  ctx.type = type
  ctx.set("content-encoding", "gzip")
}

const limitOf = (variant: Whole): Koa.Middleware => {
  const consume = consumer(variant)
  return async (ctx, next) => {
    const { refused, result } = await consume(ctx.ip)
    ctx.set(standingOf(variant, result))
    if (!refused) return next()
    ctx.set("retry-after", seconds(result.msBeforeNext))
    problem(ctx, 429, problems.tooMany)
  }
}

/** As `koa-session` does it, which is not installed: Koa signs cookies itself. */
interface Sessions {
  readonly read: (ctx: Koa.Context) => Promise<Visitor | undefined>
  readonly write: (ctx: Koa.Context, visitor: Visitor) => Promise<void>
}

const attributes = {
  signed: true,
  httpOnly: true,
  secure: true,
  sameSite: "lax",
  maxAge: lifetime * 1000
} as const

const inCookie: Sessions = {
  read: async (ctx) => {
    const value = ctx.cookies.get(cookieName, attributes)
    return value === undefined ? undefined : kept(Buffer.from(value, "base64url").toString())
  },
  write: async (ctx, visitor) => {
    ctx.cookies.set(cookieName, Buffer.from(keep(visitor)).toString("base64url"), attributes)
  }
}

const stored = (): Sessions => {
  const redis = new Redis(url)
  return {
    read: async (ctx) => {
      const id = ctx.cookies.get(cookieName, attributes)
      const text = id === undefined ? null : await redis.get(prefix + id)
      return text === null ? undefined : JSON.parse(text) as Visitor
    },
    write: async (ctx, visitor) => {
      const id = ctx.cookies.get(cookieName, attributes) ?? randomBytes(32).toString("base64url")
      await redis.set(prefix + id, JSON.stringify(visitor), "EX", lifetime)
      ctx.cookies.set(cookieName, id, attributes)
    }
  }
}

const whole = (app: Koa, variant: Whole) => {
  app.proxy = true
  app.maxIpsCount = 1
  app.keys = [secret]
  stack(app, false, secured, compress)
  app.use(limitOf(variant))
  app.use(authentication)
  const { read, write } = needsRedis(variant) ? stored() : inCookie
  const visitorOf = (ctx: Koa.Context) => {
    ctx.vary("Cookie")
    return read(ctx)
  }
  const subjectOf = (ctx: Koa.Context) => (ctx.state.user as Claims).sub
  const router = new Router()
  router.get("/me", async (ctx) => {
    const { visits } = await visitorOf(ctx) ?? nobody
    ctx.body = me(subjectOf(ctx), visits)
  })
  router.get("/me/team", async (ctx) => {
    const { visits } = await visitorOf(ctx) ?? nobody
    ctx.body = team(visits)
  })
  router.post("/me/visits", async (ctx) => {
    const changed = counted(await visitorOf(ctx) ?? visitor)
    await write(ctx, changed)
    ctx.body = me(subjectOf(ctx), changed.visits)
  })
  app.use(router.routes())
}

export const start = (variant: Variant): Promise<number> => {
  const app = new Koa()
  if (isWhole(variant)) {
    whole(app, variant)
    return listen(createServer(app.callback()))
  }
  if (variant !== "bare") stack(app, variant === "logged")
  if (variant === "auth") app.use(authentication)
  if (isLimited(variant)) app.use(limit(variant))
  const router = new Router()
  router.get("/users", (ctx) => {
    ctx.body = users
  })
  router.get("/users/:id", (ctx) => {
    const user = findUser(Number(ctx.params.id))
    if (user === undefined) throw new UserLocked()
    ctx.body = user
  })
  app.use(router.routes())
  return listen(createServer(app.callback()))
}
