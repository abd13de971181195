import type { HttpApp, HttpServerRespondable } from "@effect/platform"
import { Forwarded, type Middleware, Stack, TrustedHost } from "effect-middleware"
import { condition, same, typeOf } from "./fixtures.js"

type Of<Requires, Name extends string = "TrustedHost"> = Middleware.Middleware<
  never,
  TrustedHost.UntrustedHost,
  Requires,
  never,
  Name,
  Middleware.Phases
>

typeOf(TrustedHost.middleware({ hosts: ["example.com"] })).is<Of<never>>()
typeOf(TrustedHost.middleware({ hosts: ["example.com", "*.example.com"], canonical: "apex", name: "Hosts" })).is<
  Of<never, "Hosts">
>()
// who reads the client's host has to stand inside Forwarded
typeOf(TrustedHost.middleware({ hosts: ["example.com"], source: "client" })).is<Of<Forwarded.Client>>()
typeOf(TrustedHost.middleware({ hosts: ["example.com"], source: condition ? "client" : "header" })).is<
  Of<Forwarded.Client>
>()
typeOf(TrustedHost.middleware({ hosts: ["example.com"], source: "header" })).is<Of<never>>()
declare const options: TrustedHost.Options
typeOf(TrustedHost.middleware(options)).is<Of<Forwarded.Client, string>>()
Stack.make(
  Forwarded.middleware({ trust: "none" }),
  TrustedHost.middleware({ hosts: ["example.com"], source: "client" })
)
Stack.make(
  // @ts-expect-error the client is known only inside Forwarded
  TrustedHost.middleware({ hosts: ["example.com"], source: "client" }),
  Forwarded.middleware({ trust: "none" })
)

// @ts-expect-error at least one host
TrustedHost.middleware({ hosts: [] })
// @ts-expect-error the hosts have to be listed
TrustedHost.middleware({})

// the refusal joins the failures of the app, and knows its response
declare const app: HttpApp.Default
typeOf(app.pipe(TrustedHost.middleware({ hosts: ["example.com"] }))).is<HttpApp.Default<TrustedHost.UntrustedHost>>()
declare const refusal: TrustedHost.UntrustedHost
same<typeof refusal._tag, "UntrustedHost">()
same<typeof refusal.reason, TrustedHost.Reason>()
export const respondable: HttpServerRespondable.Respondable = refusal

// the rules alone
typeOf(TrustedHost.policy(options)).is<(facts: TrustedHost.Facts) => TrustedHost.Decision>()
same<TrustedHost.Decision["_tag"], "Allow" | "Redirect" | "Reject">()
same<TrustedHost.Reason, "missing" | "malformed" | "duplicate" | "untrusted">()
