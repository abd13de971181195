import type { HttpServerRequest } from "@effect/platform"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSecurity,
  type HttpApp,
  HttpLayerRouter,
  HttpRouter,
  HttpServer,
  HttpServerResponse,
  OpenApi
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Fiber, Layer, Logger, LogLevel, Metric, Option, Redacted, Schema, TestClock } from "effect"
import {
  AccessLog,
  Authentication,
  Authorization,
  Forwarded,
  Keyring,
  Metrics,
  Session,
  SessionStore,
  Stack,
  WebSocket
} from "effect-middleware"
import { randomBytes } from "node:crypto"
import { type Init, listen, listenTo, request, type Send } from "./utils/TestApp.js"
import { connect } from "./utils/webSocket.js"

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

const serve = <E, R>(app: HttpApp.Default<E, R>) =>
  Effect.map(listenTo(app), (port): Send => (init) => request(port, init))
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
    }))

  it.scoped("a principal whose time is up is none, whatever its backend says", () =>
    Effect.gen(function*() {
      const send = yield* withBackend(serve(CurrentUser.required()(whoami)), bearer)
      const headers = { authorization: "Bearer brief" }
      yield* TestClock.adjust("59999 millis")
      assert.strictEqual((yield* send({ headers })).status, 200)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* send({ headers })).status, 401)
    }))

  it.scoped("several Authorization fields are none", () =>
    Effect.gen(function*() {
      const port = yield* withBackend(listenTo(CurrentUser.required()(whoami)), bearer)
      const twice = ["authorization", "Bearer good", "authorization", "Bearer good"]
      const reply = yield* request(port, { headers: twice as never })
      assert.strictEqual(reply.status, 400)
    }))

  it.scoped("a script is not asked for a password by its browser", () =>
    Effect.gen(function*() {
      const told = (backend: Authentication.Backend<User>, headers: Record<string, string>) =>
        Effect.gen(function*() {
          const send = yield* withBackend(serve(CurrentUser.required()(whoami)), backend)
          return (yield* send({ headers })).headers["www-authenticate"]
        })
      const asked = "Basic realm=\"app\", charset=\"UTF-8\""
      const always = Authentication.basic({
        prompts: "always",
        verify: () => Effect.succeed(Option.none<Authentication.Identity<User>>())
      })
      assert.strictEqual(yield* told(basic, { "sec-fetch-mode": "cors" }), `x${asked}`)
      assert.strictEqual(yield* told(basic, { "x-requested-with": "XMLHttpRequest" }), `x${asked}`)
      assert.strictEqual(yield* told(basic, { "sec-fetch-mode": "navigate" }), asked)
      assert.strictEqual(yield* told(basic, {}), asked)
      assert.strictEqual(yield* told(always, { "sec-fetch-mode": "cors" }), asked)
      assert.strictEqual(
        yield* told(Authentication.firstOf(bearer, basic), { "sec-fetch-mode": "same-origin" }),
        "Bearer realm=\"app\""
      )
    }))

  it.scoped("onError answers in the place of the failure", () =>
    Effect.gen(function*() {
      const onError = (error: Authentication.AuthenticationError, { url }: HttpServerRequest.HttpServerRequest) =>
        HttpServerResponse.text(`${error._tag} at ${url}`, { status: 418 })
      const send = yield* withBackend(serve(CurrentUser.required({ onError })(whoami)), bearer)
      const reply = yield* send({ path: "/x" })
      assert.deepStrictEqual([reply.status, reply.body], [418, "Unauthenticated at /x"])
    }))

  it.scoped("neither a router nor a handler is entered without a principal", () =>
    Effect.gen(function*() {
      let entered = 0
      const send = yield* withBackend(
        serve(CurrentUser.required()(Effect.sync(() => (entered++, HttpServerResponse.empty())))),
        bearer
      )
      yield* send()
      yield* send({ headers: { authorization: "Bearer bad" } })
      assert.strictEqual(entered, 0)
    }))

  it.scoped("many at once are told apart", () =>
    Effect.gen(function*() {
      const slow = Authentication.bearer({
        verify: (token) => Effect.as(Effect.yieldNow(), Option.some({ user: { name: Redacted.value(token) } }))
      })
      const send = yield* withBackend(serve(CurrentUser.required()(whoami)), slow)
      const names = Array.from({ length: 100 }, (_, i) => `user${i}`)
      const replies = yield* Effect.forEach(names, (name) => send({ headers: { authorization: `Bearer ${name}` } }), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(replies.map(({ body }) => JSON.parse(body).name), names)
    }))
})

