import { HttpLayerRouter } from "@effect/platform"
import {
  HttpApiMiddleware,
  HttpApiSecurity,
  type HttpApp,
  HttpRouter,
  type HttpServerError,
  type HttpServerRespondable,
  HttpServerResponse
} from "@effect/platform"
import { type DateTime, Effect, Layer, Option, type Redacted, Schema } from "effect"
import { Authentication, Authorization, type Keyring, type Middleware, Session, Stack } from "effect-middleware"
import { Database, same, typeOf } from "./fixtures.js"

interface User {
  readonly name: string
}
class CurrentUser extends Authentication.Tag("app/CurrentUser")<CurrentUser, User>() {}
class Service extends Authentication.Tag("app/Service")<Service, { readonly client: number }>() {}
class Visit extends Session.Tag("app/Visit")<Visit>()(Schema.Struct({})) {}
class Visitor extends Authentication.Tag("app/Visitor", { requires: [Visit] })<Visitor, User>() {}
export const perRequest: Middleware.PerRequest = null as never as CurrentUser
export const tag: Authentication.AuthenticationClass<CurrentUser, "app/CurrentUser", User> = CurrentUser

// who it is

declare const principal: Authentication.Principal<User>
typeOf(CurrentUser).is<typeof CurrentUser>()
typeOf(Effect.map(CurrentUser, (principal) => principal)).is<
  Effect.Effect<Authentication.Principal<User>, never, CurrentUser>
>()
same<typeof principal.expiresAt, Option.Option<DateTime.Utc>>()
same<typeof principal.claims, Authentication.Claims>()
same<
  keyof Authentication.Principal<User>,
  | "user"
  | "subject"
  | "method"
  | "scopes"
  | "roles"
  | "permissions"
  | "claims"
  | "authenticatedAt"
  | "expiresAt"
>()
export const wider: Authentication.Principal<unknown> = principal
export const least: Authentication.Identity<User> = { user: { name: "ada" } }

// what provides it, and what that needs

type Backend = Authentication.BackendOf<CurrentUser>
type Failures = Authentication.AuthenticationError
typeOf(CurrentUser.required()).is<
  Middleware.Middleware<CurrentUser, Failures, Backend, never, "app/CurrentUser", Middleware.Phases>
>()
typeOf(CurrentUser.optional()).is<
  Middleware.Middleware<
    Authentication.OptionOf<CurrentUser>,
    Failures,
    Backend,
    never,
    "app/CurrentUser/Option",
    Middleware.Phases
  >
>()
typeOf(CurrentUser.presented({ exempt: ["/health"], name: "Early" })).is<
  Middleware.Middleware<never, Failures, Backend, never, "Early", Middleware.Phases>
>()
declare const keyring: Keyring.Service
typeOf(CurrentUser.required({ login: { path: "/login" } })).is<
  Middleware.Middleware<CurrentUser, Failures, Backend | Keyring.Keyring, never, "app/CurrentUser", Middleware.Phases>
>()
typeOf(CurrentUser.required({ login: { path: "/login", keyring }, name: "User" })).is<
  Middleware.Middleware<CurrentUser, Failures, Backend, never, "User", Middleware.Phases>
>()
// who answers does not fail
typeOf(CurrentUser.required({ onError: ({ _tag }) => HttpServerResponse.text(_tag) })).is<
  Middleware.Middleware<CurrentUser, never, Backend, never, "app/CurrentUser", Middleware.Phases>
>()
// @ts-expect-error a response, and no Effect of one
CurrentUser.required({ onError: () => Effect.void })
// one that a session backend may be given requires that session
typeOf(Visitor.required()).is<
  Middleware.Middleware<
    Visitor,
    Failures,
    Authentication.BackendOf<Visitor> | Visit,
    never,
    "app/Visitor",
    Middleware.Phases
  >
>()
export const handler: Authentication.ErrorHandler = (error) => HttpServerResponse.text(error._tag)
export const options: Authentication.Options = { login: { path: "/login" } satisfies Authentication.Login }
export const requiresOptions: Authentication.RequiresOptions = { ...options, hide: true }

// two principals side by side are two

