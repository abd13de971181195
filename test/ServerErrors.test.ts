import type { HttpMiddleware } from "@effect/platform"
import {
  FileSystem,
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiSchema,
  HttpApp,
  HttpIncomingMessage,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerRespondable,
  HttpServerResponse
} from "@effect/platform"
import { NodeHttpServerRequest } from "@effect/platform-node"
import { afterAll, assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Context,
  Data,
  Deferred,
  Effect,
  Exit,
  Fiber,
  FiberId,
  Layer,
  Logger,
  Option,
  Schema,
  Scope,
  Stream,
  Tracer
} from "effect"
import {
  DebugPage,
  ErrorReporter,
  ExceptionHandlers,
  HttpException,
  Middleware,
  ProblemDetails,
  RequestId,
  type ResponseDraft,
  ServerErrors,
  Stack,
  TrustedHost,
  Validate,
  WebSocket
} from "effect-middleware"
import * as Net from "node:net"
import { PassThrough, Readable } from "node:stream"
import { failed, noPhase, see, settled, type Witness, witness } from "./utils/failures.js"
import { answered, Teapot } from "./utils/laws.js"
import { type Init, listen, request, send } from "./utils/TestApp.js"
import { connect } from "./utils/webSocket.js"

// -------------------------------------------------------------------------------------------------------------- table

class Unknown extends Data.TaggedError("Unknown")<{ readonly secret: string }> {}
class Handled extends Data.TaggedError("Handled")<{}> {}
class HandlerFails extends Data.TaggedError("HandlerFails")<{}> {}
class Unrenderable extends Data.TaggedError("Unrenderable")<{}> implements HttpServerRespondable.Respondable {
  [HttpServerRespondable.symbol](): never {
    throw new Error("cannot be rendered")
  }
}
class Split extends Data.TaggedError("Split")<{}> implements HttpServerRespondable.Respondable {
  [HttpServerRespondable.symbol]() {
    return Effect.succeed(HttpServerResponse.empty({ status: 409, headers: { "x-a": "1\r\nx-b: 2" } }))
  }
}
class Page extends Validate.Query("test/Page")<Page>()(Schema.Struct({ page: Schema.NumberFromString })) {}

const bytes = (text: string) => new TextEncoder().encode(text)
const failing = HttpRouter.empty.pipe(
  HttpRouter.get("/ok", HttpServerResponse.text("ok")),
  HttpRouter.get("/handled", Effect.fail(new Handled())),
  HttpRouter.get("/conflict", HttpException.conflict()),
  HttpRouter.get("/unavailable", HttpException.serviceUnavailable()),
  HttpRouter.get("/unknown", Effect.fail(new Unknown({ secret: "s3cret" }))),
  HttpRouter.get("/string", Effect.fail("s3cret")),
  HttpRouter.get(
    "/defect",
    Effect.sync(() => {
      throw new TypeError("s3cret")
    })
  ),
  HttpRouter.get(
    "/beside",
    Effect.failCause(Cause.parallel(Cause.fail(HttpException.conflict()), Cause.die("s3cret")))
  ),
  HttpRouter.get(
    "/parallel",
    Effect.failCause(Cause.parallel(Cause.die("s3cret"), Cause.fail(new Unknown({ secret: "s3cret" }))))
  ),
  HttpRouter.get("/response", Effect.die(HttpServerResponse.text("tea", { status: 418 }))),
  HttpRouter.get("/response-5xx", Effect.die(HttpServerResponse.text("sorry", { status: 503 }))),
  HttpRouter.get("/respondable", Effect.die(new Teapot())),
  HttpRouter.get("/interrupted", Effect.interrupt),
  HttpRouter.get("/handler", Effect.fail(new HandlerFails())),
  HttpRouter.get("/unrenderable", Effect.fail(new Unrenderable())),
  HttpRouter.get("/split", Effect.fail(new Split())),
  HttpRouter.get("/unsendable", HttpServerResponse.text("x", { headers: { "x-a": "1\r\nx-b: 2" } })),
  HttpRouter.get("/phase", HttpServerResponse.text("x", { headers: { "x-throw": "1" } })),
  HttpRouter.get("/refuse", HttpServerResponse.text("x", { headers: { "x-refuse": "1" } })),
  HttpRouter.get("/listener", HttpServerResponse.text("x", { headers: { "x-listener": "1" } }))
)
const app = HttpRouter.empty.pipe(
  HttpRouter.get(
    "/stream",
    HttpServerResponse.stream(Stream.concat(Stream.make(bytes("part")), Stream.die(new Error("s3cret"))))
  ),
  HttpRouter.get(
    "/late",
    HttpServerResponse.stream(Stream.concat(Stream.make(bytes("part")), Stream.fail(new Error("s3cret"))), {
      contentLength: 100
    })
  ),
  HttpRouter.get(
    "/exact",
    HttpServerResponse.stream(Stream.make(bytes("pa"), bytes("rt")), { contentLength: 4 })
  ),
  HttpRouter.get("/early", HttpServerResponse.stream(Stream.die(new Error("s3cret")))),
  HttpRouter.get("/short", HttpServerResponse.stream(Stream.make(bytes("part")), { contentLength: 100 })),
  HttpRouter.get(
    "/long",
    HttpServerResponse.stream(Stream.make(bytes("part"), bytes("HTTP/1.1 200 OK\r\n\r\n")), { contentLength: 4 })
  ),
  HttpRouter.get("/empty", HttpServerResponse.stream(Stream.die(new Error("s3cret")), { status: 204 })),
  HttpRouter.get("/zero", HttpServerResponse.stream(Stream.die(new Error("s3cret")), { contentLength: 0 })),
  HttpRouter.get(
    "/readable",
    Effect.sync(() =>
      HttpServerResponse.raw(Readable.from((function*() {
        yield "part"
        throw new Error("s3cret")
      })()))
    )
  ),
  HttpRouter.get(
    "/closed-early",
    Effect.sync(() => {
      const readable = new PassThrough()
      readable.write("part", () => setImmediate(() => readable.destroy()))
      return HttpServerResponse.raw(readable)
    })
  ),
  HttpRouter.post(
    "/json",
    Effect.zipRight(
      HttpServerRequest.schemaBodyJson(Schema.Struct({ a: Schema.Number })),
      HttpServerResponse.text("ok")
    )
  ),
  HttpRouter.post("/form", HttpServerResponse.text("ok").pipe(Validate.contentType(["application/json"]))),
  HttpRouter.get("/query", HttpServerResponse.text("ok").pipe(Page.middleware())),
  HttpRouter.post(
    "/large",
    Effect.zipRight(
      Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ text }) => text),
      HttpServerResponse.text("ok")
    ).pipe(
      HttpIncomingMessage.withMaxBodySize(Option.some(FileSystem.Size(10)))
    )
  ),
  HttpRouter.post("/upload", HttpException.contentTooLarge()),
  HttpRouter.get("/socket", WebSocket.handle(() => Effect.die(new Error("s3cret")))),
  HttpRouter.get("/closed", WebSocket.handle(() => new WebSocket.WebSocketClose({ code: 4000 }))),
  HttpRouter.get("/open", WebSocket.handle(() => Effect.never)),
  HttpRouter.concat(failing)
)

