import { HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Data, Effect, Logger } from "effect"
import { ExceptionHandlers, Middleware, ProblemDetails, Stack } from "effect-middleware"
import { mounts, send } from "./utils/TestApp.js"

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
