import type { HttpServerRequest } from "@effect/platform"
import { Duration, Effect } from "effect"
import { type Middleware, ServerTiming, Stack } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Of<Name extends string = "ServerTiming"> = Middleware.Middleware<
  ServerTiming.ServerTiming,
  never,
  never,
  never,
  Name,
  Middleware.Phases
>

typeOf(ServerTiming.middleware()).is<Of>()
typeOf(ServerTiming.middleware({
  total: true,
  details: (request) => request.headers["x-debug"] === "secret",
  processTime: true,
  maxMarks: 10,
  name: "Timing"
})).is<Of<"Timing">>()
declare const options: ServerTiming.Options
typeOf(ServerTiming.middleware(options)).is<Of<string>>()
ServerTiming.middleware({ details: undefined, maxMarks: undefined, name: undefined })
same<ServerTiming.Detailed, (request: HttpServerRequest.HttpServerRequest) => boolean>()
Stack.make(ServerTiming.middleware(), ServerTiming.middleware({ name: "Inner" }))

// @ts-expect-error an effect decides nothing
ServerTiming.middleware({ details: () => Effect.succeed(true) })

// a measured effect keeps its type, and asks for nothing
declare const effect: Effect.Effect<number, "failed", "service">
typeOf(ServerTiming.measure(effect, "db")).is<typeof effect>()
typeOf(ServerTiming.measure(effect, "db", { description: "query" })).is<typeof effect>()
typeOf(effect.pipe(ServerTiming.measure("db", { description: "query" }))).is<typeof effect>()
typeOf(ServerTiming.mark("miss")).is<Effect.Effect<void>>()
ServerTiming.mark("queue", { duration: "12 millis", description: "waited" })
ServerTiming.mark("queue", { duration: Duration.seconds(1) })
// @ts-expect-error a duration has a unit
ServerTiming.mark("queue", { duration: "12" })
// @ts-expect-error it is measured, not told
ServerTiming.measure(effect, "db", { duration: "12 millis" })

// the service
same<(typeof ServerTiming.ServerTiming)["Service"], ServerTiming.Timings>()
same<Extract<ServerTiming.ServerTiming, Middleware.PerRequest>, ServerTiming.ServerTiming>()
declare const timings: ServerTiming.Timings
typeOf(timings.mark("miss", { duration: 1 })).is<void>()
typeOf(timings.start("db", { description: "query" })).is<() => void>()
same<ServerTiming.Timings["mark"], (name: string, options?: ServerTiming.MarkOptions) => void>()
same<ServerTiming.Timings["start"], (name: string, options?: ServerTiming.MeasureOptions) => () => void>()

// the rules alone
typeOf(ServerTiming.policy(options)).is<(facts: ServerTiming.Facts) => ServerTiming.Decision>()
same<ServerTiming.Decision, { readonly serverTiming: string | undefined; readonly processTime: string | undefined }>()
same<ServerTiming.Facts["marks"], Iterable<ServerTiming.Mark>>()
