import { HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Fiber, Layer, Logger, Metric, Option, Stream, TestClock } from "effect"
import { Authentication, Conditional, Middleware, ResponseCache, ResponseCacheStore } from "effect-middleware"
import { Counter, middlewareOf } from "./utils/counter.js"
import { cached, type Handler, type Setup, statusOf } from "./utils/responseCaches.js"
import { mounts } from "./utils/TestApp.js"

const text = HttpServerResponse.text

/** Answers with the number of the run, and the fields that are given. */
const counting =
  (headers: Record<string, string> = { "cache-control": "max-age=60" }, status = 200): Handler => (_, run) =>
    text(`${run}`, { status, headers })

const test = it.scoped
const inMemory = Effect.provide(ResponseCacheStore.layerMemory())

describe("a hit", () => {
  test("is what was stored, with its age, and does not enter the app", () =>
    Effect.gen(function*() {
      const { get, runs } = yield* cached(counting({ "cache-control": "max-age=60", "x-other": "1" }, 203))
      const first = yield* get()
      assert.strictEqual(statusOf(first), "ResponseCache;fwd=uri-miss;stored")
      assert.isUndefined(first.headers["age"])
      yield* TestClock.adjust("10 seconds")
      const second = yield* get()
      assert.strictEqual(second.status, 203)
      assert.strictEqual(second.body, "1")
      assert.strictEqual(second.headers["x-other"], "1")
      assert.strictEqual(second.headers["content-type"], "text/plain")
      assert.strictEqual(second.headers["content-length"], "1")
      assert.strictEqual(second.headers["age"], "10")
      assert.strictEqual(second.headers["date"], "Thu, 01 Jan 1970 00:00:00 GMT")
      assert.strictEqual(statusOf(second), "ResponseCache;hit;ttl=50")
      assert.strictEqual(runs(), 1)
      yield* TestClock.adjust("50 seconds")
      assert.strictEqual((yield* get()).body, "2")
    }).pipe(inMemory))

  test("to HEAD is what GET has stored", () =>
    Effect.gen(function*() {
      const { get, runs, send } = yield* cached(counting())
      assert.strictEqual(statusOf(yield* send({ method: "HEAD" })), "ResponseCache;fwd=uri-miss")
      yield* get()
      const head = yield* send({ method: "HEAD" })
      assert.match(statusOf(head)!, /;hit;/)
      assert.strictEqual(runs(), 2)
    }).pipe(inMemory))

  test("is a 304 to who has it", () =>
    Effect.gen(function*() {
      const { get, runs } = yield* cached(counting({ "cache-control": "max-age=60", etag: `"1"` }))
      // who asks first may have it already
      const first = yield* get("/", { "if-none-match": `"1"` })
      assert.strictEqual(first.status, 304)
      const second = yield* get("/", { "if-none-match": `W/"1"` })
      assert.strictEqual(second.status, 304)
      assert.strictEqual(second.body, "")
      assert.isUndefined(second.headers["content-type"])
      assert.strictEqual(second.headers["etag"], `"1"`)
      assert.strictEqual(second.headers["age"], "0")
      assert.match(statusOf(second)!, /;hit;/)
      assert.strictEqual((yield* get("/", { "if-none-match": `"2"` })).body, "1")
      assert.strictEqual(runs(), 1)
    }).pipe(inMemory))

  test("has nothing of a middleware that stands outside, and what stands inside is stored", () =>
    Effect.gen(function*() {
      let [inside, outside] = [0, 0]
      const number = (name: string, next: () => number) =>
        Middleware.make({ name, response: (draft) => draft.set(name.toLowerCase(), `${next()}`) })
      const { get } = yield* cached(counting(), {
        outside: [number("X-Outside", () => ++outside)],
        inside: [number("X-Inside", () => ++inside)]
      })
      yield* get()
      const { headers } = yield* get()
      assert.strictEqual(headers["x-outside"], "2")
      assert.strictEqual(headers["x-inside"], "1")
    }).pipe(inMemory))

  for (const mount of mounts) {
    test(`in ${mount.name}`, () =>
      Effect.gen(function*() {
        const { get, runs } = yield* cached(counting(), { mount })
        yield* get("/a")
        const second = yield* get("/a")
        assert.strictEqual(second.body, "1")
        assert.match(statusOf(second)!, /;hit;/)
        assert.strictEqual(runs(), 1)
        assert.strictEqual((yield* get("/b")).body, "2")
      }).pipe(inMemory))
  }
})

// ---------------------------------------------------------------------------------------------------------------------

