import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiError,
  HttpApiGroup,
  HttpApiSchema,
  HttpApp,
  HttpLayerRouter,
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerError,
  HttpServerRequest,
  HttpServerRespondable,
  HttpServerResponse,
  Multipart
} from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Data, Deferred, Effect, Fiber, Layer, Logger, Schema, Stream } from "effect"
import { ExceptionHandlers, HttpException, Middleware, ProblemDetails, Stack, TrustedHost } from "effect-middleware"
import { answered, Teapot } from "./utils/laws.js"
import { type App, type Init, listen, mounts, type Reply, request, send } from "./utils/TestApp.js"

class NotThere extends Data.TaggedError("NotThere")<{ readonly id: number }> {}
class Other extends Data.TaggedError("Other")<{}> {}
class Page extends Context.Tag("Page")<Page, string>() {}

const handlers = ExceptionHandlers.byTag({
  NotThere: (error: NotThere, request) =>
    ProblemDetails.toResponse({ status: 404, detail: `${request.method} ${error.id}` })
})
const fails = Effect.fail(new NotThere({ id: 7 }))
const mark = (name: string) =>
  Middleware.make({ name, response: (draft) => draft.set("x-order", (draft.get("x-order") ?? "") + name) })

describe("ExceptionHandlers.byTag", () => {
  describe.each(mounts.filter((mount) => mount.handles))("$name", ({ mount }) => {
    it.scoped("answers the failure; the response passes what stands outside and what the failure left inside", () =>
      Effect.gen(function*() {
        const request = yield* mount(fails, Stack.make(mark("outer"), handlers, mark("inner ")))
        const reply = yield* request()
        assert.deepStrictEqual([reply.status, JSON.parse(reply.body).detail], [404, "GET 7"])
        assert.strictEqual(reply.headers["x-order"], "inner outer")
      }))
  })

  describe.each(mounts.filter((mount) => !mount.handles))("$name", ({ mount }) => {
    it.scoped("cannot answer there, and says once what to write", () =>
      Effect.gen(function*() {
        const errors: Array<string> = []
        const logger = Logger.make(({ logLevel, message }) => {
          if (logLevel._tag === "Error") errors.push(String(message))
        })
        const request = yield* mount(
          fails,
          Stack.make(
            mark("outer"),
            ExceptionHandlers.byTag({
              NotThere: () => HttpServerResponse.empty({ status: 404 })
            })
          )
        ).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
        for (const _ of [1, 2]) {
          const reply = yield* request()
          assert.deepStrictEqual([reply.status, reply.headers["x-order"]], [500, "outer"])
        }
        assert.strictEqual(errors.length, 1)
        assert.match(errors[0]!, /ExceptionHandlers cannot handle failures here.*Stack\.serve\(app, stack\)/)
      }))
  })

  it.effect("what it handles is not in the cause, what it does not is as it was", () =>
    Effect.gen(function*() {
      const other = new Other()
      const exit = yield* Effect.exit(handlers(Effect.fail(other))).pipe(
        Effect.provideService(
          HttpServerRequest.HttpServerRequest,
          HttpServerRequest.fromWeb(new Request("http://localhost/"))
        )
      )
      assert.isTrue(exit._tag === "Failure" && Cause.failureOption(exit.cause)._tag === "Some")
      assert.isTrue(exit._tag === "Failure" && [...Cause.failures(exit.cause)][0] === other)
    }))

  it.effect("defects and interruption pass", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* send(handlers(Effect.die(new NotThere({ id: 1 }))))).status, 500)
      assert.strictEqual((yield* send(handlers(Effect.interrupt))).status, 503)
    }))

  it.effect("a handler that fails leaves its own failure", () =>
    Effect.gen(function*() {
      const failing = ExceptionHandlers.byTag({ NotThere: () => Effect.fail(new Other()) })
      const rescued = Stack.make(
        ExceptionHandlers.byTag({ Other: () => HttpServerResponse.empty({ status: 418 }) }, { name: "Outer" }),
        failing
      )
      assert.strictEqual((yield* send(rescued(fails))).status, 418)
      assert.strictEqual((yield* send(failing(fails))).status, 500)
    }))

  it.effect("a handler that dies is a server error, never a hang", () =>
    Effect.gen(function*() {
      const dying = ExceptionHandlers.byTag({ NotThere: () => Effect.die("no") })
      assert.strictEqual((yield* send(dying(fails))).status, 500)
      const throwing = ExceptionHandlers.byTag({
        NotThere: (): HttpServerResponse.HttpServerResponse => {
          throw new Error("no")
        }
      })
      assert.strictEqual((yield* send(throwing(fails))).status, 500)
    }))

  it.effect("a handler that never answers does not outlive the client", () =>
    Effect.gen(function*() {
      class Waits extends Data.TaggedError("Waits")<{}> {}
      const wait = (began: Deferred.Deferred<void>, released: Deferred.Deferred<void>) =>
        Effect.zipRight(Deferred.succeed(began, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Deferred.succeed(released, undefined))
        )
      const kinds = [
        (waits: Effect.Effect<never>) => ExceptionHandlers.byTag({ Waits: () => waits }),
        (waits: Effect.Effect<never>) => ExceptionHandlers.byStatus(500, () => waits)
      ]
      for (const kind of kinds) {
        const [began, released] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const client = yield* Effect.fork(send(apply(kind(wait(began, released)), Effect.fail(new Waits()))))
        yield* answered(Deferred.await(began))
        yield* Fiber.interrupt(client)
        yield* answered(Deferred.await(released))
      }
    }))

  it.effect("a handler that gives no response at all is a server error", () =>
    Effect.gen(function*() {
      const given = [undefined, "text", Promise.resolve(HttpServerResponse.empty()), Effect.succeed(undefined)]
      for (const nothing of given) {
        const app = apply(Stack.make(mark("a"), ExceptionHandlers.byTag({ NotThere: () => nothing as never })), fails)
        const reply = yield* answered(send(app))
        assert.deepStrictEqual([reply.status, reply.headers["x-order"]], [500, "a"])
      }
    }))

  it.effect("a handler that fails with what another one handles, or with the same, is not asked again", () =>
    Effect.gen(function*() {
      let asked = 0
      const again = ExceptionHandlers.byTag({
        NotThere: (error: NotThere) => Effect.zipRight(Effect.sync(() => asked++), Effect.fail(error))
      })
      assert.strictEqual((yield* answered(send(again(fails)))).status, 500)
      assert.strictEqual(asked, 1)
    }))

  it.effect("one error object for many requests at once: each has its own answer", () =>
    Effect.gen(function*() {
      const shared = new NotThere({ id: 7 })
      const app = apply(
        Stack.make(
          Middleware.make({
            name: "Echo",
            response: (draft, { request }) => draft.set("x-path", request.url)
          }),
          ExceptionHandlers.byTag({
            NotThere: (_: NotThere, { url }) => Effect.zipRight(Effect.yieldNow(), HttpServerResponse.text(url))
          })
        ),
        Effect.zipRight(Effect.yieldNow(), Effect.fail(shared))
      )
      const paths = Array.from({ length: 50 }, (_, i) => `/${i}`)
      const replies = yield* Effect.forEach(paths, (path) => send(app, { path }), { concurrency: "unbounded" })
      assert.deepStrictEqual(replies.map(({ body, headers }) => [body, headers["x-path"]]), paths.map((p) => [p, p]))
    }))

  it.effect("a handler may answer with a stream", () =>
    Effect.gen(function*() {
      const streaming = ExceptionHandlers.byTag({
        NotThere: () =>
          HttpServerResponse.stream(Stream.encodeText(Stream.make("a", "b")), {
            status: 404,
            contentType: "text/plain"
          })
      })
      const reply = yield* send(Stack.make(ProblemDetails.middleware(), streaming)(fails))
      assert.deepStrictEqual([reply.status, reply.body, reply.headers["content-type"]], [404, "ab", "text/plain"])
    }))

  it.effect("a handler may use services", () =>
    Effect.gen(function*() {
      const paged = ExceptionHandlers.byTag({
        NotThere: () => Effect.map(Page, (text) => HttpServerResponse.text(text))
      })
      assert.strictEqual((yield* send(Effect.provideService(paged(fails), Page, "page"))).body, "page")
    }))

  it.effect("answers an unknown route", () =>
    Effect.gen(function*() {
      const router = HttpRouter.empty.pipe(
        HttpRouter.get("/", HttpServerResponse.text("ok")),
        ExceptionHandlers.byTag({ RouteNotFound: () => ProblemDetails.toResponse({ status: 404 }) })
      )
      const reply = yield* send(router, { path: "/nowhere" })
      assert.deepStrictEqual([reply.status, JSON.parse(reply.body).title], [404, "Not Found"])
    }))

  it.effect.each([["__proto__"], ["constructor"], ["toString"], [""]])(
    "has no handler for the tag %j",
    ([_tag]) =>
      Effect.gen(function*() {
        assert.strictEqual((yield* send(handlers(Effect.fail({ _tag })))).status, 500)
      })
  )

  it.effect.each([[undefined], [null], ["NotThere"], [{ _tag: 1 }]])(
    "passes a failure without a tag: %j",
    ([error]) =>
      Effect.gen(function*() {
        assert.strictEqual((yield* send(handlers(Effect.fail(error)))).status, 500)
      })
  )
})

