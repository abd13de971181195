import { HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Option, Schema } from "effect"
import { HttpException, Session, Validate } from "effect-middleware"

/** What is remembered of whoever comes by: in the store, and the browser has an identifier. */
export class Visitor extends Session.Tag("notes/Visitor")<Visitor>()(Schema.Struct({
  name: Schema.optional(Schema.NonEmptyString),
  cart: Schema.optionalWith(Schema.Array(Schema.NonEmptyString), { default: () => [] })
})) {}

// Browsers send the cookie, which is SameSite=Lax, with no POST of another site. Another port of this host is of the same
// site, so what changes a session takes JSON, body and all: for that a page needs Cors to allow credentials. A Csrf
// middleware is for a later version.
const post = <const Path extends `/${string}`, E, R>(
  path: Path,
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
) => HttpLayerRouter.add("POST", path, Validate.contentType(["application/json"])(handler))

const credentials = HttpServerRequest.schemaBodyJson(Schema.Struct({ name: Schema.NonEmptyString }))
const newItem = HttpServerRequest.schemaBodyJson(Schema.Struct({ item: Schema.NonEmptyString }))
const nothing = HttpServerRequest.schemaBodyJson(Schema.Struct({}))
const idParam = HttpLayerRouter.schemaPathParams(Schema.Struct({ id: Schema.String }))

/** Who has logged in. Leave `Visitor` out of the stack, and what asks for it does not compile. */
const principal = Effect.flatMap(Visitor, (visitor) => visitor.principal).pipe(
  Effect.flatMap(Option.match({
    onNone: () => HttpException.forbidden({ detail: "Log in first" }),
    onSome: Effect.succeed
  }))
)

const cart = Effect.gen(function*() {
  const visitor = yield* Visitor
  const messages = yield* visitor.flashes
  return HttpServerResponse.unsafeJson({ ...yield* visitor.get, messages: messages.map(({ text }) => text) })
})

const add = Effect.gen(function*() {
  const { item } = yield* newItem
  const visitor = yield* Visitor
  yield* visitor.update(({ cart, ...rest }) => ({ ...rest, cart: [...cart, item] }))
  return HttpServerResponse.unsafeJson(yield* visitor.get)
})

/** Any name will do. */
const login = Effect.gen(function*() {
  const { name } = yield* credentials
  const visitor = yield* Visitor
  // somebody else's cart stays theirs
  if (Option.exists(yield* visitor.principal, (before) => before !== name)) yield* visitor.destroy
  yield* visitor.update(({ cart }) => ({ cart, name }))
  // who knew the identifier from before knows nothing now
  yield* visitor.rotate({ principal: name })
  yield* visitor.flash(`Welcome, ${name}`)
  return HttpServerResponse.empty()
})

const logout = Effect.gen(function*() {
  yield* nothing
  yield* (yield* Visitor).destroy
  return HttpServerResponse.empty()
})

const logoutEverywhere = Effect.gen(function*() {
  yield* nothing
  const ended = yield* Visitor.revokeAll(yield* principal)
  yield* (yield* Visitor).destroy
  return HttpServerResponse.unsafeJson({ ended })
})

const list = Effect.gen(function*() {
  const sessions = yield* Visitor.list(yield* principal)
  const own = yield* (yield* Visitor).id
  return HttpServerResponse.unsafeJson(sessions.map(({ id, lastUsedAt }) => ({
    id,
    lastUsedAt,
    current: Option.contains(own, id)
  })))
})

const revoke = Effect.gen(function*() {
  const { id } = yield* idParam
  return (yield* Visitor.revoke(yield* principal, id))
    ? HttpServerResponse.empty()
    : yield* HttpException.notFound({ detail: "You have no such session" })
})

export const routes = Layer.mergeAll(
  HttpLayerRouter.add("GET", "/cart", cart),
  post("/cart", add),
  post("/login", login),
  post("/logout", logout),
  post("/logout-everywhere", logoutEverywhere),
  HttpLayerRouter.add("GET", "/sessions", list),
  HttpLayerRouter.add("DELETE", "/sessions/:id", revoke)
)
