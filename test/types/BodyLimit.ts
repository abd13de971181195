import { FileSystem, type HttpApp, type HttpServerRespondable } from "@effect/platform"
import { BodyLimit, type Middleware } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Of<Name extends string = "BodyLimit"> = Middleware.Middleware<
  never,
  BodyLimit.BodyTooLarge,
  never,
  never,
  Name,
  Middleware.Phases
>

typeOf(BodyLimit.middleware()).is<Of>()
typeOf(BodyLimit.middleware({ limit: 1024, name: "Uploads" })).is<Of<"Uploads">>()
declare const options: BodyLimit.Options
typeOf(BodyLimit.middleware(options)).is<Of<string>>()

export const sizes: ReadonlyArray<BodyLimit.Size> = [0, 1024n, FileSystem.MiB(1), "64 KiB", "1.5 GiB", "10 B"]
// @ts-expect-error 1000 or 1024: say which
BodyLimit.middleware({ limit: "1 MB" })
// @ts-expect-error a size has a unit
BodyLimit.middleware({ limit: "1024" })
// @ts-expect-error a limit there is
BodyLimit.middleware({ limit: null })

// the refusal joins the failures of the app, and knows its response
declare const app: HttpApp.Default
typeOf(app.pipe(BodyLimit.middleware())).is<HttpApp.Default<BodyLimit.BodyTooLarge>>()
declare const refusal: BodyLimit.BodyTooLarge
same<typeof refusal._tag, "BodyTooLarge">()
same<typeof refusal.limit, number>()
export const respondable: HttpServerRespondable.Respondable = refusal

// the rules alone
typeOf(BodyLimit.policy(options)).is<(facts: BodyLimit.Facts) => BodyLimit.Decision>()
same<BodyLimit.Decision, "allow" | "count" | "reject">()
