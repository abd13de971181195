import { HttpApiSchema, type HttpApp, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Logger, Metric, Schema, TestClock } from "effect"
import { Authentication, Forwarded, Middleware, RateLimit, RateLimitStore, Stack } from "effect-middleware"
import { parseList } from "structured-headers"
import { type Init, listenTo, type Reply, request, send } from "./utils/TestApp.js"

const two = RateLimit.fixedWindow({ limit: 2, window: "1 minute" })

/** A store that is asked by an Effect, as remote ones are. */
const remote = Layer.map(RateLimitStore.layerMemory(), (context) => {
  const { sync: _, ...store } = Context.get(context, RateLimitStore.RateLimitStore)
  return Context.make(RateLimitStore.RateLimitStore, store)
})
const stores = [["in memory", RateLimitStore.layerMemory()], ["remote", remote]] as const

const down = Layer.succeed(
  RateLimitStore.RateLimitStore,
  (() => {
    const fail = (operation: string) => () =>
      Effect.fail(new RateLimitStore.RateLimitUnavailable({ operation, cause: new Error("down") }))
    return { consume: fail("consume"), peek: fail("peek"), refund: fail("refund"), reset: fail("reset") }
  })()
)

class Refused extends Schema.TaggedError<Refused>()("Refused", {}, HttpApiSchema.annotations({ status: 401 })) {}

const byHeader: RateLimit.Key = ({ request }) => request.headers["x-key"]
const ok = HttpServerResponse.text("ok")
const key = (key: string) => ({ headers: { "x-key": key } })

type Limited = Middleware.Middleware<never, unknown, RateLimitStore.RateLimitStore>

/** Sends to one app in a web handler, with one store. */
const client = (
  middleware: Limited,
  app: HttpApp.Default<unknown> = ok,
  store: Layer.Layer<RateLimitStore.RateLimitStore> = RateLimitStore.layerMemory()
) =>
  Effect.map(Layer.build(store), (context) => {
    const limited: HttpApp.Default<unknown> = Effect.provide(middleware(app), context)
    return (init?: Init) => send(limited, init)
  })

const statuses = (replies: ReadonlyArray<Reply>) => replies.map(({ status }) => status)
const times = (n: number, effect: Effect.Effect<Reply>) => Effect.replicateEffect(effect, n)

/** What is logged, beside the effect's own result. */
const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
  const lines: Array<string> = []
  const logger = Logger.make<unknown, void>(({ logLevel, message }) =>
    void lines.push(`${logLevel.label} ${String(message)}`)
  )
  return Effect.map(
    Effect.provide(effect, Logger.replace(Logger.defaultLogger, logger)),
    (result) => [result, lines] as const
  )
}

