import type { HttpApp } from "@effect/platform"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSchema,
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerRespondable,
  HttpServerResponse,
  Socket
} from "@effect/platform"
import { NodeSocket } from "@effect/platform-node"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Cause, Data, Deferred, Effect, Exit, Fiber, Layer, Logger, LogLevel, Schema } from "effect"
import {
  AccessLog,
  Cors,
  ExceptionHandlers,
  Forwarded,
  Hsts,
  HttpsRedirect,
  Metrics,
  Middleware,
  ProblemDetails,
  RequestId,
  ServerErrors,
  ServerTiming,
  SessionStore,
  Stack,
  Telemetry,
  TrustedHost,
  Validate,
  WebSocket
} from "effect-middleware"
import { Counter, inc, middlewareOf } from "./utils/counter.js"
import {
  answered,
  holds,
  laws,
  Plain,
  probe,
  stackOf,
  type Subject,
  subject,
  Teapot,
  view,
  wrap
} from "./utils/laws.js"
import { type App, listen, mounts, nodeServer, request } from "./utils/TestApp.js"

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

/** What needs to know the client stands inside `Forwarded`. */
const behindProxy = (member: Middleware.Any) => stackOf(Forwarded.middleware({ trust: { hops: 1 } }), member)
const secure = { allowed: { headers: { "x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https" } } }

