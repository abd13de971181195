import type { HttpClient } from "@effect/platform"
import { type Effect, Option, Redacted } from "effect"
import { type Authentication, TokenIntrospection } from "effect-middleware"
import { same, typeOf } from "./fixtures.js"

const verify = TokenIntrospection.verifier({
  url: "https://auth.example.com/introspect",
  client: { id: "orders", secret: Redacted.make("secret") },
  identity: (token) => {
    typeOf(token).is<TokenIntrospection.Token>()
    return Option.map(Option.fromNullable(token.sub), (user) => ({ user }))
  }
})
typeOf(verify).is<
  (
    token: Redacted.Redacted
  ) => Authentication.Verified<string, TokenIntrospection.IntrospectionFailed, HttpClient.HttpClient>
>()
same<Effect.Effect.Error<ReturnType<typeof verify>>["_tag"], "IntrospectionFailed">()
same<TokenIntrospection.Token["exp"], number | undefined>()
TokenIntrospection.verifier({
  url: "https://auth.example.com/introspect",
  // @ts-expect-error a secret that would be printed
  client: { id: "orders", secret: "secret" },
  identity: () => Option.some({ user: 1 })
})