describe.each(stores)("%s", (_, store) => {
  const limited = (options: Partial<RateLimit.Options> = {}, app?: HttpApp.Default<unknown>) =>
    client(RateLimit.middleware({ limits: two, key: byHeader, ...options }), app, store)

  it.scoped("admits up to the limit, and again after the window", () =>
    Effect.gen(function*() {
      const send = yield* limited()
      assert.deepStrictEqual(statuses(yield* times(4, send(key("a")))), [200, 200, 429, 429])
      assert.deepStrictEqual(statuses(yield* times(1, send(key("b")))), [200])
      yield* TestClock.adjust("59 seconds")
      assert.deepStrictEqual(statuses(yield* times(1, send(key("a")))), [429])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(statuses(yield* times(3, send(key("a")))), [200, 200, 429])
    }))

  it.scoped("a refusal says when to come again, and nothing of the request", () =>
    Effect.gen(function*() {
      const send = yield* limited()
      yield* times(2, send(key("a")))
      yield* TestClock.adjust("12300 millis")
      const { body, headers, status } = yield* send({ path: "/secret-path?x=secret", headers: { "x-key": "a" } })
      assert.deepStrictEqual([status, headers["retry-after"], headers["content-type"]], [
        429,
        "48",
        "application/problem+json"
      ])
      assert.deepStrictEqual(JSON.parse(body), {
        title: "Too Many Requests",
        status: 429,
        detail: "There were too many requests"
      })
      assert.strictEqual(headers["ratelimit"], "\"60s\";r=0;t=48")
      assert.strictEqual(headers["ratelimit-policy"], "\"60s\";q=2;w=60")
    }))

  it.scoped("all or nothing: what one limit refuses is spent on no other", () =>
    Effect.gen(function*() {
      const send = yield* limited({
        limits: [
          RateLimit.fixedWindow({ limit: 1, window: "1 second", name: "burst" }),
          RateLimit.fixedWindow({ limit: 3, window: "1 hour", name: "hourly" })
        ]
      })
      assert.deepStrictEqual(statuses(yield* times(3, send(key("a")))), [200, 429, 429])
      yield* TestClock.adjust("1 second")
      const { headers, status } = yield* send(key("a"))
      assert.strictEqual(status, 200)
      assert.strictEqual(headers["ratelimit"], "\"burst\";r=0;t=1, \"hourly\";r=1;t=3599")
      assert.strictEqual(headers["ratelimit-policy"], "\"burst\";q=1;w=1, \"hourly\";q=3;w=3600")
      assert.doesNotThrow(() => parseList(headers["ratelimit"]!))
    }))

  it.scoped("counts a 404, a failed authentication, a defect and an upgrade that is refused", () =>
    Effect.gen(function*() {
      for (
        const app of [
          HttpRouter.empty,
          Effect.fail(new Refused()),
          Effect.die("defect"),
          HttpServerResponse.empty({ status: 426 })
        ]
      ) {
        const send = yield* limited({}, app as HttpApp.Default<unknown>)
        const replies = statuses(yield* times(3, send(key("a"))))
        assert.strictEqual(replies[2], 429)
        assert.notStrictEqual(replies[1], 429)
      }
    }))

  it.scoped("does not count a preflight and what is exempt, by its exact path", () =>
    Effect.gen(function*() {
      const send = yield* limited({ exceptRoutes: ["GET /health"] })
      const preflight = {
        method: "OPTIONS",
        headers: { "x-key": "a", origin: "https://x.test", "access-control-request-method": "PUT" }
      }
      assert.deepStrictEqual(statuses(yield* times(3, send(preflight))), [200, 200, 200])
      assert.deepStrictEqual(statuses(yield* times(3, send({ path: "/health", ...key("a") }))), [200, 200, 200])
      const spellings = ["//health", "/HEALTH", "/health/", "/%68ealth", "/health;x"]
      const replies = yield* Effect.forEach(spellings, (path) => send({ path, ...key("a") }))
      assert.deepStrictEqual(statuses(replies), [200, 200, 429, 429, 429])
    }))

  // GHSA-x732-6j76-qmhm
  it.scoped("every spelling of a path counts for one bucket", () =>
    Effect.gen(function*() {
      const send = yield* limited()
      const replies = yield* Effect.forEach(
        ["/sign-in/email", "//sign-in/email", "/sign-in//email", "/SIGN-IN/email", "/sign-in/%65mail"],
        (path) => send({ path, ...key("a") })
      )
      assert.deepStrictEqual(statuses(replies), [200, 200, 429, 429, 429])
    }))

  it.scoped("those without a key share one bucket, and the log is warned once", () =>
    Effect.gen(function*() {
      const send = yield* limited()
      const [replies, lines] = yield* logged(times(4, send()))
      assert.deepStrictEqual(statuses(replies), [200, 200, 429, 429])
      assert.deepStrictEqual(lines, ["WARN RateLimit: a request has no key, and those that have none share one bucket"])
      // it is nobody's own
      assert.deepStrictEqual(statuses(yield* times(2, send(key(" none")))), [200, 200])
    }))

  it.scoped("a request costs what it is said to", () =>
    Effect.gen(function*() {
      const send = yield* limited({
        limits: RateLimit.fixedWindow({ limit: 10, window: "1 minute" }),
        cost: ({ url }) => Number(url.slice(1))
      })
      const replies = yield* Effect.forEach([4, 7, 0, 6, 0, 1, 11], (cost) => send({ path: `/${cost}`, ...key("a") }))
      assert.deepStrictEqual(statuses(replies), [200, 429, 200, 200, 200, 429, 429])
      // never admitted: it is told the window
      assert.strictEqual(replies[6]?.headers["retry-after"], "60")
      assert.strictEqual((yield* send({ path: "/1.5", ...key("a") })).status, 500)
    }))

  it.scoped("a dry run lets through, logs and counts", () =>
    Effect.gen(function*() {
      const send = yield* limited({ mode: "dryRun", name: "Dry" })
      const [replies, lines] = yield* logged(times(4, send(key("a"))))
      assert.deepStrictEqual(statuses(replies), [200, 200, 200, 200])
      assert.strictEqual(replies[3]?.headers["ratelimit"], "\"60s\";r=0;t=60")
      assert.deepStrictEqual(lines, Array(2).fill("INFO Dry: a request would have been refused"))
      assert.isAtLeast(refusals("Dry", true), 2)
    }))

  it.scoped("counts its refusals", () =>
    Effect.gen(function*() {
      const send = yield* limited({ name: "Counting" })
      const before = refusals("Counting", false)
      yield* times(5, send(key("a")))
      assert.strictEqual(refusals("Counting", false) - before, 3)
    }))

  it.scoped("gives back what a success, or a failure, has cost", () =>
    Effect.gen(function*() {
      const app = Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) =>
        HttpServerResponse.empty({ status: Number(url.slice(1)) }))
      const visit = (send: (init?: Init) => Effect.Effect<Reply>, ...codes: ReadonlyArray<number>) =>
        Effect.map(
          Effect.forEach(codes, (code) =>
            send({ path: `/${code}`, ...key("a") })),
          statuses
        )
      const success = yield* limited({ refund: "success" }, app)
      assert.deepStrictEqual(yield* visit(success, 204, 302, 200, 401, 204, 401, 204), [
        204,
        302,
        200,
        401,
        204,
        401,
        429
      ])
      const failure = yield* limited({ refund: "failure" }, app)
      assert.deepStrictEqual(yield* visit(failure, 500, 404, 400, 200, 503, 200, 200), [
        500,
        404,
        400,
        200,
        503,
        200,
        429
      ])
      const some = yield* limited({ refund: (status) => status === 404 }, app)
      assert.deepStrictEqual(yield* visit(some, 404, 404, 200, 404, 200, 404), [404, 404, 200, 404, 200, 429])
    }))

  it.scoped("nothing is given back of a window that is over", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const app = Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) =>
        url === "/slow"
          ? Effect.as(Deferred.await(gate), ok)
          : Effect.succeed(HttpServerResponse.empty({ status: 400 })))
      const send = yield* limited({ refund: "success" }, app)
      const slow = yield* Effect.fork(send({ path: "/slow", ...key("a") }))
      yield* TestClock.adjust("61 seconds")
      assert.deepStrictEqual(statuses(yield* times(2, send(key("a")))), [400, 400])
      yield* Deferred.succeed(gate, void 0)
      assert.strictEqual((yield* Fiber.join(slow)).status, 200)
      assert.deepStrictEqual(statuses(yield* times(1, send(key("a")))), [429])
    }))

  it.scoped("bans who goes on", () =>
    Effect.gen(function*() {
      const send = yield* limited({
        limits: RateLimit.limits(two, { ban: { after: 3, within: "1 minute", duration: "1 hour" } })
      })
      const replies = yield* times(6, send(key("a")))
      assert.deepStrictEqual(statuses(replies), [200, 200, 429, 429, 429, 429])
      assert.deepStrictEqual(replies.slice(2).map(({ headers }) => headers["retry-after"]), [
        "60",
        "60",
        "3600",
        "3600"
      ])
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual((yield* send(key("a"))).headers["retry-after"], "60")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* send(key("a"))).status, 200)
    }))

  it.scoped("limits may depend on the request, and on an Effect", () =>
    Effect.gen(function*() {
      const plans = {
        free: RateLimit.limits(two),
        paid: RateLimit.limits(RateLimit.fixedWindow({ limit: 4, window: "1 minute" }))
      }
      for (const lift of [<A>(a: A) => a, <A>(a: A) => Effect.delay(Effect.succeed(a), 0)]) {
        const send = yield* client(
          RateLimit.middleware({
            limits: ({ request }) => lift(request.headers["x-plan"] === "paid" ? plans.paid : plans.free),
            key: byHeader
          }),
          ok,
          store
        )
        const run = (effect: Effect.Effect<Reply>) => Effect.zipLeft(effect, TestClock.adjust(0), { concurrent: true })
        const free = yield* times(3, run(send(key("a"))))
        assert.deepStrictEqual(statuses(free), [200, 200, 429])
        // another plan keeps what was spent
        const paid = yield* times(3, run(send({ headers: { "x-key": "a", "x-plan": "paid" } })))
        assert.deepStrictEqual(statuses(paid), [200, 200, 429])
      }
    }))

  it.scoped("a delay has them wait for their turn, in order, and refuses who would wait too long", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(store)
      const order: Array<string> = []
      const app = RateLimit.middleware({
        limits: RateLimit.gcra({ limit: 1, window: "1 second", burst: 1 }),
        key: byHeader,
        mode: { wait: "2500 millis", queue: 3 }
      })(Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => {
        order.push(url)
        return ok
      }))
      const visit = (path: string) =>
        app.pipe(
          Effect.map(({ status }) => status),
          Effect.catchTag("RateLimited", () => Effect.succeed(429)),
          Effect.provideService(
            HttpServerRequest.HttpServerRequest,
            HttpServerRequest.fromWeb(new Request(`http://localhost${path}`, key("a")))
          ),
          Effect.provide(context),
          Effect.fork,
          Effect.zipLeft(settled)
        )
      const settled = Effect.repeatN(Effect.yieldNow(), 20)
      const fibers = yield* Effect.forEach(["/1", "/2", "/3", "/4", "/5"], visit)
      // one had room, three wait, and for a fifth there is no place
      assert.strictEqual(yield* Fiber.join(fibers[4]!), 429)
      yield* TestClock.adjust("1 second")
      yield* TestClock.adjust("1 second")
      yield* TestClock.adjust("500 millis")
      assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.join), [200, 200, 200, 429, 429])
      assert.deepStrictEqual(order, ["/1", "/2", "/3"])
      // who leaves gives up the place
      yield* Fiber.interrupt(yield* visit("/6"))
      yield* TestClock.adjust("500 millis")
      assert.strictEqual(yield* Fiber.join(yield* visit("/7")), 200)
    }))

  it.scoped("headers of each kind", () =>
    Effect.gen(function*() {
      const limits = [
        RateLimit.fixedWindow({ limit: 2, window: "1 minute", name: "a" }),
        RateLimit.fixedWindow({ limit: 100, window: "1 hour", name: "b" })
      ] as const
      const fieldsOf = (headers: RateLimit.Options["headers"]) =>
        Effect.flatMap(limited({ limits, headers }), (send) =>
          Effect.map(send(key("a")), ({ headers }) =>
            Object.fromEntries(
              Object.entries(headers).filter(([name]) =>
                name.includes("ratelimit")
              )
            )))
      yield* TestClock.setTime(1_000_000_000_000)
      assert.deepStrictEqual(yield* fieldsOf("draft-6"), {
        "ratelimit-policy": "2;w=60, 100;w=3600",
        "ratelimit-limit": "2",
        "ratelimit-remaining": "1",
        "ratelimit-reset": "60"
      })
      assert.deepStrictEqual(yield* fieldsOf("legacy"), {
        "x-ratelimit-limit": "2",
        "x-ratelimit-remaining": "1",
        "x-ratelimit-reset": "1000000060"
      })
      assert.deepStrictEqual(Object.keys(yield* fieldsOf(["standard", "legacy"])).sort(), [
        "ratelimit",
        "ratelimit-policy",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset"
      ])
      assert.deepStrictEqual(yield* fieldsOf(false), {})
    }))

  it.scoped("a limiter of the same name sees, forgives and gives back", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(store)
      const limits = RateLimit.limits(two)
      const send = yield* client(RateLimit.middleware({ limits, key: byHeader }), ok, Layer.succeedContext(context))
      const limiter = RateLimit.limiter({ name: "RateLimit", limits })
      yield* Effect.gen(function*() {
        yield* times(2, send(key("a")))
        const standing = yield* limiter.peek("a")
        assert.deepStrictEqual([standing.allowed, standing.retryAfter], [false, 60_000])
        const error = yield* Effect.flip(limiter.consume("a"))
        assert.instanceOf(error, RateLimit.RateLimited)
        yield* limiter.reset("a")
        assert.isTrue((yield* limiter.peek("a")).allowed)
        const spent = yield* limiter.consume("a", { cost: 2 })
        assert.strictEqual((yield* send(key("a"))).status, 429)
        yield* limiter.refund(spent)
        assert.strictEqual((yield* send(key("a"))).status, 200)
      }).pipe(Effect.provide(context))
    }))
})

