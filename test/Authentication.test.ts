import { type HttpApp, HttpServer, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Option, Redacted } from "effect"
import { Authentication } from "effect-middleware"
import { type Init, listen, nodeServer, request, type Send } from "./utils/TestApp.js"

interface User {
  readonly name: string
}
class CurrentUser extends Authentication.Tag("test/CurrentUser")<CurrentUser, User>() {}

const whoami = Effect.map(
  CurrentUser,
  ({ method, subject, user }) => HttpServerResponse.unsafeJson({ name: user.name, method, subject })
)
const maybe = Effect.map(
  CurrentUser.Option,
  Option.match({
    onNone: () => HttpServerResponse.text("nobody"),
    onSome: ({ user }) => HttpServerResponse.text(user.name)
  })
)

const basic = Authentication.basic({
  verify: ({ password, username }) =>
    Effect.succeed(
      username === "ada" && Redacted.value(password) === "se:cret"
        ? Option.some({ user: { name: "Ada" } })
        : Option.none()
    )
})
const bearer = Authentication.bearer({
  verify: (token) => {
    switch (Redacted.value(token)) {
      case "good":
        return Effect.succeed(
          Option.some({ user: { name: "Bo" }, subject: "bo", scopes: ["docs:read"], roles: ["editor"] })
        )
      case "brief":
        return Effect.succeed(Option.some({ user: { name: "Cy" }, expiresAt: DateTime.unsafeMake(60_000) }))
      case "down":
        return Effect.fail(new Error("the directory is down"))
    }
    return Effect.succeed(Option.none())
  }
})
const key = Authentication.apiKey({
  prefix: "acme_",
  find: (hash) =>
    Effect.succeed(
      hash === Authentication.hashApiKey("acme_1234")
        ? Option.some({ user: { name: "machine" }, subject: "m1" })
        : Option.none()
    )
})

const encoded = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`

/** Over a socket. */
const serve = <R>(app: HttpApp.Default<unknown, R>) =>
  Effect.flatMap(Effect.context<R>(), (context) =>
    Effect.map(
      listen(HttpServer.serve(Effect.provide(app, context))),
      (port): Send => (init) => request(port, init)
    ))
const withBackend = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  backend: Authentication.Backend<User>
) => Effect.provide(effect, CurrentUser.layer(backend))

describe("required", () => {
  const all = Authentication.firstOf(bearer, basic, key)
  const challenges =
    "Bearer realm=\"app\", Basic realm=\"app\", charset=\"UTF-8\", ApiKey realm=\"app\", in=\"header\", name=\"x-api-key\""
  const wrong = challenges.replace("Bearer realm=\"app\"", "Bearer realm=\"app\", error=\"invalid_token\"")

  const cases: ReadonlyArray<readonly [what: string, headers: Init["headers"], status: number, told: string]> = [
    ["nothing", {}, 401, challenges],
    ["a good token", { authorization: "Bearer good" }, 200, "bo bearer"],
    ["the scheme in any case", { authorization: "bEaReR good" }, 200, "bo bearer"],
    ["several spaces", { authorization: "Bearer    good" }, 200, "bo bearer"],
    ["a bad token", { authorization: "Bearer bad" }, 401, wrong],
    ["a token of another scheme", { authorization: "Token good" }, 401, challenges],
    ["a Basic that is a good token", { authorization: "Basic good" }, 400, challenges],
    ["no token", { authorization: "Bearer" }, 400, challenges.replace("app\"", "app\", error=\"invalid_request\"")],
    [
      "a token with a space",
      { authorization: "Bearer a b" },
      400,
      challenges.replace("app\"", "app\", error=\"invalid_request\"")
    ],
    ["what a parser might slice", { authorization: "xxxxxxxgood" }, 401, challenges],
    ["a name and a password", { authorization: encoded("ada:se:cret") }, 200, "ada basic"],
    ["a wrong password", { authorization: encoded("ada:secret") }, 401, challenges],
    ["no colon", { authorization: encoded("ada") }, 400, challenges],
    ["a control character", { authorization: encoded("ada:\u0000") }, 400, challenges],
    ["no UTF-8", { authorization: `Basic ${Buffer.from([0xff, 0x3a]).toString("base64")}` }, 400, challenges],
    ["a key", { "x-api-key": "acme_1234" }, 200, "m1 apiKey"],
    ["a key without its prefix", { "x-api-key": "1234" }, 401, challenges],
    ["an unknown key", { "x-api-key": "acme_12345" }, 401, challenges],
    ["an empty key", { "x-api-key": "" }, 400, challenges],
    // an invalid one stops: a good one further down is not asked
    ["a bad token and a good key", { "authorization": "Bearer bad", "x-api-key": "acme_1234" }, 401, wrong],
    ["a token while the directory is down", { authorization: "Bearer down" }, 503, ""]
  ]

  it.scoped("tells absent, malformed, invalid, good and unavailable apart", () =>
    Effect.gen(function*() {
      const send = yield* withBackend(serve(CurrentUser.required()(whoami)), all)
      for (const [what, headers, status, told] of cases) {
        const reply = yield* send({ headers: headers ?? {} })
        assert.strictEqual(reply.status, status, what)
        if (status === 200) {
          const { method, subject } = JSON.parse(reply.body)
          assert.strictEqual(`${subject} ${method}`, told, what)
          assert.strictEqual(reply.headers["cache-control"], "private", what)
          assert.strictEqual(reply.headers["vary"], "Authorization, x-api-key", what)
        } else {
          assert.strictEqual(reply.headers["www-authenticate"] ?? "", told, what)
          assert.strictEqual(reply.headers["cache-control"], "no-store", what)
        }
        if (status === 503) assert.strictEqual(reply.headers["retry-after"], "5")
      }
    }).pipe(Effect.provide(nodeServer)))
})
