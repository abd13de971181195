import type { HttpApp, HttpServerRespondable } from "@effect/platform"
import { Middleware, Stack, Timeout } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Of<Name extends string = "Timeout"> = Middleware.Middleware<
  never,
  Timeout.TimedOut,
  never,
  never,
  Name,
  Middleware.Wrapping
>

typeOf(Timeout.middleware({ limit: "10 seconds" })).is<Of>()
typeOf(Timeout.middleware({
  limit: "10 seconds",
  status: 504,
  retryAfter: "1 minute",
  body: { idle: "30 seconds", total: "5 minutes" },
  disconnect: true,
  name: "Slow"
})).is<Of<"Slow">>()
declare const options: Timeout.Options
typeOf(Timeout.middleware(options)).is<Of<string>>()
declare const body: Timeout.BodyOptions
Timeout.middleware({ limit: Infinity, body })

// @ts-expect-error there is no default
Timeout.middleware({})
// @ts-expect-error 408 is for a client that is slow
Timeout.middleware({ limit: 1, status: 408 })
// @ts-expect-error it wraps, and so is no alternative
Middleware.firstOf("First", Timeout.middleware(options), Middleware.make({ name: "Second" }))

// the refusal joins the failures of the app, and knows its response
declare const app: HttpApp.Default<"mine">
typeOf(app.pipe(Timeout.middleware(options))).is<HttpApp.Default<"mine" | Timeout.TimedOut>>()
declare const refusal: Timeout.TimedOut
same<typeof refusal._tag, "TimedOut">()
same<typeof refusal.reason, "limit" | "idle" | "total">()
export const respondable: HttpServerRespondable.Respondable = refusal

// one that lengthens adds nothing, and stands in phases alone
typeOf(Timeout.extend("5 minutes")).is<
  Middleware.Middleware<never, never, never, never, "TimeoutExtended", Middleware.Phases>
>()
typeOf(app.pipe(Timeout.extend("5 minutes"))).is<HttpApp.Default<"mine">>()
Stack.make(Timeout.middleware(options), Timeout.extend(1, { name: "Longer" }))
