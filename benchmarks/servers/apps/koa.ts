import cors from "@koa/cors"
import Router from "@koa/router"
import Koa from "koa"
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import {
  exposedHeaders,
  findUser,
  hosts,
  isLimited,
  type Limited,
  maxAge,
  methods,
  origins,
  problemHeaders,
  problems,
  type Refusal,
  requestHeaders,
  unauthenticated,
  users,
  type Variant
} from "../work.js"
import { tokenOf } from "./bearer.js"
import { limiter } from "./flexible.js"
import { verify } from "./jsonwebtoken.js"
import { listen } from "./listen.js"
import { whenSent } from "./log.js"

class UserLocked extends Error {}

const trusted = new Set(hosts)
const allowed = new Set(origins)

const problem = (ctx: Koa.Context, status: number, body: string) => {
  ctx.status = status
  ctx.set(problemHeaders)
  ctx.body = body
}

const stack = (app: Koa, logs: boolean) => {
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

export const start = (variant: Variant): Promise<number> => {
  const app = new Koa()
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
