import { type HttpApp, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Context, Effect, type Scope } from "effect"
import { Forwarded, IpRestriction, Middleware, RequestId, Stack, Testing } from "effect-middleware"
import { typeOf } from "./fixtures.js"

class Limits extends Context.Tag("test/Limits")<Limits, number>() {}

// what the app requires, beyond what the server brings, its client does
declare const app: HttpApp.Default<"failed", Limits | Scope.Scope>
typeOf(Testing.client(app)).is<Effect.Effect<Testing.Client, never, Limits>>()
typeOf(Testing.client(HttpServerResponse.text("hello"))).is<Effect.Effect<Testing.Client>>()
declare const send: Testing.Client
typeOf(send()).is<Effect.Effect<Testing.Reply>>()
send({ method: "PUT", path: "/a", headers: { "x-a": "1" }, body: "b" })
// @ts-expect-error it is `path`
send({ url: "/a" })

// so does a check what the middleware requires
const limited = Middleware.make({ name: "Limited", requires: [Limits], request: () => undefined })
typeOf(Testing.laws(() => RequestId.middleware())).is<ReadonlyArray<Testing.Check>>()
typeOf(Testing.laws(() => limited, { request: { path: "/a" }, answers: true })).is<
  ReadonlyArray<Testing.Check<Limits>>
>()
typeOf(Testing.attacks(() => limited, { refused: {}, fields: ["x-a"], mayRepeat: ["location"] })).is<
  ReadonlyArray<Testing.Check<Limits>>
>()
const before = Middleware.before("Before", () => Effect.asVoid(HttpServerRequest.HttpServerRequest))
typeOf(Testing.laws(() => before)).is<ReadonlyArray<Testing.Check>>()
typeOf(
  Testing.laws(() =>
    Stack.make(Forwarded.middleware({ trust: "none" }), IpRestriction.middleware({ deny: ["10.0.0.1"] }))
  )
).is<ReadonlyArray<Testing.Check>>()
// alone it needs what only another one provides, and so does its check
const run: Effect.Effect<void, Testing.Broken, Forwarded.Client> =
  Testing.laws(() => IpRestriction.middleware({ deny: ["10.0.0.1"] }))[0]!.run
// @ts-expect-error the client is to be provided
const closed: Effect.Effect<void, Testing.Broken> = run
export { closed }

// what is sent, and what a check needs beside
const request: Testing.Request = { path: "/a", headers: { "x-a": "1" } }
typeOf(Testing.laws(() => before, { request })).is<ReadonlyArray<Testing.Check>>()
type Alone = ReturnType<typeof IpRestriction.middleware>
const needed: Forwarded.Client extends Testing.Needs<Alone> ? true : false = true
export { needed }