// --- by class, predicate, status -------------------------------------------------------------------------------------

class Base extends Error {}
class Derived extends Base {}
class Furthest extends Derived {}

const says = (text: string, status = 400) => () => HttpServerResponse.text(text, { status })
const said = (app: App, init?: Init) => Effect.map(send(app, init), ({ body, status }) => [status, body] as const)
const failing = (error: unknown): App => Effect.fail(error)
const apply = (mw: Middleware.Any, app: App): App => (mw as Middleware.Middleware)(app as never)

describe("ExceptionHandlers.byClass", () => {
  const both = ExceptionHandlers.concat(
    ExceptionHandlers.byClass(Derived, says("derived")),
    ExceptionHandlers.byClass(Base, says("base")),
    ExceptionHandlers.byClass(Error, says("error"))
  )

  it.effect.each([
    [new Base(), [400, "base"]],
    [new Derived(), [400, "derived"]],
    [new Furthest(), [400, "derived"]],
    [new RangeError(), [400, "error"]],
    [{ name: "Error" }, [500, ""]],
    [Object.create(null), [500, ""]],
    ["Error", [500, ""]],
    [null, [500, ""]]
  ])("takes the nearest class: %s", ([error, expected]) =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* said(apply(both, failing(error))), expected as never)
    }))

  it.effect("gives the handler the failure and the request", () =>
    Effect.gen(function*() {
      const handlers = ExceptionHandlers.byClass(
        NotThere,
        ({ id }, { method }) => HttpServerResponse.text(`${method} ${id}`)
      )
      assert.deepStrictEqual(yield* said(apply(handlers, fails)), [200, "GET 7"])
    }))
})

describe("ExceptionHandlers.byPredicate", () => {
  it.effect("asks each, those joined last first", () =>
    Effect.gen(function*() {
      const handlers = ExceptionHandlers.concat(
        ExceptionHandlers.byPredicate((error) => typeof error === "number", says("number")),
        ExceptionHandlers.byPredicate((error) => error === 1, says("one"))
      )
      assert.deepStrictEqual(yield* said(apply(handlers, failing(1))), [400, "one"])
      assert.deepStrictEqual(yield* said(apply(handlers, failing(2))), [400, "number"])
      assert.deepStrictEqual(yield* said(apply(handlers, failing("2"))), [500, ""])
    }))

  it.effect("of a defect, one that did not ask for them stands in nobody's way", () =>
    Effect.gen(function*() {
      const handlers = ExceptionHandlers.concat(
        ExceptionHandlers.byPredicate(() => true, says("asked"), { defects: true }),
        ExceptionHandlers.byPredicate(() => true, says("unasked"))
      )
      assert.deepStrictEqual(yield* said(apply(handlers, Effect.die(1))), [400, "asked"])
      assert.deepStrictEqual(yield* said(apply(handlers, failing(1))), [400, "unasked"])
    }))

  it.effect("a predicate that throws is a server error", () =>
    Effect.gen(function*() {
      const handlers = ExceptionHandlers.byPredicate(() => {
        throw new Error("no")
      }, says("never"))
      assert.deepStrictEqual(yield* said(apply(handlers, failing(1))), [500, ""])
    }))
})