const phases = Middleware.make({
  name: "Phases",
  response: (draft) => {
    if (draft.has("x-throw")) throw new Error("s3cret")
    if (draft.has("x-refuse")) draft.refuse(HttpException.serviceUnavailable())
    if (draft.has("x-listener")) {
      draft.onSent(() => {
        throw new Error("s3cret")
      })
    }
  }
})
const stack = Stack.make(
  ServerErrors.middleware(),
  RequestId.middleware(),
  ProblemDetails.middleware(),
  TrustedHost.middleware({ hosts: ["127.0.0.1"] }),
  phases,
  WebSocket.middleware(),
  ExceptionHandlers.byTag({
    Handled: () => ProblemDetails.toResponse({ status: 404 }),
    HandlerFails: () => Effect.fail(new Unknown({ secret: "s3cret" }))
  })
)

const places: ReadonlyArray<readonly [name: string, handles: boolean, serve: () => Parameters<typeof listen>[0]]> = [
  ["app.pipe(stack)", true, () => app.pipe(stack, HttpServer.serve())],
  ["Stack.serve(app, stack)", true, () => Stack.serve(app, stack)],
  [
    "HttpServer.serve(app, stack)",
    false,
    () => HttpServer.serve(app, stack as unknown as HttpMiddleware.HttpMiddleware) as never
  ]
]

const unsendable = "ERROR A response cannot be sent; a 500 takes its place +"
const noBody = "ERROR The body of a response failed +"

interface Row {
  readonly what: string
  readonly init: Init
  /** A status, with ` cut` where the connection was cut off in the body; or `no answer`. */
  readonly sees: string
  readonly logged: ReadonlyArray<string>
  readonly reported: ReadonlyArray<ErrorReporter.Report["part"]>
  /** What is different where platform has answered before the stack sees the failure. */
  readonly served?: Partial<Pick<Row, "sees" | "logged" | "reported">>
}