describe("optional", () => {
  it.scoped("is none for who has no credentials, and for nobody else", () =>
    Effect.gen(function*() {
      const send = yield* withBackend(serve(CurrentUser.optional()(maybe)), bearer)
      const told = (authorization?: string) =>
        Effect.map(
          send({ headers: authorization === undefined ? {} : { authorization } }),
          ({ body, headers, status }) => [status, status === 200 ? body : "", headers["cache-control"], headers["vary"]]
        )
      assert.deepStrictEqual(yield* told(), [200, "nobody", undefined, "Authorization"])
      assert.deepStrictEqual(yield* told("Bearer good"), [200, "Bo", "private", "Authorization"])
      assert.deepStrictEqual(yield* told("Bearer bad"), [401, "", "no-store", undefined])
      assert.deepStrictEqual(yield* told("Bearer down"), [503, "", "no-store", undefined])
    }))
})

describe("presented", () => {
  it.scoped("refuses before the router, and asks no verifier", () =>
    Effect.gen(function*() {
      let asked = 0
      const counting = Authentication.bearer({
        verify: () => Effect.sync(() => (asked++, Option.none<Authentication.Identity<User>>()))
      })
      const routes = HttpRouter.empty.pipe(
        HttpRouter.get("/health", HttpServerResponse.text("up")),
        HttpRouter.get("/me", HttpServerResponse.text("me"))
      )
      const send = yield* withBackend(
        serve(CurrentUser.presented({ exempt: ["GET /health"] })(routes)),
        Authentication.firstOf(counting, key)
      )
      const told = (path: string, headers: Record<string, string> = {}) =>
        Effect.map(send({ path, headers }), ({ status }) => status)
      assert.strictEqual(yield* told("/health"), 200)
      assert.strictEqual(yield* told("/health/"), 401)
      assert.strictEqual(yield* told("/me"), 401)
      assert.strictEqual(yield* told("/unknown"), 401)
      assert.strictEqual(yield* told("/me", { authorization: "Bearer any" }), 200)
      assert.strictEqual(yield* told("/me", { "x-api-key": "any" }), 200)
      assert.strictEqual(asked, 0)
    }))
})

describe("login", () => {
  const keyring = Keyring.make({ keys: [Redacted.make(randomBytes(32))] })
  const login = { path: "/login", keyring }
  const page = { "accept": "text/html,*/*;q=0.8" }

  it.scoped("sends the navigations of a browser there, with a signed way back", () =>
    Effect.gen(function*() {
      const send = yield* withBackend(serve(CurrentUser.required({ login })(whoami)), bearer)
      const told = (init: Init) => Effect.map(send(init), ({ headers, status }) => [status, headers["location"] ?? ""])
      const back = (location: string) =>
        Authentication.returnAddress(location, login).pipe(Effect.provideService(Keyring.Keyring, keyring))

      const [status, location] = yield* told({ path: "/notes?page=2", headers: page })
      assert.strictEqual(status, 303)
      assert.isTrue(String(location).startsWith("/login?return_to=s1."))
      assert.strictEqual(Option.getOrUndefined(yield* back(String(location))), "/notes?page=2")
      assert.isTrue(Option.isNone(yield* back(`${String(location)}x`)))
      assert.isTrue(Option.isNone(yield* back("/login?return_to=/notes")))
      assert.isTrue(Option.isNone(yield* back("/login")))

      assert.deepStrictEqual((yield* told({ headers: { "sec-fetch-mode": "navigate" } }))[0], 303)
      assert.deepStrictEqual((yield* told({ headers: { ...page, "sec-fetch-mode": "cors" } }))[0], 401)
      assert.deepStrictEqual((yield* told({ headers: { accept: "application/json" } }))[0], 401)
      assert.deepStrictEqual((yield* told({ headers: { accept: "text/html;q=0" } }))[0], 401)
      assert.deepStrictEqual((yield* told({ method: "POST", headers: page }))[0], 401)
      // what is malformed or cannot be told is no reason to log in
      assert.deepStrictEqual((yield* told({ headers: { ...page, authorization: "Bearer" } }))[0], 400)
      assert.deepStrictEqual((yield* told({ headers: { ...page, authorization: "Bearer down" } }))[0], 503)
    }))

  it.scoped("leads back to no other origin", () =>
    Effect.gen(function*() {
      const send = yield* withBackend(serve(CurrentUser.required({ login })(whoami)), bearer)
      for (const path of ["//evil.test/", "/\\evil.test/", "http://evil.test//evil.test/"]) {
        const { headers, status } = yield* send({ path, headers: page })
        assert.deepStrictEqual([path, status, headers["location"]], [path, 303, "/login"])
      }
      // and signs for its own login page alone
      const other = Keyring.make({ keys: [Redacted.make(randomBytes(32))] })
      const signed = keyring.purpose("authentication/return-address").sign("//evil.test", "/login")
      for (const ring of [keyring, other]) {
        const back = yield* Authentication.returnAddress(`/login?return_to=${signed}`, { ...login, keyring: ring })
          .pipe(
            Effect.provideService(Keyring.Keyring, other)
          )
        assert.isTrue(Option.isNone(back))
      }
    }))

  it("its path is one of this server", () => {
    assert.throws(
      () => CurrentUser.required({ login: { path: "/login#form", keyring } }),
      "Authentication: login.path is \"/login#form\": leave the fragment out"
    )
    for (const path of ["login", "//evil.test", "https://evil.test", "/a b", ""]) {
      assert.throws(
        () => CurrentUser.required({ login: { path, keyring } }),
        `Authentication: login.path is ${JSON.stringify(path)}: write a path, such as "/login"`
      )
    }
  })
})

