import { type HttpApp, HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { Effect, type Layer } from "effect"
import { Middleware, Stack } from "effect-middleware"
import {
  auth,
  type Busy,
  condition,
  cors,
  type Database,
  errors,
  limit,
  login,
  type NotFound,
  same,
  Session,
  session,
  type Store,
  typeOf,
  type Unauthenticated,
  User
} from "./fixtures.js"

// ---------------------------------------------------------------------------------------------------------------------
// make: the fold
// ---------------------------------------------------------------------------------------------------------------------

const stack = Stack.make(errors, cors, session, auth, limit)
typeOf(stack).is<
  Middleware.Middleware<
    Session | User, // all that any member provides
    never, // what inner ones fail with and outer ones handle is gone
    Store | Database, // what inner ones require and outer ones provide is gone
    Unauthenticated | Busy, // all that any member handles
    string,
    [typeof errors, typeof cors, typeof session, typeof auth, typeof limit]
  >
>()
typeOf(stack).is<Stack.Stack<[typeof errors, typeof cors, typeof session, typeof auth, typeof limit]>>()

// only what stands outside handles, and only what stands outside provides
typeOf(Stack.make(limit, errors)).is<
  Middleware.Middleware<never, Busy, Database, Unauthenticated | Busy, string, [typeof limit, typeof errors]>
>()
typeOf(Stack.make(login, limit, session)).is<
  Middleware.Middleware<
    Session,
    Busy,
    Store | Database,
    Unauthenticated,
    string,
    [typeof login, typeof limit, typeof session]
  >
>()
typeOf(Stack.make(cors)).is<Middleware.Middleware<never, never, never, never, string, [typeof cors]>>()
// what nobody here provides is asked of outside
typeOf(Stack.make(auth)).is<Middleware.Middleware<User, Unauthenticated, Session, never, string, [typeof auth]>>()
// a service that is provided twice is provided, the inner one for those inside
export const twice: Middleware.Middleware<Session | User, Unauthenticated, Store> = Stack.make(session, auth, session)
// up to twenty members
export const twenty: Middleware.Middleware<Session, never, Store> = Stack.make(
  ...[cors, cors, cors, cors, cors, cors, cors, cors, cors, cors] as const,
  ...[cors, cors, cors, cors, cors, cors, cors, cors, cors, session] as const
)

// what it makes of an app
declare const app: HttpApp.Default<Unauthenticated | Busy | NotFound, Session | User>
typeOf(stack(app)).is<HttpApp.Default<NotFound, Store | Database>>()
typeOf(app.pipe(stack)).is<HttpApp.Default<NotFound, Store | Database>>()

// a stack inside a stack
const inner = Stack.make(session, auth)
const outer = Stack.make(errors, inner, cors)
typeOf(outer).is<
  Middleware.Middleware<
    Session | User,
    never,
    Store,
    Unauthenticated | Busy,
    string,
    [typeof errors, typeof inner, typeof cors]
  >
>()
typeOf(Stack.make(errors, Stack.make(session, auth), cors)).is<typeof outer>()
typeOf(Stack.make(Stack.make(Stack.make(session)), Stack.make(Stack.make(auth))).members[1].members[0].members).is<
  [typeof auth]
>()

// a stack narrowed to a Middleware that does less
export const narrowed: Middleware.Middleware<Session, never, Store | Database> = stack
export const lessHandled: Middleware.Middleware<User, Busy, Store | Database, Busy> = stack
// @ts-expect-error a database is required
export const lessRequired: Middleware.Middleware<Session, never, Store> = stack
// @ts-expect-error it does not provide a database
export const moreProvided: Middleware.Middleware<Database, never, Store | Database> = stack
// a stack is what its members say, whatever is expected of it
// @ts-expect-error the user is not provided
export const expected: Middleware.Middleware<User, never, Store> = Stack.make(session)

// ---------------------------------------------------------------------------------------------------------------------
// make: mistakes
// ---------------------------------------------------------------------------------------------------------------------

// @ts-expect-error the user needs the session, which stands inside
Stack.make(errors, auth, session)
// @ts-expect-error however far inside
Stack.make(auth, cors, errors, limit, session)
// @ts-expect-error a stack in the place of the member
Stack.make(Stack.make(cors, auth), session)
// @ts-expect-error a stack in the place of the provider
Stack.make(auth, Stack.make(cors, session))
// @ts-expect-error inside a stack inside
Stack.make(errors, Stack.make(auth, session))
// @ts-expect-error one of two
Stack.make(errors, condition ? session : auth)
declare const either: typeof session | Middleware.Middleware<never, never, Store>
// @ts-expect-error one of two, also where one does all that the other does
Stack.make(either)
const list = [errors, cors]
// @ts-expect-error an array has no order that the types know
Stack.make(...list)
// @ts-expect-error an array is no middleware
Stack.make(list)
declare const plain: (app: HttpApp.Default) => HttpApp.Default
// @ts-expect-error a plain function enters by Middleware.fromHttpMiddleware
Stack.make(errors, plain)
// @ts-expect-error at least one
Stack.make()

// what is not known is required
declare const any: Middleware.Any
typeOf(Stack.make(cors, any, session)).is<
  Middleware.Middleware<Session, unknown, unknown, never, string, [typeof cors, Middleware.Any, typeof session]>
>()

// ---------------------------------------------------------------------------------------------------------------------
// serve
// ---------------------------------------------------------------------------------------------------------------------

const router = HttpRouter.empty.pipe(
  HttpRouter.get(
    "/",
    Effect.gen(function*() {
      const { name } = yield* User
      const { id } = yield* Session
      return HttpServerResponse.text(name + id)
    })
  )
)
type Served = Layer.Layer<never, never, HttpServer.HttpServer | Store | Database>
typeOf(Stack.serve(router, stack)).is<Served>()
typeOf(router.pipe(Stack.serve(stack))).is<Served>()
typeOf(HttpServer.serve(router, stack)).is<Served>()
typeOf(router.pipe(stack, HttpServer.serve())).is<Served>()
typeOf(Stack.serve(router, Stack.make(cors, session, auth))).is<
  Layer.Layer<never, never, HttpServer.HttpServer | Store>
>()
// what is forgotten is required of a layer, which has none
typeOf(Stack.serve(router, Stack.make(errors, cors))).is<
  Layer.Layer<never, never, HttpServer.HttpServer | Session | User>
>()
declare const launch: (layer: Layer.Layer<never, never, HttpServer.HttpServer | Store>) => void
launch(Stack.serve(router, Stack.make(session, auth)))
// @ts-expect-error the session is forgotten
launch(Stack.serve(router, auth))
// what the server gives each request is not required
const scoped = Middleware.before("Scoped", () => Effect.asVoid(Effect.scope))
typeOf(Stack.serve(router, Stack.make(scoped, session, auth))).is<
  Layer.Layer<never, never, HttpServer.HttpServer | Store>
>()

// ---------------------------------------------------------------------------------------------------------------------
// names, describe
// ---------------------------------------------------------------------------------------------------------------------

typeOf(Stack.names(stack)).is<ReadonlyArray<string>>()
typeOf(Stack.describe(stack)).is<string>()
typeOf(Stack.describe(session)).is<string>()
export const anyStack: Stack.AnyStack = stack
// @ts-expect-error no members
export const noStack: Stack.AnyStack = session

// ---------------------------------------------------------------------------------------------------------------------
// editing
// ---------------------------------------------------------------------------------------------------------------------

const base = Stack.make(errors, cors, session)
type Base = [typeof errors, typeof cors, typeof session]
const named = Middleware.every("Named")(session)

typeOf(Stack.append(base, auth)).is<Stack.Stack<[...Base, typeof auth]>>()
typeOf(Stack.prepend(base, limit)).is<Stack.Stack<[typeof limit, ...Base]>>()
typeOf(Stack.before(base, "Session", limit)).is<
  Stack.Stack<[typeof errors, typeof cors, typeof limit, typeof session]>
>()
typeOf(Stack.after(base, "Errors", limit)).is<
  Stack.Stack<[typeof errors, typeof limit, typeof cors, typeof session]>
>()
typeOf(Stack.replace(base, "Cors", limit)).is<Stack.Stack<[typeof errors, typeof limit, typeof session]>>()
typeOf(Stack.without(base, "Cors")).is<Stack.Stack<[typeof errors, typeof session]>>()
// what is left out no longer provides or handles
typeOf(Stack.without(Stack.make(errors, session, auth), "Session")).is<
  Middleware.Middleware<User, never, Session, Unauthenticated | Busy, string, [typeof errors, typeof auth]>
>()
typeOf(Stack.without(Stack.make(errors, limit), "Errors")).is<
  Middleware.Middleware<never, Busy, Database, never, string, [typeof limit]>
>()
// of a stack that is made in place, of another edit, with a stack
typeOf(Stack.append(Stack.make(errors, cors, session), auth)).is<Stack.Stack<[...Base, typeof auth]>>()
typeOf(Stack.without(Stack.append(Stack.make(errors, cors, session), auth), "Cors")).is<
  Stack.Stack<[typeof errors, typeof session, typeof auth]>
>()
typeOf(Stack.replace(base, "Session", Middleware.every("Named")(session))).is<
  Stack.Stack<[typeof errors, typeof cors, typeof named]>
>()
typeOf(Stack.without(Stack.make(errors, named), "Named")).is<Stack.Stack<[typeof errors]>>()
// an edited stack is a stack
typeOf(Stack.make(Stack.append(base, auth), limit).members[0].members[3]).is<typeof auth>()

// of a choice between two names, a choice between two stacks
typeOf(Stack.without(base, condition ? "Cors" : "Session")).is<
  Stack.Stack<[typeof errors, typeof session]> | Stack.Stack<[typeof errors, typeof cors]>
>()

// @ts-expect-error no such name
Stack.without(base, "Session2")
// @ts-expect-error no such name
Stack.replace(base, "session", limit)
// @ts-expect-error no such name
Stack.before(base, "Auth", limit)
// @ts-expect-error no such name
Stack.after(base, "", limit)
// @ts-expect-error a name that the types do not know
Stack.without(base, "Cors" as string)
// @ts-expect-error a member of a stack inside is not named from outside
Stack.without(Stack.make(errors, Stack.make(session)), "Session")

// @ts-expect-error the user needs the session
Stack.before(base, "Session", auth)
// @ts-expect-error the user needs the session
Stack.after(base, "Cors", auth)
// @ts-expect-error the user needs the session
Stack.prepend(base, auth)
// @ts-expect-error the user needs the session
Stack.replace(base, "Cors", auth)
// @ts-expect-error the session would come after who needs it
Stack.append(Stack.make(auth), session)
// @ts-expect-error the same
Stack.after(Stack.make(errors, auth), "Auth", session)
// @ts-expect-error one of two
Stack.append(base, condition ? auth : limit)

// what an edit makes of members that are not known requires what is not known
declare const unknownStack: Stack.AnyStack
typeOf(Stack.append(unknownStack, cors)).is<
  Middleware.Middleware<never, unknown, unknown, never, string, [...ReadonlyArray<Middleware.Any>, typeof cors]>
>()
typeOf(Stack.without(unknownStack, "Cors")).is<
  Middleware.Middleware<never, unknown, unknown, never, string, ReadonlyArray<Middleware.Any>>
>()

// the sentences that the compiler prints
same<
  keyof Stack.MustStandInside<"Session", Session>,
  "this middleware needs a service that only a later one provides: put it after that one"
>()
same<
  keyof Stack.WouldMisplace<"Auth", Session>,
  "after this edit another middleware needs a service that only a later one provides"
>()
same<
  keyof Stack.MustBeOne,
  "a choice between two middlewares provides only what both do: use Middleware.whenOr"
>()
same<
  keyof Stack.MustBeListed,
  "list the middlewares one by one: an array's order is unknown to the types"
>()
same<
  keyof Stack.MustBeMiddleware,
  "a plain HttpMiddleware enters by Middleware.fromHttpMiddleware(name, middleware)"
>()
