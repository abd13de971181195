import type { HttpApp, HttpServerRespondable } from "@effect/platform"
import { Forwarded, HttpsRedirect, type Middleware, Stack } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

type Of<Name extends string = "HttpsRedirect"> = Middleware.Middleware<
  never,
  HttpsRedirect.HttpsRequired,
  Forwarded.Client,
  never,
  Name,
  Middleware.Phases
>

typeOf(HttpsRedirect.middleware()).is<Of>()
typeOf(HttpsRedirect.middleware({
  status: 308,
  others: "refuse",
  port: { 8080: 8443 },
  exceptRoutes: ["GET /health"],
  name: "Https"
})).is<Of<"Https">>()
declare const options: HttpsRedirect.Options
typeOf(HttpsRedirect.middleware(options)).is<Of<string>>()

// how a client came is known only inside Forwarded
Stack.make(Forwarded.middleware({ trust: "none" }), HttpsRedirect.middleware())
Stack.make(
  // @ts-expect-error outside of it, it does not compile
  HttpsRedirect.middleware(),
  Forwarded.middleware({ trust: "none" })
)
declare const app: HttpApp.Default
typeOf(app.pipe(HttpsRedirect.middleware())).is<HttpApp.Default<HttpsRedirect.HttpsRequired, Forwarded.Client>>()
// @ts-expect-error nor alone
export const alone: HttpApp.Default<HttpsRedirect.HttpsRequired> = HttpsRedirect.middleware()(app)

// @ts-expect-error 301 may turn a POST into a GET
HttpsRedirect.middleware({ status: 301 })
// @ts-expect-error GET and HEAD are never refused
HttpsRedirect.middleware({ status: "refuse" })
// @ts-expect-error a port is a number
HttpsRedirect.middleware({ port: "8443" })

// the refusal knows its response
declare const refusal: HttpsRedirect.HttpsRequired
same<typeof refusal._tag, "HttpsRequired">()
same<typeof refusal.reason, HttpsRedirect.Reason>()
export const respondable: HttpServerRespondable.Respondable = refusal

// the rules alone
typeOf(HttpsRedirect.policy(options)).is<(facts: HttpsRedirect.Facts) => HttpsRedirect.Decision>()
same<HttpsRedirect.Decision["_tag"], "Allow" | "Unknown" | "Redirect" | "Reject">()
same<HttpsRedirect.Reason, "upgrade" | "host" | "method">()
declare const client: Forwarded.ClientInfo
export const facts: HttpsRedirect.Facts = { client, method: "GET", target: "/" }
