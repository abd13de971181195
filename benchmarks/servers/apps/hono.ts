import { createAdaptorServer } from "@hono/node-server"
import { getConnInfo } from "@hono/node-server/conninfo"
import { type Context, Hono, type MiddlewareHandler } from "hono"
import { compress } from "hono/compress"
import { getCookie, getSignedCookie, setCookie, setSignedCookie } from "hono/cookie"
import { cors } from "hono/cors"
import { HTTPException } from "hono/http-exception"
import { jwt, type JwtVariables } from "hono/jwt"
import { requestId, type RequestIdVariables } from "hono/request-id"
import { secureHeaders } from "hono/secure-headers"
import { timing } from "hono/timing"
import { Redis } from "ioredis"
import { randomBytes } from "node:crypto"
import type { Server } from "node:http"
import { keep, kept } from "../../sessions/apps/cookies.js"
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
  many,
  maxAge,
  me,
  methods,
  needsRedis,
  origins,
  pieces,
  problemHeaders,
  problems,
  report,
  requestHeaders,
  secret,
  team,
  unauthenticated,
  users,
  type Variant,
  type Whole
} from "../work.js"
import { consumer, limiter, standingOf } from "./flexible.js"
import { listen } from "./listen.js"
import { write } from "./log.js"
import { forwardedBy } from "./proxy.js"
import { prefix, url } from "./redis.js"
import { seconds } from "./window.js"

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

/** What is asked of it to say how long it is, so that `compress` leaves what is small. */
const sized = (c: Context<Env>, body: string, status: 200 | 401 | 404 | 409 | 429, headers: Record<string, string>) =>
  c.body(body, status, { ...headers, "content-length": `${Buffer.byteLength(body)}` })

const stack = (app: Hono<Env>, secure?: MiddlewareHandler<Env>, compress?: MiddlewareHandler<Env>) => {
  app.use(timing({ totalDescription: "" }))
  app.use(requestId())
  if (secure !== undefined) app.use(secure)
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
  if (compress !== undefined) app.use(compress)
  app.notFound((c) => sized(c, problems.notFound, 404, problemHeaders))
  app.onError((error, c) => {
    if (error instanceof HTTPException && error.status === 401) {
      const { body, headers } = unauthenticated[c.req.header("authorization") === undefined ? "absent" : "invalid"]
      return sized(c, body, 401, { ...headers })
    }
    if (!(error instanceof UserLocked)) throw error
    return sized(c, problems.userLocked, 409, problemHeaders)
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

const secured = secureHeaders({
  contentSecurityPolicy: {
    defaultSrc: ["'self'"],
    scriptSrc: ["'self'"],
    scriptSrcAttr: ["'none'"],
    styleSrc: ["'self'"],
    imgSrc: ["'self'", "data:"],
    objectSrc: ["'none'"],
    baseUri: ["'none'"],
    formAction: ["'self'"],
    frameAncestors: ["'self'"]
  },
  contentSecurityPolicyReportOnly: { defaultSrc: ["'self'"], reportTo: "csp" },
  reportingEndpoints: [{ name: "csp", url: "https://reports.example.com/csp" }],
  crossOriginEmbedderPolicy: true,
  permissionsPolicy: { camera: [], displayCapture: [], geolocation: [], microphone: [], payment: [], usb: [] },
  referrerPolicy: "same-origin",
  strictTransportSecurity: "max-age=31536000",
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false
})

const limitOf = (variant: Whole): MiddlewareHandler<Env> => {
  const consume = consumer(variant)
  return async (c, next) => {
    const client = forwardedBy(getConnInfo(c).remote.address, c.req.header("x-forwarded-for"))
    const { refused, result } = await consume(client ?? "")
    for (const [name, value] of Object.entries(standingOf(variant, result))) c.header(name, value)
    if (!refused) return next()
    return sized(c, problems.tooMany, 429, { ...problemHeaders, "retry-after": seconds(result.msBeforeNext) })
  }
}

interface Sessions {
  readonly read: (c: Context<Env>) => Promise<Visitor | undefined>
  readonly write: (c: Context<Env>, visitor: Visitor) => Promise<void>
}

const attributes = { path: "/", httpOnly: true, secure: true, sameSite: "Lax", maxAge: lifetime } as const

const inCookie: Sessions = {
  read: async (c) => {
    const value = await getSignedCookie(c, sessionSecret, cookieName)
    return typeof value === "string" ? kept(Buffer.from(value, "base64url").toString()) : undefined
  },
  write: (c, visitor) =>
    setSignedCookie(c, cookieName, Buffer.from(keep(visitor)).toString("base64url"), sessionSecret, attributes)
}

const stored = (): Sessions => {
  const redis = new Redis(url)
  return {
    read: async (c) => {
      const id = getCookie(c, cookieName)
      const text = id === undefined ? null : await redis.get(prefix + id)
      return text === null ? undefined : JSON.parse(text) as Visitor
    },
    write: async (c, visitor) => {
      const id = randomBytes(32).toString("base64url")
      await redis.set(prefix + id, JSON.stringify(visitor), "EX", lifetime)
      setCookie(c, cookieName, id, attributes)
    }
  }
}

const whole = async (app: Hono<Env>, variant: Whole) => {
  stack(app, secured, compress({ encoding: "gzip" }))
  app.use(limitOf(variant))
  await authentication(app)
  const { read, write } = needsRedis(variant) ? stored() : inCookie
  const visitorOf = (c: Context<Env>) => {
    c.header("vary", "Cookie", { append: true })
    return read(c)
  }
  const subjectOf = (c: Context<Env>) => (c.get("jwtPayload") as { readonly sub: string }).sub
  const answer = (c: Context<Env>, value: unknown) =>
    sized(c, JSON.stringify(value), 200, { "content-type": "application/json" })
  app.get("/me", async (c) => {
    const { visits } = await visitorOf(c) ?? nobody
    return answer(c, me(subjectOf(c), visits))
  })
  app.get("/me/team", async (c) => {
    const { visits } = await visitorOf(c) ?? nobody
    return answer(c, team(visits))
  })
  app.post("/me/visits", async (c) => {
    const changed = counted(await visitorOf(c) ?? visitor)
    await write(c, changed)
    return answer(c, me(subjectOf(c), changed.visits))
  })
}

/** An HTTP/1 server, since it is asked for no other. */
const serve = (app: Hono<Env>) => listen(createAdaptorServer({ fetch: app.fetch }) as Server)

export const start = async (variant: Variant): Promise<number> => {
  const app = new Hono<Env>()
  if (isWhole(variant)) {
    await whole(app, variant)
    return serve(app)
  }
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
  return serve(app)
}