const both = Stack.make(CurrentUser.required(), Service.required())
const app = Effect.flatMap(Effect.zip(CurrentUser, Service), () => HttpServerResponse.empty())
typeOf(both(app)).is<HttpApp.Default<Failures, Backend | Authentication.BackendOf<Service>>>()
typeOf(CurrentUser.required()(app)).is<HttpApp.Default<Failures, Backend | Service>>()
// what is optional is not what is required
typeOf(CurrentUser.optional()(Effect.as(CurrentUser, HttpServerResponse.empty()))).is<
  HttpApp.Default<Failures, Backend | CurrentUser>
>()
typeOf(CurrentUser.optional()(Effect.as(CurrentUser.Option, HttpServerResponse.empty()))).is<
  HttpApp.Default<Failures, Backend>
>()

// backends

const bearer = Authentication.bearer({
  verify: (token) => {
    typeOf(token).is<Redacted.Redacted>()
    return Effect.map(Database, ({ url }) => Option.some({ user: { name: url } }))
  }
})
typeOf(bearer).is<Authentication.Backend<{ name: string }, Database>>()
typeOf(CurrentUser.layer(bearer)).is<Layer.Layer<Backend, never, Database>>()
const basic = Authentication.basic({
  verify: ({ username }) => Effect.succeed(Option.some({ user: { name: username } }))
})
typeOf(basic).is<Authentication.Backend<{ name: string }>>()
const key = Authentication.apiKey({ find: () => Effect.succeed(Option.some({ user: { client: 1 } })) })
typeOf(key).is<Authentication.Backend<{ client: number }>>()
const place: Authentication.ApiKeyPlace = { unsafeQuery: "key" }
typeOf(Authentication.apiKey({ in: place, find: () => Effect.succeed(Option.some({ user: 1 })) })).is<
  Authentication.Backend<number>
>()
// @ts-expect-error the query has another name, to be thought about
Authentication.apiKey({ in: { query: "key" }, find: () => Effect.succeed(Option.some({ user: 1 })) })
typeOf(Authentication.firstOf(bearer, key)).is<
  Authentication.Backend<{ name: string } | { client: number }, Database>
>()
typeOf(Authentication.hashApiKey("key")).is<string>()
// @ts-expect-error a user of another type
CurrentUser.layer(key)
const visits = Authentication.session(Visit, { find: (name) => Effect.succeed(Option.some({ user: { name } })) })
typeOf(visits).is<Authentication.Backend<{ name: string }, Visit>>()
typeOf(Visitor.layer(Authentication.firstOf(visits, bearer))).is<
  Layer.Layer<Authentication.BackendOf<Visitor>, never, Database>
>()
// @ts-expect-error the tag does not say that it requires a session
CurrentUser.layer(visits)
same<
  Authentication.MustBeRequiredByTag<Visit>[
    "this backend asks for a service of the request: name its tag in Authentication.Tag(id, { requires: [...] })"
  ],
  Visit
>()
typeOf(Authentication.bearerOf<User>("own", {}, (_, token, { challenge, invalid }) => {
  typeOf(token).is<string>()
  typeOf(challenge).is<Authentication.Challenge>()
  return invalid("no")
})).is<Authentication.Backend<User>>()

// results

same<Authentication.Result<User>["_tag"], "Absent" | "Malformed" | "Invalid" | "Authenticated" | "Unavailable">()
typeOf(Authentication.Absent).is<Authentication.Absent>()
typeOf(Authentication.Malformed("reason")).is<Authentication.Malformed>()
typeOf(Authentication.Invalid("reason", Authentication.challenge("Own"))).is<Authentication.Invalid>()
typeOf(Authentication.Unavailable("cause")).is<Authentication.Unavailable>()
declare const exchange: Middleware.Exchange
typeOf(Authentication.Authenticated(exchange, { method: "own", subject: "ada", identity: least })).is<
  Authentication.Authenticated<User>
>()
export const verified: Authentication.Verified<User> = Effect.succeed(Option.some(least))

// layers for tests

typeOf(CurrentUser.layerTest({ name: "ada" }, { scopes: ["a"] })).is<Layer.Layer<Backend>>()
typeOf(CurrentUser.layerAnonymous).is<Layer.Layer<Backend>>()
typeOf(CurrentUser.layerUnavailable).is<Layer.Layer<Backend>>()
// @ts-expect-error a user of another type
CurrentUser.layerTest({ client: 1 })

// authorization

