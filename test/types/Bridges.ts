/** `Stack` in the mounts that are layers: what lives for one request, and what a layer supplies once. */
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpLayerRouter,
  type HttpRouter,
  type HttpServer,
  HttpServerResponse
} from "@effect/platform"
import { Effect, Layer } from "effect"
import type { Middleware } from "effect-middleware"
import { Stack } from "effect-middleware"
import {
  auth,
  type Busy,
  Connection,
  cors,
  type Database,
  errors,
  limit,
  same,
  Session,
  session,
  type Store,
  typeOf,
  Unauthenticated,
  User
} from "./fixtures.js"

type Request<Kind extends string, T> = HttpLayerRouter.Request.From<Kind, T>

/** Needs a service that lives for one request, one that does but is not marked, and one that a layer supplies. */
declare const transaction: Middleware.Middleware<
  never,
  Busy,
  Session | Connection | Database,
  never,
  "Transaction",
  Middleware.Phases
>

const route = HttpLayerRouter.add(
  "GET",
  "/",
  Effect.flatMap(Session, ({ id }) => id === "" ? new Unauthenticated() : HttpServerResponse.text(id))
)
typeOf(route).is<
  Layer.Layer<
    never,
    never,
    HttpLayerRouter.HttpRouter | Request<"Requires", Session> | Request<"Error", Unauthenticated>
  >
>()

// ---------------------------------------------------------------------------------------------------------------------
// layerRouter
// ---------------------------------------------------------------------------------------------------------------------

type Config<P, H, F, PerRequest, Once> = HttpLayerRouter.Middleware<{
  provides: P
  handles: H
  error: F
  requires: PerRequest
  layerError: never
  layerRequires: Once
}>

// the store is taken when the layer is built
typeOf(Stack.layerRouter(session)).is<Config<Session, never, never, never, Store>>()
typeOf(Stack.layerRouter(session).layer).is<Layer.Layer<Request<"Requires", Session>, never, Store>>()
// the session, which is marked, of each request
typeOf(Stack.layerRouter(auth)).is<Config<User, never, Unauthenticated, Session, never>>()
// what is not marked, where it is named
typeOf(Stack.layerRouter(transaction)).is<Config<never, never, Busy, Session, Connection | Database>>()
typeOf(Stack.layerRouter(transaction, { perRequest: [Connection] })).is<
  Config<never, never, Busy, Session | Connection, Database>
>()
// a stack
typeOf(Stack.layerRouter(Stack.make(errors, session, auth))).is<
  Config<Session | User, Unauthenticated | Busy, never, never, Store>
>()

// by platform's own function the store would be asked for with every request, and there is nobody to answer
typeOf(HttpLayerRouter.middleware<{ provides: Session }>()(session)).is<
  Config<Session, never, never, Store, never>
>()
typeOf(HttpLayerRouter.middleware<{ provides: Session }>()(session).layer).is<
  "Need to .combine(middleware) that satisfy the missing request dependencies"
>()

// on a route
typeOf(route.pipe(Layer.provide(Stack.layerRouter(session).layer))).is<
  Layer.Layer<never, never, HttpLayerRouter.HttpRouter | Request<"Error", Unauthenticated> | Store>
>()
// one that needs the session of another
typeOf(Stack.layerRouter(auth).combine(Stack.layerRouter(session)).layer).is<
  Layer.Layer<
    Request<"Requires", Session> | Request<"Requires", User>,
    never,
    Store | Request<"Error", Unauthenticated>
  >
>()
// @ts-expect-error the session is forgotten
route.pipe(Layer.provide(Stack.layerRouter(auth).layer))

export const options: Stack.BridgeOptions<readonly [typeof Connection]> = { perRequest: [Connection] }
// @ts-expect-error a tag is asked for
Stack.layerRouter(session, { perRequest: ["app/Connection"] })

// ---------------------------------------------------------------------------------------------------------------------
// layerRouterGlobal, serveRouter
// ---------------------------------------------------------------------------------------------------------------------

typeOf(Stack.layerRouterGlobal(Stack.make(errors, session))).is<
  Layer.Layer<
    | Request<"Requires", Session>
    | Request<"GlobalRequires", Session>
    | Request<"Error", Unauthenticated | Busy>
    | Request<"GlobalError", Unauthenticated | Busy>,
    never,
    HttpLayerRouter.HttpRouter | Store
  >
