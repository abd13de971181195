import type { HttpApp, HttpServerRespondable } from "@effect/platform"
import { MethodOverride, type Middleware } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Of<Name extends string = "MethodOverride"> = Middleware.Middleware<
  never,
  MethodOverride.MethodOverrideInvalid,
  never,
  never,
  Name,
  Middleware.Phases
>

typeOf(MethodOverride.middleware()).is<Of>()
typeOf(MethodOverride.middleware({ methods: ["PUT"], header: false, form: "_method", name: "Own" })).is<Of<"Own">>()
declare const options: MethodOverride.Options
typeOf(MethodOverride.middleware(options)).is<Of<string>>()

declare const app: HttpApp.Default
typeOf(app.pipe(MethodOverride.middleware())).is<HttpApp.Default<MethodOverride.MethodOverrideInvalid>>()

// @ts-expect-error nothing that is safe
MethodOverride.middleware({ methods: ["GET"] })
// @ts-expect-error a field has a name
MethodOverride.middleware({ form: true })

// the refusal knows its response
declare const refusal: MethodOverride.MethodOverrideInvalid
same<typeof refusal._tag, "MethodOverrideInvalid">()
export const respondable: HttpServerRespondable.Respondable = refusal

// the rules alone
typeOf(MethodOverride.policy({ methods: ["PUT"] })).is<(said: string | undefined) => MethodOverride.Decision>()
same<MethodOverride.Decision["_tag"], "Keep" | "Override" | "Reject">()
same<MethodOverride.Method, "PUT" | "PATCH" | "DELETE">()