describe("ExceptionHandlers.byStatus", () => {
  const handlers = ExceptionHandlers.concat(
    ExceptionHandlers.byStatus([400, 499], (_, __, { status }) => HttpServerResponse.text(`client ${status}`)),
    ExceptionHandlers.byStatus([404, 410], says("gone or not there")),
    ExceptionHandlers.byStatus(
      404,
      (error, { url }, response) =>
        HttpServerResponse.setStatus(
          HttpServerResponse.text(`${ExceptionHandlersTest.tag(error)} ${url}`),
          response.status
        )
    )
  )

  it.effect.each([
    ["of one status", HttpException.notFound(), [404, "HttpException /"]],
    ["of the narrowest range", HttpException.gone(), [400, "gone or not there"]],
    ["of the lower end", HttpException.badRequest(), [200, "client 400"]],
    ["of the upper end", HttpException.make(499), [200, "client 499"]],
    ["beyond", HttpException.internalServerError(), [500, "{\"title\":\"Internal Server Error\",\"status\":500}"]],
    ["of a Respondable", new Teapot(), [200, "client 418"]],
    ["of a response", HttpServerResponse.empty({ status: 402 }), [200, "client 402"]],
    ["of what nobody knows", new Other(), [500, ""]]
  ])("handles what would be answered so: %s", ([, error, expected]) =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* said(apply(handlers, failing(error))), expected as never)
    }))

  it.effect("the narrowest counts, whichever is joined last", () =>
    Effect.gen(function*() {
      const [narrow, wide] = [
        ExceptionHandlers.byStatus([404, 405], says("narrow")),
        ExceptionHandlers.byStatus([400, 499], says("wide"))
      ]
      for (const both of [ExceptionHandlers.concat(narrow, wide), ExceptionHandlers.concat(wide, narrow)]) {
        assert.deepStrictEqual(yield* said(apply(both, failing(HttpException.notFound()))), [400, "narrow"])
        assert.deepStrictEqual(yield* said(apply(both, failing(HttpException.gone()))), [400, "wide"])
      }
    }))

  it.effect.each<readonly [string, Effect.Effect<HttpServerResponse.HttpServerResponse, string>, number]>([
    ["a response", Effect.succeed(HttpServerResponse.empty({ status: 418 })), 418],
    ["a failure", Effect.fail("no"), 500]
  ])("to know the status of a failure it is rendered once: to %s", ([, face, status]) =>
    Effect.gen(function*() {
      let rendered = 0
      const error = {
        [HttpServerRespondable.symbol]: () => Effect.zipRight(Effect.sync(() => rendered++), face)
      }
      const handlers = ExceptionHandlers.concat(
        ExceptionHandlers.standard(),
        ExceptionHandlers.byStatus(404, says("no"))
      )
      assert.deepStrictEqual(yield* said(apply(handlers, failing(error))), [status, ""])
      assert.strictEqual(rendered, 1)
    }))

  it.effect("500 is what nobody has an answer for", () =>
    Effect.gen(function*() {
      const sorry = ExceptionHandlers.byStatus([500, 599], says("sorry", 500))
      assert.deepStrictEqual(yield* said(apply(sorry, failing(new Other()))), [500, "sorry"])
      assert.deepStrictEqual(yield* said(apply(sorry, failing(undefined))), [500, "sorry"])
      assert.deepStrictEqual(yield* said(apply(sorry, Effect.die("bug"))), [500, ""])
    }))

  it.effect("a failure that it does not handle is as it was", () =>
    Effect.gen(function*() {
      const error = new Teapot()
      const exit = yield* Effect.exit(
        apply(ExceptionHandlers.byStatus(404, says("no")), failing(error)).pipe(
          Effect.provideService(
            HttpServerRequest.HttpServerRequest,
            HttpServerRequest.fromWeb(new Request("http://localhost/"))
          )
        )
      )
      assert.isTrue(exit._tag === "Failure" && exit.cause._tag === "Fail" && exit.cause.error === error)
    }))

  it.each([99, 199, 600, 404.5, NaN])("throws on %d", (status) => {
    assert.throws(() => ExceptionHandlers.byStatus(status, says("")), /is no status; use one of 200 to 599/)
  })
  it("throws on a range that is none", () => {
    assert.throws(() => ExceptionHandlers.byStatus([599, 500], says("")), /\[599,500\] is no status/)
    assert.throws(() => ExceptionHandlers.byStatus([500, 600], says("")), /\[500,600\] is no status/)
  })
})

const ExceptionHandlersTest = {
  tag: (error: unknown) => typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : "none"
}

describe("ExceptionHandlers.concat", () => {
  it.effect("tag before class before predicate before status before what knows its answer, whatever the order", () =>
    Effect.gen(function*() {
      const kinds = [
        ExceptionHandlers.standard(),
        ExceptionHandlers.byStatus(404, says("status")),
        ExceptionHandlers.byPredicate((error) => error instanceof HttpException.HttpException, says("predicate")),
        ExceptionHandlers.byClass(HttpException.HttpException, says("class")),
        ExceptionHandlers.byTag({ HttpException: says("tag") })
      ] as const
      const expected = ["", "status", "predicate", "class", "tag"]
      const failure = failing(HttpException.notFound())
      for (let n = 2; n <= kinds.length; n++) {
        for (const order of [kinds.slice(0, n), kinds.slice(0, n).reverse()]) {
          const [first, ...rest] = order
          const reply = yield* said(apply(ExceptionHandlers.concat(first!, ...rest), failure))
          assert.deepStrictEqual(reply, [400, expected[n - 1]!])
        }
      }
    }))

  it.effect("of two for the same, the one joined last", () =>
    Effect.gen(function*() {
      const cases = [
        [ExceptionHandlers.byTag({ Other: says("a") }), ExceptionHandlers.byTag({ Other: says("b") })],
        [ExceptionHandlers.byClass(Other, says("a")), ExceptionHandlers.byClass(Other, says("b"))],
        [ExceptionHandlers.byStatus(500, says("a")), ExceptionHandlers.byStatus(500, says("b"))]
      ] as const
      for (const [a, b] of cases) {
        assert.deepStrictEqual(
          yield* said(apply(ExceptionHandlers.concat(a, b), failing(new Other()))),
          [400, "b"]
        )
      }
    }))

  it.effect("leaves what it joins as it was, and has the name of the first", () =>
    Effect.gen(function*() {
      const a = ExceptionHandlers.byTag({ Other: says("a") }, { name: "A" })
      const joined = ExceptionHandlers.concat(a, ExceptionHandlers.byTag({ NotThere: says("b") }, { name: "B" }))
      assert.strictEqual(joined.name, "A")
      assert.deepStrictEqual(yield* said(apply(a, fails)), [500, ""])
      assert.deepStrictEqual(yield* said(apply(joined, fails)), [400, "b"])
    }))

  it.effect("what a handler fails with, the others do not see", () =>
    Effect.gen(function*() {
      const joined = ExceptionHandlers.concat(
        ExceptionHandlers.byTag({ NotThere: () => Effect.fail(new Other()) }),
        ExceptionHandlers.byTag({ Other: says("other") })
      )
      assert.deepStrictEqual(yield* said(apply(joined, fails)), [500, ""])
    }))
})