describe("backends", () => {
  const told = (backend: Authentication.Backend<User>, init: Init) =>
    Effect.gen(function*() {
      const send = yield* withBackend(serve(CurrentUser.required()(whoami)), backend)
      const { body, status } = yield* send(init)
      return status === 200 ? JSON.parse(body).subject : status
    })

  it.scoped("an API key in a cookie or, unsafely, in the query", () =>
    Effect.gen(function*() {
      const find = (hash: string) =>
        Effect.succeed(
          hash === Authentication.hashApiKey("k1") ? Option.some({ user: { name: "m" }, subject: "m" }) : Option.none()
        )
      const cookie = Authentication.apiKey({ in: { cookie: "key" }, find })
      const query = Authentication.apiKey({ in: { unsafeQuery: "key" }, find })
      const header = Authentication.apiKey({ in: { header: "X-Key" }, find })
      assert.strictEqual(yield* told(cookie, { headers: { cookie: "a=1; key=k1" } }), "m")
      assert.strictEqual(yield* told(cookie, { headers: { cookie: "xkey=k1" } }), 401)
      assert.strictEqual(yield* told(query, { path: "/?key=k1" }), "m")
      assert.strictEqual(yield* told(query, { path: "/?key=k1&key=k1" }), 400)
      assert.strictEqual(yield* told(query, { path: "/" }), 401)
      assert.strictEqual(yield* told(header, { headers: { "x-key": "k1" } }), "m")
      assert.strictEqual(yield* told(header, { headers: { "x-key": "k1, k1" } }), 400)
      assert.strictEqual(yield* told(header, { headers: { "x-key": "k".repeat(513) } }), 401)
      assert.throws(
        () => Authentication.apiKey({ in: { header: "a b" }, find }),
        /in has the name "a b": write a token/
      )
    }))

  it("what no field can hold is refused as it is made", () => {
    const verify = () => Effect.succeed(Option.none<Authentication.Identity<User>>())
    assert.throws(
      () => Authentication.basic({ realm: "a\r\nx: y", verify }),
      /realm .* has characters that no field can hold/
    )
    assert.throws(() => Authentication.bearer({ realm: "bücher", verify }), /use ASCII/)
    assert.throws(() => Authentication.challenge("a b"), /scheme "a b" is none: write a token/)
    assert.throws(() => Authentication.challenge("A", { "b c": "" }), /is no parameter: write a token/)
    assert.throws(() => Authentication.firstOf(), /firstOf has no backend: list one/)
  })

  it.scoped("a realm is quoted", () =>
    Effect.gen(function*() {
      const verify = () => Effect.succeed(Option.none<Authentication.Identity<User>>())
      const quoted = Authentication.bearer({ realm: "a \"b\" \\c", resourceMetadata: "https://a.test/meta", verify })
      const send = yield* withBackend(serve(CurrentUser.required()(whoami)), quoted)
      assert.strictEqual(
        (yield* send()).headers["www-authenticate"],
        "Bearer realm=\"a \\\"b\\\" \\\\c\", resource_metadata=\"https://a.test/meta\""
      )
    }))

  it.scoped("one of your own", () =>
    Effect.gen(function*() {
      const backend: Authentication.Backend<User> = {
        name: "mutual",
        challenges: [Authentication.challenge("Mutual")],
        fields: ["x-client"],
        isPresented: ({ request: { headers } }) => headers["x-client"] !== undefined,
        authenticate: (exchange) => {
          const name = exchange.request.headers["x-client"]
          if (name === undefined) return Authentication.Absent
          if (name === "bad") {
            return Authentication.Invalid("it is bad", Authentication.challenge("Mutual", { error: "bad" }))
          }
          if (name === "none") {
            return Authentication.Malformed("it is none")
          }
          if (name === "down") return Authentication.Unavailable(new Error("down"))
          return Authentication.Authenticated(exchange, {
            method: "mutual",
            subject: name,
            identity: { user: { name } }
          })
        }
      }
      const send = yield* withBackend(serve(CurrentUser.required()(whoami)), backend)
      const told = (name?: string) =>
        Effect.map(
          send({ headers: name === undefined ? {} : { "x-client": name } }),
          ({ headers, status }) => [status, headers["www-authenticate"]]
        )
      assert.deepStrictEqual(yield* told(), [401, "Mutual"])
      // twice, since what is the same each time is made once
      assert.deepStrictEqual(yield* told("bad"), [401, "Mutual error=\"bad\""])
      assert.deepStrictEqual(yield* told("bad"), [401, "Mutual error=\"bad\""])
      assert.deepStrictEqual(yield* told("none"), [400, "Mutual"])
      assert.deepStrictEqual(yield* told("down"), [503, undefined])
      assert.deepStrictEqual(yield* told("ada"), [200, undefined])
    }))

  it.scoped("what a verifier needs is taken as the layer is built, and the request's own comes first", () =>
    Effect.gen(function*() {
      class Directory extends Effect.Tag("test/Directory")<Directory, { readonly title: string }>() {}
      const backend = Authentication.bearer({
        verify: () => Effect.map(Directory, ({ title }) => Option.some({ user: { name: title } }))
      })
      const layer = CurrentUser.layer(backend).pipe(Layer.provide(Layer.succeed(Directory, { title: "captured" })))
      const send = yield* serve(CurrentUser.required()(whoami)).pipe(Effect.provide(layer))
      assert.strictEqual(JSON.parse((yield* send({ headers: { authorization: "Bearer x" } })).body).name, "captured")
    }))
})

