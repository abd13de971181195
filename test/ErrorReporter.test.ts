import { HttpRouter, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, FiberRef, HashMap, Layer, Option } from "effect"
import { ErrorReporter, Middleware, RequestId, ServerErrors, Stack } from "effect-middleware"
import { failed, noPhase, see, settled, type Witness, witness } from "./utils/failures.js"
import { answered } from "./utils/laws.js"
import { listen, send } from "./utils/TestApp.js"

const app = HttpRouter.empty.pipe(
  HttpRouter.get(
    "/defect",
    Effect.sync(() => {
      throw new TypeError("s3cret")
    })
  )
)
const stack = Stack.make(ServerErrors.middleware(), RequestId.middleware())
const throwing = Middleware.make({
  name: "Throwing",
  response: () => {
    throw new Error("s3cret")
  }
})

describe("the reporter", () => {
  const sees500 = (seen: Witness) =>
    Effect.gen(function*() {
      const port = yield* Effect.provide(listen(Stack.serve(app, stack)), seen.layer)
      const reply = yield* answered(see(port, { path: "/defect" }))
      yield* settled
      assert.strictEqual(reply === "no answer" ? reply : reply.status, 500)
    })

  it.scopedLive("is told where and what, with the services of the place", () =>
    Effect.gen(function*() {
      const ids: Array<unknown> = []
      const seen = witness(() =>
        Effect.flatMap(FiberRef.get(FiberRef.currentLogAnnotations), (annotations) =>
          Effect.sync(() => ids.push(Option.getOrUndefined(HashMap.get(annotations, "request.id")))))
      )
      yield* sees500(seen)
      const [report] = seen.reported
      assert.deepStrictEqual([report?.part, report?.route, report?.request.url], ["request", "/defect", "/defect"])
      assert.match(Cause.pretty(report!.cause), /^TypeError: s3cret/)
      const id = Option.getOrUndefined(Context.getOption(report!.services, RequestId.RequestId))
      assert.match(id!, /^[-\da-f]{36}$/)
      assert.deepStrictEqual(ids, [id])
    }))

  for (
    const [how, effect] of [
      ["fails", () => Effect.fail("gone")],
      ["dies", () => Effect.die("gone")],
      ["throws", () => {
        throw new Error("gone")
      }]
    ] as const
  ) {
    it.scopedLive(`may fail: it ${how}`, () =>
      Effect.gen(function*() {
        const seen = witness(effect)
        yield* sees500(seen)
        assert.deepStrictEqual(seen.logged, [failed, "ERROR The error reporter failed +"])
      }))
  }

  it.scopedLive("may take its time, and no response waits for it; it can be timed out", () =>
    Effect.gen(function*() {
      const over = yield* Deferred.make<void>()
      const seen = witness(() =>
        Effect.ensuring(
          Effect.timeoutTo(Effect.never, { duration: 1, onSuccess: () => {}, onTimeout: () => {} }),
          Deferred.succeed(over, undefined)
        )
      )
      yield* sees500(seen)
      yield* answered(Deferred.await(over))
      assert.deepStrictEqual(seen.logged, [failed])
    }))

  it.scoped("has services of its own", () =>
    Effect.gen(function*() {
      class Tracker extends Context.Tag("test/Tracker")<Tracker, (text: string) => void>() {}
      const told = yield* Deferred.make<string>()
      const layer = Layer.provide(
        ErrorReporter.layer(({ part }) => Effect.map(Tracker, (tell) => tell(part))),
        Layer.succeed(Tracker, (text) => Deferred.unsafeDone(told, Exit.succeed(text)))
      )
      yield* Effect.provide(send(Effect.die("x").pipe(ServerErrors.middleware())), layer)
      assert.strictEqual(yield* answered(Deferred.await(told)), "request")
    }))

  it.effect("is told of what fails after the app without ServerErrors, too", () =>
    Effect.gen(function*() {
      const seen = witness()
      const reply = yield* Effect.provide(
        send(HttpServerResponse.text("x", { headers: { "x-throw": "1" } }).pipe(throwing)),
        seen.layer
      )
      yield* settled
      assert.strictEqual(reply.status, 500)
      assert.deepStrictEqual([seen.logged, seen.reported.map(({ part }) => part)], [[noPhase], ["response"]])
    }))
})
