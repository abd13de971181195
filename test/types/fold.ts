import type { HttpApp } from "@effect/platform"
import { HttpMiddleware, HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import type { Layer } from "effect"
import { Context, Data, Effect } from "effect"
import { Middleware, Stack } from "effect-middleware"

class Session extends Context.Tag("Session")<Session, { readonly id: string }>() {}
class SessionStore extends Context.Tag("SessionStore")<SessionStore, {}>() {}
class CurrentUser extends Context.Tag("CurrentUser")<CurrentUser, { readonly name: string }>() {}
class Unauthenticated extends Data.TaggedError("Unauthenticated")<{}> {}

declare const session: Middleware.Middleware<Session, never, SessionStore, never, "Session">
declare const auth: Middleware.Middleware<CurrentUser, Unauthenticated, Session, never, "Authentication">
declare const errors: Middleware.Middleware<never, never, never, Unauthenticated, "ExceptionHandlers">
declare const cors: Middleware.Middleware<never, never, never, never, "Cors">
const make = Stack.make

const good = make(errors, cors, session, auth)
export const nested: Middleware.Middleware<Session | CurrentUser, never, SessionStore, Unauthenticated> = make(errors, make(session, auth), cors)

const app = HttpRouter.empty.pipe(
  HttpRouter.get(
    "/",
    Effect.gen(function*() {
      const user = yield* CurrentUser
      const { id } = yield* Session
      return HttpServerResponse.text(user.name + id)
    })
  )
)
export const piped: Layer.Layer<never, never, HttpServer.HttpServer | SessionStore> = app.pipe(good, HttpServer.serve())
export const served: Layer.Layer<never, never, HttpServer.HttpServer | SessionStore> = HttpServer.serve(app, good)
export const ours: Layer.Layer<never, never, HttpServer.HttpServer | SessionStore> = Stack.serve(app, good)
export const ours2: Layer.Layer<never, never, HttpServer.HttpServer | SessionStore> = app.pipe(Stack.serve(good))
export const platform = good satisfies HttpMiddleware.HttpMiddleware
export const narrowed: Middleware.Middleware<Session, never, SessionStore> = good
declare const needs: <F, R, H>(mw: Middleware.Middleware<Session, F, R, H>) => [F, R, H]
export const seen: [never, SessionStore, Unauthenticated] = needs(good)
// @ts-expect-error authentication outside the session: refused at the call, in words
make(errors, auth, session)
declare const either: boolean
// @ts-expect-error a choice provides only what both do
make(errors, either ? session : auth)
// @ts-expect-error a plain HttpMiddleware enters through Middleware.fromHttpMiddleware
make(HttpMiddleware.logger, session)
// @ts-expect-error claims a service that it never provides
export const unsound: Middleware.Middleware<Session | CurrentUser, never, SessionStore> = session

// editing
export const w: Stack.Stack<[typeof errors, typeof cors, typeof auth]> = Stack.without(good, "Session")
export const r = Stack.replace(good, "Cors", errors)
// @ts-expect-error unknown name
Stack.without(good, "Nope")
// @ts-expect-error misplaced
Stack.before(good, "Session", auth)
Stack.after(good, "Session", auth)

// constructors
class Boom extends Data.TaggedError("Boom")<{}> {}
export const m1: Middleware.Middleware<Session, Boom, SessionStore, never, "M1", Middleware.Phases> = Middleware.make({
  name: "M1",
  requires: [SessionStore],
  provides: Session,
  request: (exchange) => {
    exchange.get(SessionStore)
    // @ts-expect-error not declared
    exchange.get(CurrentUser)
    return exchange.request.method === "GET" ? Middleware.Refuse(new Boom()) : Middleware.Provide({ id: "1" })
  },
  response: (_, exchange) => void exchange.get(Session).id
})
export const m2: Middleware.Middleware<never, Boom, CurrentUser, never, "M2", Middleware.Phases> = Middleware.make({
  name: "M2",
  requestEffect: () => Effect.flatMap(CurrentUser, (u) => u.name === "" ? Effect.fail(new Boom()) : Effect.void)
})
// @ts-expect-error must provide
Middleware.make({ name: "M3", provides: Session, request: (exchange) => exchange.request.method === "GET" ? undefined : Middleware.Provide({ id: "1" }) })
Middleware.make({
  name: "M4",
  provides: Session,
  request: (exchange) => exchange.request.method === "GET" ? Middleware.Defer : Middleware.Provide({ id: "1" }),
  requestEffect: () => Effect.succeed(Middleware.Provide({ id: "1" }))
})
// @ts-expect-error wrong type
Middleware.make({ name: "M5", provides: Session, request: () => Middleware.Provide({ id: 1 }) })
export const d1: Middleware.Middleware<never, never, never, never, "D", Middleware.Wrapping> = Middleware.dispatch("D", (request, next) => Effect.map(next, HttpServerResponse.setHeader("x", request.method)))
export const d2: Middleware.Middleware<never, Boom, CurrentUser, never, "D", Middleware.Wrapping> = Middleware.dispatch("D", (_, next) => Effect.gen(function*() {
  const user = yield* CurrentUser
  return user.name === "" ? yield* new Boom() : yield* next
}))
export const d3: Middleware.Middleware<never, never, never, unknown, "D", Middleware.Wrapping> = Middleware.dispatch("D", (_, next) => Effect.catchAll(next, () => HttpServerResponse.empty()))
export const f1: Middleware.Middleware<never, never, never, never, "Logger", Middleware.Wrapping> = Middleware.fromHttpMiddleware("Logger", HttpMiddleware.logger)
export const wh = Middleware.when(() => true, session)
export const wh2: Middleware.Middleware<never, never, SessionStore, never, "Session"> = wh
export const who: Middleware.Middleware<Session, never, SessionStore, never, "S"> = Middleware.whenOr("S", () => true, session, m1).name as never
declare const appE: HttpApp.Default<Boom, Session>
export const x: HttpApp.Default<Boom, SessionStore> = session(appE)
