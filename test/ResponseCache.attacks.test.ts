/** Who asks a cache so that others are given what is not theirs, or that all of them ask the app; and stores that lie. */
import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, FiberId, Layer, Logger, Stream, TestClock } from "effect"
import { Compression, Forwarded, Middleware, Redis, ResponseCache, ResponseCacheStore, Stack } from "effect-middleware"
import * as Ioredis from "effect-middleware/Redis/Ioredis"
import * as Net from "node:net"
import { encode } from "../src/internal/cacheEntry.js"
import { makeFlights } from "../src/internal/flights.js"
import { entryOf } from "./contracts/ResponseCacheStoreContract.js"
import { Counter, middlewareOf } from "./utils/counter.js"
import { describeRedis } from "./utils/describeRedis.js"
import { makeServer } from "./utils/redis.js"
import { patient, started } from "./utils/redisStores.js"
import { cached, type Handler, type Setup, statusOf } from "./utils/responseCaches.js"
import { type App, listenTo, mounts } from "./utils/TestApp.js"

const text = HttpServerResponse.text
const fresh = { "cache-control": "max-age=60" }
const test = it.scoped
const inMemory = Effect.provide(ResponseCacheStore.layerMemory())
const mounted = (name: string) => mounts.find((mount) => mount.name === name)!

/** What comes back over a socket, as one text. */
const raw = (port: number, head: string) =>
  Effect.async<string>((resume) => {
    const socket = Net.connect(port, "127.0.0.1", () => socket.write(`${head}\r\nConnection: close\r\n\r\n`))
    let answer = ""
    socket.setEncoding("latin1")
    socket.on("data", (bytes) => answer += bytes)
    socket.on("close", () => resume(Effect.succeed(answer)))
    socket.on("error", () => {})
  })

const showing = Effect.map(
  HttpServerRequest.HttpServerRequest,
  ({ headers, originalUrl, url }) => text(`<${url} ${originalUrl} ${headers["host"]}>`, { headers: fresh })
)

describe("what the app sees of host and target", () => {
  const honest = "GET /a HTTP/1.1\r\nHost: good.test"
  it.effect.each<[what: string, head: string]>([
    ["another Host beside a whole URL", "GET http://good.test/a HTTP/1.1\r\nHost: evil.test"],
    ["a Host in other letters", "GET /a HTTP/1.1\r\nHost: GOOD.TEST"],
    ["a Host with its port", "GET /a HTTP/1.1\r\nHost: good.test:80"],
    ["a Host with a dot behind it", "GET /a HTTP/1.1\r\nHost: good.test."],
    ["a whole URL", "GET http://good.test/a HTTP/1.1\r\nHost: good.test"],
    ["a fragment", "GET /a#evil HTTP/1.1\r\nHost: good.test"]
  ])("%s is shown to nobody else", ([_, head]) =>
    Effect.gen(function*() {
      const stack = Stack.make(Forwarded.middleware({ trust: "none" }), ResponseCache.middleware())
      const port = yield* listenTo(stack(showing))
      yield* raw(port, head)
      assert.include(yield* raw(port, honest), "</a /a good.test>")
      // each of them is stored, and forgotten by the one URL
      assert.include(yield* raw(port, head), "ResponseCache;hit;")
      yield* ResponseCache.purgeUrl("http://good.test/a")
      assert.include(yield* raw(port, head), "fwd=uri-miss")
    }).pipe(inMemory, Effect.scoped))
})

test("what another middleware has made of the URL is told apart, as is what it has not", () =>
  Effect.gen(function*() {
    const rewrites = Middleware.make({
      name: "Rewrites",
      request: (exchange) => exchange.deriveRequest({ url: exchange.request.headers["x-to"] ?? "/same" })
    })
    const stack = Stack.make(Forwarded.middleware({ trust: "none" }), rewrites, ResponseCache.middleware())
    const port = yield* listenTo(stack(showing))
    const ask = (head: string) => raw(port, `${head}\r\nHost: a.test`)
    assert.include(yield* ask("GET /a HTTP/1.1\r\nX-To: /b"), "</b /a a.test>")
    assert.include(yield* ask("GET /a HTTP/1.1"), "</same /a a.test>")
    assert.include(yield* ask("GET http://a.test/a HTTP/1.1"), "</same http://a.test/a a.test>")
    assert.include(yield* ask("GET /a HTTP/1.1"), "ResponseCache;hit;")
  }).pipe(inMemory))