describe("what is stored", () => {
  /** How often the app is asked, of two requests. */
  const runsOf = (handler: Handler, setup?: Setup, headers?: Record<string, string>) =>
    Effect.gen(function*() {
      const { get, runs } = yield* cached(handler, setup)
      yield* get("/", headers)
      const second = yield* get("/", headers)
      assert.strictEqual(/;hit;/.test(statusOf(second) ?? ""), runs() === 1)
      return runs()
    }).pipe(inMemory, Effect.scoped)

  const later = "Thu, 01 Jan 1970 00:01:00 GMT"
  it.effect.each<[stored: boolean, what: string, headers: Record<string, string>, status?: number]>([
    [true, "max-age", { "cache-control": "max-age=1" }],
    [true, "in another case", { "cache-control": "Max-Age=1" }],
    [true, "s-maxage", { "cache-control": "max-age=0, s-maxage=1" }],
    [true, "Expires", { expires: later }],
    [true, "public, max-age", { "cache-control": "public, max-age=1" }],
    [true, "must-revalidate, fresh", { "cache-control": "max-age=1, must-revalidate" }],
    [true, "proxy-revalidate, fresh", { "cache-control": "max-age=1, proxy-revalidate" }],
    [true, "a 404 that says so", { "cache-control": "max-age=1" }, 404],
    [true, "a redirect that says so", { "cache-control": "max-age=1", location: "/a" }, 302],
    [true, "an unknown directive", { "cache-control": "max-age=1, x=\"a, no-store\"" }],
    [false, "nothing", {}],
    [false, "a date alone", { "last-modified": "Wed, 31 Dec 1969 00:00:00 GMT" }],
    [false, "private", { "cache-control": "max-age=60, private" }],
    [false, "private, in another case", { "cache-control": "max-age=60, Private" }],
    [false, "private of a field", { "cache-control": "max-age=60, private=\"x\"" }],
    [false, "no-store", { "cache-control": "max-age=60, no-store" }],
    [false, "no-store, in another case (GHSA-6wqw-2p9w-4vw4)", { "cache-control": "max-age=60, No-Store" }],
    [false, "no-cache", { "cache-control": "max-age=60, no-cache" }],
    [false, "max-age=0", { "cache-control": "max-age=0" }],
    [false, "s-maxage=0", { "cache-control": "max-age=60, s-maxage=0" }],
    [false, "an Expires that is none", { expires: "0" }],
    [false, "an Expires that is over", { expires: "Wed, 31 Dec 1969 00:00:00 GMT" }],
    [false, "immutable alone", { "cache-control": "immutable" }],
    [false, "Vary: * (CVE-2026-6907)", { "cache-control": "max-age=60", vary: "*" }],
    [false, "Vary: * in a list", { "cache-control": "max-age=60", vary: "accept, *" }],
    [false, "more fields than ten", { "cache-control": "max-age=60", vary: "abcdefghijk".split("").join(",") }],
    [false, "Set-Cookie as a field", { "cache-control": "max-age=60, public", "set-cookie": "a=b" }],
    [false, "a part", { "cache-control": "max-age=60", "content-range": "bytes 0-0/2" }, 206],
    [false, "a 500", { "cache-control": "max-age=60" }, 500],
    [false, "a 429", { "cache-control": "max-age=60" }, 429]
  ])("%s: %s", ([stored, _, headers, status]) =>
    Effect.gen(function*() {
      assert.strictEqual(yield* runsOf(counting(headers, status)), stored ? 1 : 2)
    }))

  it.effect.each<[stored: boolean, what: string, headers: Record<string, string>, status?: number]>([
    [true, "nothing", {}],
    [true, "a tag", { etag: `"1"` }],
    [true, "public", { "cache-control": "public" }],
    [true, "a redirect for good", { location: "/a" }, 301],
    [false, "a 404", {}, 404],
    [false, "a redirect for now", { location: "/a" }, 302],
    [false, "private", { "cache-control": "private" }],
    [false, "no-store", { "cache-control": "no-store" }],
    [false, "no-cache", { "cache-control": "no-cache" }],
    [false, "max-age=0", { "cache-control": "max-age=0" }]
  ])("with ttl, %s: %s", ([stored, _, headers, status]) =>
    Effect.gen(function*() {
      const runs = yield* runsOf(counting(headers, status), { options: { ttl: "300 seconds" } })
      assert.strictEqual(runs, stored ? 1 : 2)
    }))

  it.effect("ttl gives way to what the response says, and is said to nobody", () =>
    Effect.gen(function*() {
      const { get } = yield* cached(counting({ "cache-control": "max-age=1" }), { options: { ttl: "300 seconds" } })
      yield* get()
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual((yield* get()).body, "2")
      const silent = yield* cached(counting({}), { options: { ttl: "300 seconds" } })
      yield* silent.get("/silent")
      yield* TestClock.adjust("299 seconds")
      const { body, headers } = yield* silent.get("/silent")
      assert.strictEqual(body, "1")
      assert.isUndefined(headers["cache-control"])
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual((yield* silent.get("/silent")).body, "2")
    }).pipe(inMemory, Effect.scoped))

  it.effect("not what sets a cookie, by platform or by a middleware inside", () =>
    Effect.gen(function*() {
      const fresh = { "cache-control": "public, max-age=60" }
      const cookie: Handler = () => text("a", { headers: fresh }).pipe(HttpServerResponse.unsafeSetCookie("a", "b"))
      assert.strictEqual(yield* runsOf(cookie), 2)
      const inside = [Middleware.make({ name: "Sets", response: (draft) => draft.setCookie("a", "b") })]
      assert.strictEqual(yield* runsOf(counting(fresh), { inside }), 2)
    }))

  it.effect("not a failure, whatever it looks like", () =>
    Effect.gen(function*() {
      const failing: Handler = () => Effect.fail(new Conditional.PreconditionFailed())
      assert.strictEqual(yield* runsOf(failing, { options: { ttl: "1 hour" } }), 2)
      const dying: Handler = () => Effect.die(text("a", { headers: { "cache-control": "max-age=60" } }))
      assert.strictEqual(yield* runsOf(dying), 2)
    }))

  it.effect("not what has asked for a session, wherever that stands", () =>
    Effect.gen(function*() {
      const reads: Handler = () =>
        Effect.map(Effect.flatMap(Counter, ({ get }) => get), ({ n }) =>
          text(`${n}`, { headers: { "cache-control": "public, max-age=60" } })) as never
      for (const side of ["outside", "inside"] as const) {
        const setup = { [side]: [middlewareOf("signed")] }
        assert.strictEqual(yield* runsOf(reads, setup), 2, side)
        // one that is there, and not asked for, is nothing
        assert.strictEqual(yield* runsOf(counting(), setup), 1, side)
      }
    }))

  it.effect("not what is for a principal, and that one is given nothing either", () =>
    Effect.gen(function*() {
      class User extends Authentication.Tag("test/CacheUser")<User, string>() {}
      const backend = Authentication.bearer({ verify: () => Effect.succeed(Option.some({ user: "ada" })) })
      const fresh = { "cache-control": "public, max-age=60" }
      const withUsers = Effect.provide(User.layer(backend as never))
      const known = { authorization: "Bearer x" }
      for (const side of ["outside", "inside"] as const) {
        const setup: Setup = { [side]: [User.optional() as never] }
        assert.strictEqual(yield* withUsers(runsOf(counting(fresh), setup, known)), 2, side)
      }
      const { get } = yield* cached(counting(fresh), { outside: [User.optional() as never] }).pipe(withUsers)
      assert.strictEqual((yield* get()).body, "1")
      assert.strictEqual((yield* get()).body, "1")
      const reply = yield* get("/", known)
      assert.strictEqual(reply.body, "2")
      assert.strictEqual(statusOf(reply), "ResponseCache;fwd=bypass;detail=personal")
    }).pipe(inMemory, Effect.scoped) as Effect.Effect<void>)

  it.effect("bodies of every kind, each as it was", () =>
    Effect.gen(function*() {
      const bytes = new Uint8Array([0, 0xff, 0x0a])
      const fresh = { headers: { "cache-control": "max-age=60" } }
      const bodies: ReadonlyArray<[runs: number, make: () => HttpServerResponse.HttpServerResponse]> = [
        [1, () => HttpServerResponse.uint8Array(bytes, fresh)],
        [1, () => HttpServerResponse.raw("é", { ...fresh, contentType: "text/plain" })],
        [1, () => HttpServerResponse.empty({ status: 204, ...fresh })],
        [1, () => HttpServerResponse.stream(Stream.make(bytes, bytes), { ...fresh, contentType: "image/png" })],
        [1, () => HttpServerResponse.stream(Stream.empty, fresh)],
        [2, () => HttpServerResponse.formData(new FormData(), fresh)],
        [2, () => HttpServerResponse.raw(new Response("a").body, fresh)]
      ]
      for (const [runs, make] of bodies) {
        const { get, runs: asked } = yield* cached(make).pipe(
          Effect.provide(ResponseCacheStore.layerMemory())
        )
        const first = yield* get()
        const second = yield* get()
        assert.strictEqual(asked(), runs, JSON.stringify(make().body))
        if (runs === 1) assert.strictEqual(second.body, first.body)
        if (runs === 1) assert.strictEqual(second.headers["content-type"], first.headers["content-type"])
        assert.strictEqual(second.status, first.status)
      }
    }).pipe(Effect.scoped) as Effect.Effect<void>)

  it.effect("not a body that is larger than it may be, and that passes whole", () =>
    Effect.gen(function*() {
      const fresh = { headers: { "cache-control": "max-age=60" } }
      const chunk = Buffer.from("abcd")
      for (const [size, runs] of [[8, 1], [7, 2]] as const) {
        const setup = { options: { maxEntrySize: size } }
        const all: ReadonlyArray<Handler> = [
          () => text("abcdabcd", fresh),
          () => HttpServerResponse.raw("abcdabcd", fresh),
          () => HttpServerResponse.stream(Stream.make(chunk, chunk), fresh),
          () => HttpServerResponse.stream(Stream.make(chunk, chunk), { ...fresh, contentLength: 8 })
        ]
        for (const handler of all) {
          assert.strictEqual(yield* runsOf(handler, setup), runs)
          const { get } = yield* cached(handler, setup).pipe(Effect.provide(ResponseCacheStore.layerMemory()))
          assert.strictEqual((yield* get()).body, "abcdabcd")
        }
      }
    }).pipe(Effect.scoped) as Effect.Effect<void>)

  it.effect("not a stream that fails, or is left", () =>
    Effect.gen(function*() {
      const fresh = { headers: { "cache-control": "max-age=60" } }
      const failing: Handler = () =>
        HttpServerResponse.stream(Stream.concat(Stream.make(Buffer.from("a")), Stream.fail("no")), fresh)
      const { get, runs } = yield* cached(failing)
      yield* Effect.exit(get())
      yield* Effect.exit(get())
      assert.strictEqual(runs(), 2)
    }).pipe(inMemory, Effect.scoped))

  test("a stream passes on what comes before it has ended", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const { get, runs } = yield* cached(() =>
        HttpServerResponse.stream(
          Stream.concat(
            Stream.make(Buffer.from("a")),
            Stream.fromEffect(Effect.as(Deferred.await(gate), Buffer.from("b")))
          ),
          { headers: { "cache-control": "max-age=60" } }
        ), { mount: mounts.find(({ name }) => name === "Stack.serve, Node")! })
      const first = yield* Effect.fork(get())
      // the second waits for the first, and both get the whole
      yield* Effect.yieldNow()
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual((yield* first).body, "ab")
      assert.strictEqual((yield* get()).body, "ab")
      assert.strictEqual(runs(), 1)
    }).pipe(inMemory))

  test("a time is cut short by chance, and never made longer", () =>
    Effect.gen(function*() {
      const times = new Set<string>()
      for (let i = 0; i < 20; i++) {
        const { get } = yield* cached(counting({ "cache-control": "max-age=1000" }), { options: { jitter: 0.5 } })
        yield* get(`/${i}`)
        const ttl = Number(/ttl=(\d+)/.exec(statusOf(yield* get(`/${i}`))!)![1])
        assert.isAtLeast(ttl, 500)
        assert.isAtMost(ttl, 1000)
        times.add(`${ttl}`)
      }
      assert.isAbove(times.size, 3)
    }).pipe(inMemory))
})

