import compression from "compression"
import cors from "cors"
import express, { type ErrorRequestHandler, type Express, type RequestHandler, type Response } from "express"
import { type AugmentedRequest, rateLimit } from "express-rate-limit"
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import { Readable } from "node:stream"
import { signed } from "../../sessions/apps/cookieSession.js"
import { sessionOf } from "../../sessions/apps/express.js"
import { stored } from "../../sessions/apps/expressSession.js"
import { counted, nobody, visitor } from "../../sessions/work.js"
import {
  exported,
  exposedHeaders,
  few,
  findUser,
  hosts,
  isLimited,
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
  securityHeaders,
  team,
  unauthenticated,
  users,
  type Variant,
  type Whole,
  window
} from "../work.js"
import { tokenOf } from "./bearer.js"
import type { Claims } from "./bearer.js"
import { consumer, limiter, standingOf } from "./flexible.js"
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

const limitInMemory = (variant: Limited, says = false): RequestHandler =>
  rateLimit({
    windowMs: window,
    limit: limits[variant],
    standardHeaders: false,
    legacyHeaders: says,
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

/** The same, which says where the client stands. */
const limitOf = (variant: Whole): RequestHandler => {
  if (!needsRedis(variant)) return limitInMemory(variant, true)
  const consume = consumer(variant)
  return async (request, response, next) => {
    const { refused, result } = await consume(request.ip ?? "")
    response.set(standingOf(variant, result))
    if (refused) refuse(response, seconds(result.msBeforeNext))
    else next()
  }
}

const secured: RequestHandler = (_request, response, next) => {
  response.set(securityHeaders)
  next()
}

const visiting: RequestHandler = (request, response) => {
  const session = sessionOf(request)
  if (request.method === "POST") session.visitor = counted(session.visitor ?? visitor)
  response.vary("Cookie")
  response.json(me((response.locals.user as Claims).sub, (session.visitor ?? nobody).visits))
}

const whole = async (app: Express, variant: Whole) => {
  app.set("trust proxy", 1)
  app.use(timing, requestId, secured, trustedHost, crossOrigin(), compression(), limitOf(variant))
  app.use(needsRedis(variant) ? await stored() : signed(), authentication)
  app.get("/me", visiting)
  app.post("/me/visits", visiting)
  app.get("/me/team", (request, response) => {
    response.vary("Cookie")
    response.json(team((sessionOf(request).visitor ?? nobody).visits))
  })
  app.use(notFound, failed)
}

const crossOrigin = () =>
  cors({ origin: origins, credentials: true, exposedHeaders, methods, allowedHeaders: requestHeaders, maxAge })

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

export const start = async (variant: Variant): Promise<number> => {
  const app = express()
  app.disable("etag")
  app.disable("x-powered-by")
  if (isWhole(variant)) {
    await whole(app, variant)
    return listen(createServer(app))
  }
  if (variant !== "bare") {
    app.use(timing, requestId)
    if (variant === "logged") app.use(accessLog)
    app.use(trustedHost)
    app.use(crossOrigin())
    if (variant === "auth") app.use(authentication)
    if (variant === "compressed") app.use(compression())
    if (isLimited(variant)) app.use(needsRedis(variant) ? limitInRedis(variant) : limitInMemory(variant))
  }
  routes(app)
  if (variant !== "bare") app.use(notFound, failed)
  return listen(createServer(app))
}
