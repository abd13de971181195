import type { Config } from "effect"
import { Context, Effect, Layer, Option, Redacted, Schema } from "effect"
import { Authentication, Entropy, PasswordHash, Session } from "effect-middleware"
import * as Jwt from "effect-middleware/Authentication/Jwt"

/** What is remembered of whoever comes by: in the store, and the browser has an identifier. */
export class Visitor extends Session.Tag("notes/Visitor")<Visitor>()(Schema.Struct({
  cart: Schema.optionalWith(Schema.Array(Schema.NonEmptyString), { default: () => [] })
})) {}

export interface User {
  readonly name: string
  readonly plan: "free" | "machine"
}

/** Who has sent a request: a service of each route that asks for it, and of no other. */
export class CurrentUser
  extends Authentication.Tag("notes/CurrentUser", { requires: [Visitor] })<CurrentUser, User>()
{}

/** For you to try. A server that others can reach has no passwords in its source. */
export const people = [
  { name: "ada", password: "correct horse", roles: ["admin"] },
  { name: "bob", password: "battery staple", roles: [] }
] as const

/** Users in memory: people, who have passwords, and a robot, which has a key. */
export class Users extends Effect.Service<Users>()("notes/Users", {
  effect: Effect.gen(function*() {
    const passwords = yield* PasswordHash.PasswordHash
    const { bytes } = yield* Entropy.Entropy

    const accounts = new Map<string, PasswordHash.Account<User>>()
    for (const { name, password, roles } of people) {
      accounts.set(name, {
        hash: yield* passwords.hash(Redacted.make(password)),
        identity: { user: { name, plan: "free" }, roles }
      })
    }
    const key = `notes_${Buffer.from(bytes(32)).toString("base64url")}`
    const robot = {
      user: { name: "robot", plan: "machine" as const },
      subject: "robot",
      scopes: ["notes:export", "notes:import"]
    }
    const keys = new Map([[Authentication.hashApiKey(key), robot]])

    const find = (name: string) => Effect.sync(() => Option.fromNullable(accounts.get(name)))
    return {
      all: Effect.sync(() => [...accounts.values()].map(({ identity }) => identity)),
      find,
      byName: (name: string) => Effect.map(find(name), Option.map(({ identity }) => identity)),
      byKey: (hash: string) => Effect.sync(() => Option.fromNullable(keys.get(hash))),
      /** Of the robot. Only its hash is looked up: a real one is shown once, to whom it is for. */
      key
    }
  })
}) {}

const Claims = Schema.Struct({ sub: Schema.String, scope: Schema.String })

/** Tokens of five minutes, signed and verified with one secret. */
export class Tokens extends Context.Tag("notes/Tokens")<Tokens, {
  readonly issuer: Jwt.Issuer<typeof Claims.Type>
  readonly backend: Authentication.Backend<User>
}>() {
  static readonly layer = (secret: Config.Config<Redacted.Redacted>) =>
    Layer.effect(
      Tokens,
      Effect.map(secret, (secret) => {
        const terms = { keys: [Jwt.secret(secret)] as const, claims: Claims, issuer: "notes", audience: "notes" }
        return {
          issuer: Jwt.issuer({ ...terms, lifetime: "5 minutes" }),
          // its scopes are those that it says
          backend: Jwt.backend({
            ...terms,
            algorithms: ["HS256"],
            identity: ({ sub }) => ({ user: { name: sub, plan: "machine" } })
          })
        }
      })
    )
}

/** How they show who they are: machines by a token or a key, browsers by the session in which somebody has logged in. */
export const backend = Layer.unwrapEffect(Effect.gen(function*() {
  const { byKey, byName } = yield* Users
  return CurrentUser.layer(Authentication.firstOf(
    (yield* Tokens).backend,
    Authentication.apiKey({ prefix: "notes_", find: byKey }),
    Authentication.session(Visitor, { find: byName })
  ))
}))
