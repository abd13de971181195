import { type HttpApp, type HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect } from "effect"
import { ExceptionHandlers, type Middleware, Stack } from "effect-middleware"
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