// ---------------------------------------------------------------------------------------------------------------------

describe("keys", () => {
  test("each URL, as it came", () =>
    Effect.gen(function*() {
      const { get, runs } = yield* cached(counting())
      const paths = ["/a", "/A", "/a/", "/%61", "/a?", "/a?b=1&c=2", "/a?c=2&b=1", "//a"]
      for (const path of paths) yield* get(path)
      assert.strictEqual(runs(), paths.length)
      for (const [i, path] of paths.entries()) assert.strictEqual((yield* get(path)).body, `${i + 1}`)
    }).pipe(inMemory))

  test("a variant for each value that Vary names, in one spelling of Accept-Encoding", () =>
    Effect.gen(function*() {
      const { get, runs } = yield* cached((request, run) =>
        text(`${request.headers["accept-language"] ?? "none"} ${run}`, {
          headers: { "cache-control": "max-age=60", vary: "Accept-Language, Accept-Encoding" }
        })
      )
      const ask = (headers: Record<string, string>) => Effect.map(get("/", headers), ({ body }) => body)
      assert.strictEqual(yield* ask({ "accept-language": "en" }), "en 1")
      assert.strictEqual(yield* ask({ "accept-language": "de" }), "de 2")
      assert.strictEqual(yield* ask({}), "none 3")
      assert.strictEqual(yield* ask({ "accept-language": "en" }), "en 1")
      assert.strictEqual(yield* ask({ "accept-language": "de" }), "de 2")
      assert.strictEqual(yield* ask({}), "none 3")
      assert.strictEqual(yield* ask({ "accept-language": "en", "accept-encoding": "gzip, br" }), "en 4")
      assert.strictEqual(yield* ask({ "accept-language": "en", "accept-encoding": "BR,gzip" }), "en 4")
      assert.strictEqual(runs(), 4)
    }).pipe(inMemory))

  test("a field that an option names", () =>
    Effect.gen(function*() {
      const { get } = yield* cached(counting(), { options: { vary: ["X-Tenant"] } })
      assert.strictEqual((yield* get("/", { "x-tenant": "a" })).body, "1")
      assert.strictEqual((yield* get("/", { "x-tenant": "b" })).body, "2")
      assert.strictEqual((yield* get("/", { "x-tenant": "a" })).body, "1")
    }).pipe(inMemory))

  test("two caches of other names have nothing in common but their purges", () =>
    Effect.gen(function*() {
      const one = yield* cached(() => text("one", { headers: { "cache-control": "max-age=60" } }))
      const two = yield* cached(() => text("two", { headers: { "cache-control": "max-age=60" } }), {
        options: { name: "Two" }
      })
      assert.strictEqual((yield* one.get()).body, "one")
      assert.strictEqual((yield* two.get()).body, "two")
      assert.strictEqual((yield* one.get()).body, "one")
      yield* ResponseCache.purgeUrl("http://localhost/")
      yield* Effect.zip(one.get(), two.get())
      assert.deepStrictEqual([one.runs(), two.runs()], [2, 2])
    }).pipe(inMemory))
})

