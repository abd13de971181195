/** Every middleware there is, as the laws take it. */
import { HttpMiddleware, HttpServerRespondable, HttpServerResponse } from "@effect/platform"
import * as PlatformHeaders from "@effect/platform/Headers"
import type { Layer } from "effect"
import { Data, Effect, Option, Redacted, Schema } from "effect"
import {
  AccessLog,
  Authentication,
  BodyLimit,
  Compression,
  ConcurrencyLimit,
  Conditional,
  Cookies,
  Cors,
  Csrf,
  Decompression,
  ExceptionHandlers,
  Forwarded,
  Headers,
  HealthCheck,
  Hsts,
  HttpsRedirect,
  Idempotency,
  IdempotencyStore,
  IpRestriction,
  Maintenance,
  MethodOverride,
  Metrics,
  Middleware,
  ProblemDetails,
  RateLimit,
  RateLimitStore,
  RequestId,
  ResponseCache,
  ResponseCacheStore,
  SecurityHeaders,
  ServerErrors,
  ServerTiming,
  SessionStore,
  Stack,
  Telemetry,
  Timeout,
  TrustedHost,
  Validate,
  WebSocket
} from "effect-middleware"
import { Counter, inc, middlewareOf } from "./counter.js"
import { stackOf, type Subject, subject, wrap } from "./laws.js"
import { remoteMemory } from "./rateLimits.js"

class Held extends Middleware.Service("test/Held")<Held, number>() {}
class Missing extends Data.TaggedError("Missing")<{}> {}

const touch = Middleware.make({
  name: "Touch",
  request: (exchange) => exchange.annotateLogs("touched", true),
  response: (draft) => draft.set("x-touch", "1")
})
const touchEffect = Middleware.make({
  name: "TouchEffect",
  requestEffect: () => Effect.log("in"),
  responseEffect: (draft) => Effect.sync(() => draft.set("x-touch-effect", "1"))
})
const keeps = (name: string) => wrap(name, (app) => Effect.tap(app, Effect.void))
const absent = Middleware.make({ name: "Absent", request: () => Middleware.Refuse(new Missing()) })
const absentEffect = Middleware.make({
  name: "AbsentEffect",
  requestEffect: () => Effect.succeed(Middleware.Refuse(new Missing()))
})
class Search extends Validate.Query("test/Search")<Search>()(Schema.Struct({ q: Schema.optional(Schema.String) })) {}
class LateSearch extends Validate.Query("test/LateSearch")<LateSearch>()(
  Schema.Struct({
    q: Schema.optional(Schema.String.pipe(Schema.filterEffect(() => Effect.delay(Effect.succeed(true), 0))))
  })
) {}
class Version extends Validate.Headers("test/Version")<Version>()(Schema.Struct({ "x-version": Schema.String })) {}
const asPlatform = (error: unknown) =>
  HttpServerRespondable.toResponseOrElse(error, HttpServerResponse.empty({ status: 500 }))

class Caller extends Authentication.Tag("test/Caller")<Caller, string>() {}
const identity = { user: "ada", scopes: ["a"] }
const token = Authentication.bearer({
  verify: (given) => Effect.succeed(Redacted.value(given) === "good" ? Option.some(identity) : Option.none())
})
/** The same in plain code. */
const header = Authentication.bearerOf<string>(
  "plain",
  {},
  (exchange, given, { challenge, invalid }) =>
    given === "good"
      ? Authentication.Authenticated(exchange, { method: "plain", subject: "ada", identity, challenge })
      : invalid("no")
)
class Blocked extends IpRestriction.Tag("test/Blocked")<Blocked>() {}
/** Puts itself between the body and who reads it. */
const rewritten = Middleware.make({
  name: "Rewritten",
  request: (exchange) => exchange.deriveRequest({ stream: (body) => body })
})
/** Gives each request a key of its own. */
let keys = 0
const keyed = Middleware.make({
  name: "Keyed",
  request: (exchange) => {
    exchange.deriveRequest({ headers: PlatformHeaders.set(exchange.request.headers, "idempotency-key", `"${keys++}"`) })
  }
})
/** What a subject requires, which its type no longer says. */
const supplied = <A>(layer: Layer.Layer<A>) => layer as unknown as Layer.Layer<never>

