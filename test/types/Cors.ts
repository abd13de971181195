import type { HttpApp, HttpServerRequest, HttpServerRespondable, HttpServerResponse } from "@effect/platform"
import { Effect } from "effect"
import { Cors, type Middleware, Stack } from "effect-middleware"
import type { Database } from "./fixtures.js"
import { type Busy, condition, type NotFound, same, Session, session, Store, typeOf } from "./fixtures.js"

type Of<Fails = never, Requires = never, Name extends string = "Cors"> = Middleware.Middleware<
  never,
  Fails,
  Requires,
  never,
  Name,
  Middleware.Phases
>

// plain origins neither fail nor require
typeOf(Cors.middleware({ origins: "*" })).is<Of>()
typeOf(Cors.middleware({ origins: ["https://example.com", /https:\/\/.*/], credentials: true })).is<Of>()
typeOf(Cors.middleware({ origins: (origin) => origin.endsWith(".test") })).is<Of>()
typeOf(Cors.middleware({ origins: (origin, request) => request.headers["x-tenant"] === origin, name: "Api" })).is<
  Of<never, never, "Api">
>()
declare const list: ReadonlyArray<string>
typeOf(Cors.middleware({ origins: condition ? "*" : list })).is<Of>()
typeOf(Cors.middleware({
  origins: list,
  methods: "*",
  headers: ["x-a"],
  exposedHeaders: undefined,
  maxAge: false,
  privateNetwork: true,
  timing: condition,
  resourcePolicy: "same-site",
  disallowedPreflight: "reason",
  preflightStatus: 200
})).is<Of>()

// an Effect brings what it fails with and what it requires, but for the request, which is there
declare const busy: Effect.Effect<boolean, Busy, Database | HttpServerRequest.HttpServerRequest>
typeOf(Cors.middleware({ origins: () => busy })).is<Of<Busy, Database>>()
typeOf(Cors.middleware({ origins: (origin) => Effect.map(Store, () => origin === "") })).is<Of<never, Store>>()
typeOf(Cors.middleware({ origins: (origin) => origin === "" ? false : busy })).is<Of<Busy, Database>>()
typeOf(Cors.middleware({ origins: condition ? "*" : () => busy })).is<Of<Busy, Database>>()
// so does one of a route
declare const notFound: Effect.Effect<boolean, NotFound, Store>
typeOf(Cors.middleware({
  origins: "*",
  routes: [
    { match: ["/a"], origins: () => busy },
    { match: ["/b"], origins: ["https://example.com"], maxAge: "1 hour" },
    { match: ["POST /c"], origins: (origin, request) => Effect.as(notFound, origin === request.url) }
  ]
})).is<Of<Busy | NotFound, Database | Store>>()
typeOf(Cors.middleware({ origins: "*", routes: list.map((match) => ({ match: [match], origins: list })) })).is<Of>()

// the refusal shows where it can come
typeOf(Cors.middleware({ origins: list, denyDisallowed: true })).is<Of<Cors.OriginNotAllowed>>()
typeOf(Cors.middleware({ origins: list, denyDisallowed: condition })).is<Of<Cors.OriginNotAllowed>>()
typeOf(Cors.middleware({ origins: list, denyDisallowed: false })).is<Of>()
typeOf(Cors.middleware({ origins: () => busy, denyDisallowed: true })).is<Of<Busy | Cors.OriginNotAllowed, Database>>()
declare const refusal: Cors.OriginNotAllowed
same<typeof refusal._tag, "OriginNotAllowed">()
export const respondable: HttpServerRespondable.Respondable = refusal
declare const app: HttpApp.Default
typeOf(app.pipe(Cors.middleware({ origins: list, denyDisallowed: true }))).is<HttpApp.Default<Cors.OriginNotAllowed>>()

// of options that are known as such, everything may come
declare const options: Cors.Options
typeOf(Cors.middleware(options)).is<Of<unknown, unknown, string>>()
declare const plain: Cors.Options<Cors.PlainOrigins, [], false, "Cors">
typeOf(Cors.middleware(plain)).is<Of>()

// what it requires has to stand outside
const asking = Cors.middleware({ origins: () => Effect.map(Session, ({ id }) => id === "") })
Stack.make(session, asking)
// @ts-expect-error the session is known only further in
Stack.make(asking, session)

// @ts-expect-error the origins have to be said
Cors.middleware({})
// @ts-expect-error one origin is a list of one
Cors.middleware({ origins: "https://example.com" })
// @ts-expect-error no such option
Cors.middleware({ origins: "*", allowCredentials: true })
// @ts-expect-error no such option of a route
Cors.middleware({ origins: "*", routes: [{ match: ["/a"], origins: "*", denyDisallowed: true }] })
// @ts-expect-error a route says what it matches
Cors.middleware({ origins: "*", routes: [{ origins: "*" }] })
// @ts-expect-error a verdict is a boolean
Cors.middleware({ origins: () => "yes" })
// @ts-expect-error the same, of an Effect
Cors.middleware({ origins: () => Effect.succeed("yes") })
// @ts-expect-error null is no form of no limit
Cors.middleware({ origins: "*", maxAge: null })

// the rules alone, for which an origin is enough
typeOf(Cors.policy({ origins: (origin) => origin === "" })).is<(facts: Cors.Facts) => Cors.Decision>()
Cors.policy({ origins: "*", routes: [{ match: ["/a"], origins: list }] })
// @ts-expect-error it runs no Effect
Cors.policy({ origins: () => busy })
// @ts-expect-error it has no request
Cors.policy({ origins: (origin: string, request: HttpServerRequest.HttpServerRequest) => origin === request.url })
same<Cors.Decision["_tag"], "Preflight" | "Request" | "Deny">()
declare const preflight: Extract<Cors.Decision, { readonly _tag: "Preflight" }>
same<typeof preflight.disallowed, ReadonlyArray<"origin" | "method" | "headers">>()
typeOf(preflight.response).is<HttpServerResponse.HttpServerResponse>()

// the parts of the options
same<Cors.Route["match"], ReadonlyArray<string>>()
export const rules: Cors.Rules<"*"> = { origins: "*" }
export const origins: Cors.Origins<Busy, Database> = condition ? [/x/] : () => Effect.succeed(true)
export const asked: Cors.Origins = (_, request) => request.url === "/"
