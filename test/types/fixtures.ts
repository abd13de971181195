/**
 * What the type tests share: an application's services and middlewares, and how to compare types.
 *
 * The files of this folder are compiled by `npm run check` and never run. In each, a line that must not compile stands
 * under `@ts-expect-error` with the reason; what the compiler says of it is in `messages.snap.md`.
 */
import { Context, type Effect, Schema } from "effect"
import { Middleware } from "effect-middleware"

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** `typeOf(value).is<T>()` compiles if the type of the value is `T`, neither wider nor narrower. */
export declare const typeOf: <A>(value: A) => {
  readonly is: <B>(...difference: Equal<A, B> extends true ? [] : [found: A, expected: B]) => void
}

/** `same<A, B>()` compiles if the two are one type. */
export declare const same: <A, B>(...difference: Equal<A, B> extends true ? [] : [first: A, second: B]) => void

// services: a session and a user live for one request, a store and a database do not; a connection does, unmarked

export class Session extends Middleware.Service("app/Session")<Session, { readonly id: string }>() {}
export class User extends Middleware.Service("app/User")<User, { readonly name: string }>() {}
export class Store extends Context.Tag("app/Store")<Store, { readonly load: Effect.Effect<string> }>() {}
export class Database extends Context.Tag("app/Database")<Database, { readonly url: string }>() {}
export class Connection extends Context.Tag("app/Connection")<Connection, { readonly open: boolean }>() {}

// failures

export class Unauthenticated extends Schema.TaggedError<Unauthenticated>()("Unauthenticated", {}) {}
export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { id: Schema.Number }) {}
export class Busy extends Schema.TaggedError<Busy>()("Busy", {}) {}

// middlewares

export declare const session: Middleware.Middleware<Session, never, Store, never, "Session", Middleware.Phases>
export declare const auth: Middleware.Middleware<User, Unauthenticated, Session, never, "Auth", Middleware.Phases>
export declare const limit: Middleware.Middleware<never, Busy, Database, never, "Limit", Middleware.Phases>
export declare const cors: Middleware.Middleware<never, never, never, never, "Cors", Middleware.Phases>
export declare const login: Middleware.Middleware<never, never, never, Unauthenticated, "Login", Middleware.Wrapping>
export declare const errors: Middleware.Middleware<
  never,
  never,
  never,
  Unauthenticated | Busy,
  "Errors",
  Middleware.Wrapping
>

export declare const condition: boolean