describe("keys", () => {
  const late: RateLimit.Key = ({ request }) => Effect.sync(() => request.headers["x-b"])
  const bound = (stack: Middleware.Middleware<never, unknown, RateLimitStore.RateLimitStore>) =>
    Effect.map(
      Layer.build(RateLimitStore.layerMemory()),
      (context): HttpApp.Default<unknown> => Effect.provide(stack(ok), context)
    )
  const behindProxy = (options?: RateLimit.ClientOptions) =>
    Stack.make(
      Forwarded.middleware({ trust: { hops: 1 } }),
      RateLimit.middleware({
        limits: RateLimit.fixedWindow({ limit: 1, window: "1 minute" }),
        key: RateLimit.client(options)
      })
    )
  const from = (address: string) => ({ headers: { "x-forwarded-for": address } })

  type Row = readonly [rule: string, first: string, second: string, share: boolean, options?: RateLimit.ClientOptions]
  it.scoped.each<Row>([
    ["one address", "192.0.2.1", "192.0.2.1", true],
    ["two addresses", "192.0.2.1", "192.0.2.2", false],
    ["a client cannot write its own", "192.0.2.1", "10.0.0.1, 192.0.2.1", true],
    ["a household of IPv6 (CVE-2026-45364)", "2001:db8::1", "2001:db8::ffff:1", true],
    ["spellings of IPv6", "2001:DB8:0:0:0:0:0:1", "2001:db8::1", true],
    ["two households", "2001:db8::1", "2001:db8:0:1::1", false],
    [
      "mapped addresses are the IPv4 addresses in them (GHSA-46wh-pxpv-q5gq)",
      "::ffff:1.2.3.4",
      "::ffff:5.6.7.8",
      false
    ],
    ["however they are written (erl #667)", "::ffff:102:304", "1.2.3.4", true],
    ["an address that only looks mapped", "2001:db8::1.2.3.4", "2001:db8::102:304", true],
    ["clients of NAT64", "64:ff9b::102:304", "64:ff9b::506:708", false],
    ["are the IPv4 addresses in theirs", "64:ff9b::102:304", "1.2.3.4", true],
    ["a larger network", "2001:db8:0:1::1", "2001:db8:0:2::1", true, { ipv6Prefix: 48 }],
    ["single addresses of IPv6", "2001:db8::1", "2001:db8::2", false, { ipv6Prefix: 128 }],
    ["a network of IPv4", "192.0.2.1", "192.0.2.200", true, { ipv4Prefix: 24 }],
    ["another", "192.0.2.1", "192.0.3.1", false, { ipv4Prefix: 24 }]
  ])("%s: %s and %s", ([, first, second, share, options]) =>
    Effect.gen(function*() {
      const app = yield* bound(behindProxy(options))
      assert.strictEqual((yield* send(app, from(first))).status, 200)
      assert.strictEqual((yield* send(app, from(second))).status, share ? 429 : 200)
    }))

  it.scoped("the first that a request has, and of two kinds one text is two keys", () =>
    Effect.gen(function*() {
      const field = (name: string): RateLimit.Key => ({ request }) => request.headers[name]
      const app = yield* bound(
        RateLimit.middleware({
          limits: RateLimit.fixedWindow({ limit: 1, window: "1 minute" }),
          key: RateLimit.firstOf(field("x-a"), late)
        })
      )
      const visit = (headers: Record<string, string>) => Effect.map(send(app, { headers }), ({ status }) => status)
      assert.deepStrictEqual(
        yield* Effect.forEach([{ "x-a": "1" }, { "x-b": "1" }, { "x-a": "1", "x-b": "2" }, { "x-b": "1" }], visit),
        [200, 200, 429, 429]
      )
    }))

  it.scoped("all of them together, whatever is in them", () =>
    Effect.gen(function*() {
      const field = (name: string): RateLimit.Key => ({ request }) => request.headers[name]
      const app = yield* bound(
        RateLimit.middleware({
          limits: RateLimit.fixedWindow({ limit: 1, window: "1 minute" }),
          key: RateLimit.all(field("x-a"), late, field("x-c"))
        })
      )
      const visit = ([a, b, c]: ReadonlyArray<string>) =>
        Effect.map(send(app, { headers: { "x-a": a!, "x-b": b!, "x-c": c! } }), ({ status }) => status)
      assert.deepStrictEqual(
        yield* Effect.forEach(
          [["1", "2", "3"], ["1", "2", "4"], ["1,2", "3", "4"], ["1", "2,3", "4"], ["1", "2", "3"]],
          visit
        ),
        [200, 200, 200, 200, 429]
      )
    }))

  it.scoped("a presented API key, good or bad, of which the store sees a digest", () =>
    Effect.gen(function*() {
      const keys: Array<string> = []
      const memory = yield* Layer.build(RateLimitStore.layerMemory())
      const store = Context.get(memory, RateLimitStore.RateLimitStore)
      const app = RateLimit.middleware({ limits: two, key: RateLimit.apiKey({ header: "X-API-Key" }) })(ok).pipe(
        Effect.provideService(RateLimitStore.RateLimitStore, {
          ...store,
          sync: undefined,
          consume: (bucket, options) => {
            keys.push(bucket.key)
            return store.consume(bucket, options)
          }
        })
      )
      yield* send(app, { headers: { "x-api-key": "secret-1" } })
      yield* send(app, { headers: { "x-api-key": "secret-1" } })
      yield* send(app, { headers: { "x-api-key": "secret-2" } })
      assert.deepStrictEqual([new Set(keys).size, keys.some((key) => key.includes("secret"))], [2, false])
    }))

  it.scoped("a route has its own bucket inside a router, and a principal has one on every route", () =>
    Effect.gen(function*() {
      class User extends Authentication.Tag("test/RateLimited")<User, string>() {}
      const byRoute = RateLimit.middleware({
        limits: RateLimit.fixedWindow({ limit: 1, window: "1 minute" }),
        key: RateLimit.route,
        name: "ByRoute"
      })
      const byUser = RateLimit.middleware({
        limits: RateLimit.fixedWindow({ limit: 2, window: "1 minute" }),
        key: RateLimit.principal(User),
        name: "ByUser"
      })
      const context = yield* Layer.build(
        Layer.merge(RateLimitStore.layerMemory(), User.layerTest("ada", { subject: "ada" }))
      )
      const app = HttpRouter.empty.pipe(
        HttpRouter.get("/a/:id", ok),
        HttpRouter.get("/b", ok),
        HttpRouter.use(byRoute),
        Stack.make(User.required(), byUser),
        Effect.provide(context)
      )
      const visit = (path: string) => Effect.map(send(app, { path }), ({ status }) => status)
      assert.deepStrictEqual(yield* Effect.forEach(["/a/1", "/b", "/a/2"], visit), [200, 200, 429])
      // the third was refused by the user's own limit
      assert.strictEqual((yield* send(app, { path: "/c" })).status, 429)
    }))
})

