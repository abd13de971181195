/** What somebody sends who wants in, and what must not happen then. */
import {
  FetchHttpClient,
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSchema,
  HttpApiSecurity,
  HttpApp,
  HttpClient,
  HttpClientResponse,
  HttpRouter,
  HttpServer,
  HttpServerRespondable,
  HttpServerResponse
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import {
  type Clock,
  DateTime,
  Deferred,
  Duration,
  Effect,
  Fiber,
  FiberId,
  Layer,
  Logger,
  LogLevel,
  Option,
  Redacted,
  Schema,
  TestClock
} from "effect"
import {
  AccessLog,
  Authentication,
  Authorization,
  Forwarded,
  Keyring,
  Session,
  SessionStore,
  Stack,
  TokenIntrospection,
  WebSocket
} from "effect-middleware"
import { randomBytes } from "node:crypto"
import * as Net from "node:net"
import * as v8 from "node:v8"
import * as vm from "node:vm"
import { type Init, listen, listenTo, request } from "./utils/TestApp.js"
import { connect } from "./utils/webSocket.js"

interface User {
  readonly name: string
}
class CurrentUser extends Authentication.Tag("attacks/CurrentUser")<CurrentUser, User>() {}
class Operator extends Authentication.Tag("attacks/Operator")<Operator, User>() {}

const whoami = Effect.map(CurrentUser, ({ subject }) => HttpServerResponse.text(`it is ${subject}`))

type Verify = (token: Redacted.Redacted) => Authentication.Verified<User>
const bearerOf = (verify: Verify) => Authentication.bearer({ verify })
/** `good` is good, and everything else is none. */
const good: Verify = (token) =>
  Effect.succeed(
    Redacted.value(token) === "good" ? Option.some({ user: { name: "Bo" }, subject: "bo" }) : Option.none()
  )
const anybody: Verify = (token) =>
  Effect.succeed(Option.some({ user: { name: Redacted.value(token) }, subject: Redacted.value(token) }))
const basic = Authentication.basic({
  verify: ({ password, username }) =>
    Effect.succeed(
      username === "ada" && Redacted.value(password) === "secret"
        ? Option.some({ user: { name: "Ada" } })
        : Option.none()
    )
})
const bearer = bearerOf(good)

const withBackend = <A, E, R>(effect: Effect.Effect<A, E, R>, backend: Authentication.Backend<User>) =>
  Effect.provide(effect, CurrentUser.layer(backend))
const required = (backend: Authentication.Backend<User>) =>
  withBackend(listenTo(CurrentUser.required()(whoami)), backend)

/** Writes bytes as they are, and reads to the end. */
const raw = (port: number, lines: ReadonlyArray<string>) =>
  Effect.async<{ readonly status: number; readonly text: string }>((resume) => {
    const socket = Net.connect(port, "127.0.0.1", () => {
      socket.write(Buffer.from([...lines, "Host: a.test", "Connection: close", "", ""].join("\r\n"), "latin1"))
    })
    let text = ""
    socket.setEncoding("latin1")
    socket.on("data", (chunk) => (text += String(chunk)))
    socket.on("error", (error) => resume(Effect.die(error)))
    socket.on("close", () => resume(Effect.succeed({ status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), text })))
    return Effect.sync(() => socket.destroy())
  })
const at = (port: number, ...fields: ReadonlyArray<string>) => raw(port, ["GET / HTTP/1.1", ...fields])