const quiet = { logged: [], reported: [] }
const loud = { logged: [failed], reported: ["request"] as const }
const inBody = { logged: [noBody], reported: ["body"] as const }
const json = { method: "POST", headers: { "content-type": "application/json" } }
const rows: ReadonlyArray<Row> = [
  { what: "nothing", init: { path: "/ok" }, sees: "200", ...quiet },
  {
    what: "a failure that has a handler",
    init: { path: "/handled" },
    sees: "404",
    ...quiet,
    served: { sees: "500", ...loud }
  },
  { what: "a failure that knows its answer", init: { path: "/conflict" }, sees: "409", ...quiet },
  { what: "one whose answer is the server's fault", init: { path: "/unavailable" }, sees: "503", ...loud },
  { what: "another failure", init: { path: "/unknown" }, sees: "500", ...loud },
  { what: "a failure that is no object", init: { path: "/string" }, sees: "500", ...loud },
  { what: "a defect", init: { path: "/defect" }, sees: "500", ...loud },
  { what: "a failure and a defect at once", init: { path: "/parallel" }, sees: "500", ...loud },
  {
    what: "a defect beside a failure that knows its answer",
    init: { path: "/beside" },
    sees: "409",
    ...loud,
    served: { sees: "500" }
  },
  { what: "a response in the place of a defect", init: { path: "/response" }, sees: "418", ...quiet },
  { what: "one that is the server's fault", init: { path: "/response-5xx" }, sees: "503", ...loud, served: quiet },
  { what: "a defect that knows its answer", init: { path: "/respondable" }, sees: "418", ...quiet },
  {
    what: "an interruption",
    init: { path: "/interrupted" },
    sees: "503",
    logged: ["WARN A request was interrupted"],
    reported: [],
    served: { logged: [] }
  },
  { what: "a handler", init: { path: "/handler" }, sees: "500", ...loud },
  {
    what: "the rendering of a failure",
    init: { path: "/unrenderable" },
    sees: "500",
    ...loud
  },
  {
    what: "the fields of a failure's response",
    init: { path: "/split" },
    sees: "500",
    logged: [unsendable],
    reported: ["response"]
  },
  {
    what: "the fields of a response",
    init: { path: "/unsendable" },
    sees: "500",
    logged: [unsendable],
    reported: ["response"]
  },
  { what: "a response phase", init: { path: "/phase" }, sees: "500", logged: [noPhase], reported: ["response"] },
  {
    what: "a response phase, that refuses",
    init: { path: "/refuse" },
    sees: "503",
    logged: [failed],
    reported: ["response"]
  },
  {
    what: "a listener of a response",
    init: { path: "/listener" },
    sees: "200",
    logged: ["ERROR A listener of a response failed +"],
    reported: ["response"]
  },
  { what: "no stream that is as long as it says", init: { path: "/exact" }, sees: "200", ...quiet },
  { what: "a stream, by a defect", init: { path: "/stream" }, sees: "200 cut", ...inBody },
  { what: "a stream, by a failure", init: { path: "/late" }, sees: "200 cut", ...inBody },
  { what: "a stream, that is too short", init: { path: "/short" }, sees: "200 cut", ...inBody },
  { what: "a stream, that is too long", init: { path: "/long" }, sees: "200 cut", ...inBody },
  { what: "a stream, before its first byte", init: { path: "/early" }, sees: "200 cut", ...inBody },
  { what: "a stream, whose length is none", init: { path: "/zero" }, sees: "200 cut", ...inBody },
  { what: "a stream, where there is no content: it is not begun", init: { path: "/empty" }, sees: "204", ...quiet },
  { what: "a stream of Node", init: { path: "/readable" }, sees: "200 cut", ...inBody },
  { what: "a stream of Node, that is closed", init: { path: "/closed-early" }, sees: "200 cut", ...inBody },
  { what: "no route", init: { path: "/none" }, sees: "404", ...quiet },
  {
    what: "no route, by another method",
    init: { path: "/ok", method: "POST" },
    sees: "405",
    ...quiet,
    served: { sees: "404" }
  },
  { what: "a host", init: { path: "/ok", headers: { host: "evil.test" } }, sees: "400", ...quiet },
  { what: "the query", init: { path: "/query?page=x" }, sees: "400", ...quiet },
  { what: "the content, that is no JSON", init: { path: "/json", ...json, body: "{" }, sees: "400", ...quiet },
  {
    what: "the content, of another shape",
    init: { path: "/json", ...json, body: "{}" },
    sees: "422",
    ...quiet,
    served: { sees: "400" }
  },
  {
    what: "the content, of another type",
    init: { path: "/form", method: "POST", headers: { "content-type": "text/plain" }, body: "x" },
    sees: "415",
    ...quiet
  },
  {
    what: "the content, that is too large",
    init: { path: "/large", method: "POST", body: "x".repeat(100) },
    sees: "no answer",
    ...quiet
  },
  {
    what: "the content, that a handler finds too large",
    init: { path: "/upload", method: "POST" },
    sees: "413",
    ...quiet
  },
  {
    what: "a WebSocket, of no version",
    init: { path: "/socket", headers: { connection: "upgrade", upgrade: "websocket" } },
    sees: "426",
    ...quiet
  },
  {
    what: "a WebSocket, of another origin",
    init: {
      path: "/socket",
      headers: {
        connection: "upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        origin: "https://evil.test"
      }
    },
    sees: "403",
    ...quiet
  },
  { what: "no WebSocket", init: { path: "/socket" }, sees: "426", ...quiet }
]

/** As executed: `LAWS_TABLE=1 npx vitest run test/ServerErrors.test.ts` prints it. */
const table = new Map<string, Array<string>>()
const note = (what: string, place: string, sees: string, logged: ReadonlyArray<string>) => {
  const cells = table.get(what) ?? []
  table.set(what, [...cells, `${place}: ${sees}; ${logged.length === 0 ? "nothing" : logged.join(", ")}`])
}
afterAll(() => {
  if (process.env.LAWS_TABLE !== "1") return
  for (const [what, cells] of table) console.log(`| ${[what, ...cells].join(" | ")} |`)
})

describe.each(places)("%s", (place, handles, serve) => {
  it.scopedLive.each(rows)("$what: $sees", ({ what, init, sees, logged, reported, served }) =>
    Effect.gen(function*() {
      const seen = witness()
      const port = yield* Effect.provide(listen(serve()), seen.layer)
      // what cannot be handled is said once, and that first
      if (!handles) yield* see(port, { path: "/none" })
      seen.logged.length = 0
      const reply = yield* answered(see(port, init))
      yield* settled
      const logs = seen.logged.filter((line) => !line.startsWith("ERROR ExceptionHandlers cannot handle failures here"))
      note(what, place, reply === "no answer" ? reply : `${reply.status}${reply.whole ? "" : " cut"}`, logs)
      const expected = { sees, logged, reported, ...(handles ? {} : served) }
      assert.deepStrictEqual(
        {
          sees: reply === "no answer" ? reply : `${reply.status}${reply.whole ? "" : " cut"}`,
          logged: logs,
          reported: seen.reported.map(({ part }) => part)
        },
        { sees: expected.sees, logged: [...expected.logged], reported: [...expected.reported] },
        what
      )
      if (reply === "no answer") return
      assert.notInclude(JSON.stringify([reply.body, reply.fields]), "s3cret")
      assert.property(reply.fields, "x-request-id")
      if (reply.status >= 400 && !["tea", "short and stout", "sorry"].includes(reply.body)) {
        assert.strictEqual(reply.type, "application/problem+json")
      }
    }))
})

// ----------------------------------------------------------------------------------------------------- what is no row

