import { HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Option, Schema } from "effect"
import { HttpException, Validate } from "effect-middleware"
import { login } from "./login.js"
import { CurrentUser, Visitor } from "./Users.js"

// What a page of elsewhere sends does not come here: Csrf stands before.
const post = <const Path extends `/${string}`, E, R>(
  path: Path,
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
) => HttpLayerRouter.add("POST", path, Validate.contentType(["application/json"])(handler))

const newItem = HttpServerRequest.schemaBodyJson(Schema.Struct({ item: Schema.NonEmptyString }))
const nothing = HttpServerRequest.schemaBodyJson(Schema.Struct({}))
const idParam = HttpLayerRouter.schemaPathParams(Schema.Struct({ id: Schema.String }))

const cart = Effect.gen(function*() {
  const visitor = yield* Visitor
  const messages = yield* visitor.flashes
  return HttpServerResponse.unsafeJson({ ...yield* visitor.get, messages: messages.map(({ text }) => text) })
})

const add = Effect.gen(function*() {
  const { item } = yield* newItem
  const visitor = yield* Visitor
  yield* visitor.update(({ cart }) => ({ cart: [...cart, item] }))
  return HttpServerResponse.unsafeJson(yield* visitor.get)
})

const logoutEverywhere = Effect.gen(function*() {
  yield* nothing
  const ended = yield* Visitor.revokeAll((yield* CurrentUser).user.name)
  yield* (yield* Visitor).destroy
  return HttpServerResponse.unsafeJson({ ended })
})

const list = Effect.gen(function*() {
  const sessions = yield* Visitor.list((yield* CurrentUser).user.name)
  const own = yield* (yield* Visitor).id
  return HttpServerResponse.unsafeJson(sessions.map(({ id, lastUsedAt }) => ({
    id,
    lastUsedAt,
    current: Option.contains(own, id)
  })))
})

const revoke = Effect.gen(function*() {
  const { id } = yield* idParam
  return (yield* Visitor.revoke((yield* CurrentUser).user.name, id))
    ? HttpServerResponse.empty()
    : yield* HttpException.notFound({ detail: "You have no such session" })
})

// who has logged in sees where, and ends it
const user = CurrentUser.required({ login })

export const routes = Layer.mergeAll(
  HttpLayerRouter.add("GET", "/cart", cart),
  post("/cart", add),
  HttpLayerRouter.add("GET", "/sessions", user(list)),
  HttpLayerRouter.add("DELETE", "/sessions/:id", user(revoke)),
  post("/logout-everywhere", user(logoutEverywhere))
)