describe("defects, on request", () => {
  const defect = new NotThere({ id: 1 })
  const one = { defects: true } as const
  const kinds: ReadonlyArray<readonly [string, ExceptionHandlers.Any, ExceptionHandlers.Any]> = [
    [
      "byTag",
      ExceptionHandlers.byTag({ NotThere: says("it") }),
      ExceptionHandlers.byTag({ NotThere: says("it") }, one)
    ],
    ["byClass", ExceptionHandlers.byClass(NotThere, says("it")), ExceptionHandlers.byClass(NotThere, says("it"), one)],
    [
      "byPredicate",
      ExceptionHandlers.byPredicate(() => true, says("it")),
      ExceptionHandlers.byPredicate(() => true, says("it"), one)
    ],
    ["byStatus", ExceptionHandlers.byStatus(500, says("it")), ExceptionHandlers.byStatus(500, says("it"), one)]
  ]
  const unasked = ExceptionHandlers.byTag({ Other: says("other") })

  it.effect.each(kinds)("%s", ([, without, asked]) =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* said(apply(without, Effect.die(defect))), [500, ""])
      assert.deepStrictEqual(yield* said(apply(asked, Effect.die(defect))), [400, "it"])
      assert.deepStrictEqual(yield* said(apply(asked, fails)), [400, "it"])
      // the wish of one is not that of another
      const joined = ExceptionHandlers.concat(asked, unasked)
      assert.deepStrictEqual(yield* said(apply(joined, failing(new Other()))), [400, "other"])
      const other = ExceptionHandlers.concat(unasked, without, ExceptionHandlers.byTag({ Unused: says("") }, one))
      assert.deepStrictEqual(yield* said(apply(other, Effect.die(defect))), [500, ""])
    }))

  it.effect("a failure beside it decides, interruption passes, a response is one", () =>
    Effect.gen(function*() {
      const all = ExceptionHandlers.byPredicate(() => true, (error) => HttpServerResponse.text(`${typeof error}`), one)
      const mixed = Effect.failCause(Cause.parallel(Cause.die("defect"), Cause.fail(1)))
      assert.deepStrictEqual(yield* said(apply(all, mixed)), [200, "number"])
      assert.deepStrictEqual(yield* said(apply(all, Effect.interrupt)), [503, ""])
      const response = HttpServerResponse.text("mine", { status: 402 })
      assert.deepStrictEqual(yield* said(apply(all, Effect.die(response))), [402, "mine"])
    }))
})

// --- what knows its answer -------------------------------------------------------------------------------------------

class Annotated extends Schema.TaggedError<Annotated>()(
  "Annotated",
  { secret: Schema.String },
  HttpApiSchema.annotations({ status: 409 })
) {}
class NotAnnotated extends Schema.TaggedError<NotAnnotated>()("NotAnnotated", {}) {}
class Success extends Schema.TaggedError<Success>()("Success", {}, HttpApiSchema.annotations({ status: 201 })) {}
class Beyond extends Schema.TaggedError<Beyond>()("Beyond", {}, HttpApiSchema.annotations({ status: 600 })) {}
class Speechless extends Data.TaggedError("Speechless")<{}> {
  [HttpServerRespondable.symbol]() {
    return Effect.fail(this)
  }
}
class Explosive extends Data.TaggedError("Explosive")<{}> {
  [HttpServerRespondable.symbol](): Effect.Effect<HttpServerResponse.HttpServerResponse> {
    throw this
  }
}

const standard = ExceptionHandlers.standard()
const aRequest = (headers: Record<string, string> = {}) =>
  HttpServerRequest.fromWeb(new Request("http://localhost/", { headers }))
const requestError = (cause: unknown, headers?: Record<string, string>) =>
  new HttpServerError.RequestError({ request: aRequest(headers), reason: "Decode", cause })
const multipart = (reason: Multipart.MultipartError["reason"]) => new Multipart.MultipartError({ reason, cause: "x" })
const problem = (reply: Reply) => {
  assert.strictEqual(reply.headers["content-type"], "application/problem+json")
  assert.strictEqual(reply.headers["cache-control"], "no-store")
  return JSON.parse(reply.body)
}

