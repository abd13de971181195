import { type HttpApp, type HttpServer, type HttpServerRespondable, HttpServerResponse } from "@effect/platform"
import { type DateTime, Effect, type Layer, type Option, Schema } from "effect"
import type { SessionStore } from "effect-middleware"
import { type Keyring, type Middleware, Session, Stack } from "effect-middleware"
import { condition, same, typeOf } from "./fixtures.js"

// a tag, by a schema

class Cart extends Session.Tag("app/Cart")<Cart>()(Schema.Struct({
  items: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
})) {}
class Visit extends Session.Tag("app/Visit")<Visit>()(Schema.Struct({ since: Schema.Date }), {
  initial: () => ({ since: new Date(0) }),
  version: 2,
  migrate: (value, version) => ({ since: `${version} ${String(value)}` })
}) {}
export const perRequest: Middleware.PerRequest = null as never as Cart

// @ts-expect-error not every field has a default: what a new one holds has to be said
Session.Tag("app/Visit")()(Schema.Struct({ since: Schema.Date }))
// @ts-expect-error nor is a version enough
Session.Tag("app/Visit")()(Schema.Struct({ since: Schema.Date }), { version: 2 })
// @ts-expect-error what it holds is what the schema decodes to
Session.Tag("app/Visit")()(Schema.Struct({ since: Schema.Date }), { initial: () => ({ since: "1970-01-01" }) })
// @ts-expect-error a schema that needs services cannot be decoded in plain code
Session.Tag("app/Visit")()(null as never as Schema.Schema<{ readonly n: number }, { readonly n: number }, Cart>)
same<Session.Initial<number, { readonly a?: string }>, { readonly initial?: (() => number) | undefined }>()
same<Session.Initial<number, { readonly a: string }>, { readonly initial: () => number }>()
same<keyof Session.Versions, "version" | "migrate">()

// what handlers see

type Items = { readonly items: ReadonlyArray<string> }
declare const cart: Session.Service<Items>
typeOf(Effect.flatMap(Cart, ({ get }) => get)).is<Effect.Effect<Items, SessionStore.SessionUnavailable, Cart>>()
typeOf(cart.set({ items: [] })).is<Effect.Effect<void, Session.WriteError>>()
typeOf(cart.update(({ items }) => ({ items: [...items, "tea"] }))).is<Effect.Effect<void, Session.WriteError>>()
typeOf(cart.modify(({ items }) => [items.length, { items: [] }])).is<Effect.Effect<number, Session.WriteError>>()
typeOf(cart.rotate({ principal: "ada" })).is<Effect.Effect<void, Session.WriteError>>()
typeOf(cart.destroy).is<Effect.Effect<void, Session.SessionSent | SessionStore.SessionUnavailable>>()
typeOf(cart.createdAt).is<Effect.Effect<Option.Option<DateTime.Utc>, SessionStore.SessionUnavailable>>()
typeOf(cart.expiresAt).is<Effect.Effect<Option.Option<DateTime.Utc>, SessionStore.SessionUnavailable>>()
typeOf(cart.flashes).is<Effect.Effect<ReadonlyArray<Session.Flash>, Session.WriteError>>()
// @ts-expect-error a function that gives a part alone
cart.update(({ items }) => items)
// @ts-expect-error nor is the value to be changed where it is
void cart.update((value) => (value.items.push("tea"), value))
same<Session.Flash["kind"], string>()
same<Session.WriteError["_tag"], "SessionConflict" | "SessionSent" | "SessionTooLarge" | "SessionUnavailable">()
declare const conflict: Session.SessionConflict
same<typeof conflict.reason, "changed" | "superseded" | "ended">()
declare const tooLarge: Session.SessionTooLarge
same<typeof tooLarge.size, number>()
export const respondables: ReadonlyArray<HttpServerRespondable.Respondable> = [
  conflict,
  tooLarge,
  new Session.SessionSent()
]

// where it is kept decides what it requires

type Of<R, Name extends string = "app/Cart"> = Middleware.Middleware<Cart, never, R, never, Name, Middleware.Phases>
declare const keyring: Keyring.Service
typeOf(Cart.middleware({ kind: "stored" })).is<Of<SessionStore.SessionStore>>()
typeOf(Cart.middleware({ kind: "signed" })).is<Of<Keyring.Keyring>>()
typeOf(Cart.middleware({ kind: "encrypted" })).is<Of<Keyring.Keyring>>()
typeOf(Cart.middleware({ kind: "signed", keyring })).is<Of<never>>()
typeOf(Cart.middleware({ kind: "signed", keyring, epochs: true })).is<Of<SessionStore.SessionStore>>()
typeOf(Cart.middleware({ kind: "encrypted", epochs: true })).is<Of<Keyring.Keyring | SessionStore.SessionStore>>()
typeOf(Cart.middleware({ kind: "stored", epochs: true, name: "Cart" })).is<Of<SessionStore.SessionStore, "Cart">>()
typeOf(Cart.middleware({ kind: condition ? "stored" : "signed" })).is<
  Of<Keyring.Keyring | SessionStore.SessionStore>
>()
// @ts-expect-error where it is kept has to be said
Cart.middleware({})
// @ts-expect-error and is one of three
Cart.middleware({ kind: "cookie" })
// @ts-expect-error a cookie without its prefix
Cart.middleware({ kind: "stored", cookie: { prefix: "__host-" } })
same<Session.Kind, "signed" | "encrypted" | "stored">()
same<NonNullable<Session.Options["cookie"]>, Session.CookieOptions>()

// in a stack, for those inside

const handler = Effect.gen(function*() {
  const [{ items }, { since }] = [yield* (yield* Cart).get, yield* (yield* Visit).get]
  return HttpServerResponse.text(`${items.length} ${since.getTime()}`)
})
const both = Stack.make(Cart.middleware({ kind: "stored" }), Visit.middleware({ kind: "signed" }))
typeOf(both(handler)).is<
  HttpApp.Default<SessionStore.SessionUnavailable, Keyring.Keyring | SessionStore.SessionStore>
>()
export const served: Layer.Layer<never, never, HttpServer.HttpServer | Keyring.Keyring | SessionStore.SessionStore> =
  Stack
    .serve(handler, both)

// of a principal

typeOf(Cart.list("ada")).is<
  Effect.Effect<ReadonlyArray<Session.Listed<Items>>, SessionStore.SessionUnavailable, SessionStore.SessionStore>
>()
typeOf(Cart.revoke("ada", "id")).is<
  Effect.Effect<boolean, SessionStore.SessionUnavailable, SessionStore.SessionStore>
>()
typeOf(Cart.revokeOthers).is<Effect.Effect<number, Session.WriteError, Cart | SessionStore.SessionStore>>()
export const tag: Session.SessionClass<Cart, "app/Cart", Items> = Cart