describe("a store that is down", () => {
  it.scoped("refuses with 503, unless it is told to allow", () =>
    Effect.gen(function*() {
      const refusing = yield* client(RateLimit.middleware({ limits: two, key: byHeader }), ok, down)
      const refused = yield* refusing(key("a"))
      assert.deepStrictEqual([refused.status, refused.headers["retry-after"]], [503, "5"])
      const allowing = yield* client(
        RateLimit.middleware({ limits: two, key: byHeader, onUnavailable: "allow" }),
        ok,
        down
      )
      const [reply, lines] = yield* logged(allowing(key("a")))
      assert.strictEqual(reply.status, 200)
      assert.deepStrictEqual(lines, ["WARN RateLimit: a request was let through uncounted"])
    }))

  it.scoped("does not hide a failure of the key", () =>
    Effect.gen(function*() {
      const send = yield* client(
        RateLimit.middleware({ limits: two, key: () => Effect.fail(new Refused()), onUnavailable: "allow" }),
        ok,
        RateLimitStore.layerMemory()
      )
      assert.strictEqual((yield* send()).status, 500)
    }))
})

describe("logins", () => {
  const layer = Layer.provideMerge(Layer.empty, RateLimitStore.layerMemory())
  const at = (address: string | undefined) =>
    Effect.provideService(Forwarded.Client, { address } as Forwarded.ClientInfo)
  const outcome = <A, E, R>(effect: Effect.Effect<A, E | RateLimit.RateLimited, R>) =>
    Effect.match(effect, {
      onFailure: (error) => error instanceof RateLimit.RateLimited ? error.retryAfter : error,
      onSuccess: (a) => a
    })
  const wrong = Effect.fail("wrong")
  const right = Effect.succeed("right")

  it.scoped("an account has to wait longer each time, wherever it is tried from, and a success ends that", () =>
    Effect.gen(function*() {
      const logins = RateLimit.login({ account: RateLimit.backOff({ after: 2, first: "1 second", most: "4 seconds" }) })
      let address = 0
      const attempt = (check: Effect.Effect<string, string>) =>
        outcome(logins.protect("ada")(check)).pipe(at(`192.0.2.${address++}`))
      assert.deepStrictEqual([yield* attempt(wrong), yield* attempt(wrong), yield* attempt(wrong)], [
        "wrong",
        "wrong",
        1
      ])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([yield* attempt(wrong), yield* attempt(right)], ["wrong", 2])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual([yield* attempt(wrong), yield* attempt(right)], ["wrong", 4])
      // another account is another row
      assert.strictEqual(yield* outcome(logins.protect("bob")(right)).pipe(at("192.0.2.1")), "right")
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual([yield* attempt(right), yield* attempt(wrong), yield* attempt(wrong)], [
        "right",
        "wrong",
        "wrong"
      ])
      assert.strictEqual(yield* attempt(right), 1)
      yield* logins.forgive("ada")
      assert.strictEqual(yield* attempt(right), "right")
    }).pipe(Effect.provide(layer)))

  it.scoped("an address has its own limit, whatever accounts it tries, and successes cost nothing", () =>
    Effect.gen(function*() {
      const logins = RateLimit.login({ address: RateLimit.fixedWindow({ limit: 3, window: "1 hour" }) })
      const attempt = (account: string, address: string | undefined, check: Effect.Effect<string, string> = wrong) =>
        outcome(logins.protect(account)(check)).pipe(at(address))
      for (let i = 0; i < 10; i++) assert.strictEqual(yield* attempt("ada", "2001:db8::1", right), "right")
      assert.deepStrictEqual(
        yield* Effect.forEach(["a", "b", "c", "d"], (account) => attempt(account, `2001:db8::${account}`)),
        ["wrong", "wrong", "wrong", 3600]
      )
      assert.strictEqual(yield* attempt("e", "2001:db8:0:1::1"), "wrong")
      // nobody knows where from: one bucket
      assert.deepStrictEqual(
        yield* Effect.forEach(["a", "b", "c", "d"], (account) => attempt(account, undefined)),
        ["wrong", "wrong", "wrong", 3600]
      )
    }).pipe(Effect.provide(layer)))

  it.scoped("many at once gain nothing, and who leaves before the answer has tried", () =>
    Effect.gen(function*() {
      const logins = RateLimit.login({ account: RateLimit.backOff({ after: 5 }) })
      let checks = 0
      const check = Effect.zipRight(Effect.sync(() => checks++), Effect.never)
      const fibers = yield* Effect.forEach(
        Array.from({ length: 50 }),
        () => Effect.fork(outcome(logins.protect("ada")(check)).pipe(at("192.0.2.1")))
      )
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      assert.strictEqual(checks, 5)
      yield* Effect.forEach(fibers, Fiber.interrupt)
      assert.strictEqual(yield* outcome(logins.protect("ada")(right)).pipe(at("192.0.2.1")), 1)
    }).pipe(Effect.provide(layer)))

  it.scoped("an attempt that the account's limit refuses costs its address nothing", () =>
    Effect.gen(function*() {
      const logins = RateLimit.login({
        address: RateLimit.fixedWindow({ limit: 2, window: "1 hour" }),
        account: RateLimit.backOff({ after: 1 })
      })
      const attempt = (account: string) => outcome(logins.protect(account)(wrong)).pipe(at("192.0.2.1"))
      assert.deepStrictEqual(yield* Effect.forEach(["a", "a", "a", "a", "b", "c"], attempt), [
        "wrong",
        1,
        1,
        1,
        "wrong",
        3600
      ])
    }).pipe(Effect.provide(layer)))
})