describe("ExceptionHandlers.standard", () => {
  it.effect.each([
    ["an HttpException", HttpException.conflict({ detail: "No" }), 409],
    ["RouteNotFound", new HttpServerError.RouteNotFound({ request: aRequest() }), 404],
    ["a RequestError", requestError(new Error("x")), 400],
    ["a RequestError without a cause", requestError(undefined), 400],
    ["JSON that is none", requestError(new SyntaxError("x"), { "content-type": "application/json" }), 400],
    ["JSON of a vendor", requestError(new SyntaxError("x"), { "content-type": "application/x.y+json; a=b" }), 400],
    ["JSON without a type", requestError(new SyntaxError("x")), 400],
    ["what never said it was JSON", requestError(new SyntaxError("x"), { "content-type": "text/plain" }), 415],
    ["too much content", requestError(new Error("maxBytes exceeded")), 413],
    ["a form inside a RequestError", requestError(multipart("BodyTooLarge")), 413],
    ["a file that is too large", multipart("FileTooLarge"), 413],
    ["a field that is too large", multipart("FieldTooLarge"), 413],
    ["too many parts", multipart("TooManyParts"), 413],
    ["a form that is none", multipart("Parse"), 415],
    ["an error with a status", new Annotated({ secret: "secret" }), 409],
    ["HttpApiError.NotFound", new HttpApiError.NotFound(), 404],
    ["HttpApiError.ServiceUnavailable", new HttpApiError.ServiceUnavailable(), 503],
    ["HttpApiDecodeError", new HttpApiError.HttpApiDecodeError({ issues: [], message: "secret" }), 400],
    ["NoSuchElementException", new Cause.NoSuchElementException("secret"), 404],
    ["a refusal", new TrustedHost.UntrustedHost({ reason: "missing" }), 400]
  ])("answers %s", ([, error, status]) =>
    Effect.gen(function*() {
      const reply = yield* send(apply(standard, failing(error)))
      assert.deepStrictEqual([reply.status, problem(reply).status], [status, status])
      assert.notInclude(reply.body, "secret")
    }))

  it.effect.each([
    ["a tagged error", new Other()],
    ["an error whose schema has no status", new NotAnnotated()],
    ["an error whose status is none", new Success()],
    ["an error whose status is beyond", new Beyond()],
    ["trouble of the server with a form", multipart("InternalError")],
    ...[undefined, null, {}, { _tag: "Declaration" }].map((ast) =>
      [
        `a class that has an ast of another kind: ${JSON.stringify(ast)}`,
        new (class {
          static ast = ast
        })()
      ] as const
    ),
    ["an object with a constructor of its own", { constructor: "Annotated" }],
    ["an object without a prototype", Object.create(null)],
    ["a frozen object", Object.freeze({ _tag: "Other" })],
    ["a function", () => 1],
    ["a text", "RouteNotFound"],
    ["a tag without the class", { _tag: "RouteNotFound" }],
    ["a tag without the class", { _tag: "RequestError" }],
    ["nothing", undefined]
  ])("passes %s", ([, error]) =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.provideService(
        apply(standard, failing(error)),
        HttpServerRequest.HttpServerRequest,
        aRequest()
      ))
      assert.isTrue(exit._tag === "Failure" && exit.cause._tag === "Fail" && exit.cause.error === error)
    }))

  it.effect("a form that is malformed is 400", () =>
    Effect.gen(function*() {
      const headers = { "content-type": "multipart/form-data; boundary=b" }
      assert.strictEqual((yield* send(apply(standard, failing(multipart("Parse"))), { headers })).status, 400)
    }))

  it.effect("a Respondable and a response are what they are", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* said(apply(standard, failing(new Teapot()))), [418, "short and stout"])
      const redirect = HttpServerResponse.redirect("/elsewhere")
      assert.strictEqual((yield* send(apply(standard, failing(redirect)))).headers.location, "/elsewhere")
    }))

  it.effect.each([["fails", new Speechless()], ["throws", new Explosive()]])(
    "a Respondable that %s as it renders is answered",
    ([, error]) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* answered(said(apply(standard, failing(error)))), [500, ""])
        const status = ExceptionHandlers.concat(standard, ExceptionHandlers.byStatus(418, says("")))
        assert.deepStrictEqual(yield* answered(said(apply(status, failing(error)))), [500, ""])
      })
  )

  it.effect("a failure whose response cannot be sent is answered", () =>
    Effect.gen(function*() {
      const bad = HttpServerResponse.empty({ status: 400, headers: { "x-a": "a\r\nb: c" } })
      assert.deepStrictEqual(yield* answered(said(apply(standard, failing(bad)))), [500, ""])
    }))

  const throws = (): never => {
    throw new Error("secret")
  }
  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  const hostile: ReadonlyArray<readonly [string, unknown]> = [
    ["a tag that throws", Object.defineProperty({}, "_tag", { get: throws })],
    ["a constructor that throws", Object.defineProperty({}, "constructor", { get: throws })],
    ["a message that throws", Object.defineProperty(new Error(), "message", { get: throws })],
    ["a face that throws as it is asked for", Object.defineProperty({}, HttpServerRespondable.symbol, { get: throws })],
    ["a face that is no function", { [HttpServerRespondable.symbol]: 5 }],
    ["a face that gives nothing", { [HttpServerRespondable.symbol]: () => undefined }],
    ["a face that is interrupted", { [HttpServerRespondable.symbol]: () => Effect.interrupt }],
    ["a Proxy that throws when asked what it has", new Proxy({}, { has: throws })],
    ["a Proxy that throws when asked what it is", new Proxy({}, { getPrototypeOf: throws })],
    ["a Proxy that throws whatever it is asked", new Proxy({}, { get: throws, has: throws, defineProperty: throws })],
    ["a Proxy that can be told nothing", new Proxy({}, { defineProperty: () => false })],
    ["a Proxy that is no more", revoked.proxy]
  ]
  it.effect.each(hostile)("what throws when it is looked at is answered: %s", ([, error]) =>
    Effect.gen(function*() {
      const all = ExceptionHandlers.concat(
        standard,
        ExceptionHandlers.byTag({ NotThere: says("") }),
        ExceptionHandlers.byClass(NotThere, says("")),
        ExceptionHandlers.byStatus(404, says(""))
      )
      const refusing = Middleware.make({ name: "Refusing", request: () => Middleware.Refuse(error as object) })
      // Effect looks at it, too
      const failed = Effect.suspend(() => failing(error))
      for (const app of [failed, apply(refusing, HttpServerResponse.empty())]) {
        for (const handlers of [all, standard]) {
          const reply = yield* answered(send(apply(Stack.make(mark("a"), handlers as typeof standard), app)))
          assert.deepStrictEqual([reply.status, reply.headers["x-order"]], [500, "a"])
          assert.notInclude(reply.body, "secret")
        }
      }
    }))

  describe("a refusal further in", () => {
    const refused = (error: object, handlers: ExceptionHandlers.Any) =>
      send(apply(
        Stack.make(
          mark("outer"),
          handlers as typeof standard,
          mark("inner "),
          Middleware.make({ name: "Refusing", request: () => Middleware.Refuse(error) })
        ),
        HttpServerResponse.empty()
      ))

    it.effect.each<readonly [string, object, ExceptionHandlers.Any, number]>([
      ["which it answers", new Annotated({ secret: "" }), standard, 409],
      ["which knows its response", new Teapot(), standard, 418],
      ["which it passes", new Other(), standard, 500],
      ["which throws as it renders", new Explosive(), standard, 500],
      ["by status", new Teapot(), ExceptionHandlers.byStatus(418, says("", 444)), 444],
      ["by another status", new Teapot(), ExceptionHandlers.byStatus(419, says("", 444)), 418],
      ["by status, of what throws", new Explosive(), ExceptionHandlers.byStatus(500, says("", 444)), 444],
      ["by another status, of what throws", new Explosive(), ExceptionHandlers.byStatus(501, says("", 444)), 500]
    ])("%s has the edits of all", ([, error, handlers, status]) =>
      Effect.gen(function*() {
        // one error serves many requests
        for (const _ of [1, 2]) {
          const reply = yield* answered(refused(error, handlers))
          assert.deepStrictEqual([reply.status, reply.headers["x-order"]], [status, "inner outer"])
        }
      }))
  })

  it.effect("of defects, answers what a client is to blame for", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* send(apply(standard, Effect.die(requestError(new SyntaxError("x")))))).status, 400)
      assert.strictEqual((yield* send(apply(standard, Effect.die(multipart("FileTooLarge"))))).status, 413)
      const exit = yield* Effect.exit(Effect.provideService(
        apply(standard, Effect.die(new Annotated({ secret: "" }))),
        HttpServerRequest.HttpServerRequest,
        aRequest()
      ))
      assert.isTrue(exit._tag === "Failure" && Cause.isDieType(exit.cause))
    }))

  it.effect("what is handled is not logged as a failure", () =>
    Effect.gen(function*() {
      const logged = (app: App) =>
        Effect.gen(function*() {
          const causes: Array<boolean> = []
          const logger = Logger.make(({ cause }) => void causes.push(!Cause.isEmpty(cause)))
          const runtime = yield* Effect.provide(Effect.runtime<never>(), Logger.replace(Logger.defaultLogger, logger))
          const handler = HttpApp.toWebHandlerRuntime(runtime)(app as HttpApp.Default, HttpMiddleware.logger)
          yield* Effect.promise(() => handler(new Request("http://localhost/")))
          return causes
        })
      assert.deepStrictEqual(yield* logged(failing(HttpException.notFound())), [true])
      assert.deepStrictEqual(yield* logged(apply(standard, failing(HttpException.notFound()))), [false])
      assert.deepStrictEqual(yield* logged(apply(standard, failing(new Other()))), [true])
    }))
})

