import {
  type HttpApp,
  type HttpLayerRouter,
  HttpMiddleware,
  type HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { Cause, type Clock, Context, Effect, LogLevel, type Option, type Scope } from "effect"
import { type Entropy, Middleware, type ResponseDraft, Stack } from "effect-middleware"
import {
  auth,
  Busy,
  condition,
  Connection,
  cors,
  Database,
  errors,
  limit,
  login,
  NotFound,
  same,
  Session,
  session,
  Store,
  typeOf,
  Unauthenticated,
  User
} from "./fixtures.js"

type Request = HttpServerRequest.HttpServerRequest
type Response = HttpServerResponse.HttpServerResponse

declare const app: HttpApp.Default<Unauthenticated | NotFound, Session | User | Database>

// ---------------------------------------------------------------------------------------------------------------------
// Middleware: what it does to the type of an app
// ---------------------------------------------------------------------------------------------------------------------

// it provides a service and requires another
typeOf(session(app)).is<HttpApp.Default<Unauthenticated | NotFound, User | Database | Store>>()
// it fails
typeOf(limit(app)).is<HttpApp.Default<Unauthenticated | NotFound | Busy, Session | User | Database>>()
// it handles
typeOf(login(app)).is<HttpApp.Default<NotFound, Session | User | Database>>()
// in a pipe, the last is outermost
typeOf(app.pipe(auth, session, errors)).is<HttpApp.Default<NotFound, Database | Store>>()
// it is an HttpMiddleware
typeOf(session satisfies HttpMiddleware.HttpMiddleware).is<typeof session>()

// its parts
same<Middleware.Middleware.Provides<typeof session>, Session>()
same<Middleware.Middleware.Fails<typeof auth>, Unauthenticated>()
same<Middleware.Middleware.Requires<typeof session>, Store>()
same<Middleware.Middleware.Handles<typeof errors>, Unauthenticated | Busy>()
same<Middleware.Middleware.Name<typeof session>, "Session">()
same<(typeof session)["members"], Middleware.Phases>()
// of a choice, what both do
same<Middleware.Middleware.Provides<typeof session | typeof auth>, never>()
same<Middleware.Middleware.Handles<typeof errors | typeof login>, Unauthenticated>()
same<Middleware.Middleware.Fails<typeof session | typeof auth>, Unauthenticated>()
same<Middleware.Middleware.Requires<typeof session | typeof auth>, Store | Session>()

// ---------------------------------------------------------------------------------------------------------------------
// Middleware: variance
// ---------------------------------------------------------------------------------------------------------------------

declare const one: Middleware.Middleware<Session, Unauthenticated, Store, Unauthenticated>
declare const more: Middleware.Middleware<
  Session | User,
  Unauthenticated | Busy,
  Store | Database,
  Unauthenticated | Busy
>

// one that provides and handles more passes for one that provides and handles less
export const narrowed: Middleware.Middleware<Session, Unauthenticated | Busy, Store | Database, Unauthenticated> = more
// one that fails and requires less passes for one that fails and requires more
export const widened: Middleware.Middleware<Session, Unauthenticated | Busy, Store | Database, Unauthenticated> = one
// @ts-expect-error it does not provide a user
export const provides: Middleware.Middleware<Session | User, Unauthenticated, Store, Unauthenticated> = one
// @ts-expect-error it can fail
export const fails: Middleware.Middleware<Session, never, Store, Unauthenticated> = one
// @ts-expect-error it requires a store
export const requires: Middleware.Middleware<Session, Unauthenticated, never, Unauthenticated> = one
// @ts-expect-error it does not handle Busy
export const handles: Middleware.Middleware<Session, Unauthenticated, Store, Unauthenticated | Busy> = one
// @ts-expect-error its name is another
export const name: Middleware.Middleware<Session, never, Store, never, "Other"> = session
// @ts-expect-error it does not wrap
export const members: Middleware.Middleware<Session, never, Store, never, "Session", Middleware.Wrapping> = session
// @ts-expect-error a plain function is none
export const plain: Middleware.Middleware = HttpMiddleware.logger

// Any takes all and tells nothing
export const any: ReadonlyArray<Middleware.Any> = [session, auth, errors, Stack.make(session, auth), one, more]
// @ts-expect-error what it requires is not known
export const known: Middleware.Middleware = any[0]!

// PhasesOnly: no app to wrap
export const phases: ReadonlyArray<Middleware.PhasesOnly> = [session, auth, Stack.make(session, Stack.make(auth))]
// @ts-expect-error it wraps
export const wraps: Middleware.PhasesOnly = errors
// @ts-expect-error it wraps, further in
export const deep: Middleware.PhasesOnly = Stack.make(session, Stack.make(errors))
same<Middleware.Phases["kind"], "phases">()
same<Middleware.Wrapping["kind"], "around">()
export const ofPhases: Middleware.PhaseMembers = Stack.make(session, auth).members

// ---------------------------------------------------------------------------------------------------------------------
// generic functions
// ---------------------------------------------------------------------------------------------------------------------

// one over a middleware that provides a session
declare const over: <F, R, H>(middleware: Middleware.Middleware<Session, F, R, H>) => readonly [F, R, H]
typeOf(over(session)).is<readonly [never, Store, never]>()
typeOf(over(Stack.make(errors, session, auth))).is<readonly [never, Store, Unauthenticated | Busy]>()
// @ts-expect-error no session
over(auth)

// one that adds a member
const traced = <P, F, R, H>(middleware: Middleware.Middleware<P, F, R, H>) => Stack.make(cors, middleware)
export const tracedSession: Middleware.Middleware<Session, never, Store> = traced(session)
typeOf(traced(auth)(app)).is<HttpApp.Default<Unauthenticated | NotFound, Session | Database>>()
const closed = <P, F, R, H>(middleware: Middleware.Middleware<P, F, R, H>) => Stack.make(middleware, cors)
typeOf(closed(session)(app)).is<HttpApp.Default<Unauthenticated | NotFound, User | Database | Store>>()
export const guess = <P, F, R, H>(middleware: Middleware.Middleware<P, F, R, H>) =>
  // @ts-expect-error it could provide the store that the session needs
  Stack.make(session, middleware)

// ---------------------------------------------------------------------------------------------------------------------
// services and locals
// ---------------------------------------------------------------------------------------------------------------------

class Tenant extends Middleware.Service("app/Tenant")<Tenant, { readonly id: string }>() {}
same<(typeof Tenant)["key"], "app/Tenant">()
same<(typeof Tenant)["Service"], { readonly id: string }>()
typeOf(Effect.map(Tenant, ({ id }) => id)).is<Effect.Effect<string, never, Tenant>>()
typeOf(Effect.provideService(Effect.asVoid(Tenant), Tenant, { id: "1" })).is<Effect.Effect<void>>()
export const tag: Context.Tag<Tenant, { readonly id: string }> = Tenant
export const serviceClass: Middleware.ServiceClass<Tenant, "app/Tenant", { readonly id: string }> = Tenant
// two services of one shape are two
// @ts-expect-error another literal
export const other: User = null as unknown as Session
// it is marked as living for one request, as ours are
same<Extract<Session | Store, Middleware.PerRequest>, Session>()
export const anyTags: ReadonlyArray<Middleware.AnyTag> = [Tenant, Store, Context.GenericTag<"id", number>("id")]

const began = Middleware.local<number>()
typeOf(began).is<Middleware.Local<number>>()
declare const exchange: Middleware.Exchange<Store | Session>
typeOf(began.get(exchange)).is<number | undefined>()
began.set(exchange, 1)
// @ts-expect-error not a number
began.set(exchange, "1")

// ---------------------------------------------------------------------------------------------------------------------
// Exchange
// ---------------------------------------------------------------------------------------------------------------------

typeOf(exchange.request).is<Request>()
typeOf(exchange.clock).is<Clock.Clock>()
typeOf(exchange.entropy).is<Entropy.Service>()
typeOf(exchange.get(Store)).is<{ readonly load: Effect.Effect<string> }>()
typeOf(exchange.get(Session)).is<{ readonly id: string }>()
// @ts-expect-error not declared
exchange.get(User)
typeOf(exchange.getOption(User)).is<Option.Option<{ readonly name: string }>>()
typeOf(exchange.deriveRequest({ url: "/", headers: exchange.request.headers, method: undefined })).is<void>()
typeOf(exchange.deriveRequest({ stream: (body) => body })).is<void>()
// @ts-expect-error a body is changed as a stream
exchange.deriveRequest({ body: "" })
typeOf(exchange.annotateLogs("key", 1)).is<void>()
typeOf(exchange.annotateSpan("key", 1)).is<void>()
typeOf(exchange.route).is<string | undefined>()
typeOf(exchange.refusal).is<Middleware.Refusal | undefined>()
typeOf(exchange.log(LogLevel.Info, "message", { key: 1 }, Cause.empty)).is<void>()
same<keyof Middleware.RequestChanges, "headers" | "method" | "remoteAddress" | "stream" | "url">()
export const fewer: Middleware.Exchange<Store> = exchange
// @ts-expect-error it has no user
export const further: Middleware.Exchange<Store | User> = exchange
export const namedTag: Middleware.NamedInRequires<Store | User> = Store

// ---------------------------------------------------------------------------------------------------------------------
// outcomes
// ---------------------------------------------------------------------------------------------------------------------

typeOf(Middleware.Refuse(new Busy())).is<Middleware.Refuse<Busy>>()
typeOf(Middleware.Respond(HttpServerResponse.empty())).is<Middleware.Respond>()
typeOf(Middleware.Provide({ id: "1" })).is<Middleware.Provide<{ id: string }>>()
typeOf(Middleware.Pass).is<Middleware.Pass>()
typeOf(Middleware.Defer).is<Middleware.Defer>()
// @ts-expect-error a refusal is an object, to which its response belongs
Middleware.Refuse("busy")
same<
  Middleware.Outcome<Busy, 1>,
  Middleware.Refuse<Busy> | Middleware.Respond | Middleware.Provide<1> | Middleware.Pass | Middleware.Defer
>()
same<
  Middleware.RequestOutcome<never, never>,
  Middleware.Refuse<object> | Middleware.Respond | Middleware.Pass | Middleware.Defer | void
>()
same<
  Middleware.RequestOutcome<Session, { readonly id: string }>,
  Middleware.Refuse<object> | Middleware.Respond | Middleware.Provide<{ readonly id: string }> | Middleware.Defer
>()
same<
  Middleware.EffectOutcome<never, never>,
  Middleware.Refuse<object> | Middleware.Respond | Middleware.Pass | void
>()
same<
  Middleware.EffectOutcome<Session, { readonly id: string }>,
  Middleware.Refuse<object> | Middleware.Respond | Middleware.Provide<{ readonly id: string }>
>()

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

typeOf(Middleware.make({ name: "Nothing" })).is<
  Middleware.Middleware<never, never, never, never, "Nothing", Middleware.Phases>
>()

// plain phases: what is refused, required and provided shows
typeOf(Middleware.make({
  name: "Plain",
  requires: [Store, Database],
  provides: Session,
  request: (exchange) => {
    typeOf(exchange).is<Middleware.Exchange<Store | Database>>()
    if (exchange.request.method === "GET") return Middleware.Refuse(new Busy())
    if (exchange.request.method === "PUT") return Middleware.Refuse(new NotFound({ id: 1 }))
    if (exchange.request.method === "HEAD") return Middleware.Respond(HttpServerResponse.empty())
    return Middleware.Provide({ id: exchange.get(Database).url })
  },
  response: (draft, exchange) => {
    typeOf(draft).is<ResponseDraft.ResponseDraft>()
    typeOf(exchange).is<Middleware.Exchange<Store | Database | Session>>()
  }
})).is<Middleware.Middleware<Session, Busy | NotFound, Store | Database, never, "Plain", Middleware.Phases>>()

// a phase that decides nothing
typeOf(Middleware.make({ name: "Void", request: ({ request }) => void request.url })).is<
  Middleware.Middleware<never, never, never, never, "Void", Middleware.Phases>
>()
typeOf(Middleware.make({
  name: "Maybe",
  request: ({ request }) => request.url === "/" ? undefined : Middleware.Refuse(new Busy())
})).is<Middleware.Middleware<never, Busy, never, never, "Maybe", Middleware.Phases>>()

// phases that are effects: refusals and failures join, what the platform gives is not required
typeOf(Middleware.make({
  name: "Effects",
  requestEffect: (exchange) =>
    Effect.gen(function*() {
      const { load } = yield* Store
      if (exchange.request.url === (yield* load)) return Middleware.Refuse(new Busy())
      if (exchange.request.url === "/login") return yield* new Unauthenticated()
      return Middleware.Pass
    }),
  responseEffect: () => Effect.asVoid(Database)
})).is<
  Middleware.Middleware<never, Busy | Unauthenticated, Store | Database, never, "Effects", Middleware.Phases>
>()
// its own service is there on the way out
typeOf(Middleware.make({
  name: "Own",
  provides: Session,
  requestEffect: () => Effect.map(Store, () => Middleware.Provide({ id: "1" })),
  responseEffect: () => Effect.asVoid(Session)
})).is<Middleware.Middleware<Session, never, Store, never, "Own", Middleware.Phases>>()
// the plain phase defers to the effect
typeOf(Middleware.make({
  name: "Defers",
  provides: Session,
  request: ({ request }) => request.url === "/" ? Middleware.Defer : Middleware.Provide({ id: "1" }),
  requestEffect: () => Effect.succeed(Middleware.Provide({ id: "2" }))
})).is<Middleware.Middleware<Session, never, never, never, "Defers", Middleware.Phases>>()
// a phase may be left out by a flag
typeOf(Middleware.make({ name: "Flag", response: condition ? (draft) => draft.set("x-a", "1") : undefined })).is<
  Middleware.Middleware<never, never, never, never, "Flag", Middleware.Phases>
>()

Middleware.make({
  name: "Incomplete",
  provides: Session,
  // @ts-expect-error on one path it provides nothing
  request: ({ request }) => request.url === "/" ? undefined : Middleware.Provide({ id: "1" })
})
Middleware.make({
  name: "Passing",
  provides: Session,
  // @ts-expect-error who lets the request through without providing leaves the handler without
  request: ({ request }) => request.url === "/" ? Middleware.Pass : Middleware.Provide({ id: "1" })
})
Middleware.make({
  name: "IncompleteEffect",
  provides: Session,
  // @ts-expect-error the same, of an effect
  requestEffect: ({ request }) => Effect.sync(() => request.url === "/" ? undefined : Middleware.Provide({ id: "1" }))
})
// @ts-expect-error another type than the service has
Middleware.make({ name: "Wrong", provides: Session, request: () => Middleware.Provide({ id: 1 }) })
// @ts-expect-error it provides a service that it does not declare
Middleware.make({ name: "Undeclared", request: () => Middleware.Provide({ id: "1" }) })
// @ts-expect-error an effect where plain code is asked for
Middleware.make({ name: "Effectful", request: () => Effect.succeed(Middleware.Pass) })
// @ts-expect-error on the way out there is nobody to fail to
Middleware.make({ name: "Failing", responseEffect: () => Effect.fail(new Busy()) })
Middleware.make({
  name: "Reading",
  requires: [Store],
  // @ts-expect-error not in `requires`
  request: (exchange) => void exchange.get(Database)
})

// ---------------------------------------------------------------------------------------------------------------------
// around, dispatch, fromHttpMiddleware
// ---------------------------------------------------------------------------------------------------------------------

// what the app fails with is not known, and passes
typeOf(Middleware.around("Timeout", (app) => {
  typeOf(app).is<HttpApp.Default<HttpLayerRouter.unhandled>>()
  return Effect.timeoutFail(app, { duration: "1 second", onTimeout: () => new Busy() })
})).is<Middleware.Middleware<never, Busy, never, never, "Timeout", Middleware.Wrapping>>()
typeOf(Middleware.around("Pooled", (app) => Effect.zipRight(Database, app))).is<
  Middleware.Middleware<never, never, Database, never, "Pooled", Middleware.Wrapping>
>()
// one out of which nothing unknown comes handles all
typeOf(Middleware.around("All", (app) => Effect.catchAll(app, () => HttpServerResponse.empty()))).is<
  Middleware.Middleware<never, never, never, unknown, "All", Middleware.Wrapping>
>()
// one that says what it provides and handles
typeOf(
  Middleware.around<{ provides: Session; handles: Busy }>()("Both", (app) =>
    app.pipe(
      Effect.provideService(Session, { id: "1" }),
      Effect.catchTag("Busy", () => HttpServerResponse.empty())
    ))
).is<Middleware.Middleware<Session, never, never, Busy, "Both", Middleware.Wrapping>>()
// what it only says does not disappear
typeOf(Middleware.around<{ provides: Session; handles: Busy }>()("Neither", (app) => app)).is<
  Middleware.Middleware<Session, Busy, Session, Busy, "Neither", Middleware.Wrapping>
>()

typeOf(Middleware.dispatch("Dispatch", (request, next) => {
  typeOf(request).is<Request>()
  typeOf(next).is<HttpApp.Default<HttpLayerRouter.unhandled>>()
  return Effect.map(next, HttpServerResponse.setHeader("x-method", request.method))
})).is<Middleware.Middleware<never, never, never, never, "Dispatch", Middleware.Wrapping>>()
typeOf(Middleware.dispatch("Gen", (_, next) =>
  Effect.gen(function*() {
    const user = yield* User
    if (user.name === "") return yield* new Unauthenticated()
    return yield* next
  }))).is<Middleware.Middleware<never, Unauthenticated, User, never, "Gen", Middleware.Wrapping>>()
// one that answers instead of the app
typeOf(Middleware.dispatch("Answer", ({ url }, next) => url === "/" ? HttpServerResponse.empty() : next)).is<
  Middleware.Middleware<never, never, never, never, "Answer", Middleware.Wrapping>
>()
typeOf(Middleware.dispatch("Swallow", (_, next) => Effect.catchAll(next, () => HttpServerResponse.empty()))).is<
  Middleware.Middleware<never, never, never, unknown, "Swallow", Middleware.Wrapping>
>()
Middleware.dispatch("Some", (_, next) =>
  // @ts-expect-error what is not known cannot be told apart: ExceptionHandlers, or around with `handles`
  Effect.catchTag(next, "Busy", () => HttpServerResponse.empty()))
// @ts-expect-error it gives no response
Middleware.dispatch("Nothing", (_, next) => Effect.asVoid(next))

typeOf(Middleware.fromHttpMiddleware("Logger", HttpMiddleware.logger)).is<
  Middleware.Middleware<never, never, never, never, "Logger", Middleware.Wrapping>
>()
typeOf(Middleware.fromHttpMiddleware("Cors", HttpMiddleware.cors())).is<
  Middleware.Middleware<never, never, never, never, "Cors", Middleware.Wrapping>
>()
typeOf(Middleware.fromHttpMiddleware("Mine", (app) => Effect.zipRight(Database, Effect.zipRight(new Busy(), app)))).is<
  Middleware.Middleware<never, Busy, Database, never, "Mine", Middleware.Wrapping>
>()

// ---------------------------------------------------------------------------------------------------------------------
// before, after, onError, provide
// ---------------------------------------------------------------------------------------------------------------------

typeOf(Middleware.before("Before", (request) =>
  Effect.gen(function*() {
    const { load } = yield* Store
    if (request.url === (yield* load)) return HttpServerResponse.empty()
    if (request.url === "/busy") return yield* new Busy()
    return
  }))).is<Middleware.Middleware<never, Busy, Store, never, "Before", Middleware.Phases>>()
typeOf(Middleware.before("Void", () => Effect.void)).is<
  Middleware.Middleware<never, never, never, never, "Void", Middleware.Phases>
>()
// @ts-expect-error neither a response nor nothing
Middleware.before("Text", () => Effect.succeed("text"))

typeOf(Middleware.after("After", (response, request) => {
  typeOf(response).is<Response>()
  typeOf(request).is<Request>()
  return Effect.as(Database, response)
})).is<Middleware.Middleware<never, never, Database, never, "After", Middleware.Phases>>()
// @ts-expect-error once there is a response there is nobody to fail to
Middleware.after("Failing", () => Effect.fail(new Busy()))

typeOf(Middleware.onError("OnError", (error, request) => {
  typeOf(error).is<unknown>()
  typeOf(request).is<Request>()
  return Effect.as(Database, HttpServerResponse.empty())
})).is<Middleware.Middleware<never, never, Database, unknown, "OnError", Middleware.Wrapping>>()
typeOf(app.pipe(Middleware.onError("OnError", () => HttpServerResponse.empty()))).is<
  HttpApp.Default<never, Session | User | Database>
>()

typeOf(Middleware.provide(Connection, Effect.acquireRelease(Effect.succeed({ open: true }), () => Effect.void))).is<
  Middleware.Middleware<Connection, never, Scope.Scope, never, "app/Connection", Middleware.Phases>
>()
typeOf(
  Middleware.provide(Session, Effect.flatMap(Store, () => new Unauthenticated()), { name: "Mine" })
).is<Middleware.Middleware<Session, Unauthenticated, Store, never, "Mine", Middleware.Phases>>()
// @ts-expect-error another type than the service has
Middleware.provide(Session, Effect.succeed({ id: 1 }))

// ---------------------------------------------------------------------------------------------------------------------
// conditions
// ---------------------------------------------------------------------------------------------------------------------

type Condition = Middleware.Condition<Busy, Database>
export const plainCondition: Condition = (request) => request.url === "/"
export const effectCondition: Condition = () =>
  Effect.flatMap(Database, ({ url }) => url === "" ? new Busy() : Effect.succeed(true))
// @ts-expect-error it decides by nothing
export const noCondition: Condition = () => "yes"

// it may not have run: nothing is provided or handled, the rest stays
type Unsure = Middleware.Middleware<never, Unauthenticated, Session, never, "Auth", Middleware.Phases>
typeOf(Middleware.when(() => true, auth)).is<Unsure>()
typeOf(Middleware.unless(() => true, auth)).is<Unsure>()
typeOf(Middleware.forRoutes(["/admin/*", "POST /login"], auth)).is<Unsure>()
typeOf(Middleware.exceptRoutes(["/public"], auth)).is<Unsure>()
typeOf(Middleware.when(() => true, errors)).is<
  Middleware.Middleware<never, never, never, never, "Errors", Middleware.Wrapping>
>()
typeOf(Middleware.when(effectCondition, auth)).is<
  Middleware.Middleware<never, Unauthenticated | Busy, Session | Database, never, "Auth", Middleware.Phases>
>()
typeOf(Middleware.unless(effectCondition, session)).is<
  Middleware.Middleware<never, Busy, Store | Database, never, "Session", Middleware.Phases>
>()
typeOf(app.pipe(Middleware.when(() => true, session))).is<
  HttpApp.Default<Unauthenticated | NotFound, Session | User | Database | Store>
>()
// a stack under a condition is one: an edit would take its members out from under it
typeOf(Middleware.when(() => true, Stack.make(session, auth)).members).is<Middleware.Phases>()
typeOf(Middleware.forRoutes(["/a"], Stack.make(session, errors)).members).is<Middleware.Wrapping>()
same<Middleware.Undivided<Stack.Stack<[typeof session, typeof errors]>>, Middleware.Wrapping>()
// @ts-expect-error no stack to edit
Stack.append(Middleware.unless(() => true, Stack.make(session, auth)), cors)

// both alternatives: what both provide and handle
declare const memory: Middleware.Middleware<Session | User, Busy, Database, Busy, "Memory", Middleware.Phases>
typeOf(Middleware.whenOr("Either", () => true, session, memory)).is<
  Middleware.Middleware<Session, Busy, Store | Database, never, "Either", Middleware.Wrapping>
>()
typeOf(Middleware.whenOr("Either", effectCondition, errors, memory)).is<
  Middleware.Middleware<never, Busy, Database, Busy, "Either", Middleware.Wrapping>
>()
typeOf(Middleware.whenOr("Either", () => true, Stack.make(session, auth), memory)).is<
  Middleware.Middleware<Session | User, Unauthenticated | Busy, Store | Database, never, "Either", Middleware.Wrapping>
>()
// a choice as an alternative provides what both of it do
same<
  Middleware.Middleware.Provides<
    ReturnType<typeof Middleware.whenOr<"E", typeof session | typeof auth, typeof memory>>
  >,
  never
>()

// the first that lets the request through
typeOf(Middleware.firstOf("First", session, memory)).is<
  Middleware.Middleware<Session, Busy, Store | Database, never, "First", Middleware.Phases>
>()
typeOf(Middleware.firstOf("First", session, memory, Stack.make(session, auth))).is<
  Middleware.Middleware<Session, Busy | Unauthenticated, Store | Database, never, "First", Middleware.Phases>
>()
typeOf(Middleware.firstOf("First", session, memory, cors)).is<
  Middleware.Middleware<never, Busy, Store | Database, never, "First", Middleware.Phases>
>()
// @ts-expect-error what wraps its app cannot be tried
Middleware.firstOf("First", session, errors)
// @ts-expect-error one is no choice
Middleware.firstOf("First", session)

// all of several, under one name
typeOf(Middleware.every("All")(session, auth)).is<Stack.Stack<[typeof session, typeof auth], "All">>()
typeOf(Middleware.every("All")(session, auth)).is<
  Middleware.Middleware<Session | User, Unauthenticated, Store, never, "All", [typeof session, typeof auth]>
>()
// @ts-expect-error the user needs the session
Middleware.every("All")(auth, session)

// what it is to others, for `Stack.lint`
const guarding: ReadonlyArray<Middleware.Trait> = ["guard", "authentication"]
typeOf(Middleware.withTraits(session, ...guarding)).is<typeof session>()
// @ts-expect-error there is no such trait
Middleware.withTraits(session, "gard")
