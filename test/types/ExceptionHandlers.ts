import type { HttpApiError, HttpApp, HttpServerError, HttpServerRequest } from "@effect/platform"
import { HttpServerResponse } from "@effect/platform"
import { Cause, Effect } from "effect"
import { ExceptionHandlers, type HttpException, type Middleware, Stack, type TrustedHost } from "effect-middleware"
import type { NotFound, Unauthenticated } from "./fixtures.js"
import { auth, Busy, Database, limit, same, type Session, session, typeOf, User } from "./fixtures.js"

declare const app: HttpApp.Default<Unauthenticated | NotFound, User>

type Handling<H, F = never, R = never, Name extends string = "ExceptionHandlers"> = Middleware.Middleware<
  never,
  F,
  R,
  H,
  Name,
  ExceptionHandlers.Handling
>

// what leaves the error channel is what the handler takes
const one = ExceptionHandlers.byTag({ NotFound: (error: NotFound) => HttpServerResponse.text(`${error.id}`) })
typeOf(one).is<Handling<NotFound>>()
typeOf(app.pipe(one)).is<HttpApp.Default<Unauthenticated, User>>()
// a handler that does not look at the failure takes whatever has the tag
const blind = ExceptionHandlers.byTag({ NotFound: () => HttpServerResponse.empty() })
typeOf(blind).is<Handling<{ readonly _tag: "NotFound" }>>()
typeOf(app.pipe(blind)).is<HttpApp.Default<Unauthenticated, User>>()
// so does one that leaves its type out
typeOf(ExceptionHandlers.byTag({
  NotFound: (_error, request) => {
    typeOf(request).is<HttpServerRequest.HttpServerRequest>()
    return HttpServerResponse.text(request.url)
  }
})).is<Handling<{ readonly _tag: "NotFound" }>>()
// several, with what the handlers fail with and require
typeOf(
  ExceptionHandlers.byTag({
    NotFound: (error: NotFound) => Effect.map(Database, ({ url }) => HttpServerResponse.text(url + error.id)),
    Unauthenticated: () =>
      Effect.gen(function*() {
        const { name } = yield* User
        if (name === "") return yield* new Busy()
        return HttpServerResponse.empty()
      })
  }, { name: "Pages" })
).is<Handling<NotFound | { readonly _tag: "Unauthenticated" }, Busy, Database | User, "Pages">>()
// in a stack, for those inside
typeOf(
  Stack.make(ExceptionHandlers.byTag({ Unauthenticated: () => HttpServerResponse.empty() }), limit, session, auth)(app)
)
  .is<HttpApp.Default<NotFound | Busy, Database | Middleware.Middleware.Requires<typeof session>>>()
// handlers that were made elsewhere
declare const handler: ExceptionHandlers.Handler<NotFound, Busy, Session>
typeOf(ExceptionHandlers.byTag({ NotFound: handler })).is<Handling<NotFound, Busy, Session>>()
// of tags that are not known none is handled
declare const handlers: ExceptionHandlers.Handlers
typeOf(ExceptionHandlers.byTag(handlers)).is<Handling<never, unknown, unknown>>()

// @ts-expect-error another tag
ExceptionHandlers.byTag({ Missing: (error: NotFound) => HttpServerResponse.text(`${error.id}`) })
// @ts-expect-error one of them has another tag
ExceptionHandlers.byTag({ NotFound: (_: NotFound | Busy) => HttpServerResponse.empty() })
// @ts-expect-error no response
ExceptionHandlers.byTag({ NotFound: () => "not found" })
// @ts-expect-error no handler
ExceptionHandlers.byTag({ NotFound: HttpServerResponse.empty() })
same<
  keyof ExceptionHandlers.MustHaveTag<"NotFound">,
  "the failure this handler takes does not have the tag it stands under"
>()

// by class: the instances, and those of its subclasses, which are among them
class Base extends Error {
  readonly base = 1
}
class Derived extends Base {
  readonly derived = 1
}
abstract class Abstract extends Error {
  abstract readonly abstract: 1
}
typeOf(ExceptionHandlers.byClass(Base, (error, request) => {
  typeOf(error).is<Base>()
  typeOf(request).is<HttpServerRequest.HttpServerRequest>()
  return HttpServerResponse.empty()
})).is<Handling<Base>>()
typeOf(ExceptionHandlers.byClass(Abstract, () => HttpServerResponse.empty(), { name: "A", defects: true })).is<
  Handling<Abstract, never, never, "A">
>()
declare const classes: HttpApp.Default<Base | Derived | NotFound>
typeOf(classes.pipe(ExceptionHandlers.byClass(Base, () => HttpServerResponse.empty()))).is<HttpApp.Default<NotFound>>()
typeOf(classes.pipe(ExceptionHandlers.byClass(Derived, () => HttpServerResponse.empty()))).is<
  HttpApp.Default<Base | NotFound>