describe.each(places)("%s", (place, handles, serve) => {
  const start = (seen: Witness) =>
    Effect.gen(function*() {
      const port = yield* Effect.provide(listen(serve()), seen.layer)
      if (!handles) yield* see(port, { path: "/none" })
      seen.logged.length = 0
      return port
    })

  it.scopedLive("a client that leaves: nobody is told", () =>
    Effect.gen(function*() {
      const seen = witness()
      const reached = yield* Deferred.make<void>()
      const ended = yield* Deferred.make<void>()
      const waits = Effect.zipRight(Deferred.succeed(reached, undefined), Effect.never).pipe(
        Effect.interruptible,
        Effect.ensuring(Deferred.succeed(ended, undefined))
      )
      const port = yield* Effect.provide(
        listen(handles ? Stack.serve(waits, stack) : HttpServer.serve(waits, stack as never) as never),
        seen.layer
      )
      const client = yield* Effect.fork(see(port, {}))
      yield* answered(Deferred.await(reached))
      yield* Fiber.interrupt(client)
      yield* answered(Deferred.await(ended))
      yield* settled
      note("a client that leaves", place, "-", seen.logged)
      assert.deepStrictEqual([seen.logged, seen.reported], [[], []])
    }))

  it.scopedLive("a WebSocket, by its handler: 1011", () =>
    Effect.gen(function*() {
      const seen = witness()
      const port = yield* start(seen)
      const client = yield* Effect.orDie(Effect.mapError(connect(port, { path: "/socket" }), JSON.stringify))
      assert.deepStrictEqual(yield* answered(client.closed), { code: 1011, reason: "" })
      yield* settled
      note("a WebSocket's handler", place, "101, 1011", seen.logged)
      assert.deepStrictEqual(seen.logged, ["ERROR The handler of a WebSocket failed +"])
      assert.deepStrictEqual(seen.reported.map(({ part, route }) => [part, route]), [["socket", "/socket"]])
    }))

  it.scopedLive("a WebSocket, with a code of its own: that", () =>
    Effect.gen(function*() {
      const seen = witness()
      const port = yield* start(seen)
      const client = yield* Effect.orDie(Effect.mapError(connect(port, { path: "/closed" }), JSON.stringify))
      assert.deepStrictEqual(yield* answered(client.closed), { code: 4000, reason: "" })
      yield* settled
      note("a WebSocket's handler, with a code", place, "101, 4000", seen.logged)
      assert.deepStrictEqual([seen.logged, seen.reported], [[], []])
    }))

  it.scopedLive("a WebSocket, as the server shuts down: 1001", () =>
    Effect.gen(function*() {
      const seen = witness()
      const scope = yield* Scope.make()
      const port = yield* Scope.extend(start(seen), scope)
      const client = yield* Effect.orDie(Effect.mapError(connect(port, { path: "/open" }), JSON.stringify))
      const closing = yield* Effect.forkScoped(Scope.close(scope, Exit.void))
      assert.deepStrictEqual(yield* answered(client.closed), { code: 1001, reason: "" })
      yield* answered(Fiber.join(closing))
      yield* settled
      note("a WebSocket, as the server shuts down", place, "101, 1001", seen.logged)
      assert.deepStrictEqual([seen.logged, seen.reported], [[], []])
    }))
})

describe("handler", () => {
  it.effect("answers in the place of the constant, with services, and what stands inside edits that", () =>
    Effect.gen(function*() {
      class Word extends Context.Tag("test/Word")<Word, string>() {}
      const seen = witness()
      const guarded = Effect.die(new Error("boom")).pipe(Stack.make(
        ServerErrors.middleware({
          handler: (cause, request) =>
            Effect.map(
              Word,
              (word) =>
                HttpServerResponse.text(`${word} ${request.url} ${Cause.pretty(cause).split("\n")[0]}`, { status: 502 })
            )
        }),
        Middleware.make({ name: "Mark", response: (draft) => draft.set("x-mark", "1") })
      ))
      const reply = yield* Effect.provide(
        send(Effect.provideService(guarded, Word, "sorry"), { path: "/a" }),
        seen.layer
      )
      assert.deepStrictEqual(
        [reply.status, reply.body, reply.headers["x-mark"]],
        [502, "sorry /a Error: boom", "1"]
      )
      assert.deepStrictEqual(seen.logged, [failed])
    }))

  for (
    const [how, handler] of [
      ["fails", () => Effect.fail("no")],
      ["dies", () => Effect.die("no")],
      ["throws", () => {
        throw new Error("no")
      }]
    ] as const
  ) {
    it.effect(`that ${how} leaves the constant, and both causes in the log`, () =>
      Effect.gen(function*() {
        const seen = witness()
        const reply = yield* Effect.provide(
          send(Effect.die("x").pipe(ServerErrors.middleware({ handler }))),
          seen.layer
        )
        yield* settled
        assert.deepStrictEqual([reply.status, JSON.parse(reply.body)], [500, {
          status: 500,
          title: "Internal Server Error"
        }])
        assert.deepStrictEqual(seen.logged, [failed, "ERROR The handler of ServerErrors failed +"])
        assert.deepStrictEqual(seen.reported.map(({ part }) => part), ["request", "handler"])
      }))
  }

  it.scopedLive("is interrupted by a client that leaves", () =>
    Effect.gen(function*() {
      const seen = witness()
      const reached = yield* Deferred.make<void>()
      const ended = yield* Deferred.make<void>()
      const handler = () =>
        Effect.ensuring(
          Effect.zipRight(Deferred.succeed(reached, undefined), Effect.never),
          Deferred.succeed(ended, undefined)
        )
      const port = yield* Effect.provide(
        listen(Stack.serve(Effect.die("x"), Stack.make(ServerErrors.middleware({ handler })))),
        seen.layer
      )
      const client = yield* Effect.fork(see(port, {}))
      yield* answered(Deferred.await(reached))
      yield* Fiber.interrupt(client)
      yield* answered(Deferred.await(ended))
      yield* settled
      assert.deepStrictEqual(seen.logged, [failed])
    }))

  it.effect("answers what a response phase has refused without an answer", () =>
    Effect.gen(function*() {
      const seen = witness()
      const refusing = Middleware.make({ name: "Refusing", response: (draft) => draft.refuse({ _tag: "Lost" }) })
      const reply = yield* Effect.provide(
        send(
          HttpServerResponse.text("x").pipe(Stack.make(
            ServerErrors.middleware({ handler: () => HttpServerResponse.text("sorry", { status: 502 }) }),
            refusing
          ))
        ),
        seen.layer
      )
      assert.deepStrictEqual([reply.status, reply.body, seen.logged], [502, "sorry", [failed]])
    }))

  it.effect("is not asked where what is refused has an answer", () =>
    Effect.gen(function*() {
      const refusing = Middleware.make({
        name: "Refusing",
        response: (draft) => draft.refuse(HttpException.internalServerError())
      })
      const reply = yield* Effect.provide(
        send(
          HttpServerResponse.text("x").pipe(Stack.make(
            ServerErrors.middleware({ handler: () => HttpServerResponse.text("asked", { status: 500 }) }),
            refusing
          ))
        ),
        witness().layer
      )
      assert.deepStrictEqual([reply.status, reply.headers["content-type"]], [500, "application/problem+json"])
    }))

  it.effect("is not asked where there is an answer", () =>
    Effect.gen(function*() {
      const reply = yield* send(
        HttpException.conflict().pipe(ServerErrors.middleware({ handler: () => Effect.die("asked") }))
      )
      assert.strictEqual(reply.status, 409)
    }))
})

