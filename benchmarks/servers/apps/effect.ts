/** Platform alone: a middleware of `HttpMiddleware.make` and `Effect.gen` a concern, as its users write them. */
import { HttpApp, HttpMiddleware, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Context, Effect, Option, Ref } from "effect"
import { Redis } from "ioredis"
import { randomBytes, randomUUID } from "node:crypto"
import { gzip } from "node:zlib"
import { keep, kept, signed } from "../../sessions/apps/cookies.js"
import { cookieName, counted, nobody, seconds as lifetime, type Visitor, visitor } from "../../sessions/work.js"
import {
  exposedHeaders,
  hosts,
  isLimited,
  isWhole,
  type Limited,
  limits,
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
  type Variant,
  type Whole
} from "../work.js"
import { tokenOf, verify } from "./bearer.js"
import { listen, router } from "./effectApp.js"
import { forwardedBy } from "./proxy.js"
import { prefix, url } from "./redis.js"
import { type Count, inMemory, inRedis, seconds, standing } from "./window.js"

class Client extends Context.Tag("Client")<Client, { readonly address: string | undefined; readonly host: string }>() {}
class RequestId extends Context.Tag("RequestId")<RequestId, string>() {}

const trusted = new Set(hosts)
const problem = (status: number, body: string, headers?: Readonly<Record<string, string>>) =>
  HttpServerResponse.text(body, {
    status,
    headers: { ...problemHeaders, ...headers },
    contentType: problemHeaders["content-type"]
  })

const client = HttpMiddleware.make(<E, R>(app: HttpApp.Default<E, R>) =>
  Effect.gen(function*() {
    const { headers, remoteAddress } = yield* HttpServerRequest.HttpServerRequest
    const client = { address: Option.getOrUndefined(remoteAddress), host: headers.host ?? "" }
    return yield* Effect.provideService(app, Client, client)
  })
)

const serverTiming = HttpMiddleware.make(<E, R>(app: HttpApp.Default<E, R>) =>
  Effect.gen(function*() {
    const began = performance.now()
    const response = yield* app
    const total = `total;dur=${(performance.now() - began).toFixed(1)}`
    return HttpServerResponse.setHeader(response, "server-timing", total)
  })
)

const requestId = HttpMiddleware.make(<E, R>(app: HttpApp.Default<E, R>) =>
  Effect.gen(function*() {
    const id = randomUUID()
    const response = yield* Effect.provideService(app, RequestId, id)
    return HttpServerResponse.setHeader(response, "x-request-id", id)
  })
)

const accessLog = HttpMiddleware.make(<E, R>(app: HttpApp.Default<E, R>) =>
  Effect.gen(function*() {
    const { method, url } = yield* HttpServerRequest.HttpServerRequest
    const client = yield* Client
    const id = yield* RequestId
    const began = performance.now()
    const response = yield* app
    const duration = performance.now() - began
    yield* Effect.logInfo(`${method} ${url} ${response.status}`).pipe(
      Effect.annotateLogs({ id, client: client.address, method, path: url, status: response.status, duration })
    )
    return response
  })
)

const trustedHost = HttpMiddleware.make(<E, R>(app: HttpApp.Default<E, R>) =>
  Effect.gen(function*() {
    const { headers } = yield* HttpServerRequest.HttpServerRequest
    const host = (headers.host ?? "").split(":", 1)[0]!
    return trusted.has(host) ? yield* app : problem(400, problems.untrustedHost)
  })
)

const cors = HttpMiddleware.cors({
  allowedOrigins: origins,
  credentials: true,
  exposedHeaders,
  allowedMethods: methods,
  allowedHeaders: requestHeaders,
  maxAge
})

/** After platform's `cors`, which sets a `Vary` of its own over that of the app. */
const vary = (name: string) =>
  HttpApp.appendPreResponseHandler((_request, response) =>
    Effect.succeed(HttpServerResponse.setHeader(response, "vary", `${response.headers["vary"]}, ${name}`))
  )

