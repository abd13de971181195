import { createAdaptorServer } from "@hono/node-server"
import { getConnInfo } from "@hono/node-server/conninfo"
import { Hono, type MiddlewareHandler } from "hono"
import { cors } from "hono/cors"
import { requestId, type RequestIdVariables } from "hono/request-id"
import { timing } from "hono/timing"
import type { Server } from "node:http"
import {
  exposedHeaders,
  findUser,
  hosts,
  maxAge,
  methods,
  origins,
  problemHeaders,
  problems,
  requestHeaders,
  users,
  type Variant
} from "../work.js"
import { listen } from "./listen.js"
import { write } from "./log.js"

interface Env {
  readonly Variables: RequestIdVariables
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
    if (!(error instanceof UserLocked)) throw error
    return c.body(problems.userLocked, 409, problemHeaders)
  })
}

export const start = (variant: Variant): Promise<number> => {
  const app = new Hono<Env>()
  if (variant === "logged") app.use(accessLog)
  if (variant !== "bare") stack(app)
  app.get("/users", (c) => c.json(users))
  app.get("/users/:id", (c) => {
    const user = findUser(Number(c.req.param("id")))
    if (user === undefined) throw new UserLocked()
    return c.json(user)
  })
  // an HTTP/1 server, since it is asked for no other
  return listen(createAdaptorServer({ fetch: app.fetch }) as Server)
}