describe("what is stored", () => {
  test("is a copy: who writes to bytes that he has sent changes nothing", () =>
    Effect.gen(function*() {
      const bytes = Buffer.alloc(2)
      const swr = { "cache-control": "max-age=60, stale-while-revalidate=60" }
      const { get } = yield* cached(({ url }) => {
        bytes.write(url.slice(1))
        return HttpServerResponse.uint8Array(bytes, { headers: swr })
      })
      for (const path of ["/aa", "/bb"]) yield* get(path)
      assert.strictEqual((yield* get("/aa")).body, "aa")
      // and what was made behind an answer is one too
      yield* TestClock.adjust("60 seconds")
      yield* get("/aa")
      yield* turns
      bytes.write("cc")
      const reply = yield* get("/aa")
      assert.strictEqual(reply.headers["age"], "0")
      assert.strictEqual(reply.body, "aa")
    }).pipe(inMemory))

  test("is not what has asked for a session behind the answer", () =>
    Effect.gen(function*() {
      const headers = { "cache-control": "public, max-age=60, stale-while-revalidate=60" }
      const { get, runs } = yield* cached((_, run): App =>
        run === 1
          ? Effect.succeed(text("everybody", { headers }))
          : Effect.as(Effect.flatMap(Counter, ({ get }) => get), text("somebody", { headers })) as never, {
        inside: [middlewareOf("signed")]
      })
      yield* get()
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual((yield* get()).body, "everybody")
      yield* turns
      assert.strictEqual(runs(), 2)
      assert.include(statusOf(yield* get()), "fwd=uri-miss")
    }).pipe(inMemory))

  test("is whole: not a stream that is shorter than its response says", () =>
    Effect.gen(function*() {
      const { get, runs } = yield* cached(() =>
        HttpServerResponse.stream(Stream.make(Buffer.from("abcd")), { headers: fresh, contentLength: 8 })
      )
      yield* Effect.exit(get())
      yield* Effect.exit(get())
      assert.strictEqual(runs(), 2)
    }).pipe(inMemory))

  test("what validates it may set a cookie, for one", () =>
    Effect.gen(function*() {
      const headers = { ...fresh, etag: `"1"` }
      const { get } = yield* cached((request) =>
        request.headers["if-none-match"] === undefined
          ? text("a", { headers })
          : HttpServerResponse.empty({ status: 304, headers }).pipe(HttpServerResponse.unsafeSetCookie("a", "b"))
      )
      yield* get()
      yield* TestClock.adjust("60 seconds")
      const reply = yield* get()
      assert.deepStrictEqual([reply.status, reply.body, reply.cookies], [200, "a", ["a=b"]])
      const next = yield* get()
      assert.strictEqual(statusOf(next), "ResponseCache;fwd=stale;fwd-status=304")
    }).pipe(inMemory))

  test("of a compressed one every client is sent its own form", () =>
    Effect.gen(function*() {
      const page = "a".repeat(5000)
      const stack = Stack.make(
        Compression.middleware(),
        Forwarded.middleware({ trust: "none" }),
        ResponseCache.middleware()
      )
      const port = yield* listenTo(stack(text(page, { headers: { ...fresh, etag: `"1"` } })))
      const head = (method: string, fields: string) =>
        Effect.map(
          raw(port, `${method} / HTTP/1.1\r\nHost: a.test${fields}`),
          (answer) => answer.slice(0, answer.indexOf("\r\n\r\n")).replace(/^(?:date|age|cache-status): .*\r\n/gim, "")
        )
      const coded = "\r\nAccept-Encoding: gzip"
      for (const fields of ["", coded, "", coded]) {
        const get = yield* head("GET", fields)
        assert.strictEqual(get.includes("content-encoding: gzip"), fields === coded)
        assert.strictEqual(get.includes("content-length: 5000"), fields === "")
        assert.strictEqual(yield* head("HEAD", fields), get)
      }
      assert.include(yield* head("GET", `${coded}\r\nIf-None-Match: W/"1"`), "etag: W/\"1\"")
      assert.include(yield* head("GET", `${coded}\r\nRange: bytes=0-0`), "content-encoding: gzip")
    }).pipe(inMemory))
})

