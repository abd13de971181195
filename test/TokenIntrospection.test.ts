import { FetchHttpClient, type HttpClient, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Deferred, Effect, Either, Fiber, Layer, Option, Redacted, TestClock } from "effect"
import { Authentication, TokenIntrospection } from "effect-middleware"
import { listen, request } from "./utils/TestApp.js"

interface Asked {
  readonly authorization: string | undefined
  readonly body: { readonly [name: string]: string | undefined }
}

/** An authorization server on loopback, which says what the test says. */
const authorizationServer = (answer: (token: string) => Effect.Effect<HttpServerResponse.HttpServerResponse>) =>
  Effect.gen(function*() {
    const asked: Array<Asked> = []
    const app = Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      const body: Asked["body"] = Object.fromEntries(new URLSearchParams(yield* Effect.orDie(request.text)))
      asked.push({ authorization: request.headers["authorization"], body })
      return yield* answer(body["token"] ?? "")
    })
    const port = yield* listen(HttpServer.serve(app))
    return { asked, url: `http://127.0.0.1:${port}/introspect` }
  })
const json = (body: unknown, status = 200) => Effect.succeed(HttpServerResponse.unsafeJson(body, { status }))

const client = { id: "or:ders", secret: Redacted.make("se cret") }
const bySubject = ({ sub }: TokenIntrospection.Token) => Option.map(Option.fromNullable(sub), (user) => ({ user }))
const run = <A, E>(verified: Authentication.Verified<A, E, HttpClient.HttpClient>) =>
  Effect.provide(verified, FetchHttpClient.layer)

describe("what the authorization server says", () => {
  const cases: ReadonlyArray<
    readonly [what: string, answer: unknown, status: number, good: "good" | "bad" | "unavailable"]
  > = [
    ["active", { active: true, sub: "ada" }, 200, "good"],
    ["not active", { active: false, sub: "ada" }, 200, "bad"],
    ["of nobody", { active: true }, 200, "bad"],
    ["over", { active: true, sub: "ada", exp: 100 }, 200, "bad"],
    ["not yet over", { active: true, sub: "ada", exp: 101 }, 200, "good"],
    ["not yet good", { active: true, sub: "ada", nbf: 101 }, 200, "bad"],
    ["good by now", { active: true, sub: "ada", nbf: 100 }, 200, "good"],
    ["active in words", { active: "true", sub: "ada" }, 200, "unavailable"],
    ["over at no time", { active: true, sub: "ada", exp: "never" }, 200, "unavailable"],
    ["nothing", {}, 200, "unavailable"],
    ["no JSON object", "active", 200, "unavailable"],
    ["that this server is not known", { error: "invalid_client" }, 401, "unavailable"],
    ["that it is down", { active: true, sub: "ada" }, 503, "unavailable"]
  ]
  it.scoped.each(cases)("%s", ([_, answer, status, good]) =>
    Effect.gen(function*() {
      yield* TestClock.adjust("100 seconds")
      const { url } = yield* authorizationServer(() => json(answer, status))
      const verify = TokenIntrospection.verifier({ url, client, identity: bySubject })
      const found = yield* Effect.either(run(verify(Redacted.make("token"))))
      assert.strictEqual(
        Either.match(found, {
          onLeft: () => "unavailable",
          onRight: Option.match({ onNone: () => "bad", onSome: () => "good" })
        }),
        good
      )
    }))

  it.scoped("is asked by Basic, with the token in the body", () =>
    Effect.gen(function*() {
      const { asked, url } = yield* authorizationServer(() => json({ active: true, sub: "ada" }))
      yield* run(TokenIntrospection.verifier({ url, client, identity: bySubject })(Redacted.make("a+b/c=")))
      assert.deepStrictEqual(asked, [{
        // both are encoded as in a form before they are joined: a colon in the id ends no name
        authorization: `Basic ${Buffer.from("or%3Aders:se%20cret").toString("base64")}`,
        body: { token: "a+b/c=", token_type_hint: "access_token" }
      }])
    }))

  it.scoped("becomes the principal", () =>
    Effect.gen(function*() {
      const { url } = yield* authorizationServer(() =>
        json({ active: true, sub: "ada", scope: "docs.read  docs.write", exp: 2000, iat: 50, tenant: 7 })
      )
      const found = yield* run(
        TokenIntrospection.verifier({ url, client, identity: bySubject })(Redacted.make("token"))
      )
      const identity = Option.getOrThrow(found)
      assert.deepStrictEqual(
        [identity.user, identity.subject, identity.scopes, identity.claims?.["tenant"]],
        ["ada", "ada", ["docs.read", "docs.write"], 7]
      )
      assert.deepStrictEqual(
        [identity.expiresAt, identity.authenticatedAt].map((at) =>
          at === undefined ? undefined : DateTime.toEpochMillis(at)
        ),
        [2_000_000, 50_000]
      )
    }))

  it.scoped("has to be for this audience", () =>
    Effect.gen(function*() {
      const good = (aud: unknown, audience: string | ReadonlyArray<string>) =>
        Effect.gen(function*() {
          const { url } = yield* authorizationServer(() => json({ active: true, sub: "ada", aud }))
          return Option.isSome(
            yield* run(
              TokenIntrospection.verifier({ url, client, identity: bySubject, audience })(Redacted.make("token"))
            )
          )
        })
      assert.isTrue(yield* good("orders", "orders"))
      assert.isTrue(yield* good(["billing", "orders"], ["orders", "stock"]))
      assert.isFalse(yield* good("billing", "orders"))
      assert.isFalse(yield* good("orders-2", "orders"))
      assert.isFalse(yield* good([], "orders"))
      assert.isFalse(yield* good(undefined, "orders"))
    }))
})

