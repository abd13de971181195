/** What the laws do not say of every middleware alike. Those are in laws.web.test.ts and laws.node.test.ts. */
import type { HttpApp } from "@effect/platform"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSchema,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse,
  Socket
} from "@effect/platform"
import { NodeSocket } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Logger, LogLevel, Schema } from "effect"
import { ExceptionHandlers, Forwarded, Middleware, RequestId, Stack } from "effect-middleware"
import { answered, Plain, probe, stackOf, Teapot, view, wrap } from "./utils/laws.js"
import { type App, listen, mounts, request } from "./utils/TestApp.js"

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