describe("a debug page", () => {
  it.effect("that fails leaves the constant, and both causes in the log", () =>
    Effect.gen(function*() {
      const seen = witness()
      const page: DebugPage.Service = { sees: () => true, render: () => Effect.dieMessage("no") }
      const reply = yield* Effect.provide(
        send(Effect.die("x").pipe(ServerErrors.middleware())),
        Layer.merge(seen.layer, Layer.succeed(DebugPage.DebugPage, Option.some(page)))
      )
      yield* settled
      assert.deepStrictEqual([reply.status, reply.headers["content-type"]], [500, "application/problem+json"])
      assert.deepStrictEqual(seen.logged, [failed, "ERROR The debug page of ServerErrors failed +"])
      assert.deepStrictEqual(seen.reported.map(({ part }) => part), ["request", "handler"])
    }))
})

describe("places", () => {
  it.effect("one inside another: the outer answers for the response phases", () =>
    Effect.gen(function*() {
      const says = (name: string) =>
        ServerErrors.middleware({ name, handler: () => HttpServerResponse.text(name, { status: 500 }) })
      const throws = Middleware.make({
        name: "Throws",
        response: () => {
          throw new Error("x")
        }
      })
      const reply = yield* Effect.provide(
        send(HttpServerResponse.empty().pipe(Stack.make(says("Outer"), says("Inner"), throws))),
        witness().layer
      )
      assert.strictEqual(reply.body, "Outer")
    }))

  it.effect("a response that rides in a cause: of the server's fault is told what else there is, and no interruption", () =>
    Effect.gen(function*() {
      const sorry = Cause.die(HttpServerResponse.text("sorry", { status: 503 }))
      for (
        const [cause, told] of [
          [Cause.sequential(Cause.interrupt(FiberId.none), sorry), []],
          [Cause.sequential(Cause.fail("boom"), sorry), ["Error: boom"]]
        ] as const
      ) {
        const seen = witness()
        const reply = yield* Effect.provide(send(Effect.failCause(cause).pipe(ServerErrors.middleware())), seen.layer)
        yield* settled
        assert.strictEqual(reply.body, "sorry")
        assert.deepStrictEqual(seen.reported.map(({ cause }) => Cause.pretty(cause)), [...told])
      }
    }))

  it.effect("one inside another: the inner answers and tells", () =>
    Effect.gen(function*() {
      const seen = witness()
      const reply = yield* Effect.provide(
        send(Effect.die("x").pipe(Stack.make(ServerErrors.middleware({ name: "Outer" }), ServerErrors.middleware()))),
        seen.layer
      )
      assert.strictEqual(reply.status, 500)
      assert.deepStrictEqual(seen.logged, [failed])
    }))

  it.effect("what stands outside of it is not its own, but the log has it", () =>
    Effect.gen(function*() {
      const seen = witness()
      const outside = Middleware.make({
        name: "Outside",
        response: () => {
          throw new Error("boom")
        }
      })
      const reply = yield* Effect.provide(
        send(HttpServerResponse.text("x").pipe(Stack.make(outside, ServerErrors.middleware()))),
        seen.layer
      )
      assert.deepStrictEqual([reply.status, seen.logged], [500, [noPhase]])
    }))

  it.scoped("in an HttpApi: what is declared is the api's, and what is not is ours", () =>
    Effect.gen(function*() {
      class Missing extends Schema.TaggedError<Missing>()(
        "Missing",
        { id: Schema.Number },
        HttpApiSchema.annotations({ status: 404 })
      ) {}
      class Gone extends Schema.TaggedError<Gone>()("Gone", {}, HttpApiSchema.annotations({ status: 410 }))
        implements HttpServerRespondable.Respondable
      {
        [HttpServerRespondable.symbol]() {
          return HttpServerResponse.text("for those outside of an api", { status: 404 })
        }
      }
      class Down extends Data.TaggedError("Down")<{}> implements HttpServerRespondable.Respondable {
        [HttpServerRespondable.symbol]() {
          return HttpServerResponse.empty({ status: 503 })
        }
      }
      class Api extends HttpApi.make("api").add(
        HttpApiGroup.make("group")
          .add(HttpApiEndpoint.get("missing", "/missing").addError(Missing))
          .add(HttpApiEndpoint.get("gone", "/gone").addError(Gone))
          .add(HttpApiEndpoint.get("down", "/down"))
          .add(HttpApiEndpoint.get("defect", "/defect"))
          .add(HttpApiEndpoint.post("decode", "/decode").setPayload(Schema.Struct({ a: Schema.Number })))
      ) {}
      const group = HttpApiBuilder.group(Api, "group", (handlers) =>
        handlers
          .handle("missing", () => new Missing({ id: 1 }))
          .handle("gone", () => new Gone())
          // an api does not declare what has no schema
          .handle("down", () => Effect.fail(new Down()) as Effect.Effect<never>)
          .handle("defect", () => Effect.die("s3cret"))
          .handle("decode", () => Effect.void))
      const seen = witness()
      const live = HttpApiBuilder.serve().pipe(
        Layer.provide(Stack.httpApi(stack)),
        Layer.provide(HttpApiBuilder.api(Api)),
        Layer.provide(group)
      )
      const port = yield* Effect.provide(listen(live as never), seen.layer)
      seen.logged.length = 0
      const ask = (init: Init) =>
        Effect.map(request(port, init), ({ body, status }) => [status, body === "" ? "" : JSON.parse(body)._tag ?? ""])
      assert.deepStrictEqual(yield* ask({ path: "/missing" }), [404, "Missing"])
      assert.deepStrictEqual(yield* ask({ path: "/gone" }), [410, "Gone"])
      assert.deepStrictEqual(yield* ask({ path: "/gone", headers: { host: "evil.test" } }), [400, ""])
      assert.deepStrictEqual(seen.logged, [])
      assert.deepStrictEqual(yield* ask({ path: "/down" }), [503, ""])
      assert.deepStrictEqual(seen.logged.splice(0), [failed])
      assert.deepStrictEqual(yield* ask({ path: "/defect" }), [500, ""])
      assert.deepStrictEqual(yield* ask({ path: "/decode", ...json, body: "{}" }), [400, "HttpApiDecodeError"])
      assert.deepStrictEqual(yield* ask({ path: "/none" }), [404, ""])
      assert.deepStrictEqual(seen.logged, [failed])
    }))
})