describe("the Authorization field, over a socket", () => {
  const base64 = (text: string) => Buffer.from(text).toString("base64")

  const bearers: ReadonlyArray<readonly [what: string, fields: ReadonlyArray<string>, status: number]> = [
    ["as it should be", ["Authorization: Bearer good"], 200],
    ["spaces around", ["Authorization:    Bearer good   "], 200],
    ["twice the same", ["Authorization: Bearer good", "Authorization: Bearer good"], 400],
    ["twice, in other cases", ["AUTHORIZATION: Bearer good", "authorization: Bearer bad"], 400],
    ["twice, the bad one first", ["Authorization: Bearer bad", "Authorization: Bearer good"], 400],
    ["twice, one empty", ["Authorization: Bearer good", "Authorization:"], 400],
    ["empty", ["Authorization:"], 400],
    ["a tab for the space", ["Authorization: Bearer\tgood"], 400],
    ["a tab in the token", ["Authorization: Bearer go\tod"], 400],
    ["a comma", ["Authorization: Bearer good, Bearer good"], 400],
    ["a comma alone", ["Authorization: Bearer good,"], 400],
    ["parameters", ["Authorization: Bearer token=\"good\""], 400],
    ["quotes", ["Authorization: Bearer \"good\""], 400],
    ["a no-break space", ["Authorization: Bearer\xa0good"], 400],
    ["a no-break space after it", ["Authorization: Bearer good\xa0"], 400],
    ["bytes that are no ASCII", ["Authorization: Bearer g\xf6\xf6d"], 400],
    ["NUL", ["Authorization: Bearer good\0"], 400],
    ["a vertical tab", ["Authorization: Bearer good\v"], 400],
    ["a colon for the space", ["Authorization: Bearer:good"], 400],
    ["no scheme", ["Authorization: good"], 401],
    ["a longer scheme", ["Authorization: BearerX good"], 401],
    ["the scheme twice", ["Authorization: Bearer Bearer good"], 400],
    ["of another field", ["Proxy-Authorization: Bearer good"], 401],
    ["a space before the colon", ["Authorization : Bearer good"], 400],
    ["in the name of a proxy's variable", ["HTTP_AUTHORIZATION: Bearer good", "X-Authorization: Bearer good"], 401],
    ["15 KiB", [`Authorization: Bearer ${"a".repeat(15 * 1024)}`], 401],
    ["15 KiB of padding", [`Authorization: Bearer good${"=".repeat(15 * 1024)}`], 401],
    ["15 KiB of spaces", [`Authorization: Bearer${" ".repeat(15 * 1024)}good`], 200],
    ["15 KiB of a scheme", [`Authorization: ${"B".repeat(15 * 1024)} good`], 401]
  ]
  it.scoped.each(bearers)("Bearer: %s", ([what, fields, status]) =>
    Effect.gen(function*() {
      const reply = yield* at(yield* required(bearer), ...fields)
      assert.strictEqual(reply.status, status, what)
      if (status !== 200) assert.notInclude(reply.text, "it is")
    }))

  it.scoped("a folded field is none", () =>
    Effect.gen(function*() {
      const { text } = yield* at(yield* required(bearer), "Authorization: Bearer", " good")
      assert.notInclude(text, "it is")
    }))

  const basics: ReadonlyArray<readonly [what: string, value: string, status: number]> = [
    ["as it should be", base64("ada:secret"), 200],
    ["without its padding", base64("ada:secret").replace(/=+$/, ""), 200],
    ["for URLs", Buffer.from("ada:s\u00ff\u00ff?>").toString("base64url"), 400],
    ["a space in it", base64("ada:secret").replace("YW", "YW "), 400],
    ["a line break, escaped", `${base64("ada:secret")}\\r\\n`, 400],
    ["what Node's reading skips", base64("ada:secret").replace("YW", "Y.W"), 400],
    ["what comes after the padding", `${base64("ada:secret")}AAAA`, 400],
    [
      "bits that do not count",
      base64("ada:secret").replace(/A==$/, "B=="),
      base64("ada:secret").endsWith("A==") ? 400 : 200
    ],
    ["nothing but padding", "====", 400],
    ["an empty name and password", base64(":"), 401],
    ["an empty name", base64(":secret"), 401],
    ["an empty password", base64("ada:"), 401],
    ["NUL at the end", base64("ada:secret\0"), 400],
    ["a line break", base64("ada:secret\r\n"), 400],
    ["C1", base64("ada:secret\u0085"), 400],
    ["a byte order mark", base64("\ufeffada:secret"), 401],
    ["another case", base64("ADA:secret"), 401],
    ["full width", base64("\uff41da:secret"), 401],
    ["an overlong colon", Buffer.from([0x61, 0x64, 0x61, 0xc0, 0xba, 0x78]).toString("base64"), 400],
    ["half of a pair", Buffer.from([0xed, 0xa0, 0x80, 0x3a]).toString("base64"), 400],
    ["UTF-16", Buffer.from("ada:secret", "utf16le").toString("base64"), 400]
  ]
  it.scoped.each(basics)("Basic: %s", ([what, value, status]) =>
    Effect.gen(function*() {
      const reply = yield* at(yield* required(basic), `Authorization: Basic ${value}`)
      assert.strictEqual(reply.status, status, what)
    }))

  it.scoped("Unicode reaches a verifier as it was sent, not folded", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const backend = Authentication.basic({
        verify: ({ password, username }) =>
          Effect.sync(() => (seen.push(username, Redacted.value(password)), Option.some({ user: { name: username } })))
      })
      const port = yield* required(backend)
      for (const text of ["\u00e9:1", "e\u0301:2", "\u{1f511}:a:b", " ada :\u2028"]) {
        yield* at(port, `Authorization: Basic ${base64(text)}`)
      }
      assert.deepStrictEqual(seen, ["\u00e9", "1", "e\u0301", "2", "\u{1f511}", "a:b", " ada ", "\u2028"])
    }))

  it.scoped("API keys: one, in one field", () =>
    Effect.gen(function*() {
      let asked = 0
      const backend = Authentication.apiKey({
        find: (hash) =>
          Effect.sync(() => (asked++,
            hash === Authentication.hashApiKey("k1")
              ? Option.some({ user: { name: "m" }, subject: "m" })
              : Option.none())
          )
      })
      const port = yield* required(backend)
      const status = (...fields: ReadonlyArray<string>) => Effect.map(at(port, ...fields), ({ status }) => status)
      assert.strictEqual(yield* status("X-Api-Key: k1"), 200)
      assert.strictEqual(yield* status("X-Api-Key: k1", "x-api-key: k1"), 400)
      assert.strictEqual(yield* status("X-Api-Key: k1", "x-api-key:"), 400)
      assert.strictEqual(yield* status("X-Api-Key: k1,k1"), 400)
      assert.strictEqual(yield* status("X-Api-Key: k 1"), 400)
      assert.strictEqual(yield* status("X-Api-Key: k\xe91"), 400)
      assert.strictEqual(yield* status("X-Api-Key:"), 400)
      assert.strictEqual(yield* status("X_Api_Key: k1"), 401)
      assert.strictEqual(yield* status(`X-Api-Key: ${"k".repeat(15 * 1024)}`), 401)
      // what no key can be is not looked up
      assert.strictEqual(asked, 1)
    }))
})

