import compression from "compression"
import cors from "cors"
import express, { type ErrorRequestHandler, type Express, type RequestHandler, type Response } from "express"
import { type AugmentedRequest, rateLimit } from "express-rate-limit"
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import { Readable } from "node:stream"
import {
  exported,
  exposedHeaders,
  few,
  findUser,
  hosts,
  isLimited,
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
  unauthenticated,
  users,
  type Variant,
  window
} from "../work.js"
import { tokenOf } from "./bearer.js"
import { limiter } from "./flexible.js"
import { verify } from "./jsonwebtoken.js"
import { listen } from "./listen.js"
import { whenSent } from "./log.js"
import { seconds } from "./window.js"

class UserLocked extends Error {}

const trusted = new Set(hosts)

const problem = (response: Response, status: number, body: string) => {
  response.status(status).set(problemHeaders).send(body)
}

/** As `on-headers`, which `response-time` uses, does it. */
const timing: RequestHandler = (_request, response, next) => {
  const began = performance.now()
  const { writeHead } = response
  response.writeHead = function(this: Response, ...args: Array<unknown>) {
    this.setHeader("server-timing", `total;dur=${(performance.now() - began).toFixed(1)}`)
    return Reflect.apply(writeHead, this, args)
  }
  next()
}

const requestId: RequestHandler = (_request, response, next) => {
  response.locals.requestId = randomUUID()
  response.setHeader("x-request-id", response.locals.requestId)
  next()
}

const accessLog: RequestHandler = (_request, response, next) => {
  whenSent(response, response.locals.requestId)
  next()
}

const trustedHost: RequestHandler = (request, response, next) => {
  if (trusted.has(request.hostname)) next()
  else problem(response, 400, problems.untrustedHost)
}

const authentication: RequestHandler = (request, response, next) => {
  const refuse = ({ body, headers }: Refusal) => {
    response.status(401).set(headers).send(body)
  }
  const { authorization } = request.headers
  if (authorization === undefined) return refuse(unauthenticated.absent)
  const token = tokenOf(authorization)
  response.locals.user = token === undefined ? undefined : verify(token)
  if (response.locals.user === undefined) return refuse(unauthenticated.invalid)
  response.setHeader("cache-control", "private")
  response.vary("Authorization")
  next()
}

const refuse = (response: Response, wait: string) => {
  response.set("retry-after", wait)
  problem(response, 429, problems.tooMany)
}

const limitInMemory = (variant: Limited): RequestHandler =>
  rateLimit({
    windowMs: window,
    limit: limits[variant],
    standardHeaders: false,
    legacyHeaders: false,
    handler: (request, response) => {
      const { resetTime } = (request as AugmentedRequest)["rateLimit"]!
      refuse(response, seconds(resetTime!.getTime() - Date.now()))
    }
  })

const limitInRedis = (variant: Limited): RequestHandler => {
  const wait = limiter(variant)
  return async (request, response, next) => {
    const seconds = await wait(request.ip ?? "")
    if (seconds === undefined) next()
    else refuse(response, seconds)
  }
}

const notFound: RequestHandler = (_request, response) => problem(response, 404, problems.notFound)

// Express tells an error handler by its four parameters
const failed: ErrorRequestHandler = (error, _request, response, next) => {
  if (error instanceof UserLocked) problem(response, 409, problems.userLocked)
  else next(error)
}

const routes = (app: Express) => {
  app.get("/users", (_request, response) => {
    response.json(users)
  })
  app.get("/few", (_request, response) => {
    response.json(few)
  })
  app.get("/report", (_request, response) => {
    response.json(report())
  })
  app.get("/many", (_request, response) => {
    response.json(many)
  })
  app.get("/export", (_request, response) => {
    response.set("content-type", exported.type)
    Readable.from(pieces()).pipe(response)
  })
  app.get("/users/:id", (request, response) => {
    const user = findUser(Number(request.params.id))
    if (user === undefined) throw new UserLocked()
    response.json(user)
  })
}

export const start = (variant: Variant): Promise<number> => {
  const app = express()
  app.disable("etag")
  app.disable("x-powered-by")
  if (variant !== "bare") {
    app.use(timing, requestId)
    if (variant === "logged") app.use(accessLog)
    app.use(trustedHost)
    app.use(
      cors({ origin: origins, credentials: true, exposedHeaders, methods, allowedHeaders: requestHeaders, maxAge })
    )
    if (variant === "auth") app.use(authentication)
    if (variant === "compressed") app.use(compression())
    if (isLimited(variant)) app.use(needsRedis(variant) ? limitInRedis(variant) : limitInMemory(variant))
  }
  routes(app)
  if (variant !== "bare") app.use(notFound, failed)
  return listen(createServer(app))
}
