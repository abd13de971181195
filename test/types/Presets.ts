import { HttpRouter } from "@effect/platform"
import { Effect, Schema } from "effect"
import {
  type AccessLog,
  Authentication,
  Compression,
  Cors,
  Csrf,
  Defaults,
  Forwarded,
  Middleware,
  RateLimit,
  type RateLimitStore,
  type RequestId,
  Session,
  type SessionStore,
  Stack,
  TrustedHost
} from "effect-middleware"
import { same } from "./fixtures.js"

class Cart extends Session.Tag("app/Cart")<Cart>()(Schema.Struct({}), { initial: () => ({}) }) {}
class User extends Authentication.Tag("app/User")<User, string>() {}

const forwarded = Forwarded.middleware({ trust: "none" })
const host = TrustedHost.middleware({ hosts: ["example.com"] })
const session = Cart.middleware({ kind: "stored" })
const limit = RateLimit.middleware({
  limits: RateLimit.gcra({ limit: 1, window: "1 minute" }),
  key: RateLimit.client()
})
const cors = Cors.middleware({ origins: ["https://example.com"] })

const site = Stack.site({ ...Defaults.site(), forwarded, host, session })
same<Middleware.Middleware.Provides<typeof site>, AccessLog.Fields | Cart | Forwarded.Client | RequestId.RequestId>()
same<Middleware.Middleware.Requires<typeof site>, SessionStore.SessionStore>()

// what a handler uses is there, and the app is served with a store alone
export const served = HttpRouter.empty.pipe(
  HttpRouter.get("/", Effect.flatMap(Effect.all([Cart, Forwarded.Client]), () => Effect.never)),
  Stack.serve(site)
)

// parts are edited by name, and keep their types
export const edited = Stack.replace(site, "Compression", Compression.middleware({ algorithms: ["gzip"] }))
export const behind = Stack.after(site, "app/Cart", User.required())
same<
  Middleware.Middleware.Provides<typeof behind>,
  AccessLog.Fields | Cart | Forwarded.Client | RequestId.RequestId | User
>()
// @ts-expect-error there is no such member
Stack.replace(site, "Cors", cors)
export const withCors = Stack.replace(Stack.site({ ...Defaults.site(), forwarded, host, session, cors }), "Cors", cors)
// @ts-expect-error it was left out
Stack.without(Stack.site({ ...Defaults.site(), forwarded, host, session, compression: false }), "Compression")
// @ts-expect-error the session is known by its own name
Stack.site({ ...Defaults.site(), forwarded, host, session, sesion: false })
// @ts-expect-error each part has to be said
Stack.site({ forwarded, host, session })
// @ts-expect-error the session has to be said
Stack.site({ ...Defaults.site(), forwarded, host })
// @ts-expect-error no middleware
Stack.site({ ...Defaults.site(), forwarded, host, session, cors: "*" })
// @ts-expect-error no code
Stack.site({ ...Defaults.site(), forwarded, host, session, acknowledge: ["nonsense"] })
// @ts-expect-error AccessLog, SecurityHeaders, HttpsRedirect and Csrf need the client
Stack.site({ ...Defaults.site(), forwarded: false, host, session })
export const bare = Stack.site({
  ...Defaults.site(),
  forwarded: false,
  host,
  session,
  accessLog: false,
  securityHeaders: false,
  https: false,
  csrf: false
})
same<Middleware.Middleware.Requires<typeof bare>, SessionStore.SessionStore>()
// @ts-expect-error tokens are kept in a session, which stands further in: leave it out, and Stack.after the session
Stack.site({ ...Defaults.site(), forwarded, host, session, csrf: Csrf.middleware({ tokens: { session: Cart } }) })
export const inline = Stack.api({
  ...Defaults.api(),
  forwarded: Forwarded.middleware({ trust: { hops: 1 } }),
  host: TrustedHost.middleware({ hosts: ["api.example.com"] }),
  cors: Cors.middleware({ origins: ["https://example.com"] }),
  rateLimit: false,
  authentication: User.required()
})

const api = Stack.api({ ...Defaults.api(), forwarded, host, cors, rateLimit: limit, authentication: User.required() })
same<Middleware.Middleware.Provides<typeof api>, AccessLog.Fields | Forwarded.Client | RequestId.RequestId | User>()
export const replaced = Stack.replace(api, "Cors", cors)
same<
  Middleware.Middleware.Requires<typeof api>,
  RateLimitStore.RateLimitStore | Authentication.BackendOf<User>
>()
// @ts-expect-error rateLimit has to be said
Stack.api({ ...Defaults.api(), forwarded, host, cors, authentication: false })

// traits are known words
export const own = Middleware.make({ name: "Own", traits: ["guard"] })
// @ts-expect-error no trait
Middleware.make({ name: "Own", traits: ["gard"] })
export const traited: typeof own = Middleware.withTraits(own, "access")
export const reading = Middleware.reading(["method"], ({ method }) => method === "GET")
// @ts-expect-error a condition is not shown the headers
Middleware.reading(["method"], ({ headers }) => headers["x"] === "1")
// @ts-expect-error nor may it ask for them
Middleware.reading(["headers"], () => true)

// what is told
export const told: ReadonlyArray<Stack.Diagnostic> = Stack.lint(site)
same<Stack.Diagnostic["code"], Stack.Code>()
same<Middleware.Trait, NonNullable<Parameters<typeof Middleware.withTraits>[1]>>()
// the parts have one name each
same<keyof Stack.SiteParts, keyof Stack.CommonParts | "csrf" | "session">()
same<keyof Stack.ApiParts, keyof Stack.CommonParts | "quota">()
// @ts-expect-error who needs the client is named
export const complaint: Stack.MustKnowClient<"Csrf"> = { "without `forwarded`": "Csrf" }