describe("a verifier that fails otherwise than it may", () => {
  const failing: ReadonlyArray<readonly [what: string, verify: Verify, status: number]> = [
    ["dies", () => Effect.die(new Error("bug")), 500],
    ["throws", () => {
      throw new Error("bug")
    }, 500],
    ["is interrupted", () => Effect.interrupt, 503]
  ]
  for (const [what, verify, status] of failing) {
    const backends: ReadonlyArray<readonly [of: string, backend: Authentication.Backend<User>]> = [
      ["alone", bearerOf(verify)],
      ["before another", Authentication.firstOf(bearerOf(verify), bearer)]
    ]
    for (const [of, backend] of backends) {
      it.scoped(`${what}, ${of}: nobody passes`, () =>
        Effect.gen(function*() {
          let entered = 0
          const app = Effect.sync(() => (entered++, HttpServerResponse.text("in")))
          const send = (app: HttpApp.Default<unknown, Authentication.BackendOf<CurrentUser>>) =>
            Effect.gen(function*() {
              const port = yield* withBackend(listenTo(app), backend)
              return (yield* request(port, { headers: { authorization: "Bearer good" } })).status
            })
          assert.strictEqual(yield* send(CurrentUser.required()(app)), status)
          assert.strictEqual(yield* send(CurrentUser.optional()(app)), status)
          assert.strictEqual(yield* send(CurrentUser.requires({})(app)), status)
          assert.strictEqual(entered, 0)
        }).pipe(Logger.withMinimumLogLevel(LogLevel.None)))
    }
  }

  it.scoped("hangs: a client that leaves ends it", () =>
    Effect.gen(function*() {
      const [asked, left] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const backend = bearerOf(() =>
        Effect.zipRight(Deferred.succeed(asked, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Deferred.succeed(left, undefined))
        )
      )
      const port = yield* required(backend)
      const sent = yield* Effect.fork(request(port, { headers: { authorization: "Bearer x" } }))
      yield* Deferred.await(asked)
      yield* Fiber.interrupt(sent)
      yield* Deferred.await(left)
    }))

  it.scoped("what has failed is told to no client", () =>
    Effect.gen(function*() {
      const backend = bearerOf(() => Effect.die(new Error("postgres://admin:hunter2@db")))
      const down = Authentication.bearer<User, Error>({
        verify: () => Effect.fail(new Error("postgres://admin:hunter2@db"))
      })
      for (const one of [backend, down]) {
        const { text } = yield* at(yield* required(one), "Authorization: Bearer x")
        assert.notInclude(text, "hunter2")
      }
    }).pipe(Logger.withMinimumLogLevel(LogLevel.None)))
})

describe("a backend of one's own", () => {
  class Mutual implements Authentication.Backend<User> {
    readonly challenges = [Authentication.challenge("Mutual")]
    readonly fields = ["x-client"]
    private readonly header = "x-client"
    get name() {
      return "mutual"
    }
    isPresented({ request: { headers } }: Parameters<Authentication.Backend<User>["isPresented"]>[0]) {
      return headers[this.header] !== undefined
    }
    authenticate(exchange: Parameters<Authentication.Backend<User>["authenticate"]>[0]) {
      const subject = exchange.request.headers[this.header]
      return subject === undefined
        ? Authentication.Absent
        : Authentication.Authenticated(exchange, { method: this.name, subject, identity: { user: { name: subject } } })
    }
  }
  it.scoped("may be an instance of a class", () =>
    Effect.gen(function*() {
      for (const backend of [new Mutual(), Authentication.firstOf(bearer, new Mutual())]) {
        const port = yield* withBackend(
          listenTo(Stack.make(CurrentUser.presented(), CurrentUser.required())(whoami)),
          backend
        )
        assert.strictEqual((yield* request(port)).status, 401)
        assert.strictEqual((yield* request(port, { headers: { "x-client": "ada" } })).body, "it is ada")
      }
    }))

  it.scoped("a time that is none is over", () =>
    Effect.gen(function*() {
      const backend = bearerOf(() =>
        Effect.succeed(Option.some({
          user: { name: "x" },
          expiresAt: { ...DateTime.unsafeMake(0), epochMillis: Number.NaN } as unknown as DateTime.Utc
        }))
      )
      assert.strictEqual((yield* at(yield* required(backend), "Authorization: Bearer x")).status, 401)
    }))
})

describe("what is made once", () => {
  it.scoped("a refusal of one request has nothing of another", () =>
    Effect.gen(function*() {
      const stamp = Stack.make(
        Forwarded.middleware({ trust: "none" }),
        CurrentUser.required()
      )
      const slow = bearerOf((token) => Effect.zipRight(Effect.yieldNow(), good(token)))
      const marked = (app: HttpApp.Default<unknown, Authentication.BackendOf<CurrentUser>>) =>
        Effect.flatMap(
          HttpRouter.params,
          () => app
        )
      const app = HttpRouter.empty.pipe(HttpRouter.get("/:name", marked(stamp(whoami))))
      const port = yield* withBackend(listenTo(app), slow)
      const names = Array.from({ length: 200 }, (_, i) => i)
      const replies = yield* Effect.forEach(names, (i) =>
        i % 7 === 0
          // and some leave
          ? Effect.as(Effect.timeoutOption(request(port, { path: `/${i}` }), 0), undefined)
          : request(port, {
            path: `/${i}`,
            headers: i % 3 === 0
              ? { authorization: "Bearer good" }
              : { "authorization": "Bearer bad", "x-n": String(i) }
          }), { concurrency: 32 })
      for (const [i, reply] of replies.entries()) {
        if (reply === undefined) continue
        assert.strictEqual(reply.status, i % 3 === 0 ? 200 : 401)
      }
    }))
})

describe("token introspection", () => {
  const identity = ({ sub }: TokenIntrospection.Token) =>
    Option.map(Option.fromNullable(sub), (name) => ({ user: { name } }))
  const client = { id: "orders", secret: Redacted.make("client-secret") }
  const fake = (body: unknown) =>
    HttpClient.make((request) =>
      Effect.succeed(HttpClientResponse.fromWeb(request, new Response(JSON.stringify(body))))
    )

  it("who leaves at whatever moment leaves nobody waiting for ever", async () => {
    for (let moment = 1; moment < 80; moment++) {
      const verify = TokenIntrospection.verifier({ url: "http://localhost/", client, identity })
      const ask = Effect.provideService(
        verify(Redacted.make("token")),
        HttpClient.HttpClient,
        fake({ active: true, sub: "ada" })
      )
      const tasks: Array<() => void> = []
      let [calls, left] = [0, false]
      const first = Effect.runFork(ask, {
        scheduler: {
          shouldYield: () => ++calls === moment ? 0 : false,
          scheduleTask: (task) => left ? queueMicrotask(task) : void tasks.push(task)
        }
      })
      first.unsafeInterruptAsFork(FiberId.none)
      for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) task()
      left = true
      const second = await Effect.runPromise(Effect.timeoutOption(ask, "2 seconds"))
      assert.isTrue(Option.isSome(second), `at ${moment}`)
    }
  })
})

