import { HttpBody, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Deferred, Effect, Fiber, TestClock } from "effect"
import {
  Compression,
  Cors,
  Csrf,
  Forwarded,
  HttpsRedirect,
  IpRestriction,
  Middleware,
  RequestId,
  ServerErrors,
  Stack,
  Testing,
  TrustedHost
} from "effect-middleware"

const hello = HttpServerResponse.text("hello")

describe("client", () => {
  it.effect("sends what it is told, and reads all of the answer", () =>
    Effect.gen(function*() {
      const send = yield* Testing.client(Effect.gen(function*() {
        const { headers, method, text, url } = yield* HttpServerRequest.HttpServerRequest
        return HttpServerResponse.text([method, headers.host, url, headers["x-a"], yield* text].join(" "), {
          status: 201,
          headers: { "x-b": "b" }
        })
      }))
      const reply = yield* send({ method: "PUT", path: "/a?b", headers: { "x-a": "1" }, body: "ü" })
      assert.deepStrictEqual([reply.status, reply.body, reply.headers["x-b"]], [201, "PUT localhost /a?b 1 ü", "b"])
      assert.deepStrictEqual(new TextDecoder().decode(reply.bytes), reply.body)
      assert.strictEqual((yield* send()).body, "GET localhost /  ")
      assert.strictEqual((yield* send({ path: "//evil.test/a" })).body, "GET localhost //evil.test/a  ")
    }))

  it.effect("a whole URL says scheme and host", () =>
    Effect.gen(function*() {
      const app = Effect.map(Forwarded.Client, ({ host, scheme }) => HttpServerResponse.text(`${scheme} ${host}`))
      const send = yield* Testing.client(app.pipe(Forwarded.middleware({ trust: "none" })))
      assert.strictEqual((yield* send({ path: "https://shop.test:8443/a" })).body, "https shop.test:8443")
      assert.strictEqual((yield* send({ headers: { host: "shop.test" } })).body, "http shop.test")
    }))

  it.effect("keeps cookies, until they are taken back", () =>
    Effect.gen(function*() {
      const app = Effect.map(HttpServerRequest.HttpServerRequest, ({ headers, url }) => {
        const seen = HttpServerResponse.text(headers.cookie ?? "none")
        if (url === "/set") return HttpServerResponse.unsafeSetCookie(seen, "a", "1", { path: "/" })
        return url === "/end" ? HttpServerResponse.unsafeSetCookie(seen, "a", "", { maxAge: 0 }) : seen
      })
      const send = yield* Testing.client(app)
      assert.deepStrictEqual((yield* send({ path: "/set" })).cookies, ["a=1; Path=/"])
      assert.strictEqual((yield* send()).body, "a=1")
      assert.deepStrictEqual([...send.cookies], [["a", "1"]])
      assert.strictEqual((yield* send({ headers: { cookie: "b=2" } })).body, "b=2")
      send.cookies.set("c", "3")
      assert.strictEqual((yield* send({ path: "/end" })).body, "a=1; c=3")
      assert.strictEqual((yield* send()).body, "c=3")
      assert.strictEqual((yield* (yield* Testing.client(app))()).body, "none")
    }))

  it.effect("runs with the clock and the services of the test", () =>
    Effect.gen(function*() {
      class Name extends Context.Tag("test/Name")<Name, string>() {}
      const app = Effect.zipWith(Name, Clock.currentTimeMillis, (name, now) => HttpServerResponse.text(name + now))
      const send = yield* Effect.provideService(Testing.client(app), Name, "at ")
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* send()).body, "at 5000")
    }))

  it.effect("is gone when it is interrupted", () =>
    Effect.gen(function*() {
      const [began, ended] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const send = yield* Testing.client(
        Effect.zipRight(Deferred.succeed(began, undefined), Effect.interruptible(Effect.never)).pipe(
          Effect.onInterrupt(() => Deferred.succeed(ended, undefined))
        )
      )
      const fiber = yield* Effect.fork(send())
      yield* Deferred.await(began)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(ended)
    }))
})