describe("over a socket", () => {
  it.scoped("a refusal has what the stack around it adds, and the handler is not entered", () =>
    Effect.gen(function*() {
      let entered = 0
      const outer = Middleware.make({ name: "Outer", response: (draft) => draft.set("x-outer", "1") })
      const stack = Stack.make(
        outer,
        Forwarded.middleware({ trust: "none" }),
        RateLimit.middleware({ limits: two, key: RateLimit.client() })
      )
      const port = yield* listenTo(stack(Effect.sync(() => (entered++, ok))))
      const replies = yield* times(3, request(port))
      assert.deepStrictEqual(statuses(replies), [200, 200, 429])
      assert.deepStrictEqual([replies[2]?.headers["x-outer"], entered], ["1", 2])
      assert.deepStrictEqual(
        replies.map(({ headers }) => headers["ratelimit"]),
        [1, 0, 0].map((r) => `"60s";r=${r};t=60`)
      )
    }).pipe(Effect.provide(RateLimitStore.layerMemory())))

  it.scoped("of many at once exactly as many are admitted", () =>
    Effect.gen(function*() {
      const limits = RateLimit.gcra({ limit: 40, window: "1 hour" })
      const port = yield* listenTo(RateLimit.middleware({ limits, key: () => "one" })(ok))
      const replies = yield* Effect.forEach(Array.from({ length: 100 }), () => request(port), { concurrency: 50 })
      assert.strictEqual(statuses(replies).filter((status) => status === 200).length, 40)
    }).pipe(Effect.provide(RateLimitStore.layerMemory())))
})

