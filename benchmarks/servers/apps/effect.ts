/** Platform alone: a middleware of `HttpMiddleware.make` and `Effect.gen` a concern, as its users write them. */
import { HttpApp, HttpMiddleware, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Context, Effect, Option } from "effect"
import { randomUUID } from "node:crypto"
import {
  exposedHeaders,
  hosts,
  isLimited,
  type Limited,
  limits,
  maxAge,
  methods,
  needsRedis,
  origins,
  problemHeaders,
  problems,
  type Refusal,
  requestHeaders,
  unauthenticated,
  type Variant
} from "../work.js"
import { tokenOf, verify } from "./bearer.js"
import { listen, router } from "./effectApp.js"
import { type Count, inMemory, inRedis, seconds } from "./window.js"

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
    // after platform's `cors`, which sets a `Vary` of its own over that of the app
    yield* HttpApp.appendPreResponseHandler((_request, response) =>
      Effect.succeed(HttpServerResponse.setHeader(response, "vary", "Origin, Authorization"))
    )
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

export const start = (variant: Variant): Promise<number> => {
  if (variant === "bare") return listen(router)
  if (isLimited(variant)) {
    return listen(handled.pipe(limit(variant), cors, trustedHost, requestId, serverTiming, client))
  }
  if (variant === "compressed" || variant === "cached") {
    throw new TypeError("Platform has neither compression nor a cache")
  }
  const app = { full: inner, logged: accessLog(inner), auth: handled.pipe(auth, cors, trustedHost) }
  return listen(app[variant].pipe(requestId, serverTiming, client))
}