class CurrentUser extends Context.Tag("CurrentUser")<CurrentUser, { readonly id: string }>() {}

const refusal = ({ body, headers }: Refusal) =>
  HttpServerResponse.text(body, { status: 401, headers, contentType: headers["content-type"] })

const auth = HttpMiddleware.make(<E, R>(app: HttpApp.Default<E, R>) =>
  Effect.gen(function*() {
    const { headers: { authorization } } = yield* HttpServerRequest.HttpServerRequest
    if (authorization === undefined) return refusal(unauthenticated.absent)
    const token = tokenOf(authorization)
    const claims = token === undefined ? undefined : verify(token)
    if (claims === undefined) return refusal(unauthenticated.invalid)
    yield* vary("Authorization")
    const response = yield* Effect.provideService(app, CurrentUser, { id: claims.sub })
    return HttpServerResponse.setHeader(response, "cache-control", "private")
  })
)

const limit = (variant: Limited) => {
  const count = counter(variant)
  return HttpMiddleware.make(<E, R>(app: HttpApp.Default<E, R>) =>
    Effect.gen(function*() {
      const client = yield* Client
      const counted = yield* count(client.address ?? "")
      if (counted.count <= limits[variant]) return yield* app
      return problem(429, problems.tooMany, { "retry-after": seconds(counted.left) })
    })
  )
}

const counter = (variant: Limited): (key: string) => Effect.Effect<Count> => {
  if (needsRedis(variant)) {
    const count = inRedis()
    return (key) => Effect.promise(() => count(key))
  }
  const count = inMemory()
  return (key) => Effect.sync(() => count(key))
}

const handled = router.pipe(
  Effect.catchTags({
    RouteNotFound: () => Effect.succeed(problem(404, problems.notFound)),
    UserLocked: () => Effect.succeed(problem(409, problems.userLocked))
  })
)

const inner = handled.pipe(cors, trustedHost)

const behindProxy = HttpMiddleware.make(<E, R>(app: HttpApp.Default<E, R>) =>
  Effect.gen(function*() {
    const { headers, remoteAddress } = yield* HttpServerRequest.HttpServerRequest
    const address = forwardedBy(Option.getOrUndefined(remoteAddress), headers["x-forwarded-for"])
    return yield* Effect.provideService(app, Client, { address, host: headers.host ?? "" })
  })
)

const secured = HttpMiddleware.make(<E, R>(app: HttpApp.Default<E, R>) =>
  Effect.gen(function*() {
    return HttpServerResponse.setHeaders(yield* app, securityHeaders)
  })
)

const compress = HttpMiddleware.make(<E, R>(app: HttpApp.Default<E, R>) =>
  Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const response = yield* app
    const { body, headers, status } = response
    if (body._tag !== "Uint8Array" || body.contentLength < 1024) return response
    yield* vary("Accept-Encoding")
    if (request.headers["accept-encoding"]?.includes("gzip") !== true) return response
    const bytes = yield* Effect.async<Buffer>((resume) => {
      gzip(body.body, (error, bytes) => resume(error === null ? Effect.succeed(bytes) : Effect.die(error)))
    })
    const { "content-length": _, ...others } = headers
    return HttpServerResponse.uint8Array(bytes, {
      status,
      headers: { ...others, "content-encoding": "gzip" },
      contentType: body.contentType,
      cookies: response.cookies
    })
  })
)

const limitOf = (variant: Whole) => {
  const count = counter(variant)
  const limit = limits[variant]
  return HttpMiddleware.make(<E, R>(app: HttpApp.Default<E, R>) =>
    Effect.gen(function*() {
      const client = yield* Client
      const counted = yield* count(client.address ?? "")
      const fields = standing(limit, Math.max(0, limit - counted.count), counted.left)
      if (counted.count <= limit) return HttpServerResponse.setHeaders(yield* app, fields)
      return problem(429, problems.tooMany, { "retry-after": seconds(counted.left), ...fields })
    })
  )
}