describe("mistakes of the program", () => {
  const key = RateLimit.client()
  it.each<readonly [mistake: string, make: () => unknown]>([
    ["RateLimit: client has the ipv6Prefix 129: write 32 to 128", () => RateLimit.client({ ipv6Prefix: 129 })],
    ["RateLimit: client has the ipv4Prefix 7: write 8 to 32", () => RateLimit.client({ ipv4Prefix: 7 })],
    ["RateLimit: cost is -1: write a whole number from 0", () => RateLimit.middleware({ limits: two, key, cost: -1 })],
    [
      "RateLimit: headers is \"draft-7\": write \"standard\", \"draft-6\", \"legacy\" or false",
      () => RateLimit.middleware({ limits: two, key, headers: "draft-7" as never })
    ],
    [
      "RateLimit: mode has the wait 0: write a time from 1 millisecond to ten years, such as \"1 minute\"",
      () => RateLimit.middleware({ limits: two, key, mode: { wait: 0 } })
    ],
    [
      "RateLimit: mode has the queue 0: write a whole number from 1",
      () => RateLimit.middleware({ limits: two, key, mode: { wait: 1, queue: 0 } })
    ],
    [
      "RateLimit: limits has two that are named \"60s\": give one of them another name",
      () => RateLimit.middleware({ limits: [two, two], key })
    ]
  ])("%s", (message, make) => assert.throws(make, message))
})

const refusals = (limiter: string, dryRun: boolean): number =>
  Metric.unsafeSnapshot().flatMap(({ metricKey, metricState }) =>
    metricKey.name === "http.server.rate_limit.refusals" &&
      metricKey.tags.some(({ value }) => value === limiter) &&
      metricKey.tags.some(({ value }) => value === `${dryRun}`)
      ? [(metricState as unknown as { readonly count: number }).count]
      : []
  ).reduce((sum, count) => sum + count, 0)
