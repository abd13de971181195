/** The same application on this package. */
import { Layer, Redacted, Schema } from "effect"
import {
  AccessLog,
  Authentication,
  Compression,
  Cors,
  ExceptionHandlers,
  Forwarded,
  ProblemDetails,
  RateLimit,
  RateLimitStore,
  RequestId,
  ResponseCache,
  ResponseCacheStore,
  ServerTiming,
  Stack,
  TrustedHost
} from "effect-middleware"
import * as Jwt from "effect-middleware/Authentication/Jwt"
import * as Ioredis from "effect-middleware/Redis/Ioredis"
import {
  audience,
  exposedHeaders,
  hosts,
  isLimited,
  issuer,
  type Limited,
  limits,
  maxAge,
  methods,
  needsRedis,
  origins,
  requestHeaders,
  secret,
  type Variant,
  window
} from "../work.js"
import { layerOn, listen, router, type UserLocked } from "./effectApp.js"
import { prefix, url } from "./redis.js"

const stack = Stack.make(
  Forwarded.middleware({ trust: "none" }),
  ServerTiming.middleware({ processTime: false }),
  RequestId.middleware(),
  TrustedHost.middleware({ hosts }),
  Cors.middleware({
    origins,
    credentials: true,
    exposedHeaders,
    methods,
    headers: requestHeaders,
    maxAge: `${maxAge} seconds`
  }),
  ExceptionHandlers.byTag({
    RouteNotFound: () => ProblemDetails.toResponse({ status: 404 }),
    UserLocked: (_: UserLocked) =>
      ProblemDetails.toResponse({
        status: 409,
        type: "https://example.com/problems/user-locked",
        title: "User locked"
      })
  })
)

const compressed = Stack.before(stack, "Cors", Compression.middleware({ algorithms: ["gzip"] }))

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

const limited = (variant: Limited) =>
  Stack.after(
    stack,
    "Cors",
    RateLimit.middleware({
      limits: RateLimit.fixedWindow({ limit: limits[variant], window }),
      key: RateLimit.client(),
      headers: false
    })
  )

// 64 connections that never wait are no server's daily bread, which the limits of time are for
const inRedis = () =>
  RateLimitStore.layerRedis({ prefix, timeout: "5 seconds" }).pipe(
    Layer.provide(Ioredis.layer(url, { commandTimeout: "5 seconds" }))
  )

export const start = (variant: Variant): Promise<number> => {
  if (variant === "bare") return listen(router)
  if (variant === "cached") {
    return layerOn(Layer.provide(Stack.serve(router, cached), ResponseCacheStore.layerMemory()))
  }
  if (variant === "compressed") return listen(router.pipe(compressed))
  if (variant === "auth") return layerOn(Layer.provide(Stack.serve(router, authenticated), users))
  if (isLimited(variant)) {
    const store = needsRedis(variant) ? inRedis() : RateLimitStore.layerMemory()
    return layerOn(Layer.provide(Stack.serve(router, limited(variant)), store))
  }
  return listen(router.pipe(variant === "full" ? stack : logged))
}
