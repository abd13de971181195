import type { HttpServerError, HttpServerRespondable, HttpServerResponse } from "@effect/platform"
import type { Option } from "effect"
import { Effect } from "effect"
import {
  Authentication,
  type BodyLimit,
  Forwarded,
  Idempotency,
  type IdempotencyStore,
  type Middleware,
  RateLimit,
  Stack
} from "effect-middleware"
import { Database, same, typeOf } from "./fixtures.js"

type Refusals =
  | Idempotency.IdempotencyKeyMissing
  | Idempotency.IdempotencyKeyInvalid
  | Idempotency.IdempotencyKeyReused
  | Idempotency.IdempotencyInProgress
  | Idempotency.IdempotencyNotReplayable
  | IdempotencyStore.IdempotencyUnavailable
  | BodyLimit.BodyTooLarge
  | HttpServerError.RequestError
type Of<Requires = never, Fails = never, Name extends string = "Idempotency"> = Middleware.Middleware<
  Idempotency.Claim,
  Refusals | Fails,
  IdempotencyStore.IdempotencyStore | Requires,
  never,
  Name,
  Middleware.Wrapping
>
class User extends Authentication.Tag("test/User")<User, { readonly id: number }>() {}
class NoScope extends Error {
  readonly _tag = "NoScope"
}

typeOf(Idempotency.middleware({ scope: "everyone" })).is<Of>()
typeOf(
  Idempotency.middleware({
    scope: ({ request }) => request.headers["x-tenant"],
    methods: ["POST"],
    required: ["POST /payments"],
    unquoted: true,
    ttl: "1 day",
    lease: "30 seconds",
    fingerprint: ({ body, contentType, method, path, query }: Idempotency.Sent) =>
      `${method} ${path} ${query} ${contentType} ${body.length}`,
    maxRequestSize: "64 KiB",
    maxBodySize: 1024,
    store5xx: true,
    onInterrupt: "release",
    onUnavailable: "allow",
    documentation: "https://example.com/",
    name: "Payments"
  })
).is<Of<never, never, "Payments">>()
// @ts-expect-error whose a key is has to be said
Idempotency.middleware({})
// @ts-expect-error and by a word that there is
Idempotency.middleware({ scope: "nobody" })
same<Idempotency.Options["required"], Idempotency.PolicyOptions["required"]>()

// whoever's key is a principal's has to stand inside its middleware
const byUser = Idempotency.middleware({ scope: Idempotency.principal(User) })
typeOf(byUser).is<Of<User>>()
typeOf(Idempotency.principal(User.Option)).is<Idempotency.Scope<Authentication.OptionOf<User>>>()
Stack.make(User.required(), byUser)
Stack.make(
  // @ts-expect-error the user is known only inside User.required
  byUser,
  User.required()
)
// @ts-expect-error a service that is no principal
Idempotency.principal(Forwarded.Client)

// keys of rate limits are scopes, and a scope may ask and fail
typeOf(Idempotency.middleware({ scope: RateLimit.firstOf(RateLimit.principal(User.Option), RateLimit.client()) })).is<
  Of<Authentication.OptionOf<User> | Forwarded.Client>
>()
const asking = (() =>
  Effect.flatMap(
    Database,
    ({ url }) => url === "" ? Effect.fail(new NoScope()) : Effect.succeed(url)
  )) satisfies Idempotency.Scope<
    Database,
    NoScope
  >
typeOf(Idempotency.middleware({ scope: asking })).is<Of<Database, NoScope>>()

// what a handler knows
typeOf(Effect.map(Idempotency.Claim, (claim) => claim)).is<
  Effect.Effect<Option.Option<Idempotency.Claimed>, never, Idempotency.Claim>
>()
declare const claimed: Idempotency.Claimed
declare const response: HttpServerResponse.HttpServerResponse
typeOf(claimed.answerOf(response)).is<
  Effect.Effect<{
    readonly answer: IdempotencyStore.Answer | undefined
    readonly response: HttpServerResponse.HttpServerResponse
  }>
>()
same<typeof claimed.lost, Idempotency.IdempotencyInProgress>()
same<typeof claimed.token, number>()

// the decision, as a function of facts
typeOf(Idempotency.policy({ required: true })).is<(facts: Idempotency.Facts) => Idempotency.Decision>()

declare const refusal: Exclude<Refusals, HttpServerError.RequestError>
export const respondable: HttpServerRespondable.Respondable = refusal