describe("a ParseError", () => {
  const Shape = Schema.Struct({
    id: Schema.NumberFromString,
    "a/b": Schema.optional(Schema.Struct({ "~": Schema.Number }))
  })
  const decode = Schema.decodeUnknown(Shape, { errors: "all" })
  const body = HttpServerRequest.schemaBodyJson(Shape, { errors: "all" })
  const parse = (input: unknown) => apply(standard, Effect.as(decode(input), HttpServerResponse.empty()))
  const post: Init = { method: "POST", headers: { "content-type": "application/json" } }

  it.effect("says which paths, and nothing of the values", () =>
    Effect.gen(function*() {
      const reply = yield* send(parse({ id: "secret", "a/b": { "~": "secret" } }))
      assert.strictEqual(reply.status, 400)
      assert.deepStrictEqual(problem(reply), {
        title: "Bad Request",
        status: 400,
        detail: "The request does not have the expected shape",
        errors: [{ pointer: "#/id", reason: "invalid" }, { pointer: "#/a~1b/~0", reason: "invalid" }]
      })
      assert.deepStrictEqual(problem(yield* send(parse({}))).errors, [{ pointer: "#/id", reason: "missing" }])
      assert.deepStrictEqual(problem(yield* send(parse("secret"))).errors, [{ pointer: "#", reason: "invalid" }])
    }))

  it.effect("of content is 422, of the rest 400", () =>
    Effect.gen(function*() {
      const status = (app: Effect.Effect<unknown, unknown, any>, init: Init) =>
        Effect.map(
          send(apply(standard, Effect.as(app, HttpServerResponse.empty()) as App), {
            path: "/notes/x?id=%C3%BC+%2B",
            ...init
          }),
          (reply) => reply.status
        )
      assert.strictEqual(yield* status(body, { ...post, body: "{\"id\":true}" }), 422)
      assert.strictEqual(yield* status(body, { ...post, body: "{}" }), 422)
      assert.strictEqual(yield* status(body, { ...post, body: "7" }), 422)
      assert.strictEqual(yield* status(body, { ...post, body: "{" }), 400)
      // read from the head of a request that has content
      assert.strictEqual(yield* status(decode({ id: "x" }), { ...post, body: "{}" }), 400)
      assert.strictEqual(yield* status(decode({ id: ["x", "ü +"] }), { ...post, body: "{}" }), 400)
      assert.strictEqual(yield* status(decode({ id: "other" }), { ...post, body: "{}" }), 422)
      const fields = HttpServerRequest.schemaHeaders(Schema.Struct({ "x-a": Schema.String }))
      assert.strictEqual(yield* status(fields, { ...post, body: "{}" }), 400)
      const cookies = HttpServerRequest.schemaCookies(Schema.Struct({ a: Schema.String }))
      assert.strictEqual(yield* status(cookies, { ...post, headers: { cookie: "b=c" }, body: "{}" }), 400)
      // no content
      assert.strictEqual(yield* status(decode({ id: "other" }), {}), 400)
      assert.strictEqual(yield* status(decode({ id: "other" }), { path: "/%", ...post, body: "{}" }), 422)
    }))
})