describe("what a verifier leaves open takes nothing away", () => {
  it.effect("of a token that ends, whatever else is said", () =>
    Effect.gen(function*() {
      const verify = TokenIntrospection.verifier({
        url: "http://localhost/",
        client: { id: "orders", secret: Redacted.make("client-secret") },
        identity: () => Option.some({ user: "ada", expiresAt: undefined, scopes: undefined, subject: undefined })
      })
      const http = HttpClient.make((request) =>
        Effect.succeed(HttpClientResponse.fromWeb(
          request,
          new Response(JSON.stringify({ active: true, sub: "ada", exp: 60, scope: "a b" }))
        ))
      )
      const identity = yield* Effect.provideService(verify(Redacted.make("token")), HttpClient.HttpClient, http)
      assert.deepStrictEqual(
        Option.getOrNull(Option.map(identity, ({ expiresAt, scopes, subject }) => [expiresAt, scopes, subject])),
        [DateTime.unsafeMake(60_000), ["a", "b"], "ada"]
      )
    }))

  it.scoped("of a session that ends", () =>
    Effect.gen(function*() {
      class Visit extends Session.Tag("attacks/Visit")<Visit>()(Schema.Struct({})) {}
      class Visitor extends Authentication.Tag("attacks/Visitor", { requires: [Visit] })<Visitor, User>() {}
      const backend = Authentication.session(Visit, {
        find: (name) =>
          Effect.succeed(Option.some({ user: { name }, expiresAt: undefined, authenticatedAt: undefined }))
      })
      const routes = HttpRouter.empty.pipe(
        HttpRouter.post(
          "/login",
          Effect.flatMap(Visit, ({ rotate }) => Effect.as(rotate({ principal: "ada" }), HttpServerResponse.empty()))
        ),
        HttpRouter.get(
          "/me",
          Visitor.required()(Effect.map(Visitor, ({ authenticatedAt, expiresAt }) =>
            HttpServerResponse.unsafeJson([
              DateTime.toEpochMillis(authenticatedAt),
              Option.getOrNull(Option.map(expiresAt, DateTime.toEpochMillis))
            ])))
        )
      )
      const stack = Stack.make(
        Visit.middleware({ kind: "stored", cookie: { localhost: true }, idle: "1 hour", maxAge: "1 hour" })
      )
      const context = yield* Layer.build(Layer.merge(SessionStore.layerMemory(), Visitor.layer(backend)))
      const port = yield* listen(HttpServer.serve(Effect.provide(stack(routes), context)))
      const { cookies: [cookie = ""] } = yield* request(port, { method: "POST", path: "/login" })
      yield* TestClock.adjust("1 minute")
      const { body } = yield* request(port, { path: "/me", headers: { cookie: cookie.split(";")[0]! } })
      assert.deepStrictEqual(JSON.parse(body), [0, 3_600_000])
    }))
})

describe("requirements", () => {
  it("one that is not understood is none that allows everybody", () => {
    const written: object = { role: ["admin"] }
    assert.throws(
      () => CurrentUser.requires(written),
      "Authorization: a requirement has \"role\": write scopes, roles, permissions, all, any or not"
    )
    assert.throws(() => Authorization.make({ all: [written] }), /a requirement has "role"/)
  })

  const scoped = Authentication.bearer({
    verify: () => Effect.succeed(Option.some({ user: { name: "x" }, scopes: ["docs:write"], roles: ["guest"] }))
  })
  const headers = { authorization: "Bearer x" }

  it.scoped("scopes are asked for of who lacks them, not of who lacks a role", () =>
    Effect.gen(function*() {
      const told = (requirement: Authorization.Requirement<User>) =>
        Effect.gen(function*() {
          const port = yield* withBackend(listenTo(CurrentUser.requires(requirement)(whoami)), scoped)
          const { headers: fields, status } = yield* request(port, { headers })
          return [status, fields["www-authenticate"]]
        })
      assert.deepStrictEqual(yield* told({ scopes: ["docs:write"], roles: ["admin"] }), [403, undefined])
      assert.deepStrictEqual(yield* told({ scopes: ["docs:write", "docs:drop"] }), [
        403,
        "Bearer realm=\"app\", error=\"insufficient_scope\", scope=\"docs:write docs:drop\""
      ])
    }))

  it.scoped("one inside another: both have to allow it, and who it is is asked once", () =>
    Effect.gen(function*() {
      let asked = 0
      const counting = bearerOf((token) =>
        Effect.sync(() => (asked++, Option.some({ user: { name: "x" }, roles: Redacted.value(token).split(".") })))
      )
      const told = (...roles: ReadonlyArray<string>) =>
        Effect.gen(function*() {
          const inner = CurrentUser.requires({ roles: ["a"] })
          const app = CurrentUser.optional()(inner(CurrentUser.requires({ roles: ["b"] })(inner(whoami))))
          const port = yield* withBackend(listenTo(app), counting)
          return (yield* request(port, {
            headers: roles.length === 0 ? {} : { authorization: `Bearer ${roles.join(".")}` }
          }))
            .status
        })
      assert.strictEqual(yield* told("a", "b"), 200)
      assert.strictEqual(yield* told("a"), 403)
      assert.strictEqual(yield* told("b"), 403)
      assert.strictEqual(asked, 3)
      assert.strictEqual(yield* told(), 401)
    }))

  it.scoped("two principals are two", () =>
    Effect.gen(function*() {
      const operators = Authentication.apiKey({
        find: (hash) =>
          Effect.succeed(
            hash === Authentication.hashApiKey("op1")
              ? Option.some({ user: { name: "op" }, subject: "op" })
              : Option.none()
          )
      })
      const both = Effect.zipWith(
        CurrentUser,
        Operator,
        (user, operator) =>
          HttpServerResponse.text(`${user.subject} ${operator.subject}`, { headers: { "cache-control": "public" } })
      )
      const port = yield* listenTo(Stack.make(CurrentUser.required(), Operator.required())(both)).pipe(
        Effect.provide(Layer.merge(CurrentUser.layer(bearer), Operator.layer(operators)))
      )
      const good = { "authorization": "Bearer good", "x-api-key": "op1" }
      const reply = yield* request(port, { headers: good })
      assert.deepStrictEqual(
        [reply.body, reply.headers["cache-control"], reply.headers["vary"]],
        ["bo op", "private", "x-api-key, Authorization"]
      )
      assert.strictEqual((yield* request(port, { headers: { authorization: "Bearer good" } })).status, 401)
      assert.strictEqual((yield* request(port, { headers: { "x-api-key": "op1" } })).status, 401)
    }))

  it.scoped("an app that is tried again or raced is authenticated each time", () =>
    Effect.gen(function*() {
      let asked = 0
      let failures = 0
      const flaky = bearerOf((token) => Effect.suspend(() => (asked++, anybody(token))))
      const failing = Effect.flatMap(CurrentUser, ({ subject }) =>
        failures++ < 2 ? Effect.fail("again" as const) : Effect.succeed(HttpServerResponse.text(subject)))
      const port = yield* withBackend(
        listenTo(Effect.retry(CurrentUser.required()(failing), {
          while: (error) =>
            error === "again",
          times: 3
        })),
        flaky
      )
      const reply = yield* request(port, { headers: { authorization: "Bearer ada" } })
      assert.deepStrictEqual([reply.body, asked, reply.headers["vary"]], ["ada", 3, "Authorization"])
      const raced = CurrentUser.required()(whoami)
      const racing = yield* withBackend(listenTo(Effect.race(raced, raced)), flaky)
      const replies = yield* Effect.forEach(
        ["a", "b", "c"],
        (name) => request(racing, { headers: { authorization: `Bearer ${name}` } }),
        { concurrency: 3 }
      )
      assert.deepStrictEqual(replies.map(({ body }) => body), ["it is a", "it is b", "it is c"])
      assert.strictEqual((yield* request(racing)).status, 401)
    }))
})

