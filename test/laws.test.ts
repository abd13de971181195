import { HttpMiddleware, HttpServerRespondable, HttpServerResponse } from "@effect/platform"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Cause, Data, Effect, Exit, Layer } from "effect"
import { ExceptionHandlers, Forwarded, Middleware, RequestId, Stack, TrustedHost } from "effect-middleware"
import { holds, laws, type Subject, subject, wrap } from "./utils/laws.js"
import { mounts, nodeServer } from "./utils/TestApp.js"

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
const asPlatform = (error: unknown) =>
  HttpServerRespondable.toResponseOrElse(error, HttpServerResponse.empty({ status: 500 }))

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
  subject("RequestId", () => RequestId.middleware()),
  subject("Forwarded", () => Forwarded.middleware({ trust: "none" })),
  subject("Forwarded, of a proxy", () => Forwarded.middleware({ trust: { hops: 1 } }), {
    allowed: { headers: { "x-forwarded-for": "192.0.2.1" } }
  }),
  subject("TrustedHost", () => TrustedHost.middleware({ hosts: ["localhost"] }), {
    allowed: { headers: { host: "localhost" } }
  })
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
      const bound = subjects.filter(({ answers }) => law.applies({ ...mount, answers }))
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
