import type { HttpApp, HttpServerRequest, HttpServerRespondable } from "@effect/platform"
import { Layer } from "effect"
import { ConcurrencyLimit, Forwarded, type Middleware, Stack } from "effect-middleware"
import { condition, same, typeOf } from "./fixtures.js"

type Of<Requires = never, Name extends string = "ConcurrencyLimit"> = Middleware.Middleware<
  never,
  ConcurrencyLimit.Overloaded,
  Requires,
  never,
  Name,
  Middleware.Phases
>

typeOf(ConcurrencyLimit.middleware({ permits: 10 })).is<Of>()
declare const queue: ConcurrencyLimit.QueueOptions
declare const shed: ConcurrencyLimit.ShedOptions
typeOf(ConcurrencyLimit.middleware({
  permits: 10,
  queue,
  shed,
  retryAfter: "5 seconds",
  exceptRoutes: ["GET /health"],
  name: "Limit"
})).is<Of<never, "Limit">>()
typeOf(ConcurrencyLimit.middleware({ permits: 10, key: ({ headers }) => headers["x-tenant"] ?? "" })).is<Of>()
declare const keyOf: ConcurrencyLimit.KeyOf
typeOf(keyOf).is<(request: HttpServerRequest.HttpServerRequest) => string>()
// a limit for each client has to stand inside Forwarded
typeOf(ConcurrencyLimit.middleware({ permits: 10, key: "client" })).is<Of<Forwarded.Client>>()
typeOf(ConcurrencyLimit.middleware({ permits: 10, key: condition ? "client" : keyOf })).is<Of<Forwarded.Client>>()
declare const key: ConcurrencyLimit.Key
typeOf(ConcurrencyLimit.middleware({ permits: 10, key })).is<Of<Forwarded.Client>>()
declare const options: ConcurrencyLimit.Options
typeOf(ConcurrencyLimit.middleware(options)).is<Of<Forwarded.Client, string>>()
Stack.make(Forwarded.middleware({ trust: "none" }), ConcurrencyLimit.middleware({ permits: 10, key: "client" }))
Stack.make(
  // @ts-expect-error the client is known only inside Forwarded
  ConcurrencyLimit.middleware({ permits: 10, key: "client" }),
  Forwarded.middleware({ trust: "none" })
)

// @ts-expect-error there is no default
ConcurrencyLimit.middleware({})
// @ts-expect-error a queue is bounded, and so is the time in it
ConcurrencyLimit.middleware({ permits: 10, queue: { size: 10 } })
// @ts-expect-error no key would be no limit
ConcurrencyLimit.middleware({ permits: 10, key: () => undefined })

// the refusal joins the failures of the app, and knows its response
declare const app: HttpApp.Default
typeOf(app.pipe(ConcurrencyLimit.middleware({ permits: 10 }))).is<HttpApp.Default<ConcurrencyLimit.Overloaded>>()
declare const refusal: ConcurrencyLimit.Overloaded
same<typeof refusal._tag, "Overloaded">()
same<typeof refusal.reason, "queue-full" | "waited" | "shedding">()
export const respondable: HttpServerRespondable.Respondable = refusal

// how busy the process is has a default, and a test may say another
declare const measured: ConcurrencyLimit.Measured
typeOf(Layer.succeed(ConcurrencyLimit.Load, measured)).is<Layer.Layer<ConcurrencyLimit.Load>>()