describe("caches", () => {
  const app = (fields: Record<string, string>, status = 200) =>
    HttpServerResponse.text("mine", { status, headers: fields })
  it.scoped("what a handler says makes no answer public", () =>
    Effect.gen(function*() {
      const told = (response: HttpServerResponse.HttpServerResponse, init: Init = {}) =>
        Effect.gen(function*() {
          const port = yield* withBackend(listenTo(CurrentUser.required()(Effect.succeed(response))), bearer)
          const { headers } = yield* request(port, { ...init, headers: { authorization: "Bearer good" } })
          return [headers["cache-control"], headers["vary"]]
        })
      assert.deepStrictEqual(
        yield* told(app({ "cache-control": "public, max-age=60, s-maxage=600", "vary": "authorization, accept" })),
        ["max-age=60, private", "authorization, accept"]
      )
      assert.deepStrictEqual(yield* told(app({ "cache-control": "no-store", "vary": "*" })), ["no-store, private", "*"])
      assert.deepStrictEqual(yield* told(app({ etag: "\"1\"" }, 304)), ["private", "Authorization"])
      assert.deepStrictEqual(yield* told(app({}), { method: "HEAD" }), ["private", "Authorization"])
      assert.deepStrictEqual(yield* told(app({}, 500)), ["private", "Authorization"])
    }))

  it.scoped("an answer of onError varies, too", () =>
    Effect.gen(function*() {
      const onError = () =>
        HttpServerResponse.text("log in", { headers: { "cache-control": "max-age=60", vary: "accept" } })
      for (
        const guard of [
          CurrentUser.required({ onError }),
          CurrentUser.optional({ onError }),
          CurrentUser.presented({ onError }),
          CurrentUser.requires({}, { onError })
        ]
      ) {
        const port = yield* withBackend(listenTo(guard(HttpServerResponse.text("in"))), bearer)
        const { headers, status } = yield* request(port, {
          headers: guard.name.endsWith("Option") ? { authorization: "Bearer bad" } : {}
        })
        assert.deepStrictEqual([status, headers["vary"]], [200, "accept, Authorization"])
      }
    }))
})

describe("login", () => {
  const keyring = Keyring.make({ keys: [Redacted.make(randomBytes(32))] })
  const login = { path: "/login", keyring }
  const page = ["Accept: text/html"]
  const back = (location: string, options = login) =>
    Effect.map(
      Effect.provideService(Authentication.returnAddress(location, options), Keyring.Keyring, keyring),
      Option.getOrNull
    )
  const location = (text: string) => /^location: (.*)$/im.exec(text)?.[1]?.trim() ?? ""
  const guarded = withBackend(listenTo(CurrentUser.required({ login })(whoami)), bearer)

  it.scoped("the way back stays here, whatever the target", () =>
    Effect.gen(function*() {
      const port = yield* guarded
      const targets: ReadonlyArray<readonly [target: string, back: string | null]> = [
        ["/notes?a=1&b=//evil.test", "/notes?a=1&b=//evil.test"],
        ["/%2F%2Fevil.test", "/%2F%2Fevil.test"],
        ["/%0d%0aSet-Cookie:%20a=1", "/%0d%0aSet-Cookie:%20a=1"],
        ["//evil.test", null],
        ["///evil.test", null],
        ["/\\evil.test", null],
        ["\\\\evil.test", null],
        ["http://evil.test", "/"],
        ["http://evil.test/notes", "/notes"],
        ["http://evil.test//evil.test", null],
        ["http:evil.test", null],
        ["javascript:alert(1)", null],
        ["/\xe4", null],
        [`/${"a".repeat(2047)}`, `/${"a".repeat(2047)}`],
        [`/${"a".repeat(2048)}`, null],
        [`/${"a".repeat(15_000)}`, null]
      ]
      for (const [target, expected] of targets) {
        const { status, text } = yield* raw(port, [`GET ${target} HTTP/1.1`, ...page])
        // what Node takes for no target is a 400 before any app
        if (status === 400 && expected === null) continue
        assert.strictEqual(status, 303, target)
        assert.match(location(text), /^\/login(\?return_to=[\w.-]+)?$/, target)
        assert.notInclude(text.toLowerCase(), "\nset-cookie", target)
        assert.strictEqual(yield* back(location(text)), expected, target)
      }
    }))

  it.scoped("a way back is of one login page, one parameter and nobody else's purpose", () =>
    Effect.gen(function*() {
      const url = location((yield* raw(yield* guarded, ["GET /notes HTTP/1.1", ...page])).text)
      assert.strictEqual(yield* back(url), "/notes")
      assert.isNull(yield* back(url, { path: "/admin/login", keyring }))
      assert.isNull(yield* back(url.replace("return_to", "to")))
      assert.strictEqual(yield* back(`${url}&return_to=//evil.test`), "/notes")
      assert.isNull(yield* back(url.replace("return_to=", "return_to=//evil.test&return_to=")))
      const forged = (value: string, purpose = "authentication/return-address") =>
        `/login?return_to=${keyring.purpose(purpose).sign(value, "/login")}`
      assert.isNull(yield* back(forged("/notes", "another")))
      for (
        const value of [
          "//evil.test",
          "/\\evil.test",
          "https://evil.test",
          "/a\r\nb: c",
          "/\t/evil.test",
          "/\u00e4",
          ""
        ]
      ) {
        assert.isNull(yield* back(forged(value)), value)
      }
    }))

  it.scoped("a login page that is itself guarded sends nobody to itself", () =>
    Effect.gen(function*() {
      const port = yield* guarded
      for (const target of ["/login", "/login?return_to=x", "/login?"]) {
        assert.strictEqual((yield* raw(port, [`GET ${target} HTTP/1.1`, ...page])).status, 401, target)
      }
      assert.strictEqual((yield* raw(port, ["GET /login/x HTTP/1.1", ...page])).status, 303)
    }))
})