describe("poison", () => {
  test("X-Forwarded-Host of nobody trusted is not seen, and one of somebody trusted is in the key", () =>
    Effect.gen(function*() {
      const links: Handler = ({ headers }) =>
        text(headers["x-forwarded-host"] ?? headers["host"] ?? "", { headers: { "cache-control": "max-age=60" } })
      const direct = yield* cached(links)
      assert.strictEqual((yield* direct.get("/", { "x-forwarded-host": "evil.test" })).body, "localhost")
      assert.strictEqual((yield* direct.get("/")).body, "localhost")

      const proxied = yield* cached(counting(), { trust: { hops: 1 }, options: { name: "Proxied" } })
      const via = (host: string, scheme = "https") => ({
        "x-forwarded-for": "192.0.2.1",
        "x-forwarded-host": host,
        "x-forwarded-proto": scheme
      })
      assert.strictEqual((yield* proxied.get("/", via("a.test"))).body, "1")
      assert.strictEqual((yield* proxied.get("/", via("b.test"))).body, "2")
      assert.strictEqual((yield* proxied.get("/", via("a.test", "http"))).body, "3")
      assert.strictEqual((yield* proxied.get("/", via("a.test"))).body, "1")
    }).pipe(inMemory))

  it.effect.each<[what: string, detail: string, init: { method?: string; headers: Record<string, string> }]>([
    ["another method", "unkeyed-field", { headers: { "x-http-method-override": "DELETE" } }],
    ["a part", "range", { headers: { range: "bytes=0-0" } }],
    ["a precondition of a write", "precondition", { headers: { "if-match": `"1"` } }],
    ["one by date", "precondition", { headers: { "if-unmodified-since": "Thu, 01 Jan 1970 00:00:00 GMT" } }],
    ["another protocol", "upgrade", { headers: { upgrade: "h2c" } }]
  ])("a request for %s neither leaves nor is given anything", ([_, detail, init]) =>
    Effect.gen(function*() {
      const { get, runs, send } = yield* cached(counting())
      const first = yield* send(init)
      assert.strictEqual(statusOf(first), `ResponseCache;fwd=bypass;detail=${detail}`)
      yield* get()
      yield* send(init)
      assert.strictEqual((yield* get()).body, "2")
      assert.strictEqual(runs(), 3)
    }).pipe(inMemory, Effect.scoped))

  test("a path that another server may have rewritten is not seen", () =>
    Effect.gen(function*() {
      const { get, last } = yield* cached(counting())
      yield* get("/", { "x-original-url": "/admin", "x-rewrite-url": "/admin" })
      assert.isUndefined(last().headers["x-original-url"])
      assert.isUndefined(last().headers["x-rewrite-url"])
    }).pipe(inMemory))

  test("a GET with a body", () =>
    Effect.gen(function*() {
      const { get, send } = yield* cached(counting(), {
        mount: mounts.find(({ name }) => name === "Stack.serve, Node")!
      })
      const fat = { path: "/", body: "a=evil", headers: { "content-length": "6" } }
      assert.strictEqual(statusOf(yield* send(fat)), "ResponseCache;fwd=bypass;detail=content")
      assert.strictEqual((yield* get("/")).body, "2")
      assert.strictEqual((yield* send(fat)).body, "3")
    }).pipe(inMemory))

  test("POST, and what may be stored of nothing (Hono 568c2ecc)", () =>
    Effect.gen(function*() {
      const { runs, send } = yield* cached(counting())
      for (const method of ["POST", "OPTIONS", "PUT", "DELETE"]) {
        yield* send({ method })
        assert.strictEqual(statusOf(yield* send({ method })), "ResponseCache;fwd=method")
      }
      assert.strictEqual(runs(), 8)
    }).pipe(inMemory))
})

describe("credentials", () => {
  const fresh = "max-age=60"
  const cookie = { cookie: "a=1" }
  const authorization = { authorization: "Basic x" }
  /** Who is answered by the app, of: with credentials, without, with, with others. */
  const answers = (
    cacheControl: string,
    credentials: Record<string, string>,
    vary = "",
    options?: ResponseCache.Options
  ) =>
    Effect.gen(function*() {
      const headers = { "cache-control": cacheControl, ...(vary !== "" && { vary }) }
      const { get } = yield* cached(counting(headers), options && { options })
      const [name = ""] = Object.keys(credentials)
      const all = [credentials, {}, credentials, {}, { [name]: "other" }]
      return yield* Effect.forEach(all, (headers: Record<string, string>) =>
        Effect.map(get("/", headers), ({ body }) => Number(body)))
    }).pipe(inMemory, Effect.scoped)

  it.effect.each<
    [
      what: string,
      cacheControl: string,
      credentials: Record<string, string>,
      vary: string,
      expected: ReadonlyArray<number>
    ]
  >([
    ["a cookie", fresh, cookie, "", [1, 2, 3, 2, 4]],
    ["a cookie, s-maxage", "s-maxage=60", cookie, "", [1, 2, 3, 2, 4]],
    ["a cookie, public", `public, ${fresh}`, cookie, "", [1, 1, 1, 1, 1]],
    ["a cookie, Vary: Cookie", fresh, cookie, "Cookie", [1, 2, 1, 2, 3]],
    ["Authorization", fresh, authorization, "", [1, 2, 3, 2, 4]],
    ["Authorization, public", `public, ${fresh}`, authorization, "", [1, 1, 1, 1, 1]],
    ["Authorization, s-maxage", "s-maxage=60", authorization, "", [1, 1, 1, 1, 1]],
    ["Authorization, must-revalidate", `must-revalidate, ${fresh}`, authorization, "", [1, 1, 1, 1, 1]],
    ["Authorization, Vary: Authorization", fresh, authorization, "Authorization", [1, 2, 3, 2, 4]],
    ["Authorization, public, Vary", `public, ${fresh}`, authorization, "Authorization", [1, 2, 1, 2, 3]]
  ])("%s", ([_, cacheControl, credentials, vary, expected]) =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* answers(cacheControl, credentials, vary), expected)
    }))

  test("a cookie that the app does not see is none", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* answers(fresh, cookie, "", { cookies: "hide" }), [1, 1, 1, 1, 1])
      const { get, last } = yield* cached(counting(), { options: { cookies: "hide" } })
      yield* get("/", cookie)
      assert.isUndefined(last().headers["cookie"])
      assert.deepStrictEqual(last().cookies, {})
    }).pipe(inMemory))
})

// ---------------------------------------------------------------------------------------------------------------------

