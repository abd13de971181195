import type { HttpApp } from "@effect/platform"
import { Duration } from "effect"
import { Forwarded, Hsts, type Middleware, Stack } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Of<Name extends string = "Hsts"> = Middleware.Middleware<
  never,
  never,
  Forwarded.Client,
  never,
  Name,
  Middleware.Phases
>

typeOf(Hsts.middleware()).is<Of>()
typeOf(Hsts.middleware({ maxAge: Duration.days(730), includeSubDomains: true, preload: true, name: "Sts" })).is<
  Of<"Sts">
>()
declare const options: Hsts.Options
typeOf(Hsts.middleware(options)).is<Of<string>>()

// how a client came is known only inside Forwarded
Stack.make(Forwarded.middleware({ trust: "none" }), Hsts.middleware())
Stack.make(
  // @ts-expect-error outside of it, it does not compile
  Hsts.middleware(),
  Forwarded.middleware({ trust: "none" })
)
declare const app: HttpApp.Default
typeOf(app.pipe(Hsts.middleware())).is<HttpApp.Default<never, Forwarded.Client>>()

// @ts-expect-error a duration has a unit
Hsts.middleware({ maxAge: "31536000" })

// the stages are options
typeOf(Hsts.middleware(Hsts.rampUp.oneWeek)).is<Of>()
typeOf(Hsts.middleware({ ...Hsts.rampUp.preload, name: "Sts" })).is<Of<"Sts">>()
same<keyof typeof Hsts.rampUp, "fiveMinutes" | "oneWeek" | "oneMonth" | "preload">()

// the rules alone
typeOf(Hsts.policy(options)).is<(facts: Hsts.Facts) => string | undefined>()
declare const client: Forwarded.ClientInfo
export const facts: Hsts.Facts = client