describe("presented", () => {
  it.scoped("no spelling of a path but the exempt one passes", () =>
    Effect.gen(function*() {
      const routes = HttpRouter.empty.pipe(
        HttpRouter.get("/public/*", HttpServerResponse.text("public")),
        HttpRouter.all("*", HttpServerResponse.text("it is private"))
      )
      const port = yield* withBackend(
        listenTo(CurrentUser.presented({ exempt: ["GET /public/:file"] })(routes)),
        bearer
      )
      assert.strictEqual((yield* raw(port, ["GET /public/a HTTP/1.1"])).status, 200)
      for (
        const target of [
          "/public/../private",
          "/public/%2e%2e/private",
          "/public//private",
          "//public/a",
          "/PUBLIC/a",
          "/public/a/b",
          "/private?/public/a",
          "/private#/public/a",
          "/private;/public/a",
          "http://a.test/private?x=/public/a",
          "/%70ublic/a/b"
        ]
      ) {
        const { text } = yield* raw(port, [`GET ${target} HTTP/1.1`])
        assert.notInclude(text, "it is private", target)
      }
      for (const field of ["X-Original-URL: /public/a", "X-HTTP-Method-Override: GET", "X-Rewrite-Url: /public/a"]) {
        assert.strictEqual((yield* raw(port, ["GET /private HTTP/1.1", field])).status, 401, field)
      }
      assert.strictEqual((yield* raw(port, ["POST /public/a HTTP/1.1", "Content-Length: 0"])).status, 401)
    }))
})

describe("a refusal that is made once", () => {
  it.scoped("is another for a script than for a person, and for another backend", () =>
    Effect.gen(function*() {
      const guard = CurrentUser.required()
      const told = (port: number, headers: Record<string, string>) =>
        Effect.map(request(port, { headers }), (reply) => reply.headers["www-authenticate"] ?? "")
      const port = yield* withBackend(listenTo(guard(whoami)), basic)
      const script = { "sec-fetch-mode": "cors" }
      const asked = "Basic realm=\"app\", charset=\"UTF-8\""
      for (let i = 0; i < 2; i++) {
        assert.strictEqual(yield* told(port, {}), asked)
        assert.strictEqual(yield* told(port, script), `x${asked}`)
      }
      const other = yield* withBackend(listenTo(guard(whoami)), bearer)
      assert.strictEqual(yield* told(other, {}), "Bearer realm=\"app\"")
      assert.strictEqual(yield* told(port, {}), asked)
    }))
})