const limit = RateLimit.gcra({ limit: 1000, window: "1 millis", burst: 1_000_000 })
/** What needs to know the client stands inside `Forwarded`. */
const behindProxy = (member: Middleware.Any) => stackOf(Forwarded.middleware({ trust: { hops: 1 } }), member)
const secure = { allowed: { headers: { "x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https" } } }

/** A middleware joins the laws by its line. */
const bypass = Redacted.make("0123456789abcdef")

export const subjects: ReadonlyArray<Subject> = [
  subject("make, of plain phases", () => touch),
  subject("make, of Effects", () => touchEffect),
  subject("make, changing the body", () => rewritten),
  subject(
    "make, providing",
    () => Middleware.make({ name: "Held", provides: Held, request: () => Middleware.Provide(1) })
  ),
  subject("provide", () => Middleware.provide(Held, Effect.acquireRelease(Effect.succeed(1), () => Effect.void))),
  subject("dispatch", () => Middleware.dispatch("Dispatch", (_, next) => next)),
  subject("around", () => keeps("Around")),
  subject("fromHttpMiddleware, identity", () => Middleware.fromHttpMiddleware("Identity", (app) => app)),
  subject("fromHttpMiddleware, logger", () => Middleware.fromHttpMiddleware("Logger", HttpMiddleware.logger)),
  subject("before", () => Middleware.before("Before", () => Effect.void)),
  subject("after", () => Middleware.after("After", (response) => Effect.succeed(response))),
  subject("after, of a response", () => Middleware.after("After", HttpServerResponse.setHeader("x-after", "1"))),
  subject("onError", () => Middleware.onError("OnError", asPlatform), { answers: true }),
  subject("ExceptionHandlers.byTag", () => ExceptionHandlers.byTag({ Missing: asPlatform })),
  subject("ExceptionHandlers.byClass", () => ExceptionHandlers.byClass(Missing, asPlatform)),
  subject(
    "ExceptionHandlers.byPredicate",
    () => ExceptionHandlers.byPredicate((e) => e instanceof Missing, asPlatform)
  ),
  subject("ExceptionHandlers.byStatus", () => ExceptionHandlers.byStatus([300, 399], (_, __, response) => response)),
  subject("ExceptionHandlers.standard", () => ExceptionHandlers.standard(), { answers: true }),
  subject("ServerErrors", () => ServerErrors.middleware(), { answers: true }),
  subject("ServerErrors, with the debug page", () => ServerErrors.middleware({ debug: true }), { answers: true }),
  subject("HealthCheck", () => HealthCheck.middleware(), { layer: HealthCheck.layer({}) }),
  subject("Maintenance, off", () => Maintenance.middleware(), { layer: Maintenance.layer() }),
  subject("Maintenance, let by", () => Maintenance.middleware({ bypass: { header: "x-bypass", secret: bypass } }), {
    layer: Maintenance.layer({ initially: true }),
    allowed: { headers: { "x-bypass": Redacted.value(bypass) } }
  }),
  subject("MethodOverride", () => MethodOverride.middleware()),
  subject("MethodOverride, by a form", () => MethodOverride.middleware({ form: "_method" })),
  subject("ProblemDetails", () => ProblemDetails.middleware()),
  subject("Validate.Query", () => Search.middleware()),
  subject("Validate.Query, of an Effect", () => LateSearch.middleware()),
  subject("Validate.Headers", () => Version.middleware(), { allowed: { headers: { "x-version": "1" } } }),
  subject("Validate.contentType", () => Validate.contentType(["application/*", "multipart/*", "text/*"]), {
    allowed: { headers: { "content-type": "text/plain" } }
  }),
  subject("when, met", () => Middleware.when(() => true, touch)),
  subject("when, not met", () => Middleware.when(() => false, absent)),
  subject("when, an Effect", () => Middleware.when(() => Effect.succeed(true), touchEffect)),
  subject("when, of what wraps", () => Middleware.when(() => true, keeps("Keeps"))),
  subject("when, of what wraps, not met", () => Middleware.when(() => false, keeps("Keeps"))),
  subject("unless", () => Middleware.unless(() => true, absent)),
  subject("whenOr", () => Middleware.whenOr("WhenOr", () => false, absent, touch)),
  subject("whenOr, of what wraps", () => Middleware.whenOr("WhenOr", () => true, keeps("Keeps"), absent)),
  subject("forRoutes", () => Middleware.forRoutes(["/*"], touch)),
  subject("exceptRoutes", () => Middleware.exceptRoutes(["/health"], touch)),
  subject("firstOf", () => Middleware.firstOf("FirstOf", absent, touch)),
  subject("firstOf, of Effects", () => Middleware.firstOf("FirstOf", absentEffect, touchEffect)),
  subject("every", () => Middleware.every("Every")(touch, touchEffect)),
  subject(
    "a stack",
    () =>
      Stack.make(
        touch,
        Middleware.dispatch("Dispatch", (_, next) => next),
        Stack.make(touchEffect, keeps("Keeps") as never)
      )
  ),
  subject("Telemetry.observe", () => Telemetry.observe(Stack.make(touch, touchEffect, keeps("Keeps") as never))),
  subject(
    "Telemetry.observe, of children",
    () => Telemetry.observe(Stack.make(touch, touchEffect, keeps("Keeps") as never), { spans: "children" })
  ),
  subject("RequestId", () => RequestId.middleware()),
  subject("Forwarded", () => Forwarded.middleware({ trust: "none" })),
  subject("Forwarded, of a proxy", () => Forwarded.middleware({ trust: { hops: 1 } }), {
    allowed: { headers: { "x-forwarded-for": "192.0.2.1" } }
  }),
  subject("HttpsRedirect", () => behindProxy(HttpsRedirect.middleware()), secure),
  subject("Hsts", () => behindProxy(Hsts.middleware()), secure),
  subject(
    "Headers",
    () => Headers.middleware({ set: { "x-served-by": "laws" }, propagate: ["x-id"], request: { remove: ["x-none"] } })
  ),
  subject("Cookies", () => Cookies.middleware({ secure: false, httpOnly: false, sameSite: "none" })),
  subject("AccessLog", () => behindProxy(AccessLog.middleware()), secure),
  subject("Metrics", () => behindProxy(Metrics.middleware()), secure),
  subject("ServerTiming", () => ServerTiming.middleware({ details: true, processTime: true })),
  subject("Cors", () => Cors.middleware({ origins: ["https://app.example.com"], credentials: true }), {
    allowed: { headers: { origin: "https://app.example.com" } }
  }),
  subject("Cors, of an Effect", () => Cors.middleware({ origins: () => Effect.succeed(true) }), {
    allowed: { headers: { origin: "https://app.example.com" } }
  }),
  subject("Cors, of routes", () => Cors.middleware({ origins: "*", routes: [{ match: ["/a"], origins: ["null"] }] })),
  subject("Csrf", () => behindProxy(Csrf.middleware()), secure),
  subject("Csrf, with tokens", () =>
    stackOf(
      Forwarded.middleware({ trust: "none" }),
      middlewareOf("signed"),
      Csrf.middleware({ tokens: { session: Counter } })
    ), { allowed: { headers: { "sec-fetch-site": "same-origin" } } }),
  subject("SecurityHeaders", () => behindProxy(SecurityHeaders.middleware({ nonce: ["scriptSrc"] })), secure),
  subject("SecurityHeaders.change", () =>
    behindProxy(
      stackOf(SecurityHeaders.middleware({ override: true }), SecurityHeaders.change({ preset: "api" }))
    ), secure),
  subject(
    "ConcurrencyLimit",
    () => ConcurrencyLimit.middleware({ permits: 10, shed: { eventLoopDelay: "1 minute", heapUsed: 1, rss: 1 } })
  ),
  subject("ConcurrencyLimit, with a queue, by client", () =>
    behindProxy(
      ConcurrencyLimit.middleware({ permits: 10, queue: { size: 10, maxWait: "1 hour" }, key: "client" })
    ), secure),
  subject("Timeout", () => Timeout.middleware({ limit: "1 hour", body: { idle: "1 hour", total: "1 hour" } })),
  subject("Timeout, disconnecting", () => Timeout.middleware({ limit: "1 hour", disconnect: true })),
  subject("Timeout.extend", () => Timeout.extend("1 hour")),
  subject("BodyLimit", () => BodyLimit.middleware()),
  // nothing in its header tells how long the body is that another middleware has made
  subject("BodyLimit, counting", () => stackOf(rewritten, BodyLimit.middleware())),
  subject("Compression", () => Compression.middleware({ minSize: 0 })),
  subject("Compression, of what the client takes", () => Compression.middleware({ minSize: 0 }), {
    allowed: { headers: { "accept-encoding": "gzip" } }
  }),
  subject("Decompression", () => Decompression.middleware()),
  subject("Conditional", () => Conditional.middleware({ requireIfMatch: ["PUT /never"] })),
  subject("IpRestriction", () => behindProxy(IpRestriction.middleware({ allow: ["192.0.2.0/24"] })), secure),
  subject("IpRestriction, of a layer", () => behindProxy(IpRestriction.middleware({ lists: Blocked })), {
    ...secure,
    layer: supplied(Blocked.layer({ deny: ["198.51.100.0/24"] }))
  }),
  subject("TrustedHost", () => TrustedHost.middleware({ hosts: ["localhost"] }), {
    allowed: { headers: { host: "localhost" } }
  }),
  ...(["signed", "encrypted", "stored"] as const).flatMap((kind) => {
    const layer = kind === "stored" ? { layer: supplied(SessionStore.layerMemory()) } : {}
    const make = () => middlewareOf(kind)
    const writes = Middleware.make({
      name: "Writes",
      requires: [Counter],
      requestEffect: (exchange) => Effect.orDie(exchange.get(Counter).update(inc))
    })
    return [
      subject(`Session, ${kind}, untouched`, make, layer),
      subject(`Session, ${kind}, read and written`, () => stackOf(make(), writes), layer)
    ]
  }),
  ...([["plain", header], ["of an Effect", token]] as const).flatMap(([how, backend]) => {
    const options = { allowed: { headers: { authorization: "Bearer good" } }, layer: supplied(Caller.layer(backend)) }
    return [
      subject(`Authentication, required, ${how}`, () => Caller.required(), options),
      subject(`Authorization, ${how}`, () => Caller.requires({ scopes: ["a"] }), options)
    ]
  }),
  subject("Authentication, optional, none", () => Caller.optional(), { layer: supplied(Caller.layer(token)) }),
  subject("Authentication, presented", () => Caller.presented(), {
    allowed: { headers: { authorization: "Bearer any" } },
    layer: supplied(Caller.layer(token))
  }),
  ...([["plain", RateLimitStore.layerMemory()], ["of an Effect", remoteMemory]] as const).map(([how, layer]) =>
    subject(
      `RateLimit, ${how}`,
      () =>
        RateLimit.middleware({
          limits: [limit, RateLimit.quota({ limit: 1_000_000, per: "day" })],
          key: () => "one",
          headers: ["standard", "legacy"],
          refund: "failure"
        }),
      { layer: supplied(layer) }
    )
  ),
  subject("ResponseCache", () => behindProxy(ResponseCache.middleware({ vary: ["x-tenant"] })), {
    ...secure,
    layer: supplied(ResponseCacheStore.layerMemory())
  }),
  subject("Idempotency, without a key", () => Idempotency.middleware({ scope: "everyone" }), {
    layer: supplied(IdempotencyStore.layerMemory())
  }),
  ...(["finish", "release"] as const).map((onInterrupt) =>
    subject(
      `Idempotency, of a key, ${onInterrupt}`,
      () => stackOf(keyed, Idempotency.middleware({ scope: "everyone", onInterrupt })),
      {
        allowed: { method: "POST" },
        layer: supplied(IdempotencyStore.layerMemory()),
        buffers: true,
        finishes: onInterrupt === "finish"
      }
    )
  ),
  subject("WebSocket", () => WebSocket.middleware()),
  subject("WebSocket, of an Effect", () => WebSocket.middleware({ origins: () => Effect.succeed(true) }))
]