describe("where what was decoded stands", () => {
  const target = `/?${"x".repeat(12_000)}ab`
  const post: Init = { method: "POST", path: target, headers: { "content-type": "application/json" }, body: "{}" }
  const decode = (input: unknown) =>
    Effect.map(
      send(
        apply(
          standard,
          Effect.as(Schema.decodeUnknown(Schema.Struct({ id: Schema.Number }))(input), HttpServerResponse.empty())
        ),
        post
      ),
      ({ status }) => status
    )

  it.effect.each<[string, unknown, number]>([
    ["one that is in the target", { id: "xxab" }, 400],
    ["nothing", {}, 422],
    ["what is left out", { id: "xxab", other: undefined }, 400],
    ["one that is there and one that is not", { id: "xxab", other: "z" }, 422],
    ["what is no text", { id: "xxab", other: 1 }, 422],
    ["the same twice", { id: "x".repeat(9_000), other: "x".repeat(9_000) }, 400],
    ["no more than there is", { id: `${"x".repeat(12_000)}ab` }, 400],
    ["more than there is", { id: "x".repeat(12_000), a: "x".repeat(11_999), b: "x".repeat(11_998) }, 422]
  ])("%s", ([, input, status]) =>
    Effect.gen(function*() {
      assert.strictEqual(yield* decode(input), status)
    }))

  it.effect("is not looked for as long as a client likes", () =>
    Effect.gen(function*() {
      const started = performance.now()
      // each by itself takes the search through all of the target
      assert.strictEqual(yield* decode(Array.from({ length: 50_000 }, (_, i) => `${"x".repeat(8 + i % 50)}ab`)), 400)
      assert.isBelow(performance.now() - started, 500)
    }))
})

// --- 405 -------------------------------------------------------------------------------------------------------------