describe("layers for tests", () => {
  const status = (layer: Layer.Layer<Authentication.BackendOf<CurrentUser>>) =>
    Effect.gen(function*() {
      const send = yield* serve(CurrentUser.required()(whoami)).pipe(Effect.provide(layer))
      const { body, headers, status } = yield* send()
      return status === 200 ? body : `${status} ${headers["www-authenticate"] ?? ""}`
    })
  it.scoped("swap the backend by one line", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        yield* status(CurrentUser.layerTest({ name: "Test" }, { subject: "t" })),
        `{"name":"Test","method":"test","subject":"t"}`
      )
      assert.strictEqual(yield* status(CurrentUser.layerAnonymous), "401 Test")
      assert.strictEqual(yield* status(CurrentUser.layerUnavailable), "503 ")
    }))
})

describe("the principal of a session", () => {
  class Visit extends Session.Tag("test/Visit")<Visit>()(Schema.Struct({})) {}
  class Visitor extends Authentication.Tag("test/Visitor", { requires: [Visit] })<Visitor, User>() {}

  const backend = Authentication.session(Visit, {
    find: (principal) =>
      Effect.succeed(principal === "gone" ? Option.none() : Option.some({ user: { name: principal } }))
  })
  const routes = HttpRouter.empty.pipe(
    HttpRouter.post(
      "/login/:name",
      Effect.gen(function*() {
        const { name } = yield* HttpRouter.params
        yield* (yield* Visit).rotate({ principal: name })
        return HttpServerResponse.text("in")
      })
    ),
    HttpRouter.post(
      "/logout",
      Effect.flatMap(Visit, ({ destroy }) => Effect.as(destroy, HttpServerResponse.text("out")))
    ),
    HttpRouter.get(
      "/me",
      Visitor.required()(
        Effect.map(Visitor, ({ authenticatedAt, expiresAt, method, subject }) =>
          HttpServerResponse.unsafeJson([
            subject,
            method,
            DateTime.toEpochMillis(authenticatedAt),
            Option.map(expiresAt, DateTime.toEpochMillis).pipe(Option.getOrNull)
          ]))
      )
    ),
    HttpRouter.get("/visit", HttpServerResponse.text("page").pipe(Effect.tap(Effect.flatMap(Visit, ({ get }) => get))))
  )
  const stack = Stack.make(
    Visit.middleware({ kind: "stored", cookie: { localhost: true }, idle: "1 hour", maxAge: "1 hour" })
  )

  it.scoped("logs in, is rotated, and is out", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(Layer.merge(SessionStore.layerMemory(), Visitor.layer(backend)))
      const port = yield* listen(HttpServer.serve(Effect.provide(stack(routes), context)))
      let cookie = ""
      const send = (init: Init) =>
        Effect.tap(request(port, { ...init, headers: { cookie } }), ({ cookies }) =>
          Effect.sync(() => {
            if (cookies[0] !== undefined) cookie = cookies[0].split(";")[0]!
          }))
      yield* TestClock.adjust("1 minute")
      const before = yield* send({ path: "/me" })
      assert.strictEqual(before.status, 401)
      assert.strictEqual(before.headers["www-authenticate"], "Cookie realm=\"app\"")

      yield* send({ method: "POST", path: "/login/ada" })
      const first = cookie
      const me = yield* send({ path: "/me" })
      assert.deepStrictEqual(JSON.parse(me.body), ["ada", "session", 60_000, 60_000 + 3_600_000])
      assert.include(me.headers["cache-control"], "private")
      assert.strictEqual(me.headers["vary"], "Cookie")

      // another login has another identifier
      yield* TestClock.adjust("1 minute")
      yield* send({ method: "POST", path: "/login/bo" })
      assert.notStrictEqual(cookie, first)
      assert.strictEqual(JSON.parse((yield* send({ path: "/me" })).body)[0], "bo")

      yield* send({ method: "POST", path: "/login/gone" })
      assert.strictEqual((yield* send({ path: "/me" })).status, 401)
      yield* send({ method: "POST", path: "/logout" })
      assert.strictEqual((yield* send({ path: "/me" })).status, 401)
    }))

  it.scoped("a session store that is down is no anonymous visitor", () =>
    Effect.gen(function*() {
      const down = Layer.succeed(SessionStore.SessionStore, {
        ...({} as SessionStore.SessionStore["Type"]),
        load: () => Effect.fail(new SessionStore.SessionUnavailable({ operation: "load", cause: new Error("down") }))
      })
      const context = yield* Layer.build(Layer.merge(down, Visitor.layer(backend)))
      const port = yield* listen(HttpServer.serve(Effect.provide(stack(routes), context)))
      const headers = { cookie: `session=${"a".repeat(43)}` }
      assert.strictEqual((yield* request(port, { path: "/me", headers })).status, 503)
    }))

  it.scoped("presented looks for its cookie", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(Layer.merge(SessionStore.layerMemory(), Visitor.layer(backend)))
      const guarded = Stack.make(stack, Visitor.presented())
      const port = yield* listen(HttpServer.serve(Effect.provide(guarded(routes), context)))
      const status = (cookie: string) =>
        Effect.map(request(port, { path: "/visit", headers: { cookie } }), ({ status }) => status)
      assert.strictEqual(yield* status("other=1"), 401)
      assert.strictEqual(yield* status("session=1"), 200)
    }))
})