describe("how often it is asked", () => {
  it.scoped("once a minute for a token that is active, and each time for one that is not", () =>
    Effect.gen(function*() {
      const { asked, url } = yield* authorizationServer((token) => json({ active: token !== "bad", sub: token }))
      const verify = TokenIntrospection.verifier({ url, client, identity: bySubject })
      const count = (token: string) => Effect.map(run(verify(Redacted.make(token))), () => asked.length)
      assert.strictEqual(yield* count("a"), 1)
      assert.strictEqual(yield* count("a"), 1)
      yield* TestClock.adjust("59999 millis")
      assert.strictEqual(yield* count("a"), 1)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* count("a"), 2)
      assert.strictEqual(yield* count("bad"), 3)
      assert.strictEqual(yield* count("bad"), 4)
    }))

  it.scoped("what is remembered is over when it says so", () =>
    Effect.gen(function*() {
      const { asked, url } = yield* authorizationServer(() => json({ active: true, sub: "ada", exp: 30 }))
      const verify = TokenIntrospection.verifier({ url, client, identity: bySubject })
      assert.isTrue(Option.isSome(yield* run(verify(Redacted.make("token")))))
      yield* TestClock.adjust("30 seconds")
      assert.isTrue(Option.isNone(yield* run(verify(Redacted.make("token")))))
      assert.lengthOf(asked, 1)
    }))

  it.scoped("remembers as many as it may", () =>
    Effect.gen(function*() {
      const { asked, url } = yield* authorizationServer((token) => json({ active: true, sub: token }))
      const verify = TokenIntrospection.verifier({
        url,
        client,
        identity: bySubject,
        cache: { capacity: 2, ttl: "1 hour" }
      })
      const count = (token: string) => Effect.map(run(verify(Redacted.make(token))), () => asked.length)
      for (const token of ["a", "b", "c"]) yield* count(token)
      assert.strictEqual(yield* count("c"), 3)
      assert.strictEqual(yield* count("b"), 3)
      assert.strictEqual(yield* count("a"), 4)

      const never = TokenIntrospection.verifier({ url, client, identity: bySubject, cache: false })
      yield* run(never(Redacted.make("a")))
      yield* run(never(Redacted.make("a")))
      assert.lengthOf(asked, 6)
    }))

  it.scoped("requests of one token at once ask once, though the first client leaves", () =>
    Effect.gen(function*() {
      const [begun, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const { asked, url } = yield* authorizationServer(() =>
        Effect.zipRight(
          Deferred.succeed(begun, undefined),
          Effect.zipRight(Deferred.await(go), json({ active: true, sub: "ada" }))
        )
      )
      const verify = TokenIntrospection.verifier({ url, client, identity: bySubject })
      const first = yield* Effect.fork(run(verify(Redacted.make("token"))))
      yield* Deferred.await(begun)
      const others = yield* Effect.fork(
        Effect.all(Array.from({ length: 20 }, () => run(verify(Redacted.make("token")))), { concurrency: "unbounded" })
      )
      yield* Fiber.interrupt(first)
      yield* Deferred.succeed(go, undefined)
      assert.isTrue((yield* Fiber.join(others)).every(Option.isSome))
      assert.lengthOf(asked, 1)
    }))

  it.scoped("one that does not answer is given up", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const { url } = yield* authorizationServer(() =>
        Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never)
      )
      const verify = TokenIntrospection.verifier({ url, client, identity: bySubject, timeout: "2 seconds" })
      const running = yield* Effect.fork(Effect.flip(run(verify(Redacted.make("token")))))
      yield* Deferred.await(begun)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Fiber.join(running))._tag, "IntrospectionFailed")
    }))
})

describe("as a backend", () => {
  class Service extends Authentication.Tag("test/Service")<Service, string>() {}

  it.scoped("200, 401 and 503", () =>
    Effect.gen(function*() {
      const { url } = yield* authorizationServer((token) =>
        token === "down" ? json({}, 500) : json({ active: token === "good", sub: "ada" })
      )
      const verify = TokenIntrospection.verifier({ url, client, identity: bySubject })
      const context = yield* Layer.build(
        Service.layer(Authentication.bearer({ verify })).pipe(Layer.provide(FetchHttpClient.layer))
      )
      const app = Service.required()(Effect.map(Service, ({ user }) => HttpServerResponse.text(user)))
      const port = yield* listen(HttpServer.serve(Effect.provide(app, context)))
      const status = (token: string) =>
        Effect.map(request(port, { headers: { authorization: `Bearer ${token}` } }), ({ status }) => status)
      assert.deepStrictEqual(
        [yield* status("good"), yield* status("bad"), yield* status("down")],
        [200, 401, 503]
      )
    }))
})

it("what others could read along, or is no cache, is refused as it is made", () => {
  const make = (url: string, capacity = 1) =>
    TokenIntrospection.verifier({ url, client, identity: bySubject, cache: { capacity, ttl: "1 minute" } })
  for (
    const url of [
      "http://auth.example.com/",
      "ftp://auth.example.com/",
      "/introspect",
      "",
      "http://localhost.evil.test/"
    ]
  ) {
    assert.throws(() => make(url), `TokenIntrospection: url is ${JSON.stringify(url)}: write one of https`)
  }
  make("http://localhost:1/")
  make("http://[::1]:1/")
  make("https://auth.example.com/")
  assert.throws(
    () => make("https://a.test/", 0),
    "TokenIntrospection: cache.capacity is 0: write at least 1, or cache: false"
  )
})