/** A middleware joins the laws by its line. */
const subjects: ReadonlyArray<Subject> = [
  subject("make, of plain phases", () => touch),
  subject("make, of Effects", () => touchEffect),
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
  subject("TrustedHost", () => TrustedHost.middleware({ hosts: ["localhost"] }), {
    allowed: { headers: { host: "localhost" } }
  }),
  ...(["signed", "encrypted", "stored"] as const).flatMap((kind) => {
    const layer = kind === "stored" ? { layer: SessionStore.layerMemory() as unknown as Layer.Layer<never> } : {}
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
  subject("WebSocket", () => WebSocket.middleware()),
  subject("WebSocket, of an Effect", () => WebSocket.middleware({ origins: () => Effect.succeed(true) }))
]

/** How many laws each middleware keeps in each mount, of those that apply to it there. */
const kept = new Map<string, Map<string, readonly [kept: number, of: number]>>()
const count = (subject: string, mount: string, holds: boolean) => {
  const row = kept.get(subject) ?? new Map<string, readonly [number, number]>()
  const [laws, of] = row.get(mount) ?? [0, 0]
  kept.set(subject, row.set(mount, [laws + (holds ? 1 : 0), of + 1]))
}

for (const mount of mounts) {
  describe(`in ${mount.name}`, () => {
    for (const law of laws) {
      const bound = subjects.filter(({ answers, name }) =>
        name.includes(process.env.LAWS_OF ?? "") && law.applies({ ...mount, answers })
      )
      if (bound.length === 0) continue
      it.scoped(law.name, () =>
        Effect.gen(function*() {
          const broken: Array<string> = []
          for (const subject of bound) {
            const exit = yield* holds(law, mount, subject)
            count(subject.name, mount.name, Exit.isSuccess(exit))
            if (Exit.isFailure(exit)) broken.push(`${subject.name}: ${Cause.pretty(exit.cause)}`)
          }
          assert.deepStrictEqual(broken, [])
        }).pipe(Effect.provide(mount.name.includes("Node") ? nodeServer : Layer.empty)), 60_000)
    }
  })
}

// --- what handles failures -------------------------------------------------------------------------------------------

describe("what handles failures", () => {
  const answer = HttpServerResponse.text("handled", { status: 409 })
  const handlers: ReadonlyArray<readonly [name: string, make: () => Middleware.Any]> = [
    ["ExceptionHandlers.byTag", () => ExceptionHandlers.byTag({ Plain: () => answer }, { name: "Handler" })],
    ["onError", () => Middleware.onError("Handler", () => answer)],
    ["dispatch", () => Middleware.dispatch("Handler", (_, next) => Effect.catchAll(next, () => answer))]
  ]
  const insides: ReadonlyArray<readonly [name: string, inside: ReadonlyArray<Middleware.Any>]> = [
    ["around the app", []],
    ["around another view of the request", [view]]
  ]

  for (const mount of mounts) {
    for (const [name, make] of handlers) {
      for (const [where, inside] of insides) {
        it.scoped(`${name} ${where} ${mount.handles ? "answers" : "says that it cannot"} in ${mount.name}`, () =>
          Effect.gen(function*() {
            const errors: Array<string> = []
            const logger = Logger.make(({ logLevel, message }) => {
              if (LogLevel.greaterThanEqual(logLevel, LogLevel.Error)) errors.push(String(message))
            })
            const stack = stackOf(probe("outer"), make(), ...inside, probe("inner"))
            const send = yield* Effect.provide(mount.mount(Effect.fail(new Plain()), stack), Logger.add(logger))
            for (let i = 0; i < 3; i++) {
              const { headers, status } = yield* answered(send())
              assert.deepStrictEqual([status, headers["x-order"]], [mount.handles ? 409 : 500, "inner, outer"])
            }
            assert.lengthOf(errors, mount.handles ? 0 : 1)
            if (!mount.handles) {
              assert.match(errors[0]!, /^Handler cannot handle failures here.*Stack\.serve\(app, stack\)/)
            }
          }))
      }
    }
  }
})

// --- groups and endpoints of an HttpApi ------------------------------------------------------------------------------

class Principal extends Middleware.Service("test/Principal")<Principal, string>() {}

class Forbidden extends Schema.TaggedError<Forbidden>()("Forbidden", {}, HttpApiSchema.annotations({ status: 403 })) {}

class OnGroup extends HttpApiMiddleware.Tag<OnGroup>()("test/OnGroup") {}
class OnEndpoint extends HttpApiMiddleware.Tag<OnEndpoint>()("test/OnEndpoint", {
  provides: Principal,
  failure: Forbidden
}) {}

describe("on a group and an endpoint of an HttpApi", () => {
  // platform runs the endpoint's middleware outside of the group's: test/platform-facts.test.ts
  const cases: ReadonlyArray<readonly [name: string, status: number, order: string]> = [
    ["an answer", 200, "group, endpoint"],
    ["a failure", 418, "group, endpoint"],
    ["a defect", 500, "group, endpoint"],
    ["refused by the group", 418, "group, endpoint"],
    ["Refuse, in the schema", 403, "endpoint"],
    ["Refuse, Respondable", 418, "endpoint"],
    ["Refuse, of an Effect", 418, "endpoint"],
    ["Respond", 402, "endpoint"],
    ["a phase that throws", 500, "endpoint"]
  ]
  const caseOf = (request: HttpServerRequest.HttpServerRequest) => decodeURIComponent(request.headers["x-case"] ?? "")

  const group = stackOf(
    probe("group"),
    Middleware.make({
      name: "OfGroup",
      request: ({ request }) => caseOf(request) === "refused by the group" ? Middleware.Refuse(new Teapot()) : undefined
    })
  ) as Middleware.Middleware<never, never, never, never, string, Middleware.Phases>
  const onEndpoint = Stack.make(
    Middleware.make({
      name: "OfEndpoint",
      request: ({ request }) => {
        switch (caseOf(request)) {
          case "Refuse, in the schema":
            return Middleware.Refuse(new Forbidden())
          case "Refuse, Respondable":
            return Middleware.Refuse(new Teapot())
          case "Respond":
            return Middleware.Respond(HttpServerResponse.empty({ status: 402 }))
          case "a phase that throws":
            throw new Error("request")
        }
        return undefined
      },
      requestEffect: ({ request }) =>
        caseOf(request) === "Refuse, of an Effect" ? Effect.fail(new Teapot()) : Effect.void
    }),
    Middleware.make({
      name: "Principal",
      provides: Principal,
      request: ({ request }) => Middleware.Provide(request.headers["x-user"] ?? "nobody")
    })
  )
  const endpointMiddleware = stackOf(probe("endpoint"), onEndpoint) as Middleware.Middleware<
    Principal,
    Forbidden,
    never,
    never,
    string,
    Middleware.Phases
  >

  const api = HttpApi.make("api").add(
    HttpApiGroup.make("group").add(
      HttpApiEndpoint.get("read", "/read").addSuccess(Schema.String).middleware(OnEndpoint)
    ).middleware(OnGroup)
  )
  const live = HttpApiBuilder.api(api).pipe(
    Layer.provide(
      HttpApiBuilder.group(
        api,
        "group",
        (handlers) =>
          handlers.handle("read", ({ request }) =>
            Effect.flatMap(Principal, (user) => {
              switch (caseOf(request)) {
                case "a failure":
                  return Effect.fail(new Teapot()) as Effect.Effect<never>
                case "a defect":
                  return Effect.die("defect")
              }
              return Effect.succeed(user)
            }))
      )
    ),
    Layer.provide([
      Stack.httpApiMiddleware(OnGroup, group),
      Stack.httpApiMiddleware(OnEndpoint, endpointMiddleware)
    ])
  )
  const outer = probe("outer") as Middleware.Middleware
  const arounds: ReadonlyArray<readonly [name: string, served: Parameters<typeof listen>[0], suffix: string]> = [
    ["alone", Layer.provide(HttpApiBuilder.serve(), live), ""],
    [
      "inside Stack.httpApi",
      Layer.provide(HttpApiBuilder.serve(), [live, Stack.httpApi(outer)]),
      ", outer"
    ],
    ["inside HttpApiBuilder.serve(mw)", Layer.provide(HttpApiBuilder.serve(outer), live), ", outer"],
    [
      "inside Stack.serve",
      Layer.unwrapEffect(Effect.map(HttpApiBuilder.httpApp, (app) => Stack.serve(app, outer))).pipe(
        Layer.provide(live),
        Layer.provide(Layer.mergeAll(HttpApiBuilder.Router.Live, HttpApiBuilder.Middleware.layer))
      ),
      ", outer"
    ]
  ]

  for (const [name, served, suffix] of arounds) {
    it.scoped(name, () =>
      Effect.gen(function*() {
        const port = yield* listen(served)
        for (const [what, status, order] of cases) {
          const headers = { "x-case": encodeURIComponent(what), "x-user": "me" }
          const reply = yield* answered(request(port, { path: "/read", headers }))
          assert.deepStrictEqual(
            [what, reply.status, reply.headers["x-order"]],
            [what, status, order + suffix]
          )
          if (what === "an answer") assert.strictEqual(reply.body, "\"me\"")
          if (what === "Refuse, in the schema") assert.include(reply.body, "Forbidden")
        }
        const [a, b] = yield* Effect.all(
          ["a", "b"].map((user) => request(port, { path: "/read", headers: { "x-user": user } })),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual([a!.body, b!.body], ["\"a\"", "\"b\""])
      }))
  }
})

// --- WebSocket -------------------------------------------------------------------------------------------------------

describe("before a WebSocket", () => {
  const echo = Effect.scoped(Effect.gen(function*() {
    const socket = yield* HttpServerRequest.upgrade
    const write = yield* socket.writer
    yield* Effect.ignore(socket.runRaw(write))
    return HttpServerResponse.empty()
  }))
  const log: Array<string> = []
  const caseOf = (request: HttpServerRequest.HttpServerRequest) => request.headers["x-case"]
  const stack = stackOf(
    probe("outer", log),
    Forwarded.middleware({ trust: { hops: 1 } }),
    RequestId.middleware(),
    view,
    wrap("Wraps", (app) => app),
    probe("inner", log),
    Middleware.make({
      name: "Refuser",
      request: ({ request }) => caseOf(request) === "refused" ? Middleware.Refuse(new Teapot()) : undefined,
      requestEffect: ({ request }) => caseOf(request) === "failed" ? Effect.fail("no") : Effect.void
    })
  ) as Middleware.Middleware
  const app = Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    (request): App => caseOf(request) === "absent" ? Effect.fail(new Teapot()) : echo as App
  ) as HttpApp.Default
  const mounted: ReadonlyArray<readonly [name: string, served: Parameters<typeof listen>[0]]> = [
    ["Stack.serve", Stack.serve(app, stack)],
    ["HttpServer.serve(mw)", HttpServer.serve(app, stack)],
    ["a route", HttpServer.serve(HttpRouter.empty.pipe(HttpRouter.get("/", stack(app))))],
    ["router.pipe", HttpRouter.empty.pipe(HttpRouter.get("/", app), stack, HttpServer.serve()) as never]
  ]

  for (const [name, served] of mounted) {
    it.scoped(`an upgrade that is allowed echoes, in ${name}`, () =>
      Effect.gen(function*() {
        const port = yield* listen(served)
        log.length = 0
        const socket = yield* Socket.makeWebSocket(`ws://127.0.0.1:${port}/`)
        const heard = yield* Deferred.make<string>()
        const running = yield* Effect.fork(
          socket.run((bytes) => Deferred.succeed(heard, new TextDecoder().decode(bytes)))
        )
        const write = yield* socket.writer
        yield* write("hello")
        assert.strictEqual(yield* answered(Deferred.await(heard)), "hello")
        yield* write(new Socket.CloseEvent(1000))
        yield* answered(Effect.ignore(Fiber.join(running)))
      }).pipe(Effect.provide(NodeSocket.layerWebSocketConstructor)))

    it.scoped(`one that is refused is an HTTP response, edited, in ${name}`, () =>
      Effect.gen(function*() {
        const port = yield* listen(served)
        for (const [what, status] of [["refused", 418], ["failed", 500], ["absent", 418]] as const) {
          const reply = yield* answered(request(port, {
            headers: {
              "connection": "Upgrade",
              "upgrade": "websocket",
              "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
              "sec-websocket-version": "13",
              "x-forwarded-for": "192.0.2.1",
              "x-case": what
            }
          }))
          assert.deepStrictEqual([what, reply.status, reply.headers["x-order"]], [what, status, "inner, outer"])
          assert.isString(reply.headers["x-request-id"])
        }
      }))
  }
})

afterAll(() => {
  if (process.env.LAWS_TABLE !== "1") return
  const columns = mounts.map(({ name }) => name)
  const lines = [...kept].map(([subject, row]) =>
    [subject, ...columns.map((mount) => row.get(mount)?.join("/") ?? "")].join(" | ")
  )
  console.log(
    [["laws kept / that apply", ...columns].join(" | "), columns.map(() => "---").join(" | ") + " | ---", ...lines]
      .map((line) => `| ${line} |`).join("\n")
  )
})