test("what must not be read is not, whatever becomes of the request", () =>
  Effect.gen(function*() {
    const { get, last } = yield* cached(() => text("a"), { options: { cookies: "hide" } })
    const others: ReadonlyArray<Record<string, string>> = [{ range: "bytes=0-0" }, { "cache-control": "no-store" }, {}]
    for (const headers of others) {
      yield* get("/", { cookie: "a=b", ...headers })
      assert.isUndefined(last().headers["cookie"])
    }
  }).pipe(inMemory))

// ---------------------------------------------------------------------------------------------------------------------

const turns = Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 1))).pipe(Effect.repeatN(3))

describe("those that ask at the same time", () => {
  /** The runs that are named by their number wait until they are opened. */
  const gated = (answer: Handler, setup: Setup = {}) =>
    Effect.gen(function*() {
      const gates = new Map<number, Deferred.Deferred<void>>()
      const gate = (run: number) => {
        const made = gates.get(run) ?? Deferred.unsafeMake<void>(FiberId.none)
        gates.set(run, made)
        return made
      }
      const app = yield* cached((request, run) => {
        const answered = answer(request, run)
        const effect = HttpServerResponse.isServerResponse(answered) ? Effect.succeed(answered) : answered
        return Effect.zipRight(Deferred.await(gate(run)), effect)
      }, setup)
      return { ...app, open: (run: number) => Deferred.succeed(gate(run), undefined) }
    })
  const several = (get: Effect.Effect<unknown>, count = 10) =>
    Effect.fork(Effect.all(Array.from({ length: count }, () => get), { concurrency: "unbounded" }))
  const stored: Handler = (_, run) => text(`${run}`, { headers: fresh })

  it.effect("who begins to wait when the first has just been answered does not wait", () =>
    Effect.gen(function*() {
      const flights = makeFlights(1000)
      const end = flights.begin("a", 0)
      const [wait, late] = [flights.join("a", 0, 1000)!, flights.join("a", 0, 1000)!]
      const waiting = yield* Effect.fork(wait)
      yield* Effect.yieldNow()
      end()
      yield* Fiber.join(waiting)
      yield* late
      assert.isUndefined(flights.join("a", 0, 1000))
    }))

  it("one that takes longer than `wait` is not waited for, and the next one is, also when it ends", () => {
    const flights = makeFlights(1000)
    const end = flights.begin("a", 0)
    assert.isDefined(flights.join("a", 999, 5000))
    assert.isUndefined(flights.join("a", 1000, 5000))
    assert.isUndefined(flights.join("a", 500, 500))
    flights.begin("a", 1000)
    end()
    assert.isDefined(flights.join("a", 1001, 5000))
  })

  test("one with credentials does not make the others ask", () =>
    Effect.gen(function*() {
      const { get, open, runs } = yield* gated(stored)
      yield* Effect.forEach([1, 2, 3], open)
      yield* get("/", { cookie: "a=b" })
      yield* get("/", { authorization: "Basic x" })
      const all = yield* several(get())
      yield* all
      assert.strictEqual(runs(), 3)
    }).pipe(inMemory))

  test("when the first leaves, one of the others asks", () =>
    Effect.gen(function*() {
      const { get, open, runs } = yield* gated(stored, { mount: mounted("Stack.serveRouter, Node") })
      const first = yield* Effect.fork(get())
      yield* turns
      const others = yield* several(get())
      yield* turns
      yield* Fiber.interrupt(first)
      while (runs() < 2) yield* turns
      yield* turns
      assert.strictEqual(runs(), 2)
      yield* open(2)
      yield* others
      assert.strictEqual(runs(), 2)
    }).pipe(inMemory))

  test("a HEAD is waited for by nobody, since nothing is stored of it", () =>
    Effect.gen(function*() {
      const { get, open, runs, send } = yield* gated(stored)
      const head = yield* Effect.fork(send({ method: "HEAD" }))
      yield* turns
      yield* open(2)
      assert.strictEqual((yield* get()).body, "2")
      yield* open(1)
      yield* head
      assert.strictEqual(runs(), 2)
    }).pipe(inMemory))

  test("who wants a new one is not given the old one when the first of them fails", () =>
    Effect.gen(function*() {
      const { get, open } = yield* gated((_, run) => text(`${run}`, { headers: fresh, status: run === 2 ? 403 : 200 }))
      yield* open(1)
      yield* get()
      const all = yield* Effect.fork(
        Effect.all([1, 2].map(() => get("/", { "cache-control": "no-cache" })), { concurrency: "unbounded" })
      )
      yield* turns
      yield* Effect.forEach([2, 3], (run) => open(run))
      assert.deepStrictEqual((yield* all).map(({ body }) => body), ["2", "3"])
    }).pipe(inMemory))

  it.effect.each<[what: string, answer: Handler]>([
    ["is answered 503", (_, run) => text(`${run}`, { headers: fresh, status: run === 1 ? 503 : 200 })],
    ["fails", (request, run) => run === 1 ? Effect.fail("no") : stored(request, run)],
    ["dies", (request, run) => run === 1 ? Effect.die("no") : stored(request, run)]
  ])("when the first %s, one of the others asks", ([_, answer]) =>
    Effect.gen(function*() {
      const { get, open, runs } = yield* gated(answer)
      const all = yield* several(get())
      yield* turns
      yield* open(1)
      yield* turns
      assert.strictEqual(runs(), 2)
      yield* open(2)
      yield* all
      assert.strictEqual(runs(), 2)
    }).pipe(inMemory, Effect.scoped))

  it.effect.each<[what: string, answer: Handler]>([
    ["is private", () => text("a", { headers: { "cache-control": "private" } })],
    ["is not there", () => Effect.fail(text("no", { status: 404 }))],
    ["varies by too much", () => text("a", { headers: { ...fresh, vary: "abcdefghijk".split("").join(",") } })],
    ["is too large", () => HttpServerResponse.stream(Stream.make(Buffer.alloc(10)), { headers: fresh })],
    ["sets a cookie", () => HttpServerResponse.unsafeSetCookie(text("a", { headers: fresh }), "a", "b")]
  ])("when it %s, nobody waits for another", ([_, answer]) =>
    Effect.gen(function*() {
      const setup = { mount: mounted("Stack.serve, Node"), options: { maxEntrySize: 9 } }
      const { get, open, runs } = yield* gated(answer, setup)
      const all = yield* several(get())
      while (runs() < 1) yield* turns
      yield* turns
      assert.strictEqual(runs(), 1)
      yield* open(1)
      while (runs() < 10) yield* turns
      yield* Effect.forEach(Array.from({ length: 10 }, (_, i) => i + 1), open)
      yield* all
    }).pipe(inMemory, Effect.scoped))

  test("nobody waits for longer than `wait`, however many fail before him", () =>
    Effect.gen(function*() {
      const { get, open, runs } = yield* gated(() => text("no", { status: 503 }), { options: { wait: "10 seconds" } })
      const all = yield* several(get(), 5)
      yield* turns
      yield* TestClock.adjust("6 seconds")
      yield* open(1)
      yield* turns
      assert.strictEqual(runs(), 2)
      yield* TestClock.adjust("4 seconds")
      yield* turns
      assert.strictEqual(runs(), 5)
      yield* Effect.forEach([2, 3, 4, 5], open)
      yield* all
    }).pipe(inMemory))

  const slow = (put: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>) =>
    Layer.effect(
      ResponseCacheStore.ResponseCacheStore,
      Effect.map(ResponseCacheStore.ResponseCacheStore, ({ sync: _, ...store }): ResponseCacheStore.Service => ({
        ...store,
        put: (key, given) => put(store.put(key, given))
      }))
    ).pipe(Layer.provide(ResponseCacheStore.layerMemory()))

  test("a store that is slow to keep is waited for, and not the first one's answer alone", () =>
    Effect.gen(function*() {
      const kept = yield* Deferred.make<void>()
      yield* Effect.gen(function*() {
        const { get, open, runs } = yield* gated(stored, { mount: mounted("Stack.serve, Node") })
        const first = yield* Effect.fork(get())
        while (runs() < 1) yield* turns
        const others = yield* several(get())
        yield* turns
        yield* open(1)
        // its client does not wait
        yield* first
        yield* turns
        assert.strictEqual(runs(), 1)
        yield* Deferred.succeed(kept, undefined)
        yield* others
        assert.strictEqual(runs(), 1)
      }).pipe(Effect.provide(slow((put) => Effect.zipRight(Deferred.await(kept), put))))
    }))

  test("a store that fails meanwhile leaves nobody waiting for another", () =>
    Effect.gen(function*() {
      let lookups = 0
      const failing = Layer.effect(
        ResponseCacheStore.ResponseCacheStore,
        Effect.map(ResponseCacheStore.ResponseCacheStore, ({ sync: _, ...store }): ResponseCacheStore.Service => ({
          ...store,
          get: (key, variantOf) =>
            ++lookups <= 3
              ? store.get(key, variantOf)
              : Effect.fail(new ResponseCacheStore.ResponseCacheUnavailable({ operation: "get", cause: "no" }))
        }))
      ).pipe(Layer.provide(ResponseCacheStore.layerMemory()))
      yield* Effect.gen(function*() {
        const { get, open, runs } = yield* gated((_, run) => text(`${run}`, { status: 503 }))
        const all = yield* several(get(), 3)
        yield* turns
        yield* open(1)
        yield* turns
        assert.strictEqual(runs(), 3)
        yield* Effect.forEach([2, 3], (run) => open(run))
        yield* all
      }).pipe(Effect.provide(failing))
    }))

  test("a store that dies while it keeps is not waited for", () =>
    Effect.gen(function*() {
      const { get, open, runs } = yield* gated(stored, { mount: mounted("Stack.serve, Node") })
      const all = yield* several(get(), 3)
      while (runs() < 1) yield* turns
      yield* Effect.forEach([1, 2, 3], open)
      yield* all
      assert.strictEqual(runs(), 3)
    }).pipe(Effect.provide(slow(() => Effect.die("no")))))
})

