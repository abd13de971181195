import type { HttpApp, HttpServerRespondable } from "@effect/platform"
import type { Option } from "effect"
import { Effect } from "effect"
import type { Middleware } from "effect-middleware"
import { Authentication, Forwarded, RateLimit, type RateLimitStore, Stack } from "effect-middleware"
import { Database, same, typeOf } from "./fixtures.js"

type Of<Requires, Fails = never, Name extends string = "RateLimit"> = Middleware.Middleware<
  never,
  RateLimit.RateLimited | RateLimitStore.RateLimitUnavailable | Fails,
  RateLimitStore.RateLimitStore | Requires,
  never,
  Name,
  Middleware.Phases
>
class User extends Authentication.Tag("test/User")<User, { readonly plan: "free" | "paid" }>() {}
class NoKey extends Error {
  readonly _tag = "NoKey"
}

const limit = RateLimit.gcra({ limit: 10, window: "1 second" })

// whoever's key is the client's has to stand inside Forwarded
const byClient = RateLimit.middleware({ limits: limit, key: RateLimit.client({ ipv6Prefix: 56 }), name: "ByClient" })
typeOf(byClient).is<Of<Forwarded.Client, never, "ByClient">>()
Stack.make(Forwarded.middleware({ trust: "none" }), byClient)
Stack.make(
  // @ts-expect-error the client is known only inside Forwarded
  byClient,
  Forwarded.middleware({ trust: "none" })
)

// and whoever's key is a principal's inside its middleware
const byUser = RateLimit.middleware({ limits: [limit], key: RateLimit.principal(User) })
typeOf(byUser).is<Of<User>>()
Stack.make(User.required(), byUser)
Stack.make(
  // @ts-expect-error the user is known only inside User.required
  byUser,
  User.required()
)
typeOf(RateLimit.principal(User.Option)).is<RateLimit.Key<Authentication.OptionOf<User>>>()
// @ts-expect-error a service that is no principal
RateLimit.principal(Forwarded.Client)

// keys together require and fail with what each does
const both = RateLimit.firstOf(RateLimit.principal(User.Option), RateLimit.client())
typeOf(both).is<RateLimit.Key<Authentication.OptionOf<User> | Forwarded.Client>>()
const failing = (() => Effect.fail(new NoKey())) satisfies RateLimit.Key<never, NoKey>
const asking = (() => Effect.map(Database, ({ url }) => url)) satisfies RateLimit.Key<Database>
typeOf(RateLimit.all(RateLimit.client(), failing, asking)).is<RateLimit.Key<Forwarded.Client | Database, NoKey>>()
same<RateLimit.Key.Requires<typeof both>, Authentication.OptionOf<User> | Forwarded.Client>()
same<RateLimit.Key.Fails<typeof failing>, NoKey>()
typeOf(RateLimit.middleware({ limits: limit, key: failing })).is<Of<never, NoKey>>()
typeOf(RateLimit.apiKey({ header: "x-api-key" })).is<RateLimit.Key>()
typeOf(RateLimit.route).is<RateLimit.Key>()
typeOf(RateLimit.middleware({ limits: limit, key: ({ request }) => request.headers["x-tenant"] })).is<Of<never>>()
// @ts-expect-error a key has to be chosen
RateLimit.middleware({ limits: limit })
// @ts-expect-error a key is a text
RateLimit.middleware({ limits: limit, key: () => 1 })

// limits by the plan of a principal
const plans = {
  free: RateLimit.limits(limit),
  paid: RateLimit.limits([limit], { ban: { after: 3, duration: "1 hour" } })
}
typeOf(plans.free).is<RateLimitStore.Limits>()
typeOf(RateLimit.middleware({
  limits: (exchange: Middleware.Exchange<User>) => plans[exchange.get(User).user.plan],
  key: RateLimit.principal(User)
})).is<Of<User>>()
typeOf(RateLimit.middleware({
  limits: (_: Middleware.Exchange<Database>) => Effect.as(Database, plans.free),
  key: RateLimit.client()
})).is<Of<Database | Forwarded.Client>>()
// @ts-expect-error limits that are made for each request would be new to the store each time: they are made by `limits`
RateLimit.middleware({ limits: () => [limit], key: RateLimit.client() })
// @ts-expect-error at least one
RateLimit.limits([])