describe("what is stale", () => {
  /** A version, by its tag or its date; it says 304 to who has it. */
  const versioned = (cacheControl: string, extra: Record<string, string> = {}) => {
    const state = { version: 1, notModified: 0, last: undefined as Record<string, string> | undefined }
    const handler: Handler = ({ headers }) => {
      state.last = { ...headers }
      const fields = {
        "cache-control": cacheControl,
        etag: `"${state.version}"`,
        "x-at": `${state.notModified}`,
        ...extra
      }
      if (headers["if-none-match"] !== fields.etag) return text(`${state.version}`, { headers: fields })
      state.notModified++
      return HttpServerResponse.empty({ status: 304, headers: { ...fields, "x-at": `${state.notModified}` } })
    }
    return { state, handler }
  }

  test("is validated, and a 304 makes it fresh again, with its fields", () =>
    Effect.gen(function*() {
      const { handler, state } = versioned("max-age=60")
      const { get, runs } = yield* cached(handler)
      yield* get()
      yield* TestClock.adjust("60 seconds")
      const second = yield* get()
      assert.strictEqual(second.status, 200)
      assert.strictEqual(second.body, "1")
      assert.strictEqual(second.headers["age"], "0")
      assert.strictEqual(second.headers["x-at"], "1")
      assert.strictEqual(statusOf(second), "ResponseCache;fwd=stale;fwd-status=304")
      assert.strictEqual(state.last?.["if-none-match"], `"1"`)
      yield* TestClock.adjust("59 seconds")
      const third = yield* get()
      assert.strictEqual(third.body, "1")
      assert.strictEqual(third.headers["x-at"], "1")
      assert.strictEqual(third.headers["content-type"], "text/plain")
      assert.strictEqual(runs(), 2)
    }).pipe(inMemory))

  test("is replaced by what is new", () =>
    Effect.gen(function*() {
      const { handler, state } = versioned("max-age=60")
      const { get } = yield* cached(handler)
      yield* get()
      yield* TestClock.adjust("60 seconds")
      state.version = 2
      assert.strictEqual((yield* get()).body, "2")
      assert.strictEqual((yield* get()).body, "2")
    }).pipe(inMemory))

  test("by the client's own tag, which is compared with what there is", () =>
    Effect.gen(function*() {
      const { handler, state } = versioned("max-age=60")
      const { get } = yield* cached(handler)
      yield* get()
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual((yield* get("/", { "if-none-match": `"1"` })).status, 304)
      assert.strictEqual(state.last?.["if-none-match"], `"1"`)
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual((yield* get("/", { "if-none-match": `"0"` })).body, "1")
    }).pipe(inMemory))

  test("no-cache is validated each time, and the work can be saved", () =>
    Effect.gen(function*() {
      const { handler, state } = versioned("no-cache")
      const { get, runs } = yield* cached(handler)
      for (let i = 0; i < 3; i++) assert.strictEqual((yield* get()).body, "1")
      assert.strictEqual(runs(), 3)
      assert.strictEqual(state.notModified, 2)
    }).pipe(inMemory))

  test("a 304 that says no-store is the last that is given of it", () =>
    Effect.gen(function*() {
      const { get, runs } = yield* cached(({ headers }, run) =>
        headers["if-none-match"] === undefined
          ? text(`${run}`, { headers: { "cache-control": "max-age=60", etag: `"1"` } })
          : HttpServerResponse.empty({ status: 304, headers: { "cache-control": "no-store", etag: `"1"` } })
      )
      yield* get()
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual((yield* get()).body, "1")
      yield* get()
      assert.strictEqual(runs(), 3)
    }).pipe(inMemory))

  test("by Last-Modified", () =>
    Effect.gen(function*() {
      const at = "Wed, 31 Dec 1969 00:00:00 GMT"
      const { get, last } = yield* cached(({ headers }) =>
        headers["if-modified-since"] === at
          ? HttpServerResponse.empty({ status: 304 })
          : text("a", { headers: { "cache-control": "max-age=60", "last-modified": at } })
      )
      yield* get()
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual((yield* get()).body, "a")
      assert.strictEqual(last().headers["if-modified-since"], at)
    }).pipe(inMemory))

  describe("stale-while-revalidate", () => {
    const swr = "max-age=60, stale-while-revalidate=30"
    const settled = Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 0))).pipe(Effect.repeatN(5))

    test("is given at once, and one request behind it makes a new one", () =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        const { get, runs } = yield* cached((_, run) => {
          const response = text(`${run}`, { headers: { "cache-control": swr } })
          return run === 1 ? response : Effect.as(Deferred.await(gate), response)
        })
        yield* get()
        yield* TestClock.adjust("60 seconds")
        const stale = yield* get()
        assert.strictEqual(stale.body, "1")
        assert.strictEqual(stale.headers["age"], "60")
        assert.strictEqual(statusOf(stale), "ResponseCache;hit;ttl=0")
        for (let i = 0; i < 10; i++) assert.strictEqual((yield* get()).body, "1")
        yield* settled
        assert.strictEqual(runs(), 2)
        yield* Deferred.succeed(gate, undefined)
        yield* settled
        assert.strictEqual((yield* get()).body, "2")
        assert.strictEqual(runs(), 2)
      }).pipe(inMemory))

    test("is over after its time", () =>
      Effect.gen(function*() {
        const { get } = yield* cached(counting({ "cache-control": swr }))
        yield* get()
        yield* TestClock.adjust("90 seconds")
        assert.strictEqual((yield* get()).body, "2")
      }).pipe(inMemory))

    for (const name of ["app.pipe", "Stack.serve, Node"]) {
      test(`what is behind the answer sees the request as it was, in ${name}`, () =>
        Effect.gen(function*() {
          const { handler, state } = versioned(swr)
          const urls: Array<string> = []
          const { get } = yield* cached((request, run) => {
            urls.push(`${request.method} ${request.url} ${request.originalUrl} ${request.headers["x-a"]}`)
            return handler(request, run)
          }, {
            mount: mounts.find((mount) => mount.name === name)!,
            // a response phase inside has its turn, and touches nothing of the answer
            inside: [Middleware.make({ name: "Inside", response: (draft) => draft.append("x-inside", "1") })]
          })
          yield* get("/a/../b?c", { "x-a": "1" })
          yield* TestClock.adjust("60 seconds")
          const stale = yield* get("/a/../b?c", { "x-a": "1" })
          assert.strictEqual(stale.headers["x-inside"], "1")
          yield* settled
          assert.strictEqual(urls.length, 2)
          assert.strictEqual(urls[1], urls[0])
          assert.strictEqual(state.notModified, 1)
          assert.strictEqual((yield* get("/a/../b?c", { "x-a": "1" })).headers["age"], "0")
        }).pipe(inMemory))
    }

    test("streams and failures behind the answer", () =>
      Effect.gen(function*() {
        const lines: Array<string> = []
        const logged = Logger.replace(
          Logger.defaultLogger,
          Logger.make(({ message }) => void lines.push(String(message)))
        )
        let next: () => HttpServerResponse.HttpServerResponse | Effect.Effect<never, unknown> = () =>
          text("1", { headers: { "cache-control": swr } })
        const { get } = yield* Effect.provide(cached(() => next() as HttpServerResponse.HttpServerResponse), logged)
        yield* get()
        yield* TestClock.adjust("60 seconds")
        // what fails leaves what there is
        for (const failing of [() => Effect.fail("no"), () => text("no", { status: 503 })]) {
          next = failing
          assert.strictEqual((yield* get()).body, "1")
          yield* settled
        }
        assert.strictEqual(lines.filter((line) => line.startsWith("ResponseCache")).length, 2)
        next = () => HttpServerResponse.stream(Stream.make(Buffer.from("2")), { headers: { "cache-control": swr } })
        assert.strictEqual((yield* get()).body, "1")
        yield* settled
        assert.strictEqual((yield* get()).body, "2")
        // and what may not be stored any longer takes it away
        yield* TestClock.adjust("60 seconds")
        next = () => text("3", { headers: { "cache-control": "private" } })
        assert.strictEqual((yield* get()).body, "2")
        yield* settled
        assert.strictEqual((yield* get()).body, "3")
      }).pipe(inMemory))

    test("what must be validated is", () =>
      Effect.gen(function*() {
        const { get } = yield* cached(counting({ "cache-control": `${swr}, must-revalidate` }))
        yield* get()
        yield* TestClock.adjust("60 seconds")
        assert.strictEqual((yield* get()).body, "2")
      }).pipe(inMemory))
  })

  describe("stale-if-error", () => {
    const failing = (cacheControl: string, failure: () => ReturnType<Handler>) =>
      cached((_, run) => run === 1 ? text("1", { headers: { "cache-control": cacheControl } }) : failure())
    const sie = "max-age=60, stale-if-error=60"
    const quiet = Effect.provide(Logger.remove(Logger.defaultLogger))

    it.effect.each<[what: string, stands: boolean, failure: () => ReturnType<Handler>]>([
      ["a 503", true, () => text("no", { status: 503 })],
      ["a failure", true, () => Effect.fail("no") as never],
      ["a defect", true, () => Effect.die("no")],
      ["a 404", false, () => text("no", { status: 404 })],
      ["a failure that is the client's", false, () => Effect.fail(new Conditional.PreconditionFailed()) as never]
    ])("%s: %s", ([_, stands, failure]) =>
      Effect.gen(function*() {
        const { get, runs } = yield* failing(sie, failure)
        yield* get()
        yield* TestClock.adjust("119 seconds")
        const reply = yield* get()
        assert.strictEqual(reply.status === 200 && reply.body === "1", stands)
        if (stands) assert.match(statusOf(reply)!, /^ResponseCache;fwd=stale;fwd-status=5\d\d;detail=stale-if-error$/)
        yield* TestClock.adjust("1 seconds")
        assert.notStrictEqual((yield* get()).status, 200)
        assert.strictEqual(runs(), 3)
      }).pipe(inMemory, quiet, Effect.scoped))

    test("not where it is not said", () =>
      Effect.gen(function*() {
        const { get } = yield* failing("max-age=60", () => text("no", { status: 503 }))
        yield* get()
        yield* TestClock.adjust("60 seconds")
        assert.strictEqual((yield* get()).status, 503)
      }).pipe(inMemory))
  })
})