/** Where a session is kept; `write` gives the cookie. */
interface Store {
  readonly read: (cookie: string) => Effect.Effect<Visitor | undefined>
  readonly write: (visitor: Visitor) => Effect.Effect<string>
}

const inCookie: Store = {
  read: (cookie) => Effect.sync(() => signed.read(cookie)),
  write: (visitor) => Effect.sync(() => signed.write(visitor))
}

const stored = (): Store => {
  const redis = new Redis(url)
  return {
    read: (id) =>
      Effect.map(Effect.promise(() => redis.get(prefix + id)), (text) => text === null ? undefined : kept(text)),
    write: (visitor) =>
      Effect.gen(function*() {
        const id = randomBytes(32).toString("base64url")
        yield* Effect.promise(() => redis.set(prefix + id, keep(visitor), "EX", lifetime))
        return id
      })
  }
}

class Session extends Context.Tag("Session")<Session, {
  readonly get: Effect.Effect<Visitor | undefined>
  readonly set: (visitor: Visitor) => Effect.Effect<void>
}>() {}

const session = ({ read, write }: Store) =>
  HttpMiddleware.make(<E, R>(app: HttpApp.Default<E, R>) =>
    Effect.gen(function*() {
      const { cookies } = yield* HttpServerRequest.HttpServerRequest
      const cookie = cookies[cookieName]
      const changed = yield* Ref.make<Visitor | undefined>(undefined)
      const response = yield* Effect.provideService(app, Session, {
        get: Effect.zipRight(vary("Cookie"), cookie === undefined ? Effect.succeed(undefined) : read(cookie)),
        set: (visitor) => Ref.set(changed, visitor)
      })
      const visitor = yield* Ref.get(changed)
      if (visitor === undefined) return response
      return HttpServerResponse.unsafeSetCookie(response, cookieName, yield* write(visitor), {
        path: "/",
        httpOnly: true,
        secure: true,
        sameSite: "lax",
        maxAge: `${lifetime} seconds`
      })
    })
  )

const answer = (visits: number) =>
  Effect.gen(function*() {
    const { id } = yield* CurrentUser
    return yield* HttpServerResponse.json(me(id, visits))
  })

const mine = HttpRouter.empty.pipe(
  HttpRouter.get(
    "/me",
    Effect.gen(function*() {
      const { visits } = (yield* (yield* Session).get) ?? nobody
      return yield* answer(visits)
    })
  ),
  HttpRouter.get(
    "/me/team",
    Effect.gen(function*() {
      const { visits } = (yield* (yield* Session).get) ?? nobody
      return yield* HttpServerResponse.json(team(visits))
    })
  ),
  HttpRouter.post(
    "/me/visits",
    Effect.gen(function*() {
      const session = yield* Session
      const changed = counted((yield* session.get) ?? visitor)
      yield* session.set(changed)
      return yield* answer(changed.visits)
    })
  ),
  Effect.catchTag("RouteNotFound", () => Effect.succeed(problem(404, problems.notFound)))
)

const whole = (variant: Whole) =>
  mine.pipe(
    auth,
    session(needsRedis(variant) ? stored() : inCookie),
    limitOf(variant),
    compress,
    cors,
    trustedHost,
    secured,
    requestId,
    serverTiming,
    behindProxy
  )

export const start = (variant: Variant): Promise<number> => {
  if (variant === "bare") return listen(router)
  if (isWhole(variant)) return listen(whole(variant))
  if (isLimited(variant)) {
    return listen(handled.pipe(limit(variant), cors, trustedHost, requestId, serverTiming, client))
  }
  if (variant === "compressed" || variant === "cached") {
    throw new TypeError("Platform has neither compression nor a cache")
  }
  const app = { full: inner, logged: accessLog(inner), auth: handled.pipe(auth, cors, trustedHost) }
  return listen(app[variant].pipe(requestId, serverTiming, client))
}
