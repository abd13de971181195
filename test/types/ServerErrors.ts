import type { HttpApp, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { type Cause, Effect } from "effect"
import { type DebugPage, type Middleware, ServerErrors, Stack } from "effect-middleware"
import type { Busy, NotFound, Unauthenticated, User } from "./fixtures.js"
import { auth, Database, limit, session, type Store, typeOf } from "./fixtures.js"

type Of<Requires = never, Name extends string = "ServerErrors"> = Middleware.Middleware<
  never,
  never,
  Requires,
  unknown,
  Name,
  Middleware.Wrapping
>

declare const page: HttpServerResponse.HttpServerResponse

typeOf(ServerErrors.middleware()).is<Of>()
typeOf(ServerErrors.middleware({ debug: true, name: "Last" })).is<Of<never, "Last">>()
typeOf(ServerErrors.middleware({ debug: { loopback: false } })).is<Of>()

// a handler may fail with anything, and may use services
typeOf(ServerErrors.middleware({
  handler: (cause, request) => {
    typeOf(cause).is<Cause.Cause<unknown>>()
    typeOf(request).is<HttpServerRequest.HttpServerRequest>()
    return Effect.map(Database, () => page)
  }
})).is<Of<Database>>()
typeOf(ServerErrors.middleware({ handler: () => Effect.fail("no") })).is<Of>()
declare const handler: ServerErrors.Handler<Database | HttpServerRequest.HttpServerRequest>
typeOf(ServerErrors.middleware({ handler })).is<Of<Database>>()
declare const options: ServerErrors.Options<Database, "Last">
typeOf(ServerErrors.middleware(options)).is<Of<Database, "Last">>()

// no failure leaves it, of the app or of the stack
declare const app: HttpApp.Default<Unauthenticated | NotFound | Busy, User>
typeOf(app.pipe(ServerErrors.middleware())).is<HttpApp.Default<never, User>>()
typeOf(Stack.make(ServerErrors.middleware(), limit, session, auth)(app)).is<HttpApp.Default<never, Database | Store>>()
// but what stands outside of it
typeOf(Stack.make(limit, ServerErrors.middleware())(app)).is<HttpApp.Default<Busy, Database | User>>()

// @ts-expect-error no response
ServerErrors.middleware({ handler: () => Effect.succeed("sorry") })
// @ts-expect-error a secret that a log would show
ServerErrors.middleware({ debug: { secret: "0123456789abcdef" } satisfies DebugPage.Options })