describe("a path that has other methods is 405 with Allow", () => {
  const ok = HttpServerResponse.text("ok")
  const inner = HttpRouter.empty.pipe(HttpRouter.put("/deep/:id", ok))
  const router = HttpRouter.empty.pipe(
    HttpRouter.get("/notes", ok),
    HttpRouter.post("/notes", ok),
    HttpRouter.del("/notes/:id", ok),
    HttpRouter.prefixAll("/api"),
    HttpRouter.mountApp("/mounted", inner),
    HttpRouter.mountApp("/whole", HttpRouter.empty.pipe(HttpRouter.patch("/whole/x", ok)), { includePrefix: true }),
    HttpRouter.mountApp("/foreign", Effect.fail(new HttpServerError.RouteNotFound({ request: aRequest() })))
  )
  const expect = (app: App, method: string, path: string, status: number, allow?: string) =>
    Effect.map(
      send(app, { method, path }),
      (reply) =>
        assert.deepStrictEqual([method, path, reply.status, reply.headers.allow], [method, path, status, allow])
    )

  it.effect("of an HttpRouter", () =>
    Effect.gen(function*() {
      const app = router.pipe(standard) as App
      yield* expect(app, "GET", "/api/notes", 200)
      yield* expect(app, "HEAD", "/api/notes", 200)
      yield* expect(app, "PUT", "/api/notes", 405, "GET, HEAD, POST")
      yield* expect(app, "PUT", "/api/notes?a=b", 405, "GET, HEAD, POST")
      yield* expect(app, "OPTIONS", "/api/notes/7", 405, "DELETE")
      yield* expect(app, "PURGE", "/api/notes/7", 405, "DELETE")
      yield* expect(app, "GET", "/nowhere", 404)
      yield* expect(app, "GET", "/mounted/deep/1?a", 405, "PUT")
      yield* expect(app, "GET", "/mounted", 404)
      yield* expect(app, "GET", "/mounteddeep/1", 404)
      yield* expect(app, "GET", "/whole/x", 405, "PATCH")
      yield* expect(app, "GET", "/foreign/x", 404)
      // what a route makes of its parameters, it makes here
      yield* expect(app, "PUT", "/api/notes/%2F", 405, "DELETE")
      yield* expect(app, "PUT", "/api/notes/%", 404)
      yield* expect(app, "DELETE", "/api/notes/%", 404)
      yield* expect(app, "PUT", `/api/notes/${"a".repeat(101)}`, 404)
      yield* expect(app, "PUT", "/api//notes;a=b", 405, "GET, HEAD, POST")
    }))

  it.effect("of mounts inside of mounts, and of routes under a prefix", () =>
    Effect.gen(function*() {
      const deep = HttpRouter.empty.pipe(HttpRouter.put("/leaf/:id", ok), HttpRouter.get("/:a/:b", ok))
      const mid = HttpRouter.empty.pipe(HttpRouter.mountApp("/deep", deep), HttpRouter.post("/mid/:a", ok))
      const stacked = mid.pipe(Stack.make(mark("inner")))
      const app = HttpRouter.empty.pipe(
        HttpRouter.mountApp("/m", mid),
        HttpRouter.mount("/n", mid),
        HttpRouter.mountApp("/o", stacked),
        standard
      ) as App
      for (const prefix of ["/m", "/n", "/o"]) {
        yield* expect(app, "GET", `${prefix}/deep/leaf/1`, 200)
        yield* expect(app, "POST", `${prefix}/deep/leaf/1?a`, 405, "GET, HEAD, PUT")
        yield* expect(app, "GET", `${prefix}/mid/1`, 405, "POST")
        yield* expect(app, "GET", `${prefix}/deep`, 404)
        yield* expect(app, "GET", prefix, 404)
      }
    }))

  it.effect("of the very path of a mount, and of one that only begins like it", () =>
    Effect.gen(function*() {
      const app = HttpRouter.empty.pipe(
        HttpRouter.mountApp("/m", HttpRouter.empty.pipe(HttpRouter.put("/", ok))),
        HttpRouter.post("/m", ok),
        HttpRouter.post("/mm", ok),
        standard
      ) as App
      yield* expect(app, "PUT", "/m", 200)
      // the mount comes before the route
      yield* expect(app, "POST", "/m", 405, "PUT")
      yield* expect(app, "POST", "/m/", 405, "PUT")
      yield* expect(app, "GET", "/mm", 405, "POST")
    }))

  it.effect("has a body that says so, and no other", () =>
    Effect.gen(function*() {
      const reply = yield* send(router.pipe(standard) as App, { method: "PUT", path: "/api/notes" })
      assert.deepStrictEqual(problem(reply), { title: "Method Not Allowed", status: 405 })
    }))

  it.effect("by the router's own options", () =>
    Effect.gen(function*() {
      const app = (config: Parameters<typeof HttpRouter.withRouterConfig>[1]) =>
        HttpRouter.withRouterConfig(HttpRouter.empty.pipe(HttpRouter.get("/Notes", ok), standard), config) as App
      yield* expect(app({}), "PUT", "/notes", 405, "GET, HEAD")
      yield* expect(app({ caseSensitive: true }), "PUT", "/notes", 404)
    }))

  it.effect("through what stands between", () =>
    Effect.gen(function*() {
      const around = Middleware.dispatch("Around", (_, next) => next)
      const maybe = Middleware.when(() => true, Middleware.dispatch("Maybe", (_, next) => next))
      const handlers = [standard, mark("inner"), around, maybe] as const
      yield* expect(
        router.pipe(Stack.make(mark("outer"), ...handlers)) as App,
        "PUT",
        "/api/notes",
        405,
        "GET, HEAD, POST"
      )
      yield* expect(router.pipe(mark("inner"), standard) as App, "PUT", "/api/notes", 405, "GET, HEAD, POST")
      yield* expect(
        router.pipe(Middleware.when(() => true, Stack.make(standard))) as App,
        "PUT",
        "/api/notes",
        405,
        "GET, HEAD, POST"
      )
      // an Effect that is made of a router does not tell
      yield* expect(router.pipe(Effect.tap(Effect.void), standard) as App, "PUT", "/api/notes", 404)
    }))

  it.effect("is not what a handler of that path fails with", () =>
    Effect.gen(function*() {
      const lost = new HttpServerError.RouteNotFound({ request: aRequest() })
      const app = HttpRouter.empty.pipe(HttpRouter.get("/", Effect.fail(lost)), HttpRouter.post("/", ok), standard)
      yield* expect(app as App, "GET", "/", 404)
      yield* expect(app as App, "HEAD", "/", 404)
      yield* expect(app as App, "PUT", "/", 405, "GET, HEAD, POST")
      const head = HttpRouter.empty.pipe(HttpRouter.head("/", ok), standard)
      yield* expect(head as App, "GET", "/", 405, "HEAD")
    }))

  it.effect("by status, it is 405 too", () =>
    Effect.gen(function*() {
      const handlers = ExceptionHandlers.byStatus(405, (_, __, { headers }) => HttpServerResponse.text(headers.allow!))
      assert.deepStrictEqual(yield* said(router.pipe(handlers) as App, { method: "PUT", path: "/api/notes" }), [
        200,
        "GET, HEAD, POST"
      ])
    }))

  it.scoped("of Stack.serveRouter", () =>
    Effect.gen(function*() {
      const routes = Layer.mergeAll(
        HttpLayerRouter.add("GET", "/notes", ok),
        HttpLayerRouter.addAll([HttpLayerRouter.route("POST", "/notes", ok)]),
        HttpLayerRouter.addAll([HttpLayerRouter.route("PUT", "/a", ok)], { prefix: "/one" }),
        HttpLayerRouter.use((router) => router.prefixed("/two/").add("PATCH", "/", ok)),
        HttpLayerRouter.use((router) => router.prefixed("/inner").prefixed("/outer").add("DELETE", "/a", ok)),
        HttpLayerRouter.add("*", "/all", ok)
      )
      const port = yield* listen(Stack.serveRouter(routes, standard))
      const cases = [
        ["GET", "/notes", 200, undefined],
        ["DELETE", "/notes", 405, "GET, HEAD, POST"],
        ["GET", "/one/a", 405, "PUT"],
        ["GET", "/two", 405, "PATCH"],
        ["GET", "/outer/inner/a", 405, "DELETE"],
        ["PATCH", "/all", 200, undefined],
        ["GET", "/nowhere", 404, undefined]
      ] as const
      for (const [method, path, status, allow] of cases) {
        const reply = yield* request(port, { method, path })
        assert.deepStrictEqual([path, reply.status, reply.headers.allow], [path, status, allow])
      }
    }))

  it.scoped("of Stack.serveRouter, by the router's own options", () =>
    Effect.gen(function*() {
      for (const [caseSensitive, status] of [[true, 404], [false, 405]] as const) {
        const config = Layer.succeed(HttpLayerRouter.RouterConfig, { caseSensitive })
        const routes = HttpLayerRouter.add("GET", "/Notes", ok)
        const port = yield* listen(Layer.provide(Stack.serveRouter(routes, standard), config))
        assert.strictEqual((yield* request(port, { method: "PUT", path: "/notes" })).status, status)
      }
    }))

  it.scoped("of Stack.httpApi, where what the api declares is left to it", () =>
    Effect.gen(function*() {
      class Missing extends Schema.TaggedError<Missing>()(
        "Missing",
        { id: Schema.Number },
        HttpApiSchema.annotations({ status: 404 })
      ) {}
      const api = HttpApi.make("api").add(
        HttpApiGroup.make("notes").add(
          HttpApiEndpoint.get("read", "/notes/:id").setPath(Schema.Struct({ id: Schema.NumberFromString }))
            .addSuccess(Schema.String).addError(Missing)
        ).add(HttpApiEndpoint.put("write", "/notes/:id").setPayload(Schema.Struct({ text: Schema.String })))
      )
      const live = HttpApiBuilder.api(api).pipe(Layer.provide(HttpApiBuilder.group(api, "notes", (handlers) =>
        handlers.handle("read", ({ path }) =>
          Effect.fail(new Missing(path))).handle("write", () =>
            Effect.void))))
      const port = yield* listen(
        HttpApiBuilder.serve().pipe(
          Layer.provide([live, Stack.httpApi(standard)]),
          Layer.provide(Layer.mergeAll(HttpServer.layerContext, NodeContext.layer))
        )
      )
      const found = yield* request(port, { path: "/notes/7" })
      assert.deepStrictEqual([found.status, JSON.parse(found.body)], [404, { _tag: "Missing", id: 7 }])
      const not = yield* request(port, { method: "DELETE", path: "/notes/7" })
      assert.deepStrictEqual([not.status, not.headers.allow], [405, "GET, HEAD, PUT"])
      assert.strictEqual((yield* request(port, { path: "/nowhere" })).status, 404)
      const decoded = yield* request(port, { path: "/notes/x" })
      assert.deepStrictEqual([decoded.status, JSON.parse(decoded.body)._tag], [400, "HttpApiDecodeError"])
      // a body that is no JSON is a defect to the api
      const headers = { "content-type": "application/json" }
      const broken = yield* request(port, { method: "PUT", path: "/notes/7", headers, body: "{" })
      assert.deepStrictEqual([broken.status, problem(broken).detail], [400, "The request could not be read"])
    }))
})