describe("the span of the request", () => {
  const ended = (path: string, make: (span: Tracer.Span) => Tracer.Span = (span) => span) =>
    Effect.gen(function*() {
      const exits: Array<Exit.Exit<unknown, unknown>> = []
      const tracer = Tracer.make({
        context: (f) => f(),
        span: (name, parent, context, links, startTime, kind) =>
          make({
            _tag: "Span",
            name,
            parent,
            context,
            links,
            kind,
            spanId: name,
            traceId: "t",
            sampled: true,
            attributes: new Map(),
            status: { _tag: "Started", startTime },
            attribute: () => {},
            event: () => {},
            addLinks: () => {},
            end: (_, exit) => {
              if (kind === "server") exits.push(exit)
            }
          })
      })
      const port = yield* Effect.withTracer(Effect.provide(listen(Stack.serve(app, stack)), witness().layer), tracer)
      const reply = yield* answered(see(port, { path }))
      yield* settled
      return [reply === "no answer" ? reply : reply.status, ...exits.map(how)]
    })
  const how = (exit: Exit.Exit<unknown, unknown>) =>
    Exit.isSuccess(exit) ? "well" : Cause.pretty(exit.cause).split("\n")[0]

  it.scopedLive.each([
    ["/defect", 500, "TypeError: s3cret"],
    ["/phase", 500, "Error: s3cret"],
    ["/unsendable", 500, "TypeError: the response has a field \"x-a\" that cannot be sent, by its name or its value"],
    ["/refuse", 503, "HttpException: 503 Service Unavailable"],
    ["/stream", 200, "Error: s3cret"],
    ["/conflict", 409, "well"],
    ["/ok", 200, "well"]
  ])(
    "of %s, that is answered by %i, ends once: %s",
    ([path, ...expected]) => Effect.map(ended(path as string), (seen) => assert.deepStrictEqual(seen, expected))
  )

  const frozen: ReadonlyArray<readonly [how: string, make: (span: Tracer.Span) => Tracer.Span]> = [
    ["frozen", Object.freeze],
    ["of a class that is frozen", (span) => Object.create(Object.freeze(span))]
  ]
  it.scopedLive.each(frozen)(
    "%s: ends as it would",
    ([, make]) => Effect.map(ended("/defect", make), (seen) => assert.deepStrictEqual(seen, [500, "well"]))
  )

  it.effect("that is no server's is left alone", () =>
    Effect.gen(function*() {
      const spans: Array<Tracer.Span> = []
      const app = Effect.currentSpan.pipe(
        Effect.tap((span) => Effect.sync(() => spans.push(span))),
        Effect.zipRight(Effect.die("x")),
        ServerErrors.middleware(),
        Effect.withSpan("mine")
      )
      yield* Effect.provide(send(app), witness().layer)
      const [span] = spans
      assert.deepStrictEqual([span?.name, span?.status._tag === "Ended" && span.status.exit._tag], ["mine", "Success"])
    }))

  it.scopedLive("that throws at the cause ends as failed", () =>
    Effect.map(
      ended("/defect", (span) => ({
        ...span,
        end: (time, exit) => {
          if (Exit.isFailure(exit) && Cause.pretty(exit.cause).includes("s3cret")) throw new RangeError("too deep")
          span.end(time, exit)
        }
      })),
      (seen) => assert.deepStrictEqual(seen, [500, "RangeError: too deep"])
    ))
})

describe("an error that throws, whatever it is asked", () => {
  const trap = (): never => {
    throw new Error("trap")
  }
  const all = { get: trap, has: trap, getPrototypeOf: trap, ownKeys: trap, getOwnPropertyDescriptor: trap, set: trap }
  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  const circular = new Error("circular")
  circular.cause = circular
  const hostile: ReadonlyArray<readonly [name: string, error: unknown]> = [
    ["a proxy", new Proxy({}, all)],
    ["a proxy that is revoked", revoked.proxy],
    ...["_tag", "message", "name", "stack", "cause", "constructor", "toJSON"].map((key) =>
      [key, Object.defineProperty(new Error("x"), key, { get: trap, enumerable: true })] as const
    ),
    ["a face that throws", Object.defineProperty({}, HttpServerRespondable.symbol, { get: trap })],
    ["a face that is none", { [HttpServerRespondable.symbol]: () => Effect.succeed(undefined) }],
    ["its own cause", circular],
    ["a symbol", Symbol("x")]
  ]
  const guarded = Stack.make(ServerErrors.middleware(), RequestId.middleware())
  it.effect.each(hostile)("%s", ([, error]) =>
    Effect.gen(function*() {
      for (const cause of [Cause.fail(error), Cause.die(error), Cause.parallel(Cause.fail(error), Cause.die(error))]) {
        const parts: Array<string> = []
        const levels: Array<string> = []
        const reply = yield* Effect.provide(
          send(Effect.failCause(cause).pipe(guarded)),
          Layer.merge(
            Logger.replace(Logger.defaultLogger, Logger.make(({ logLevel }) => void levels.push(logLevel.label))),
            ErrorReporter.layer(({ part }) => Effect.sync(() => parts.push(part)))
          )
        )
        yield* settled
        assert.deepStrictEqual([reply.status, reply.headers["content-type"]], [500, "application/problem+json"])
        assert.property(reply.headers, "x-request-id")
        assert.deepStrictEqual(parts, ["request"])
        // and by another logger, if one has failed
        assert.include(levels, "ERROR")
      }
    }))
})