// each algorithm
typeOf(RateLimit.fixedWindow({ limit: 1, window: "1 minute" })).is<RateLimitStore.FixedWindow>()
typeOf(RateLimit.slidingWindowLog({ limit: 1, window: "1 minute" })).is<RateLimitStore.SlidingWindowLog>()
typeOf(RateLimit.slidingWindowCounter({ limit: 1, window: "1 minute" })).is<RateLimitStore.SlidingWindowCounter>()
typeOf(RateLimit.tokenBucket({ capacity: 1, refill: 1, every: "1 minute" })).is<RateLimitStore.TokenBucket>()
typeOf(limit).is<RateLimitStore.Gcra>()
typeOf(RateLimit.quota({ limit: 1, per: "month", timeZone: "Asia/Tokyo" })).is<RateLimitStore.Quota>()
typeOf(RateLimit.backOff()).is<RateLimitStore.BackOff>()
// @ts-expect-error a year is no period
RateLimit.quota({ limit: 1, per: "year" })
same<Parameters<typeof RateLimit.fixedWindow>, [options: RateLimit.WindowOptions]>()
same<Parameters<typeof RateLimit.tokenBucket>, [TokenBucketOptions: RateLimit.TokenBucketOptions]>()
same<Parameters<typeof RateLimit.gcra>, [options: RateLimit.GcraOptions]>()
same<Parameters<typeof RateLimit.quota>, [options: RateLimit.QuotaOptions]>()
same<Parameters<typeof RateLimit.backOff>, [options?: RateLimit.BackOffOptions]>()
same<RateLimit.BanOptions["after"], number>()
same<RateLimit.ClientOptions["ipv6Prefix"], number | undefined>()

// options
same<RateLimit.Headers, "standard" | "draft-6" | "legacy">()
same<RateLimit.Delay["queue"], number | undefined>()
typeOf(RateLimit.middleware({
  limits: limit,
  key: RateLimit.route,
  cost: ({ method }) => method === "GET" ? 1 : 5,
  mode: { wait: "1 second" },
  refund: "success",
  headers: ["standard", "legacy"],
  onUnavailable: "allow",
  exceptRoutes: ["GET /health"],
  name: "Api"
})).is<Of<never, never, "Api">>()
// @ts-expect-error no such mode
RateLimit.middleware({ limits: limit, key: RateLimit.route, mode: "throttle" })
declare const options: RateLimit.Options<User, NoKey>
typeOf(RateLimit.middleware(options)).is<Of<User, NoKey, string>>()

// the refusal joins the failures of the app, and knows its response
declare const app: HttpApp.Default
typeOf(app.pipe(byClient)).is<
  HttpApp.Default<
    RateLimit.RateLimited | RateLimitStore.RateLimitUnavailable,
    RateLimitStore.RateLimitStore | Forwarded.Client
  >
>()
declare const refusal: RateLimit.RateLimited
same<typeof refusal._tag, "RateLimited">()
same<typeof refusal.retryAfter, number>()
export const respondable: HttpServerRespondable.Respondable = refusal

// for programs
type Asks<A, E = never> = Effect.Effect<A, E | RateLimitStore.RateLimitUnavailable, RateLimitStore.RateLimitStore>
const limiter = RateLimit.limiter({ name: "exports", limits: [limit] })
typeOf(limiter).is<RateLimit.Limiter>()
same<Parameters<typeof RateLimit.limiter>, [LimiterOptions: RateLimit.LimiterOptions]>()
typeOf(limiter.consume("key", { cost: 2 })).is<Asks<RateLimit.Admitted, RateLimit.RateLimited>>()
typeOf(limiter.peek("key")).is<Asks<RateLimitStore.Decision>>()
typeOf(limiter.reset("key")).is<Asks<void>>()
declare const admitted: RateLimit.Admitted
typeOf(limiter.refund(admitted)).is<Asks<void>>()

const logins = RateLimit.login({ account: RateLimit.backOff({ after: 3 }) })
typeOf(logins).is<RateLimit.Login>()
same<Parameters<typeof RateLimit.login>, [LoginOptions?: RateLimit.LoginOptions]>()
declare const check: Effect.Effect<Option.Option<string>, NoKey, Database>
typeOf(logins.protect("ada")(check)).is<
  Effect.Effect<
    Option.Option<string>,
    NoKey | RateLimit.RateLimited | RateLimitStore.RateLimitUnavailable,
    Database | Forwarded.Client | RateLimitStore.RateLimitStore
  >
>()
typeOf(logins.forgive("ada")).is<Asks<void>>()