// ---------------------------------------------------------------------------------------------------------------------

describeRedis("Redis", () => {
  const server = started(makeServer())

  it.scopedLive("what others have written at its keys is nothing, and is replaced", () =>
    Effect.gen(function*() {
      const node = yield* server
      const redis = yield* Effect.provide(Redis.Redis, yield* Layer.build(Ioredis.layer(node.url, patient)))
      const { get, runs } = yield* cached((_, run) => text(`${run}`, { headers: fresh })).pipe(
        Effect.provide(ResponseCacheStore.layerRedis({ timeout: "30 seconds" })),
        Effect.provideService(Redis.Redis, redis)
      )
      const keys = Effect.map(redis.send("", ["KEYS", "cache:*"]), (keys) =>
        (keys as ReadonlyArray<string>).filter((key) => !key.includes("tag:")))
      const hit = Effect.repeat(get(), {
        until: (reply) =>
          statusOf(reply)!.includes(";hit;"),
        times: 1000
      })
      yield* hit
      const [key = ""] = yield* keys
      const field = Effect.map(
        redis.send(key, ["HKEYS", key]),
        (fields) => (fields as ReadonlyArray<string>).find((name) => name.startsWith("v:"))!
      )
      const value = `t${Buffer.from(encode(entryOf())).toString()}`
      for (
        const [name, written] of [
          ["y", "no json"],
          ["y", "{}"],
          ["y", "[1]"],
          [yield* field, ""],
          [yield* field, "t{}"],
          [yield* field, value.slice(0, -1)],
          [yield* field, `${value}x`],
          [yield* field, value.replace("200", "99")]
        ]
      ) {
        const before = runs()
        yield* redis.send(key, ["HSET", key, name!, written!])
        const reply = yield* get()
        assert.strictEqual(reply.status, 200)
        assert.strictEqual(reply.body, `${before + 1}`, `${name} ${written}`)
        yield* hit
      }
    }), 30_000)

  it.scopedLive("one that is killed between two requests is passed by", () =>
    Effect.gen(function*() {
      const node = yield* makeServer()
      const { get, runs } = yield* cached((_, run) => text(`${run}`, { headers: fresh })).pipe(
        Effect.provide(
          Layer.provide(ResponseCacheStore.layerRedis({ timeout: "200 millis" }), Ioredis.layer(node.url))
        )
      )
      assert.strictEqual((yield* get()).body, "1")
      yield* node.stop
      for (let i = 0; i < 8; i++) {
        const reply = yield* get()
        assert.strictEqual(statusOf(reply), "ResponseCache;fwd=bypass;detail=store-unavailable")
      }
      assert.strictEqual(runs(), 9)
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))), 30_000)
})