describe("a logger that throws", () => {
  const throwing = Logger.make(() => {
    throw new Error("logger")
  })
  it.scopedLive.each([
    ["/ok", "200", []],
    ["/defect", "500", ["request"]],
    ["/phase", "500", ["response"]],
    ["/interrupted", "503", []],
    ["/stream", "200 cut", ["body"]],
    ["/readable", "200 cut", ["body"]]
  ])("%s is %s all the same", ([path, sees, parts]) =>
    Effect.gen(function*() {
      const seen = witness()
      const port = yield* Effect.provide(
        listen(Stack.serve(app, stack)),
        Layer.merge(seen.layer, Logger.add(throwing))
      )
      const reply = yield* answered(see(port, { path: path as string }))
      yield* settled
      assert.strictEqual(reply === "no answer" ? reply : `${reply.status}${reply.whole ? "" : " cut"}`, sees)
      assert.deepStrictEqual(seen.reported.map(({ part }) => part), parts)
    }))

  it.effect("at a cause is told of in its place", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const picky = Logger.make(({ cause, message }) => {
        if (Cause.pretty(cause).startsWith("Error: boom")) throw new RangeError("too deep")
        lines.push(`${message} ${Cause.pretty(cause).split("\n")[0]}`)
      })
      yield* Effect.provide(
        send(Effect.die(new Error("boom")).pipe(ServerErrors.middleware())),
        Logger.replace(Logger.defaultLogger, picky)
      )
      assert.deepStrictEqual(lines, ["A request failed, and a logger failed at its cause RangeError: too deep"])
    }))
})

