import { createAdaptorServer } from "@hono/node-server"
import { getConnInfo } from "@hono/node-server/conninfo"
import { Hono, type MiddlewareHandler } from "hono"
import { compress } from "hono/compress"
import { cors } from "hono/cors"
import { HTTPException } from "hono/http-exception"
import { jwt, type JwtVariables } from "hono/jwt"
import { requestId, type RequestIdVariables } from "hono/request-id"
import { timing } from "hono/timing"
import type { Server } from "node:http"
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
  many,
  maxAge,
  methods,
  origins,
  pieces,
  problemHeaders,
  problems,
  report,
  requestHeaders,
  secret,
  unauthenticated,
  users,
  type Variant
} from "../work.js"
import { limiter } from "./flexible.js"
import { listen } from "./listen.js"
import { write } from "./log.js"

interface Env {
  readonly Variables: RequestIdVariables & JwtVariables
}

class UserLocked extends Error {}

const trusted = new Set(hosts)

const accessLog: MiddlewareHandler<Env> = async (c, next) => {
  const began = performance.now()
  await next()
  write({
    id: c.get("requestId"),
    client: getConnInfo(c).remote.address,
    method: c.req.method,
    path: c.req.path,
    status: c.res.status,
    duration: performance.now() - began
  })
}

const stack = (app: Hono<Env>) => {
  app.use(timing({ totalDescription: "" }))
  app.use(requestId())
  app.use(async (c, next) => {
    const host = c.req.header("host") ?? ""
    if (!trusted.has(host.split(":", 1)[0]!)) return c.body(problems.untrustedHost, 400, problemHeaders)
    await next()
  })
  app.use(
    cors({
      origin: origins,
      credentials: true,
      exposeHeaders: exposedHeaders,
      allowMethods: methods,
      allowHeaders: requestHeaders,
      maxAge
    })
  )
  app.notFound((c) => c.body(problems.notFound, 404, problemHeaders))
  app.onError((error, c) => {
    if (error instanceof HTTPException && error.status === 401) {
      const { body, headers } = unauthenticated[c.req.header("authorization") === undefined ? "absent" : "invalid"]
      return c.body(body, 401, headers)
    }
    if (!(error instanceof UserLocked)) throw error
    return c.body(problems.userLocked, 409, problemHeaders)
  })
}

const authentication = async (app: Hono<Env>) => {
  const algorithm = { name: "HMAC", hash: "SHA-256" }
  // from a string it would make a key for each request
  const key = await crypto.subtle.importKey("raw", Buffer.from(secret), algorithm, false, ["verify"])
  app.use(jwt({ secret: key, alg: "HS256", verification: { iss: issuer, aud: audience } }))
  app.use(async (c, next) => {
    c.header("cache-control", "private")
    c.header("vary", "Authorization", { append: true })
    await next()
  })
}

const limit = (variant: Limited): MiddlewareHandler<Env> => {
  const wait = limiter(variant)
  return async (c, next) => {
    const seconds = await wait(getConnInfo(c).remote.address ?? "")
    if (seconds !== undefined) return c.body(problems.tooMany, 429, { ...problemHeaders, "retry-after": seconds })
    await next()
  }
}

export const start = async (variant: Variant): Promise<number> => {
  const app = new Hono<Env>()
  if (variant === "logged") app.use(accessLog)
  if (variant !== "bare") stack(app)
  if (variant === "auth") await authentication(app)
  if (variant === "compressed") app.use(compress())
  if (isLimited(variant)) app.use(limit(variant))
  app.get("/users", (c) => c.json(users))
  app.get("/few", (c) => c.json(few))
  app.get("/report", (c) => c.json(report()))
  app.get("/many", (c) => c.json(many))
  app.get("/export", (c) => {
    const source = pieces()
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        const { done, value } = source.next()
        if (done === true) controller.close()
        else controller.enqueue(value)
      }
    })
    return c.body(stream, 200, { "content-type": exported.type })
  })
  app.get("/users/:id", (c) => {
    const user = findUser(Number(c.req.param("id")))
    if (user === undefined) throw new UserLocked()
    return c.json(user)
  })
  // an HTTP/1 server, since it is asked for no other
  return listen(createAdaptorServer({ fetch: app.fetch }) as Server)
}