describe("in a HttpApi", () => {
  class Authed extends HttpApiMiddleware.Tag<Authed>()("test/Authed", {
    provides: CurrentUser,
    failure: Authentication.AuthenticationError,
    security: {
      token: HttpApiSecurity.bearer,
      key: HttpApiSecurity.apiKey({ key: "x-api-key" }),
      basic: HttpApiSecurity.basic
    }
  }) {}
  class MayRead extends HttpApiMiddleware.Tag<MayRead>()("test/MayRead", {
    provides: CurrentUser,
    failure: Schema.Union(Authentication.AuthenticationError, Authorization.NotPermitted),
    security: { token: HttpApiSecurity.bearer }
  }) {}
  const api = HttpApi.make("api").add(
    HttpApiGroup.make("group")
      .add(HttpApiEndpoint.get("me", "/me").addSuccess(Schema.String).middleware(Authed))
      .add(
        HttpApiEndpoint.get("write", "/write").addSuccess(Schema.String).middleware(MayRead)
          .annotateContext(Authorization.openApi({ scopes: ["docs:write"] }))
      )
  )
  let asked = 0
  const counting = Authentication.bearer({
    verify: (token) => Effect.suspend(() => (asked++, bearerVerify(token)))
  })
  const bearerVerify = (token: Redacted.Redacted) =>
    Effect.succeed(
      Redacted.value(token) === "good"
        ? Option.some({ user: { name: "Bo" }, scopes: ["docs:read"] })
        : Option.none()
    )
  const live = HttpApiBuilder.api(api).pipe(
    Layer.provide(HttpApiBuilder.group(api, "group", (handlers) =>
      handlers
        .handle("me", () => Effect.map(CurrentUser, ({ user }) => user.name))
        .handle("write", () => Effect.map(CurrentUser, ({ user }) => user.name)))),
    Layer.provide([
      Stack.httpApiSecurity(Authed, CurrentUser.required()),
      Stack.httpApiSecurity(MayRead, CurrentUser.requires({ scopes: ["docs:write"] }))
    ]),
    Layer.provide(CurrentUser.layer(Authentication.firstOf(counting, key, basic)))
  )

  it.scoped("the same backends answer, once, with challenges", () =>
    Effect.gen(function*() {
      const port = yield* listen(Layer.provide(HttpApiBuilder.serve(), live))
      const told = (path: string, headers: Record<string, string>) =>
        Effect.map(
          request(port, { path, headers }),
          (
            { body, headers, status }
          ) => [status, headers["www-authenticate"] ?? "", status === 200 ? body : JSON.parse(body)._tag]
        )
      const challenges =
        "Bearer realm=\"app\", ApiKey realm=\"app\", in=\"header\", name=\"x-api-key\", Basic realm=\"app\", charset=\"UTF-8\""
      assert.deepStrictEqual(yield* told("/me", {}), [401, challenges, "Unauthenticated"])
      assert.deepStrictEqual(yield* told("/me", { authorization: "Bearer good" }), [200, "", "\"Bo\""])
      assert.deepStrictEqual(yield* told("/me", { authorization: "bearer  good" }), [200, "", "\"Bo\""])
      assert.strictEqual(asked, 2)
      assert.deepStrictEqual(yield* told("/me", { authorization: "Bearer bad" }), [
        401,
        challenges.replace("app\"", "app\", error=\"invalid_token\""),
        "Unauthenticated"
      ])
      assert.strictEqual(asked, 3)
      // what platform's own reading would have taken
      assert.strictEqual((yield* told("/me", { authorization: "Digest good" }))[0], 401)
      assert.strictEqual((yield* told("/me", { authorization: "xxxxxxxgood" }))[0], 401)
      assert.strictEqual((yield* told("/me", { authorization: encoded("ada:se:cret") }))[0], 200)
      assert.strictEqual((yield* told("/me", { "x-api-key": "acme_1234" }))[0], 200)
      assert.deepStrictEqual(yield* told("/write", { authorization: "Bearer good" }), [
        403,
        "Bearer realm=\"app\", error=\"insufficient_scope\", scope=\"docs:write\"",
        "NotPermitted"
      ])
    }))

  it("OpenAPI shows schemes, scopes, 401 and 403", () => {
    const { components, paths } = OpenApi.fromApi(api)
    assert.deepStrictEqual(components.securitySchemes, {
      token: { type: "http", scheme: "bearer" },
      key: { type: "apiKey", name: "x-api-key", in: "header" },
      basic: { type: "http", scheme: "basic" }
    })
    assert.deepStrictEqual(paths["/me"]?.get?.security, [{ token: [] }, { key: [] }, { basic: [] }])
    assert.deepStrictEqual(paths["/write"]?.get?.security, [{ token: ["docs:write"] }])
    assert.includeMembers(Object.keys(paths["/write"]?.get?.responses ?? {}), ["200", "400", "401", "403", "503"])
  })
})