describe("a body that fails", () => {
  it.scopedLive("is cut off where nothing but a log watches it, too", () =>
    Effect.gen(function*() {
      const watched = Stack.make(
        Middleware.make({ name: "Watch", response: (draft) => draft.onSent(() => {}) }),
        WebSocket.middleware()
      )
      const port = yield* Effect.provide(listen(Stack.serve(app, watched)), witness().layer)
      const reply = yield* answered(see(port, { path: "/stream" }))
      assert.deepStrictEqual(reply === "no answer" ? reply : [reply.status, reply.body, reply.whole], [
        200,
        "part",
        false
      ])
    }))

  /** All that comes on one connection, until the server closes it. */
  const converse = (port: number, paths: ReadonlyArray<string>): Effect.Effect<string> =>
    Effect.async((resume) => {
      const socket = Net.connect(port, "127.0.0.1")
      let heard = ""
      socket.on("data", (chunk) => heard += chunk.toString("latin1"))
      socket.on("error", () => {})
      socket.on("close", () => resume(Effect.succeed(heard)))
      for (const path of paths) socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`)
      return Effect.sync(() => socket.destroy())
    })

  it.scopedLive.each(["/stream", "/short", "/long", "/early"])(
    "%s: nothing of the next response of its connection is in it",
    (path) =>
      Effect.gen(function*() {
        const large = HttpRouter.get("/large", HttpServerResponse.text("next".repeat(100)))
        const port = yield* Effect.provide(listen(Stack.serve(large(app), stack)), witness().layer)
        const heard = yield* answered(converse(port, [path, "/large"]))
        assert.match(heard, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n(?:4\r\n)?(?:part)?(?:\r\n)?$/)
        assert.strictEqual(heard.split("HTTP/1.1").length, 2)
      })
  )

  it.scopedLive("waits for the responses before it on its connection", () =>
    Effect.gen(function*() {
      const [failed, ended] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
      const seen = witness(() => Deferred.succeed(failed, undefined))
      const slow = HttpRouter.get("/slow", Effect.as(Deferred.await(failed), HttpServerResponse.text("slow")))
      const finalized = Middleware.make({
        name: "Sent",
        response: (draft, { request }) => {
          if (request.url === "/stream") draft.onSent(() => Deferred.unsafeDone(ended, Exit.void))
        }
      })
      const port = yield* Effect.provide(
        listen(Stack.serve(slow(app), Stack.make(ServerErrors.middleware(), finalized, WebSocket.middleware()))),
        seen.layer
      )
      const heard = yield* answered(converse(port, ["/slow", "/stream", "/ok"]))
      yield* answered(Deferred.await(ended))
      assert.match(heard, /\r\n\r\nslowHTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n4\r\npart\r\n$/)
    }))

  it.scopedLive("and ends where its connection is lost while it waits", () =>
    Effect.gen(function*() {
      const [failed, closed] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
      const seen = witness(() => Deferred.succeed(failed, undefined))
      const routes = HttpRouter.empty.pipe(
        HttpRouter.get("/slow", Effect.never),
        HttpRouter.get(
          "/fails",
          Effect.as(
            Effect.addFinalizer(() => Deferred.succeed(closed, undefined)),
            HttpServerResponse.stream(Stream.die(new Error("s3cret")))
          )
        )
      )
      const port = yield* Effect.provide(
        listen(Stack.serve(routes, Stack.make(ServerErrors.middleware()))),
        seen.layer
      )
      const client = yield* Effect.fork(converse(port, ["/slow", "/fails"]))
      yield* answered(Deferred.await(failed))
      yield* Fiber.interrupt(client)
      yield* answered(Deferred.await(closed))
    }))

  it.scopedLive("and ends where its connection was lost before it failed", () =>
    Effect.gen(function*() {
      const [asked, lost, closed] = yield* Effect.all([
        Deferred.make<void>(),
        Deferred.make<void>(),
        Deferred.make<void>()
      ])
      const routes = HttpRouter.empty.pipe(
        HttpRouter.get(
          "/slow",
          Effect.ensuring(Effect.interruptible(Effect.never), Deferred.succeed(lost, undefined))
        ),
        HttpRouter.get(
          "/fails",
          Effect.as(
            Effect.zipRight(
              Effect.addFinalizer(() => Deferred.succeed(closed, undefined)),
              Deferred.succeed(asked, undefined)
            ),
            HttpServerResponse.stream(
              Stream.fromEffect(Effect.zipRight(Deferred.await(lost), Effect.die(new Error("s3cret"))))
            )
          )
        )
      )
      const port = yield* Effect.provide(
        listen(Stack.serve(routes, Stack.make(ServerErrors.middleware()))),
        witness().layer
      )
      const client = yield* Effect.fork(converse(port, ["/slow", "/fails"]))
      yield* answered(Deferred.await(asked))
      yield* Fiber.interrupt(client)
      yield* answered(Deferred.await(closed))
    }))

  it.scopedLive("after its response was ended by hand harms nothing", () =>
    Effect.gen(function*() {
      const seen = witness()
      const app = Effect.map(HttpServerRequest.HttpServerRequest, (request) =>
        HttpServerResponse.stream(Stream.fromEffect(Effect.suspend(() => {
          NodeHttpServerRequest.toServerResponse(request).end("by hand")
          return Effect.die(new Error("s3cret"))
        }))))
      const port = yield* Effect.provide(listen(Stack.serve(app, Stack.make(ServerErrors.middleware()))), seen.layer)
      for (let i = 0; i < 2; i++) {
        const reply = yield* answered(see(port, {}))
        assert.deepStrictEqual(reply === "no answer" ? reply : [reply.body, reply.whole], ["by hand", true])
      }
      yield* settled
      assert.deepStrictEqual(seen.logged, [noBody, noBody])
    }))

  it.scopedLive.each([
    ["that has more", () => new Readable({ read: () => {} })],
    ["that has ended", () => Readable.from([Buffer.alloc(1 << 25)])]
  ])("of Node %s is not told of where the client leaves", ([_, make]) =>
    Effect.gen(function*() {
      const seen = witness()
      const sent = yield* Deferred.make<ResponseDraft.Sent>()
      const reads = yield* Deferred.make<void>()
      const watch = Middleware.make({
        name: "Watch",
        response: (draft) => draft.onSent((told) => Deferred.unsafeDone(sent, Exit.succeed(told)))
      })
      const app = Effect.sync(() => {
        const readable = (make as () => Readable)()
        readable.on("resume", () => setImmediate(() => Deferred.unsafeDone(reads, Exit.void)))
        return HttpServerResponse.raw(readable)
      })
      const port = yield* Effect.provide(
        listen(Stack.serve(app, Stack.make(ServerErrors.middleware(), watch))),
        seen.layer
      )
      const socket = Net.connect(port, "127.0.0.1")
      socket.on("error", () => {}).pause().write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
      yield* answered(Deferred.await(reads))
      yield* settled
      socket.resetAndDestroy()
      const { aborted, failed } = yield* answered(Deferred.await(sent))
      yield* settled
      assert.deepStrictEqual([aborted, failed, seen.logged], [true, false, []])
    }))

  it.scopedLive("and is not sent is no failure of what was", () =>
    Effect.gen(function*() {
      const sent = yield* Deferred.make<ResponseDraft.Sent>()
      const watch = Middleware.make({
        name: "Watch",
        response: (draft) => draft.onSent((told) => Deferred.unsafeDone(sent, Exit.succeed(told)))
      })
      const body = Stream.concat(Stream.make(bytes("part")), Stream.die(new Error("s3cret")))
      const port = yield* Effect.provide(
        listen(Stack.serve(HttpServerResponse.stream(body, { status: 204 }), watch)),
        witness().layer
      )
      yield* answered(see(port, {}))
      assert.deepStrictEqual(yield* answered(Deferred.await(sent)), {
        status: 204,
        bytes: 0,
        aborted: false,
        failed: false
      })
    }))

  it.scopedLive.each(["HEAD", "GET"])(
    "of Node is closed where it is not sent (%s)",
    (method) =>
      Effect.gen(function*() {
        const readable = new Readable({ read: () => {} })
        const throws = Middleware.make({
          name: "Throws",
          response: () => {
            if (method === "GET") throw new Error("s3cret")
          }
        })
        const port = yield* Effect.provide(
          listen(Stack.serve(HttpServerResponse.raw(readable), Stack.make(ServerErrors.middleware(), throws))),
          witness().layer
        )
        const reply = yield* answered(see(port, { method }))
        assert.strictEqual(reply === "no answer" ? reply : reply.status, method === "GET" ? 500 : 200)
        assert.isTrue(readable.destroyed)
      })
  )

  it.scopedLive("in a web handler fails the body that the client reads", () =>
    Effect.gen(function*() {
      const seen = witness()
      const handler = HttpApp.toWebHandlerLayer(app.pipe(stack) as never, seen.layer).handler
      const response = yield* Effect.promise(() =>
        handler(new Request("http://127.0.0.1/stream", { headers: { host: "127.0.0.1" } }))
      )
      const read = yield* Effect.either(Effect.tryPromise(() => response.text()))
      assert.deepStrictEqual([response.status, read._tag], [200, "Left"])
      yield* settled
      assert.deepStrictEqual([seen.logged, seen.reported.map(({ part }) => part)], [[noBody], ["body"]])
    }))
})
