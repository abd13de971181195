/**
 * Who may: an administrator, a machine, a token of the right scope.
 */
import { HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Schema } from "effect"
import { Authorization } from "effect-middleware"
import { byPlan } from "./limits.js"
import { login } from "./login.js"
import { Notes } from "./Notes.js"
import { CurrentUser, Tokens, Users, Visitor } from "./Users.js"

/** Who there is, and at how many browsers. */
const users = Effect.gen(function*() {
  const all = yield* (yield* Users).all
  return yield* HttpServerResponse.json(
    yield* Effect.forEach(
      all,
      ({ roles, user: { name } }) => Effect.map(Visitor.list(name), ({ length }) => ({ name, roles, sessions: length }))
    )
  )
}).pipe(CurrentUser.requires({ roles: ["admin"] }, { login }))

// or a token would give the next, for ever
const hasKey = Authorization.rule("has a key", ({ method }) => method === "apiKey")

const asked = HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ scope: Schema.optional(Schema.String) }))

/** For a key, a token of some of its scopes, or of all (RFC 6749 section 5.1). */
const token = Effect.gen(function*() {
  const { scopes, user } = yield* CurrentUser
  const wanted = (yield* asked).scope?.split(" ") ?? scopes
  const scope = scopes.filter((scope) => wanted.includes(scope)).join(" ")
  const { issuer } = yield* Tokens
  return HttpServerResponse.unsafeJson(
    { access_token: yield* issuer.sign({ sub: user.name, scope }), token_type: "Bearer", expires_in: 300, scope },
    { headers: { "cache-control": "no-store" } }
  )
}).pipe(byPlan, CurrentUser.requires(hasKey))

const exported = Effect.gen(function*() {
  const notes = yield* (yield* Notes).list
  return HttpServerResponse.text(notes.map(({ id, text }) => `${id}\t${text}\n`).join(""))
}).pipe(byPlan, CurrentUser.requires({ scopes: ["notes:export"] }))

export const routes = Layer.mergeAll(
  HttpLayerRouter.add("GET", "/users", users),
  HttpLayerRouter.add("POST", "/token", token),
  HttpLayerRouter.add("GET", "/export", exported)
)
