import type { HttpApp, HttpServerRespondable } from "@effect/platform"
import type { Effect } from "effect"
import { Schema } from "effect"
import { Csrf, Forwarded, type Middleware, Session, type SessionStore, Stack } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

class Visitor extends Session.Tag("app/Visitor")<Visitor>()(Schema.Struct({})) {}
const visitor = Visitor.middleware({ kind: "stored" })

type Of<Provides = never, Fails = never, Requires = never, Name extends string = "Csrf"> = Middleware.Middleware<
  Provides,
  Csrf.CrossOriginRefused | Fails,
  Forwarded.Client | Requires,
  never,
  Name,
  Middleware.Phases
>

typeOf(Csrf.middleware()).is<Of>()
typeOf(Csrf.middleware({
  trustedOrigins: ["https://app.example.com", /https:\/\/.*/],
  exceptRoutes: ["POST /hooks"],
  exceptCredentials: ["bearer", "x-api-key"],
  name: "Site"
})).is<Of<never, never, never, "Site">>()

// tokens need the session, and its store may be down
type Tokens = Of<Csrf.Token, SessionStore.SessionUnavailable, Visitor>
typeOf(Csrf.middleware({ tokens: { session: Visitor } })).is<Tokens>()
typeOf(Csrf.middleware({ tokens: { session: Visitor, field: "_token", header: "x-token" } })).is<Tokens>()
typeOf(Csrf.middleware({ tokens: undefined })).is<Of>()

// of options that are not known as such, no token is there for sure
declare const options: Csrf.Options
export const some: Middleware.Middleware<never, unknown, unknown, never, string, Middleware.Phases> = Csrf.middleware(
  options
)
declare const sessions: Csrf.AnySession
export const known: Csrf.AnySession = Visitor
export const tokens: Csrf.Tokens = { session: sessions }

// where it stands
const client = Forwarded.middleware({ trust: "none" })
Stack.make(client, Csrf.middleware())
Stack.make(client, visitor, Csrf.middleware({ tokens: { session: Visitor } }))
Stack.make(
  // @ts-expect-error host and scheme are known only inside Forwarded
  Csrf.middleware(),
  client
)
Stack.make(
  client,
  // @ts-expect-error the session is known only further in
  Csrf.middleware({ tokens: { session: Visitor } }),
  visitor
)

// a handler that makes a token does not compile without
declare const form: HttpApp.Default<never, Csrf.Token>
declare const app: HttpApp.Default
typeOf(form.pipe(Csrf.middleware({ tokens: { session: Visitor } }))).is<
  HttpApp.Default<Csrf.CrossOriginRefused | SessionStore.SessionUnavailable, Forwarded.Client | Visitor>
>()
typeOf(form.pipe(Csrf.middleware())).is<
  HttpApp.Default<Csrf.CrossOriginRefused, Forwarded.Client | Csrf.Token>
>()
typeOf(app.pipe(Csrf.middleware())).is<HttpApp.Default<Csrf.CrossOriginRefused, Forwarded.Client>>()
same<Csrf.Token["Type"]["get"], Effect.Effect<string, Session.WriteError>>()

declare const refusal: Csrf.CrossOriginRefused
same<typeof refusal.reason, "fetch-site" | "origin" | "token">()
export const respondable: HttpServerRespondable.Respondable = refusal

// @ts-expect-error one origin is a list of one
Csrf.middleware({ trustedOrigins: "https://example.com" })
// @ts-expect-error a session by its tag
Csrf.middleware({ tokens: { session: "app/Visitor" } })
// @ts-expect-error a tag that is no session's
Csrf.middleware({ tokens: { session: Forwarded.Client } })

// the rules alone
typeOf(Csrf.policy(options)).is<(facts: Csrf.Facts) => Csrf.Decision>()
same<Csrf.Decision["_tag"], "Allow" | "Unknown" | "Refuse">()