/** What wraps, with the types of its app erased. */
const wraps = (wrap: Parameters<typeof erased>[0]) => erased(wrap) as Middleware.Middleware<never, unknown>
const erased = (
  wrap: <E, R>(
    app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, R>
) => Middleware.around("Broken", wrap as never)

type Broken = readonly [law: string, how: string, make: () => Middleware.Middleware<never, unknown>, message: RegExp]

describe("laws", () => {
  let latest = ""
  const broken: ReadonlyArray<Broken> = [
    [
      "a request reaches the handler as it was sent, and its answer the client",
      "the target is another",
      () => Middleware.make({ name: "Broken", request: (exchange) => exchange.deriveRequest({ url: "/" }) }),
      /^the answer: \[201,"PUT \/ a, a ü"\] instead of \[201,"PUT \/a\/%62\?c=%64 a, a ü"\]$/
    ],
    [
      "a stream leaves whole",
      "it is replaced",
      () =>
        Middleware.make({
          name: "Broken",
          response: (draft) => {
            if (draft.body._tag === "Stream") draft.setBody(HttpBody.text("short"))
          }
        }),
      /^the body: "short" instead of "0 0/
    ],
    [
      "a failure, a defect, an interruption get the response they had",
      "all are 500",
      () => wraps(Effect.catchAllCause(() => HttpServerResponse.empty({ status: 500 }))),
      /^failing with a Respondable: \[500,"1 run"\] instead of \[418,"1 run"\]$/
    ],
    [
      "a failure, a defect, an interruption get the response they had",
      "the app runs twice",
      () => wraps((app) => Effect.zipRight(Effect.exit(app), app)),
      /^an answer: \[200,"2 run"\] instead of \[200,"1 run"\]$/
    ],
    [
      "a client that goes away interrupts the handler",
      "it runs in a fiber of its own",
      () => wraps((app) => Effect.flatMap(Effect.forkDaemon(app), Fiber.join)),
      /^no answer within 4 seconds$/
    ],
    [
      "what a handler acquires is released once, after the response",
      "its scope ends too early",
      () => wraps((app) => Effect.scoped(app) as typeof app),
      /^an answer: \["released","inner","outer"\]|instead of/
    ],
    [
      "two cookies of one name on two paths both leave",
      "one is taken away",
      () => Middleware.after("Broken", HttpServerResponse.removeCookie("sid")),
      /^the cookies: \[.*\] instead of \["sid=handler/
    ],
    [
      "fields that it does not own survive",
      "one is set anew",
      () => Middleware.make({ name: "Broken", response: (draft) => draft.set("vary", "origin") }),
      /^vary: "origin" instead of "x-a"$/
    ],
    [
      "a response is edited whatever it came from: once, inner before outer",
      "it is replaced",
      () =>
        Middleware.make({
          name: "Broken",
          response: (draft) => draft.replace(HttpServerResponse.empty({ status: draft.status }))
        }),
      /^an answer: \{"status":200,"order":"outer".* instead of \{"status":200,"order":"inner, outer"/
    ],
    [
      "a request does not see the values of another that overlaps it",
      "what it keeps of a request is kept in the module",
      () =>
        Middleware.make({
          name: "Broken",
          request: ({ request }) => void (latest = request.url),
          response: (draft) => draft.set("x-path", latest)
        }),
      /^x-path, while another request came and went: "\/two\?two" instead of "\/one\?one"$/
    ],
    [
      "outside the stack a failure is what it is inside",
      "it becomes a defect",
      () => wraps(Effect.orDie),
      /^failing with a Respondable: .*"failures":0,"defects":1.* instead of .*"failures":1,"defects":0/
    ]
  ]

  it("each has a middleware that breaks it", () => {
    const names = Testing.laws(() => RequestId.middleware()).map(({ name }) => name)
    assert.deepStrictEqual([...new Set(broken.map(([law]) => law))], names)
  })

  for (const [law, how, make, message] of broken) {
    it.effect(`${law}: broken where ${how}`, () =>
      Effect.gen(function*() {
        const check = Testing.laws(make).find(({ name }) => name === law)!
        const error = yield* Effect.flip(check.run)
        assert.instanceOf(error, Testing.Broken)
        assert.strictEqual(error.name, law)
        assert.match(error.message, message)
      }))
  }

  class Limits extends Context.Tag("test/Limits")<Limits, number>() {}
  const limited = Middleware.make({
    name: "Limited",
    requires: [Limits],
    request: (exchange) =>
      Number(exchange.request.headers["x-size"] ?? 0) > exchange.get(Limits)
        ? undefined
        : Middleware.Refuse(new Error("small"))
  })
  const kept: ReadonlyArray<readonly [name: string, checks: ReadonlyArray<Testing.Check>]> = [
    ["of plain phases", Testing.laws(() => RequestId.middleware())],
    ["that answers failures", Testing.laws(() => ServerErrors.middleware(), { answers: true })],
    [
      "that lets some requests through, and requires a service",
      Testing.laws(() => limited, { request: { headers: { "x-size": "2" } } }).map(({ name, run }) => ({
        name,
        run: Effect.provideService(run, Limits, 1)
      }))
    ]
  ]
  for (const [name, checks] of kept) {
    it.effect(`are kept by a middleware ${name}`, () => Effect.forEach(checks, ({ run }) => run))
  }

  it.effect("are not kept by one that lets nobody through", () =>
    Effect.gen(function*() {
      const [first] = Testing.laws(() => limited)
      assert.match((yield* Effect.flip(Effect.provideService(first!.run, Limits, 1))).message, /^the answer: \[500/)
    }))
})

describe("attacks", () => {
  const responds = (answer: (request: HttpServerRequest.HttpServerRequest) => string | undefined) => () =>
    Middleware.make({
      name: "Broken",
      request: ({ request }) => {
        const text = answer(request)
        return text === undefined ? undefined : Middleware.Respond(HttpServerResponse.text(text, { status: 403 }))
      }
    })
  const refused = { path: "/admin" }
  const broken: ReadonlyArray<Broken> = [
    [
      "a field with anything in it is answered, and not repeated",
      "a field is repeated",
      responds(({ headers }) => headers["accept-language"]),
      /^accept-language: zq7mark: what was sent is in the answer, body: zq7mark$/
    ],
    [
      "a field with anything in it is answered, and not repeated",
      "a field is decoded",
      responds(({ headers }) => void decodeURIComponent(headers.cookie ?? "")),
      /^cookie: %zz%ff%00: 500$/
    ],
    [
      "a target with anything in it is answered, and not repeated",
      "a target is decoded",
      responds(({ url }) => void decodeURIComponent(url)),
      /^\/%: 500$/
    ],
    [
      "a method that nobody knows is answered",
      "others throw",
      responds(({ method }) => void ({ GET: 1, OPTIONS: 2 } as Record<string, number>)[method]!.toFixed()),
      /^PROPFIND: 500$/
    ],
    [
      "a refused request is refused whatever fields it brings",
      "a field lets it in",
      responds(({ headers }) => headers["x-forwarded-for"] === "127.0.0.1" ? undefined : "no"),
      /^let in, 200: \{"path":"\/admin","headers":\{"x-forwarded-for":"127.0.0.1"\}\}$/
    ],
    [
      "a refused request is refused however its path is written",
      "the path is compared",
      responds(({ url }) => url === "/admin" ? "no" : undefined),
      /^let in, 200: \{"path":"\/\/admin"/
    ]
  ]

  it("each has a middleware that gives in to it", () => {
    const names = Testing.attacks(() => RequestId.middleware(), { refused }).map(({ name }) => name)
    assert.deepStrictEqual([...new Set(broken.map(([attack]) => attack))], names)
    assert.lengthOf(Testing.attacks(() => RequestId.middleware()), 3)
  })

  for (const [attack, how, make, message] of broken) {
    it.effect(`${attack}: not where ${how}`, () =>
      Effect.gen(function*() {
        const check = Testing.attacks(make, { refused }).find(({ name }) => name === attack)!
        const error = yield* Effect.flip(check.run)
        assert.strictEqual(error.name, attack)
        assert.match(error.message, message)
      }))
  }

  it.effect("a request that is not refused is no test of disguises", () =>
    Effect.gen(function*() {
      const check = Testing.attacks(() => RequestId.middleware(), { refused }).at(-1)!
      assert.strictEqual((yield* Effect.flip(check.run)).message, "what `refused` says is not refused")
    }))

  const direct = Forwarded.middleware({ trust: "none" })
  const withstood: ReadonlyArray<readonly [name: string, checks: ReadonlyArray<Testing.Check>]> = [
    ["RequestId", Testing.attacks(() => RequestId.middleware())],
    ["Cors", Testing.attacks(() => Cors.middleware({ origins: ["https://app.example.com"] }))],
    ["Compression", Testing.attacks(() => Compression.middleware())],
    [
      "TrustedHost",
      Testing.attacks(() => TrustedHost.middleware({ hosts: ["example.com"] }), {
        request: { headers: { host: "example.com" } },
        refused: { path: "/a" }
      })
    ],
    [
      "HttpsRedirect",
      Testing.attacks(() => Stack.make(direct, HttpsRedirect.middleware()), {
        mayRepeat: ["location"],
        refused: { path: "/a" }
      })
    ],
    [
      "Csrf",
      Testing.attacks(() => Stack.make(direct, Csrf.middleware()), {
        refused: {
          method: "POST",
          path: "/a",
          headers: { origin: "https://evil.test", "sec-fetch-site": "cross-site" }
        }
      })
    ],
    [
      "IpRestriction, of some routes",
      Testing.attacks(
        () =>
          Stack.make(direct, Middleware.forRoutes(["/admin/*"], IpRestriction.middleware({ allow: ["10.0.0.0/8"] }))),
        { refused: { path: "/admin/users" } }
      )
    ]
  ]
  for (const [name, checks] of withstood) {
    it.effect(`${name} withstands them`, () => Effect.forEach(checks, ({ run }) => run))
  }

  it.effect("a router in front of the same paths takes them apart", () =>
    Effect.gen(function*() {
      const send = yield* Testing.client(HttpRouter.empty.pipe(HttpRouter.get("/admin", hello)))
      assert.strictEqual((yield* send({ path: "//admin" })).status, 200)
    }))
})