describe("what the client asks for", () => {
  const ask = (cacheControl: string, after: number, response = "max-age=60", options?: ResponseCache.Options) =>
    Effect.gen(function*() {
      const { get } = yield* cached(counting({ "cache-control": response, etag: `"1"` }), options && { options })
      yield* get()
      yield* TestClock.adjust(`${after} seconds`)
      const reply = yield* get("/", { "cache-control": cacheControl })
      return reply.status === 200 ? reply.body : `${reply.status}`
    }).pipe(inMemory, Effect.scoped)

  it.effect.each<[cacheControl: string, after: number, expected: string, response?: string]>([
    ["no-cache", 1, "2"],
    ["No-Cache", 1, "2"],
    ["no-store", 1, "2"],
    ["max-age=0", 1, "2"],
    ["max-age=10", 10, "1"],
    ["max-age=10", 11, "2"],
    ["max-age=\"10\"", 10, "1"],
    ["max-age=soon", 1, "2"],
    ["min-fresh=10", 50, "1"],
    ["min-fresh=10", 51, "2"],
    ["max-stale", 100, "1"],
    ["max-stale=10", 70, "1"],
    ["max-stale=10", 71, "2"],
    ["max-stale", 70, "2", "max-age=60, must-revalidate"],
    ["max-stale", 70, "2", "max-age=60, proxy-revalidate"],
    ["max-stale", 70, "2", "s-maxage=60"],
    ["max-stale", 70, "1", "s-maxage=60, stale-while-revalidate=1"],
    ["max-stale", 70, "1", "s-maxage=60, stale-if-error=1"],
    ["only-if-cached", 1, "1"],
    ["only-if-cached", 61, "504"],
    ["only-if-cached, max-stale", 61, "1"],
    ["only-if-cached", 61, "1", "max-age=60, stale-while-revalidate=10"],
    ["x-unknown", 1, "1"]
  ])("%s after %i seconds: %s", ([cacheControl, after, expected, response]) =>
    Effect.gen(function*() {
      assert.strictEqual(yield* ask(cacheControl, after, response), expected)
    }))

  it.effect("nothing, where it is not heard", () =>
    Effect.gen(function*() {
      for (const cacheControl of ["no-cache", "no-store", "max-age=0"]) {
        assert.strictEqual(yield* ask(cacheControl, 1, undefined, { requestDirectives: false }), "1")
      }
    }))

  test("no-store leaves nothing", () =>
    Effect.gen(function*() {
      const { get } = yield* cached(counting())
      yield* get("/", { "cache-control": "no-store" })
      assert.strictEqual((yield* get()).body, "2")
    }).pipe(inMemory))

  test("the refusal of only-if-cached is a failure that can be caught", () =>
    Effect.gen(function*() {
      const { get, runs } = yield* cached(counting())
      const reply = yield* get("/", { "cache-control": "only-if-cached" })
      assert.strictEqual(reply.status, 504)
      assert.strictEqual(reply.headers["content-type"], "application/problem+json")
      assert.strictEqual(runs(), 0)
      assert.strictEqual(
        new ResponseCache.NotCached().message,
        "There is no stored response, and the client wants no other"
      )
    }).pipe(inMemory))
})