describe("in a HttpLayerRouter", () => {
  it.scoped("a route is provided its principal", () =>
    Effect.gen(function*() {
      const routes = HttpLayerRouter.add("GET", "/me", whoami).pipe(
        Layer.provide(Stack.layerRouter(CurrentUser.required()).layer),
        Layer.provide(CurrentUser.layer(bearer))
      )
      const port = yield* listen(HttpLayerRouter.serve(routes, { disableListenLog: true, disableLogger: true }))
      assert.strictEqual((yield* request(port, { path: "/me" })).status, 401)
      assert.strictEqual((yield* request(port, { path: "/me", headers: { authorization: "Bearer good" } })).status, 200)
    }))
})

describe("a WebSocket", () => {
  const echo = Stack.make(WebSocket.middleware(), CurrentUser.required())(
    WebSocket.handle(({ send }) => Effect.zipRight(send("hello"), Effect.never))
  )
  it.scoped("is refused before the 101, and closes as its credentials end", () =>
    Effect.gen(function*() {
      const app = Forwarded.middleware({ trust: "none" })(echo)
      const port = yield* Effect.provide(listenTo(app), CurrentUser.layer(bearer))
      const refused = yield* request(port, {
        headers: {
          "connection": "Upgrade",
          "upgrade": "websocket",
          "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
          "sec-websocket-version": "13"
        }
      })
      assert.strictEqual(refused.status, 401)
      const { closed, next } = yield* connect(port, { headers: { authorization: "Bearer brief" } })
      assert.strictEqual(yield* next, "hello")
      const end = yield* Effect.fork(closed)
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(end.unsafePoll(), null)
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual((yield* Fiber.join(end)).code, 3000)
    }))
})