>()
typeOf(Stack.layerRouterGlobal(transaction, { perRequest: [Connection] })).is<
  Layer.Layer<
    never,
    never,
    | HttpLayerRouter.HttpRouter
    | Request<"GlobalRequires", Session | Connection>
    | Request<"GlobalError", Busy>
    | Database
  >
>()
// it answers what the routes fail with
typeOf(route.pipe(Layer.provide(Stack.layerRouterGlobal(Stack.make(errors, session))))).is<
  Layer.Layer<never, never, HttpLayerRouter.HttpRouter | Store>
>()

typeOf(Stack.serveRouter(route, Stack.make(errors, session))).is<
  Layer.Layer<never, never, HttpServer.HttpServer | Store>
>()
typeOf(route.pipe(Stack.serveRouter(Stack.make(errors, session)))).is<
  Layer.Layer<never, never, HttpServer.HttpServer | Store>
>()
// what is forgotten is required of a layer, which has none
typeOf(Stack.serveRouter(route, Stack.make(errors, limit))).is<
  Layer.Layer<never, never, HttpServer.HttpServer | Database | Session>
>()
declare const failing: Layer.Layer<never, "no routes", HttpLayerRouter.HttpRouter | Database>
typeOf(Stack.serveRouter(failing, cors)).is<Layer.Layer<never, "no routes", HttpServer.HttpServer | Database>>()

// ---------------------------------------------------------------------------------------------------------------------
// httpApi
// ---------------------------------------------------------------------------------------------------------------------

typeOf(Stack.httpApi(cors)).is<Layer.Layer<never>>()
typeOf(Stack.httpApi(Stack.make(errors, session, auth))).is<Layer.Layer<never, never, Store>>()
// the session is forgotten: no layer supplies one
typeOf(Stack.httpApi(auth)).is<Layer.Layer<never, never, Session>>()
// a caller names what stands outside
typeOf(Stack.httpApi(transaction, { perRequest: [Session, Connection] })).is<Layer.Layer<never, never, Database>>()

const api = HttpApi.make("api").add(HttpApiGroup.make("group").add(HttpApiEndpoint.get("all", "/")))
const group = HttpApiBuilder.group(api, "group", (handlers) => handlers.handle("all", () => Effect.void))
export const served = HttpApiBuilder.serve().pipe(
  Layer.provide(Stack.httpApi(Stack.make(errors, session, auth))),
  Layer.provide(HttpApiBuilder.api(api)),
  Layer.provide(group)
)
same<
  Layer.Layer.Context<typeof served>,
  HttpServer.HttpServer | Store | HttpRouter.HttpRouter.DefaultServices
>()

// ---------------------------------------------------------------------------------------------------------------------
// httpApiMiddleware
// ---------------------------------------------------------------------------------------------------------------------

class WithSession extends HttpApiMiddleware.Tag<WithSession>()("app/WithSession", { provides: Session }) {}
class WithUser extends HttpApiMiddleware.Tag<WithUser>()("app/WithUser", {
  provides: User,
  failure: Unauthenticated
}) {}
class Effects extends HttpApiMiddleware.Tag<Effects>()("app/Effects") {}

typeOf(Stack.httpApiMiddleware(WithSession, session)).is<Layer.Layer<WithSession, never, Store>>()
typeOf(Stack.httpApiMiddleware(WithUser, Stack.make(session, auth))).is<Layer.Layer<WithUser, never, Store>>()
typeOf(Stack.httpApiMiddleware(Effects, cors)).is<Layer.Layer<Effects>>()
// it may provide more and fail with less than the tag says
typeOf(Stack.httpApiMiddleware(Effects, session)).is<Layer.Layer<Effects, never, Store>>()
declare const lenient: Middleware.Middleware<User, never, never, never, "Lenient", Middleware.Phases>
typeOf(Stack.httpApiMiddleware(WithUser, lenient)).is<Layer.Layer<WithUser>>()
// the session is forgotten, or the caller knows that it stands outside
typeOf(Stack.httpApiMiddleware(WithUser, auth)).is<Layer.Layer<WithUser, never, Session>>()
typeOf(Stack.httpApiMiddleware(WithUser, auth, { perRequest: [Session] })).is<Layer.Layer<WithUser>>()

// @ts-expect-error there is no app to wrap
Stack.httpApiMiddleware(Effects, errors)
// @ts-expect-error nor in a stack
Stack.httpApiMiddleware(WithSession, Stack.make(session, errors))
// @ts-expect-error it does not provide what the tag says
Stack.httpApiMiddleware(WithSession, cors)
// @ts-expect-error the tag has no such failure
Stack.httpApiMiddleware(Effects, limit)