describe("in a HttpApi", () => {
  class Busy extends Schema.TaggedError<Busy>()("Busy", {}) {}
  class NotToday extends Schema.TaggedError<NotToday>()("NotToday", {}, HttpApiSchema.annotations({ status: 423 }))
    implements HttpServerRespondable.Respondable
  {
    [HttpServerRespondable.symbol]() {
      return Effect.succeed(HttpServerResponse.empty({ status: 423, headers: { "retry-after": "7" } }))
    }
  }
  class Authed extends HttpApiMiddleware.Tag<Authed>()("attacks/Authed", {
    provides: CurrentUser,
    failure: Authentication.AuthenticationError,
    security: {
      basic: HttpApiSecurity.basic,
      cookie: HttpApiSecurity.apiKey({ key: "key", in: "cookie" }),
      // the last: platform reads it last, and the phases run after that
      query: HttpApiSecurity.apiKey({ key: "__proto__", in: "query" })
    }
  }) {}
  class Allowed extends HttpApiMiddleware.Tag<Allowed>()("attacks/Allowed", {
    provides: CurrentUser,
    failure: Schema.Union(Authentication.AuthenticationError, Authorization.NotPermitted, NotToday),
    security: { basic: HttpApiSecurity.basic }
  }) {}
  const api = HttpApi.make("api").add(
    HttpApiGroup.make("group")
      .add(HttpApiEndpoint.get("me", "/me").addSuccess(Schema.String).middleware(Authed))
      .add(HttpApiEndpoint.get("may", "/may").addSuccess(Schema.String).middleware(Allowed))
  )
  const live = (backend: Authentication.Backend<User>) =>
    HttpApiBuilder.api(api).pipe(
      Layer.provide(HttpApiBuilder.group(api, "group", (handlers) =>
        handlers
          .handle("me", () => Effect.map(CurrentUser, ({ subject }) => subject))
          .handle("may", () => Effect.map(CurrentUser, ({ subject }) => subject)))),
      Layer.provide([
        Stack.httpApiSecurity(Authed, CurrentUser.required()),
        Stack.httpApiSecurity(
          Allowed,
          CurrentUser.requires({
            all: [
              Authorization.rule("closed", ({ subject }) =>
                subject === "late" ? Effect.zipRight(Effect.yieldNow(), Effect.fail(new NotToday())) : true),
              Authorization.rule("secret rule", () =>
                Authorization.deny("secret reason"))
            ]
          })
        )
      ]),
      Layer.provide(CurrentUser.layer(backend))
    )
  const start = (backend: Authentication.Backend<User>) => listen(Layer.provide(HttpApiBuilder.serve(), live(backend)))
  const down = Authentication.bearer<User, Busy>({
    verify: () => Effect.fail(new Busy({ cause: "postgres://admin:hunter2@db" } as never))
  })

  it.scoped("whatever platform's own reading makes of a request, the backend decides", () =>
    Effect.gen(function*() {
      const port = yield* start(Authentication.firstOf(bearerOf(anybody), basic))
      const cookies = ["", "key", "key=", "key=%", "=;=;", "__proto__=1", "a".repeat(10_000)]
      const queries = [
        "",
        "?",
        "?%",
        "?__proto__=1",
        "?__proto__=1&__proto__=2",
        "?constructor",
        "?&&=&",
        "?%ff",
        "?a[]=b"
      ]
      const values = ["", "Basic", "Basic %", "Basic Og==", "Basic YTo6", "Bearer", "Negotiate x"]
      for (const cookie of cookies) {
        for (const query of queries) {
          const { status, text } = yield* raw(port, [`GET /me${query} HTTP/1.1`, `Cookie: ${cookie}`])
          assert.strictEqual(status, 401, `${cookie} ${query}`)
          assert.include(text, "\r\nwww-authenticate: Bearer realm=", `${cookie} ${query}`)
        }
      }
      for (const value of values) {
        assert.include([400, 401], (yield* raw(port, ["GET /me HTTP/1.1", `Authorization: ${value}`])).status, value)
      }
      assert.include(
        (yield* raw(port, ["GET /me?% HTTP/1.1", "Cookie: key=%", "Authorization: Bearer ada"])).text,
        "\"ada\""
      )
    }))

  it.scoped("says neither why nor what has failed", () =>
    Effect.gen(function*() {
      const send = (port: number, path: string, token: string) =>
        raw(port, [`GET ${path} HTTP/1.1`, `Authorization: Bearer ${token}`])
      const port = yield* start(bearerOf(anybody))
      const denied = yield* send(port, "/may", "ada")
      assert.strictEqual(denied.status, 403)
      assert.notInclude(denied.text, "secret")
      assert.include(denied.text, "\r\ncache-control: no-store")
      const locked = yield* send(port, "/may", "late")
      assert.strictEqual(locked.status, 423)
      assert.include(locked.text, "\r\nretry-after: 7")
      const unavailable = yield* start(down)
      for (const path of ["/me", "/may"]) {
        const { status, text } = yield* send(unavailable, path, "ada")
        assert.strictEqual(status, 503)
        assert.include(text, "\r\nretry-after: 5")
        assert.notInclude(text, "hunter2")
        assert.match(text, /\{"_tag":"AuthenticationUnavailable"\}/)
      }
      for (const verify of [() => Effect.die(new Error("hunter2")), () => Effect.interrupt]) {
        const { status, text } = yield* send(yield* start(bearerOf(verify)), "/me", "ada")
        assert.isAtLeast(status, 500)
        assert.notInclude(text, "hunter2")
      }
    }).pipe(Logger.withMinimumLogLevel(LogLevel.None)))
})

describe("a WebSocket", () => {
  const echo = WebSocket.handle(({ send }) => Effect.zipRight(send("hello"), Effect.never), { ping: false })
  const ending = (days: number) =>
    Authentication.bearer({
      verify: () =>
        Effect.succeed(Option.some({
          user: { name: "x" },
          expiresAt: DateTime.unsafeMake(days * 86_400_000)
        }))
    })
  const open = (context: Layer.Layer<Authentication.BackendOf<CurrentUser> | Authentication.BackendOf<Operator>>) =>
    Effect.gen(function*() {
      const app = Stack.make(
        Forwarded.middleware({ trust: "none" }),
        WebSocket.middleware(),
        CurrentUser.required(),
        Operator.optional()
      )(echo)
      // as a timer that is set for longer than it can: it does not wait at all
      const limited = (clock: Clock.Clock): Clock.Clock =>
        Object.assign(Object.create(clock) as Clock.Clock, {
          sleep: (duration: Duration.Duration) =>
            Duration.toMillis(duration) < 2 ** 31 ? clock.sleep(duration) : Effect.dieMessage("too long for a timer")
        })
      const port = yield* Effect.provide(
        listenTo(Effect.clockWith((clock) => Effect.withClock(app, limited(clock)))),
        context
      )
      const { closed, next } = yield* connect(port, { headers: { authorization: "Bearer x" } })
      assert.strictEqual(yield* next, "hello")
      return yield* Effect.fork(closed)
    })

  it.scoped("lasts longer than a timer can, and no longer than its principal", () =>
    Effect.gen(function*() {
      const end = yield* open(Layer.merge(CurrentUser.layer(ending(60)), Operator.layerAnonymous))
      for (let day = 0; day < 59; day++) yield* TestClock.adjust("1 day")
      assert.isNull(end.unsafePoll())
      yield* TestClock.adjust("1 day")
      assert.strictEqual((yield* Fiber.join(end)).code, 3000)
    }))

  it.scoped("of two principals the one that ends first ends it", () =>
    Effect.gen(function*() {
      for (const [user, operator] of [[2, 1], [1, 2]] as const) {
        const start = yield* Effect.map(DateTime.now, (now) => DateTime.toEpochMillis(now) / 86_400_000)
        const end = yield* open(
          Layer.merge(CurrentUser.layer(ending(start + user)), Operator.layer(ending(start + operator)))
        )
        yield* TestClock.adjust("23 hours")
        assert.isNull(end.unsafePoll())
        yield* TestClock.adjust("1 hour")
        assert.strictEqual((yield* Fiber.join(end)).code, 3000)
      }
    }))
})