typeOf(CurrentUser.requires({ scopes: ["docs.read"] })).is<
  Middleware.Middleware<
    CurrentUser | Authentication.AccessOf<CurrentUser>,
    Failures | Authorization.NotPermitted,
    Backend,
    never,
    "app/CurrentUser/requires",
    Middleware.Phases
  >
>()
typeOf(CurrentUser.requires({ roles: ["admin"] }, { hide: true })).is<
  Middleware.Middleware<
    CurrentUser | Authentication.AccessOf<CurrentUser>,
    Failures | HttpServerError.RouteNotFound,
    Backend,
    never,
    "app/CurrentUser/requires",
    Middleware.Phases
  >
>()
const owns = Authorization.rule(
  "owns",
  ({ user }: { readonly user: User }) => Effect.map(Database, ({ url }) => url === user.name)
)
typeOf(CurrentUser.requires(owns)(HttpServerResponse.empty())).is<
  HttpApp.Default<Failures | Authorization.NotPermitted, Backend | Database>
>()
// @ts-expect-error a rule for users of another type
Service.requires(owns)
typeOf(CurrentUser.permit({ scopes: ["a"] })).is<
  Effect.Effect<Authentication.Principal<User>, Authorization.NotPermitted, CurrentUser>
>()

// deny by default

const hello = Effect.as(CurrentUser, HttpServerResponse.empty())
const admin = CurrentUser.route("GET", "/admin", CurrentUser.requires({ roles: ["admin"] }), hello)
typeOf(admin).is<Authentication.Guarded<CurrentUser, Failures | Authorization.NotPermitted, Backend>>()
const health = CurrentUser.route("GET", "/health", CurrentUser.public, HttpServerResponse.empty())
typeOf(CurrentUser.routes(health, admin)).is<
  HttpRouter.HttpRouter<Failures | Authorization.NotPermitted, Backend>
>()
// @ts-expect-error nobody has said who may come
CurrentUser.routes(HttpRouter.makeRoute("GET", "/", HttpServerResponse.empty()))
// @ts-expect-error to be authenticated is no decision
CurrentUser.route("GET", "/", CurrentUser.required(), hello)
// @ts-expect-error nor is that of another principal
CurrentUser.route("GET", "/", Service.public, HttpServerResponse.empty())

const route = CurrentUser.layerRoute("GET", "/admin", hello)
export const guarded = Layer.provide(route, Stack.layerRouter(CurrentUser.requires({ roles: ["admin"] })).layer)
same<HttpLayerRouter.Request.Only<"Requires", Layer.Layer.Context<typeof guarded>>, never>()
same<
  HttpLayerRouter.Request.Only<"Requires", Layer.Layer.Context<typeof route>>,
  CurrentUser | Authentication.AccessOf<CurrentUser>
>()

// one that requires a session, with the session
const combined = Stack.layerRouter(Visitor.required()).combine(Stack.layerRouter(Visit.middleware({ kind: "stored" })))
export const ofVisitor = Layer.provide(
  HttpLayerRouter.add("GET", "/", Effect.as(Visitor, HttpServerResponse.empty())),
  combined.layer
)

// in a HttpApi

class Authed extends HttpApiMiddleware.Tag<Authed>()("app/Authed", {
  provides: CurrentUser,
  failure: Authentication.AuthenticationError,
  security: { token: HttpApiSecurity.bearer }
}) {}
typeOf(Stack.httpApiSecurity(Authed, CurrentUser.required())).is<Layer.Layer<Authed, never, Backend>>()
class Silent extends HttpApiMiddleware.Tag<Silent>()("app/Silent", {
  provides: CurrentUser,
  security: { token: HttpApiSecurity.bearer }
}) {}
export const security: Stack.SecurityTag = Authed
// @ts-expect-error it fails with what the api does not know
Stack.httpApiSecurity(Silent, CurrentUser.required())

// failures

declare const unauthenticated: Authentication.Unauthenticated
same<typeof unauthenticated.reason, "absent" | "invalid">()
export const respondables: ReadonlyArray<HttpServerRespondable.Respondable> = [
  unauthenticated,
  new Authentication.CredentialsMalformed({ challenge: "Bearer" }),
  new Authentication.AuthenticationUnavailable()
]
typeOf(Authentication.returnAddress("/login?return_to=x", { path: "/login" })).is<
  Effect.Effect<Option.Option<string>, never, Keyring.Keyring>
>()