describe("what is told of it", () => {
  it.scoped("the metrics have how it was known", () =>
    Effect.gen(function*() {
      const stack = Stack.make(
        Forwarded.middleware({ trust: "none" }),
        Metrics.middleware({ measure: ["duration"], labels: () => ({ test: "Authentication" }) }),
        CurrentUser.optional()
      )
      const send = yield* withBackend(serve(stack(maybe)), Authentication.firstOf(bearer, key))
      const before = Metric.unsafeSnapshot()
      for (const headers of [{}, { authorization: "Bearer good" }, { "x-api-key": "acme_1234" }]) {
        yield* send({ headers })
      }
      const methods = Metric.unsafeSnapshot().filter((pair) => !before.includes(pair)).flatMap((
        { metricKey: { tags } }
      ) =>
        tags.some(({ key, value }) => key === "test" && value === "Authentication")
          ? [tags.find(({ key }) => key === "authentication.method")?.value]
          : []
      )
      assert.deepStrictEqual(new Set(methods), new Set([undefined, "bearer", "apiKey"]))
    }))

  it.scoped("the access log has who it was; no log has a credential", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.make(({ annotations, cause, message }) => {
        lines.push(JSON.stringify([String(message), Object.fromEntries(annotations), String(cause)]))
      })
      const stack = Stack.make(Forwarded.middleware({ trust: "none" }), AccessLog.middleware(), CurrentUser.required())
      const send = yield* withBackend(serve(stack(whoami)), Authentication.firstOf(bearer, basic)).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        Logger.withMinimumLogLevel(LogLevel.All)
      )
      yield* send({ headers: { authorization: "Bearer good" } })
      yield* send({ headers: { authorization: "Bearer topsecrettoken" } })
      yield* send({ headers: { authorization: encoded("ada:topsecretpassword") } })
      yield* send({ headers: { authorization: "Bearer down" } })
      assert.isTrue(lines.some((line) => line.includes("cannot be told") && line.includes("the directory is down")))
      const [good, bad] = lines.filter((line) => line.includes("http.response.status_code"))
      assert.include(good, "\"enduser.id\":\"bo\"")
      assert.include(good, "\"authentication.method\":\"bearer\"")
      assert.include(bad, "\"authentication\":\"Bearer: the token is unknown\"")
      assert.notInclude(lines.join(), "topsecret")
    }))
})
