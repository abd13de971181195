/** The same application on this package, on whichever server. */
import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Redacted, Schema } from "effect"
import {
  AccessLog,
  Authentication,
  Compression,
  Cors,
  ExceptionHandlers,
  Forwarded,
  Keyring,
  ProblemDetails,
  RateLimit,
  RateLimitStore,
  RequestId,
  ResponseCache,
  ResponseCacheStore,
  SecurityHeaders,
  ServerTiming,
  SessionStore,
  Stack,
  TrustedHost
} from "effect-middleware"
import * as Jwt from "effect-middleware/Authentication/Jwt"
import * as Ioredis from "effect-middleware/Redis/Ioredis"
import { Visit } from "../../sessions/visit.js"
import { cookieName, counted, seconds, secret as sessionSecret, visitor } from "../../sessions/work.js"
import {
  audience,
  exposedHeaders,
  hosts,
  isLimited,
  issuer,
  isWhole,
  type Limited,
  limits,
  maxAge,
  me,
  methods,
  needsRedis,
  origins,
  requestHeaders,
  secret,
  team,
  type Variant,
  type Whole,
  window
} from "../work.js"
import { layerOn, router, type Server, type UserLocked } from "./effectApp.js"
import { proxy } from "./proxy.js"
import { prefix, url } from "./redis.js"

const timed = ServerTiming.middleware({ processTime: false })

const fromTrustedHosts = TrustedHost.middleware({ hosts })

const crossOrigin = Cors.middleware({
  origins,
  credentials: true,
  exposedHeaders,
  methods,
  headers: requestHeaders,
  maxAge: `${maxAge} seconds`
})

const failures = ExceptionHandlers.byTag({
  RouteNotFound: () => ProblemDetails.toResponse({ status: 404 }),
  UserLocked: (_: UserLocked) =>
    ProblemDetails.toResponse({ status: 409, type: "https://example.com/problems/user-locked", title: "User locked" })
})

const gzip = Compression.middleware({ algorithms: ["gzip"] })

const stack = Stack.make(
  Forwarded.middleware({ trust: "none" }),
  timed,
  RequestId.middleware(),
  fromTrustedHosts,
  crossOrigin,
  failures
)

const compressed = Stack.before(stack, "Cors", gzip)

const cached = Stack.after(stack, "Cors", ResponseCache.middleware({ ttl: "1 hour", cacheStatus: false }))

const logged = Stack.after(stack, "RequestId", AccessLog.middleware())

class CurrentUser extends Authentication.Tag("CurrentUser")<CurrentUser, { readonly id: string }>() {}

const authenticated = Stack.after(stack, "Cors", CurrentUser.required())

const users = CurrentUser.layer(Jwt.backend({
  algorithms: ["HS256"],
  keys: [Jwt.secret(Redacted.make(secret))],
  issuer,
  audience,
  claims: Schema.Struct({ sub: Schema.String }),
  identity: ({ sub }) => ({ user: { id: sub } })
}))

const limit = (variant: Limited, headers: "legacy" | false) =>
  RateLimit.middleware({
    limits: RateLimit.fixedWindow({ limit: limits[variant], window }),
    key: RateLimit.client(),
    headers
  })

const limited = (variant: Limited) => Stack.after(stack, "Cors", limit(variant, false))

// 64 connections that never wait are no server's daily bread, which the limits of time are for
const redis = Ioredis.layer(url, { commandTimeout: "5 seconds" })

const limitsIn = (variant: Limited) =>
  needsRedis(variant)
    // asks about each, as the others do; by itself it remembers for a while what has been refused
    ? Layer.provide(RateLimitStore.layerRedis({ prefix, timeout: "5 seconds", refuseLocally: false }), redis)
    : RateLimitStore.layerMemory()

// ---------------------------------------------------------------------------------------------------------------------
// the whole stack
// ---------------------------------------------------------------------------------------------------------------------

const secured = SecurityHeaders.middleware({
  crossOriginEmbedderPolicy: "require-corp",
  contentSecurityPolicyReportOnly: { defaultSrc: ["'self'"], reportTo: "csp" },
  reportingEndpoints: { csp: "https://reports.example.com/csp" }
})

const outer = Stack.make(
  Forwarded.middleware({ trust: { proxies: [proxy] }, fields: ["proto"] }),
  timed,
  RequestId.middleware(),
  secured,
  fromTrustedHosts,
  crossOrigin,
  gzip,
  failures
)

const session = { cookie: { name: cookieName }, maxAge: `${seconds} seconds` } as const
const signed = Visit.middleware({
  ...session,
  kind: "signed",
  keyring: Keyring.make({ keys: [Redacted.make(sessionSecret)] })
})
const stored = Visit.middleware({ ...session, kind: "stored" })

const visits = Effect.flatMap(Visit, ({ get }) => Effect.map(get, ({ visits }) => visits))

const readMe = Effect.gen(function*() {
  const { user: { id } } = yield* CurrentUser
  return HttpServerResponse.unsafeJson(me(id, yield* visits))
})

const count = Effect.gen(function*() {
  const visit = yield* Visit
  if (yield* visit.isNew) yield* visit.set(counted(visitor))
  else yield* visit.update(counted)
  return yield* readMe
})

const mine = HttpRouter.empty.pipe(
  HttpRouter.get("/me", readMe),
  HttpRouter.get("/me/team", Effect.map(visits, (visits) => HttpServerResponse.unsafeJson(team(visits)))),
  HttpRouter.post("/me/visits", count)
)

const whole = (variant: Whole) => {
  const limiting = limit(variant, "legacy")
  const stores = Layer.merge(limitsIn(variant), users)
  if (!needsRedis(variant)) {
    return Layer.provide(Stack.serve(mine, Stack.make(outer, limiting, signed, CurrentUser.required())), stores)
  }
  return mine.pipe(
    Stack.serve(Stack.make(outer, limiting, stored, CurrentUser.required())),
    Layer.provide([stores, Layer.provide(SessionStore.layerRedis(), redis)])
  )
}

// ---------------------------------------------------------------------------------------------------------------------

const serving = (variant: Variant) => {
  if (isWhole(variant)) return whole(variant)
  if (isLimited(variant)) return Layer.provide(Stack.serve(router, limited(variant)), limitsIn(variant))
  switch (variant) {
    case "bare":
      return HttpServer.serve(router)
    case "full":
      return Stack.serve(router, stack)
    case "logged":
      return Stack.serve(router, logged)
    case "auth":
      return Layer.provide(Stack.serve(router, authenticated), users)
    case "compressed":
      return Stack.serve(router, compressed)
    case "cached":
      return Layer.provide(Stack.serve(router, cached), ResponseCacheStore.layerMemory())
  }
}

export const startOn = (server: Server) => (variant: Variant): Promise<number> => layerOn(serving(variant), server)