describe("what is told of it", () => {
  it.scoped("no log has a credential, whatever form it has and whatever fails", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const keep = (logger: Logger.Logger<unknown, string>) => Logger.map(logger, (line) => void lines.push(line))
      const all = Logger.zip(
        Logger.zip(keep(Logger.jsonLogger), keep(Logger.logfmtLogger)),
        Logger.map(Logger.structuredLogger, (line) => void lines.push(JSON.stringify(line)))
      )
      const port = yield* listen(HttpServer.serve(HttpServerResponse.text("broken", { status: 500 })))
      const verify = TokenIntrospection.verifier({
        url: `http://127.0.0.1:${port}/introspect`,
        client: { id: "orders", secret: Redacted.make("hunter2client") },
        identity: () => Option.none<Authentication.Identity<User>>()
      })
      const introspecting = Authentication.bearer({
        verify: (token) =>
          verify(token).pipe(
            Effect.tapErrorCause((cause) => Effect.logError("introspection", cause)),
            Effect.tapError((error) => Effect.logError(error)),
            Effect.provide(FetchHttpClient.layer)
          )
      })
      const stack = Stack.make(
        Forwarded.middleware({ trust: "none" }),
        AccessLog.middleware(),
        CurrentUser.required()
      )
      yield* Effect.gen(function*() {
        const port = yield* withBackend(
          listenTo(Effect.tapErrorCause(stack(whoami), (cause) => Effect.logError("failed", cause))),
          Authentication.firstOf(introspecting, basic)
        )
        const values = [
          "Bearer hunter2token",
          "Bearer hunter2 token",
          "hunter2",
          `Basic ${Buffer.from("ada:hunter2").toString("base64")}`
        ]
        for (const value of values) yield* at(port, `Authorization: ${value}`)
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, all)), Logger.withMinimumLogLevel(LogLevel.All))
      const text = lines.join("\n")
      assert.include(text, "IntrospectionFailed")
      for (
        const secret of [
          "hunter2",
          Buffer.from("ada:hunter2").toString("base64"),
          Buffer.from("orders:hunter2client").toString("base64")
        ]
      ) assert.notInclude(text, secret)
    }))
})

describe("at length", () => {
  /** One request after another, without a socket. */
  const many = (
    app: HttpApp.Default<unknown, Authentication.BackendOf<CurrentUser>>,
    backend: Authentication.Backend<User>
  ) =>
    Effect.map(Effect.context<never>(), () => {
      const handler = HttpApp.toWebHandler(Effect.provide(
        Effect.catchAllCause(app, () => HttpServerResponse.empty({ status: 401 })),
        CurrentUser.layer(backend)
      ))
      return (authorization: string) => handler(new Request("http://a.test/", { headers: { authorization } }))
    })

  it.effect("hostile tokens leave nothing behind", () =>
    Effect.gen(function*() {
      v8.setFlagsFromString("--expose-gc")
      const collect = vm.runInNewContext("gc") as () => void
      const own: Authentication.Backend<User> = {
        ...bearer,
        // a new reason and a new challenge each time: what a careless one does
        authenticate: ({ request: { headers } }) =>
          Authentication.Invalid(
            headers["authorization"] ?? "",
            Authentication.challenge("Bearer", { error: `e${headers["authorization"]?.length}` })
          )
      }
      const careless = Authentication.bearerOf<User>(
        "careless",
        {},
        (_, token, { invalid }) => invalid(`the token ${token} is bad`)
      )
      for (const backend of [bearer, own, careless]) {
        const send = yield* many(CurrentUser.required()(whoami), backend)
        const run = async (from: number, count: number) => {
          for (let i = from; i < from + count; i++) await send(`Bearer ${i}${"x".repeat(2_000)}`)
        }
        yield* Effect.promise(() => run(0, 500))
        collect()
        const before = process.memoryUsage().heapUsed
        yield* Effect.promise(() => run(500, 3_000))
        collect()
        const grown = process.memoryUsage().heapUsed - before
        // 3000 of 2000 characters would be 6 MB in whatever would hold them
        assert.isBelow(grown, 3_000_000, `${backend.name}: ${grown}`)
      }
    }), 60_000)

  it.effect("to refuse a long one costs as its length", () =>
    Effect.gen(function*() {
      const kinds: ReadonlyArray<readonly [string, (n: number) => string]> = [
        ["token", (n) => `Bearer ${"a".repeat(n)}`],
        ["padding", (n) => `Basic ${"=".repeat(n)}`],
        ["padding that stops", (n) => `Basic a${"=".repeat(n)}a`],
        ["spaces", (n) => `Basic${" ".repeat(n)}a`],
        ["scheme", (n) => "B".repeat(n)],
        ["commas", (n) => `Bearer ${",".repeat(n)}`]
      ]
      const send = yield* many(CurrentUser.required()(whoami), Authentication.firstOf(bearer, basic))
      const cost = (value: string) =>
        Effect.promise(async () => {
          let least = Infinity
          for (let i = 0; i < 5; i++) {
            const start = performance.now()
            await send(value)
            least = Math.min(least, performance.now() - start)
          }
          return least
        })
      yield* cost("Bearer a")
      for (const [kind, make] of kinds) {
        // a quadratic reading of a million characters takes minutes
        assert.isBelow(yield* cost(make(1_000_000)), 1_000, kind)
      }
    }), 60_000)
})