// ---------------------------------------------------------------------------------------------------------------------

describe("those that ask at the same time", () => {
  const gated = (setup?: Setup, cacheControl = "max-age=60") =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const app = yield* cached((_, run) =>
        Effect.as(
          run === 1 ? Deferred.await(gate) : Effect.void,
          text(`${run}`, { headers: { "cache-control": cacheControl } })
        ), setup)
      return { ...app, open: Deferred.succeed(gate, undefined) }
    })
  const turns = Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 1))).pipe(Effect.repeatN(3))

  test("get one answer of the app", () =>
    Effect.gen(function*() {
      const { get, open, runs } = yield* gated()
      const all = yield* Effect.fork(Effect.all(Array.from({ length: 50 }, () => get()), { concurrency: "unbounded" }))
      yield* turns
      assert.strictEqual(runs(), 1)
      yield* open
      const replies = yield* all
      assert.isTrue(replies.every(({ body }) => body === "1"))
      assert.strictEqual(runs(), 1)
      assert.strictEqual(
        replies.filter((reply) => statusOf(reply) === "ResponseCache;fwd=uri-miss;collapsed").length,
        49
      )
    }).pipe(inMemory))

  test("wait no longer than they may, and then ask by themselves", () =>
    Effect.gen(function*() {
      const { get, open, runs } = yield* gated({ options: { wait: "1 seconds" } })
      const first = yield* Effect.fork(get())
      yield* turns
      const second = yield* Effect.fork(get())
      yield* turns
      assert.strictEqual(runs(), 1)
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual((yield* second).body, "2")
      // one that hangs is not waited for again
      assert.strictEqual((yield* get("/?x")).body, "3")
      yield* open
      assert.strictEqual((yield* first).body, "1")
    }).pipe(inMemory))

  test("go on when the one before them has left, or failed", () =>
    Effect.gen(function*() {
      const { get, runs } = yield* gated({ mount: mounts.find(({ name }) => name === "Stack.serve, Node")! })
      const first = yield* Effect.fork(get())
      yield* turns
      const second = yield* Effect.fork(get())
      yield* turns
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* second).body, "2")
      assert.strictEqual(runs(), 2)
    }).pipe(inMemory))

  test("do not wait for what cannot be stored", () =>
    Effect.gen(function*() {
      const { get, open, runs } = yield* gated({}, "private")
      const first = yield* Effect.fork(get())
      yield* turns
      yield* open
      yield* first
      // it is known now, and the next ones go at once, all of them
      const gate = yield* Deferred.make<void>()
      void gate
      const replies = yield* Effect.all(Array.from({ length: 10 }, () => get()), { concurrency: "unbounded" })
      assert.isTrue(replies.every((reply) => !statusOf(reply)!.includes("collapsed")))
      assert.strictEqual(runs(), 11)
    }).pipe(inMemory))

  test("with credentials nobody waits", () =>
    Effect.gen(function*() {
      const { get, open } = yield* gated()
      const first = yield* Effect.fork(get())
      yield* turns
      assert.strictEqual((yield* get("/", { cookie: "a=b" })).body, "2")
      assert.strictEqual((yield* get("/", { authorization: "a" })).body, "3")
      yield* open
      assert.strictEqual((yield* first).body, "1")
    }).pipe(inMemory))
})

describe("what is forgotten", () => {
  it.effect.each<[forgets: boolean, what: string, method: string, status: number]>([
    [true, "a POST", "POST", 200],
    [true, "a PUT", "PUT", 204],
    [true, "a DELETE", "DELETE", 303],
    [true, "a method that nobody knows", "PATCH", 200],
    [false, "a POST that is refused", "POST", 400],
    [false, "a POST that fails", "POST", 500],
    [false, "OPTIONS", "OPTIONS", 200]
  ])("%s: by %s", ([forgets, _, method, status]) =>
    Effect.gen(function*() {
      const { get, send } = yield* cached((request, run) =>
        request.method === "GET"
          ? text(`${run}`, { headers: { "cache-control": "max-age=60" } })
          : HttpServerResponse.empty({ status })
      )
      yield* get("/a")
      yield* get("/b")
      yield* send({ method, path: "/a" })
      assert.strictEqual((yield* get("/a")).body, forgets ? "4" : "1")
      assert.strictEqual((yield* get("/b")).body, "2")
    }).pipe(inMemory, Effect.scoped))

  test("Location and Content-Location of the same origin, and of no other", () =>
    Effect.gen(function*() {
      const { get, runs, send } = yield* cached((request, run) =>
        request.method === "GET"
          ? text(`${run}`, { headers: { "cache-control": "max-age=60" } })
          : HttpServerResponse.empty({
            status: 201,
            headers: {
              location: "b",
              "content-location": "http://localhost/c?d",
              ...request.headers["x-other"] && { location: "http://other.test/b" }
            }
          })
      )
      const paths = ["/x/b", "/c?d", "/c"]
      yield* Effect.forEach(paths, (path) => get(path))
      yield* send({ method: "POST", path: "/x/a" })
      yield* Effect.forEach(paths, (path) => get(path))
      // the app was asked for two of them once more
      assert.strictEqual(runs(), 3 + 1 + 2)
      yield* send({ method: "POST", path: "/x/a", headers: { "x-other": "1" } })
      assert.match(statusOf(yield* get("/x/b"))!, /;hit;/)
    }).pipe(inMemory))

  test("while it is made: it is not stored", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const { get, send } = yield* cached((request, run) =>
        request.method === "GET"
          ? Effect.as(
            run === 1 ? Deferred.await(gate) : Effect.void,
            text(`${run}`, { headers: { "cache-control": "max-age=60" } })
          )
          : HttpServerResponse.empty()
      )
      const first = yield* Effect.fork(get())
      yield* Effect.yieldNow()
      yield* Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 1)))
      yield* send({ method: "POST" })
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual((yield* first).body, "1")
      assert.strictEqual((yield* get()).body, "3")
    }).pipe(inMemory))

  test("by tag, by URL, and all of it", () =>
    Effect.gen(function*() {
      const { get, runs } = yield* cached((request) =>
        Effect.as(
          Effect.zipRight(ResponseCache.tag("all"), ResponseCache.tag(`of ${request.url}`)),
          text("a", { headers: { "cache-control": "max-age=60" } })
        ) as never, { options: { tags: (request, { status }) => [`${request.method} ${status}`] } })
      const both = Effect.forEach(["/a", "/b?c=d"], (path) => get(path))
      yield* both
      yield* both
      assert.strictEqual(runs(), 2)
      const asked = (purge: Effect.Effect<void, unknown, ResponseCacheStore.ResponseCacheStore>) =>
        Effect.gen(function*() {
          const before = runs()
          yield* purge
          yield* both
          return runs() - before
        })
      assert.strictEqual(yield* asked(ResponseCache.purgeTag("of /a")), 1)
      assert.strictEqual(yield* asked(ResponseCache.purgeTag("all")), 2)
      assert.strictEqual(yield* asked(ResponseCache.purgeTag("GET 200")), 2)
      assert.strictEqual(yield* asked(ResponseCache.purgeTag("*")), 0)
      assert.strictEqual(yield* asked(ResponseCache.purgeUrl("HTTP://LOCALHOST:80/b?c=d#e")), 1)
      assert.strictEqual(yield* asked(ResponseCache.purgeUrl("http://localhost/b")), 0)
      assert.strictEqual(yield* asked(ResponseCache.purgeUrl("https://localhost/a")), 0)
      assert.strictEqual(yield* asked(ResponseCache.purgeAll), 2)
      assert.match(
        String(Cause.squash(yield* Effect.flip(Effect.sandbox(ResponseCache.purgeUrl("/a"))))),
        /purgeUrl was given "\/a"/
      )
    }).pipe(inMemory))
})