>()
typeOf(
  ExceptionHandlers.byClass(Base, () => Effect.flatMap(Database, () => new Busy()))
).is<Handling<Base, Busy, Database>>()
// @ts-expect-error no class
ExceptionHandlers.byClass(() => new Base(), () => HttpServerResponse.empty())
// @ts-expect-error another class
ExceptionHandlers.byClass(Base, (error: Derived) => HttpServerResponse.text(`${error.derived}`))

// by predicate: what a refinement picks out, else nothing
typeOf(ExceptionHandlers.byPredicate(Cause.isTimeoutException, (error) => {
  typeOf(error).is<Cause.TimeoutException>()
  return HttpServerResponse.empty()
})).is<Handling<Cause.TimeoutException>>()
typeOf(ExceptionHandlers.byPredicate((error) => String(error) === "1", (error) => {
  typeOf(error).is<unknown>()
  return Effect.zipRight(Database, new Busy())
}, { name: "One" })).is<Handling<never, Busy, Database, "One">>()

// by status: nothing that the types know of
typeOf(ExceptionHandlers.byStatus([500, 599], (error, request, response) => {
  typeOf(error).is<unknown>()
  typeOf(request).is<HttpServerRequest.HttpServerRequest>()
  typeOf(response).is<HttpServerResponse.HttpServerResponse>()
  return Effect.zipRight(Database, new Busy())
})).is<Handling<never, Busy, Database>>()
declare const byStatus: ExceptionHandlers.StatusHandler<Busy, Database>
typeOf(ExceptionHandlers.byStatus(404, byStatus, { name: "NotFound" })).is<
  Handling<never, Busy, Database, "NotFound">
>()
// @ts-expect-error a range has two ends
ExceptionHandlers.byStatus([500], byStatus)

// joined
const joined = ExceptionHandlers.concat(
  ExceptionHandlers.byTag({ NotFound: (_: NotFound) => Effect.zipRight(Database, new Busy()) }, { name: "Joined" }),
  ExceptionHandlers.byClass(Base, () => HttpServerResponse.empty()),
  ExceptionHandlers.byStatus(500, () => HttpServerResponse.empty())
)
typeOf(joined).is<Handling<NotFound | Base, Busy, Database, "Joined">>()
typeOf(ExceptionHandlers.concat(joined)).is<Handling<NotFound | Base, Busy, Database, "Joined">>()
same<keyof ExceptionHandlers.Options, "name" | "defects">()
export const rules: ReadonlyArray<ExceptionHandlers.Rule> = joined.members.rules
export const any: ExceptionHandlers.Any = joined
// @ts-expect-error handlers alone
ExceptionHandlers.concat(joined, session)
// @ts-expect-error at least one
ExceptionHandlers.concat()

// what knows its answer
typeOf(ExceptionHandlers.standard()).is<Handling<ExceptionHandlers.Standard>>()
typeOf(ExceptionHandlers.standard({ name: "Standard" })).is<
  Handling<ExceptionHandlers.Standard, never, never, "Standard">
>()
declare const failing: HttpApp.Default<
  | HttpException.HttpException
  | HttpServerError.RouteNotFound
  | HttpServerError.RequestError
  | HttpApiError.Forbidden
  | TrustedHost.UntrustedHost
  | NotFound
>
typeOf(failing.pipe(ExceptionHandlers.standard())).is<HttpApp.Default<NotFound | HttpApiError.Forbidden>>()

// exhaustive gives back what it is given, if nothing is forgotten
type Failures = Effect.Effect.Error<typeof app>
const both = ExceptionHandlers.byTag({
  NotFound: (_: NotFound) => HttpServerResponse.empty(),
  Unauthenticated: () => HttpServerResponse.empty()
})
typeOf(ExceptionHandlers.exhaustive<Failures>()(both)).is<typeof both>()
typeOf(app.pipe(ExceptionHandlers.exhaustive<Failures>()(both))).is<HttpApp.Default<never, User>>()
typeOf(ExceptionHandlers.exhaustive<never>()(both)).is<typeof both>()
// @ts-expect-error one is forgotten
ExceptionHandlers.exhaustive<Failures>()(one)
// @ts-expect-error one is forgotten
ExceptionHandlers.exhaustive<Failures | Busy>()(ExceptionHandlers.concat(both, ExceptionHandlers.standard()))
// @ts-expect-error what it cannot know
ExceptionHandlers.exhaustive<Failures>()(ExceptionHandlers.byStatus([400, 499], () => HttpServerResponse.empty()))
same<
  keyof ExceptionHandlers.MustHandle<"NotFound">,
  "these failures have no handler here"
>()