describe("a store that is down", () => {
  const down = (operation: string) =>
    new ResponseCacheStore.ResponseCacheUnavailable({ operation, cause: new Error("refused") })
  const broken = (which: ReadonlyArray<keyof ResponseCacheStore.Service>) =>
    Layer.map(ResponseCacheStore.layerMemory(), (context) => context).pipe((memory) =>
      Layer.provide(
        Layer.effect(
          ResponseCacheStore.ResponseCacheStore,
          Effect.map(ResponseCacheStore.ResponseCacheStore, ({ sync: _, ...store }): ResponseCacheStore.Service => ({
            ...store,
            ...Object.fromEntries(which.map((name) => [name, () => Effect.fail(down(name))]))
          }))
        ),
        memory
      )
    )
  const lines: Array<string> = []
  const logged = Logger.replace(Logger.defaultLogger, Logger.make(({ message }) => void lines.push(String(message))))
  const warnings = () => lines.splice(0).filter((line) => line.startsWith("ResponseCache"))

  test("is passed by, and the log is told once in ten seconds", () =>
    Effect.gen(function*() {
      lines.length = 0
      const { get } = yield* cached(counting())
      for (let i = 1; i <= 3; i++) {
        const reply = yield* get()
        assert.strictEqual(reply.body, `${i}`)
        assert.strictEqual(statusOf(reply), "ResponseCache;fwd=bypass;detail=store-unavailable")
      }
      assert.deepStrictEqual(warnings(), ["ResponseCache: the store is unavailable, and the app answers"])
      yield* TestClock.adjust("10 seconds")
      yield* get()
      assert.strictEqual(warnings().length, 1)
    }).pipe(Effect.provide(logged), Effect.provide(broken(["get", "put"]))))

  test("where it cannot be written, or cannot forget", () =>
    Effect.gen(function*() {
      lines.length = 0
      const { get, send } = yield* cached(counting())
      assert.strictEqual((yield* get()).body, "1")
      assert.strictEqual((yield* get()).body, "2")
      assert.strictEqual((yield* send({ method: "POST" })).body, "3")
      yield* Effect.yieldNow()
      assert.includeMembers(warnings(), ["ResponseCache: what a write has changed was not forgotten"])
    }).pipe(Effect.provide(logged), Effect.provide(broken(["put", "delete"]))))

  test("one that is not in memory does all the same", () =>
    Effect.gen(function*() {
      const { get, runs } = yield* cached(counting())
      yield* get()
      yield* Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 1)))
      const second = yield* get()
      assert.match(statusOf(second)!, /;hit;/)
      assert.strictEqual(runs(), 1)
    }).pipe(Effect.provide(broken([]))))
})

describe("what is told", () => {
  test("nothing, if so chosen; and a name that is no token is quoted", () =>
    Effect.gen(function*() {
      const silent = yield* cached(counting(), { options: { cacheStatus: false } })
      assert.isUndefined(statusOf(yield* silent.get()))
      assert.isUndefined(statusOf(yield* silent.get()))
      const named = yield* cached(counting(), { options: { name: "my \"cache\" é" } })
      yield* named.get()
      assert.strictEqual(statusOf(yield* named.get()), "\"my \\\"cache\\\" ?\";hit;ttl=60")
    }).pipe(inMemory))

  test("after what a cache further in has said", () =>
    Effect.gen(function*() {
      const { get } = yield* cached(counting({ "cache-control": "max-age=60", "cache-status": "Inner;hit" }))
      assert.strictEqual(statusOf(yield* get()), "Inner;hit, ResponseCache;fwd=uri-miss;stored")
      assert.strictEqual(statusOf(yield* get()), "ResponseCache;hit;ttl=60")
    }).pipe(inMemory))

  test("to a metric", () =>
    Effect.gen(function*() {
      const name = "counted"
      const { get } = yield* cached(counting(), { options: { name } })
      yield* get()
      yield* get()
      yield* get()
      yield* get("/", { range: "bytes=0-0" })
      const counter = Metric.counter("http.server.response_cache.requests", {
        description: "Reads, by cache, and by what it has made of them: hit, stale, revalidated, miss or bypass",
        incremental: true
      }).pipe(Metric.tagged("response_cache.name", name))
      const valueOf = (result: string) =>
        Effect.map(Metric.value(Metric.tagged(counter, "response_cache.result", result)), ({ count }) => count)
      assert.deepStrictEqual(yield* Effect.all(["hit", "miss", "bypass"].map(valueOf)), [2, 1, 1])
    }).pipe(inMemory))
})

describe("mistakes throw", () => {
  it.each<[options: ResponseCache.Options, message: string]>([
    [{ jitter: 1 }, "ResponseCache: jitter is 1: write a fraction from 0 to less than 1, such as 0.1"],
    [{ jitter: -0.1 }, "ResponseCache: jitter is -0.1"],
    [{ ttl: 0 }, "ResponseCache: ttl is 0: write how long, such as \"300 seconds\""],
    [{ wait: "0 millis" }, "ResponseCache: wait is 0 millis"],
    [{ maxEntrySize: -1 }, "ResponseCache: maxEntrySize is \"-1\""],
    [{ vary: ["a b"] }, "ResponseCache: vary is [\"a b\"]: write names of fields, ten at most"],
    [{ vary: ["*"] }, "ResponseCache: vary is [\"*\"]"],
    [{ cookies: "ignore" as never }, "ResponseCache: cookies is \"ignore\": write \"bypass\" or \"hide\""]
  ])("%j", (options, message) => {
    assert.throws(() => ResponseCache.middleware(options), message)
  })
})
