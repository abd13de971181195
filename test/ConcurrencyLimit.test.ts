import { HttpApiSchema, type HttpApp, HttpRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, FastCheck, Fiber, Metric, Queue, Random, Schema, Stream, TestClock, Tracer } from "effect"
import {
  ConcurrencyLimit,
  ExceptionHandlers,
  Forwarded,
  Middleware,
  Stack,
  Timeout,
  WebSocket
} from "effect-middleware"
import { Gate, Gates } from "../src/internal/gate.js"
import { heap, rss } from "../src/internal/load.js"
import { answered, stackOf } from "./utils/laws.js"
import { connected, get } from "./utils/sockets.js"
import { type App, listenTo, mounts, request, send, serverOf, unknownRoute } from "./utils/TestApp.js"
import { connect, handshake, raw } from "./utils/webSocket.js"

const ok = HttpServerResponse.text("ok")

/** What an operator reads. */
const reading = (name: string, metric: "in_use" | "queued" = "in_use") =>
  Effect.map(Metric.snapshot, (all) => {
    const found = all.find(({ metricKey }) =>
      metricKey.name === `http.server.concurrency.${metric}` &&
      metricKey.tags.some(({ key, value }) => key === "middleware" && value === name)
    )
    return found === undefined ? 0 : Number((found.metricState as unknown as { readonly count: number }).count)
  })
/** By the real clock: what happens on a socket does not wait for the test's. */
const becomes = (name: string, value: number, metric: "in_use" | "queued" = "in_use") =>
  answered(
    Effect.repeat(
      Effect.zipLeft(reading(name, metric), Effect.promise(() => new Promise((resume) => setImmediate(resume)))),
      { until: (now) => now === value }
    )
  )

let names = 0
const limited = <const O extends Omit<ConcurrencyLimit.Options<ConcurrencyLimit.KeyOf>, "name">>(options: O) => {
  const name = `Limit${++names}`
  return { name, limit: ConcurrencyLimit.middleware<ConcurrencyLimit.KeyOf, string>({ ...options, name }) }
}

/** A handler that tells when a request has come in, and answers when it is told to. */
const gated = (response: HttpServerResponse.HttpServerResponse = ok) =>
  Effect.gen(function*() {
    const came = yield* Queue.unbounded<string>()
    const gates = new Map<string, Deferred.Deferred<void>>()
    const gateOf = (path: string) => {
      const gate = gates.get(path) ?? Effect.runSync(Deferred.make<void>())
      gates.set(path, gate)
      return gate
    }
    const app = Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) =>
      Effect.zipRight(Queue.offer(came, url), Effect.as(Deferred.await(gateOf(url)), response)))
    return {
      app,
      came: answered(Queue.take(came)),
      cameYet: Queue.size(came),
      open: (path: string) =>
        Deferred.succeed(gateOf(path), undefined)
    }
  })
const statusOf = (fiber: Fiber.Fiber<{ readonly status: number }>) =>
  Effect.map(answered(Fiber.join(fiber)), ({ status }) => status)

describe("a gate", () => {
  const commands = FastCheck.array(FastCheck.record({
    what: FastCheck.constantFrom("take", "leave", "release"),
    which: FastCheck.nat(9)
  }))
  it.prop("keeps to its numbers, hands on in the order of arrival, and forgets nobody", [
    FastCheck.integer({ min: 1, max: 3 }),
    FastCheck.integer({ min: 0, max: 3 }),
    commands
  ], ([permits, places, commands]) => {
    const gate = new Gate<number>(permits, places, () => idle++)
    const [using, waiting]: [Array<number>, Array<number>] = [[], []]
    let [next, idle, idled] = [0, 0, 0]
    for (const { what, which } of commands) {
      const who = next++
      if (what === "take") {
        assert.strictEqual(gate.isFull, using.length === permits && waiting.length === places)
        if (gate.isFull) continue
        if (gate.take()) using.push(who)
        else {
          gate.wait(who)
          waiting.push(who)
        }
      } else if (what === "leave") {
        const one = waiting.splice(which, 1)[0]
        assert.strictEqual(gate.leave(one ?? -1), one !== undefined)
      } else if (using.length > 0) {
        using.splice(which % using.length, 1)
        const first = waiting.shift()
        assert.strictEqual(gate.release(), first)
        if (first !== undefined) using.push(first)
        if (using.length === 0) idled++
        assert.strictEqual(idle, idled)
      }
      assert.strictEqual(gate.inUse, using.length)
      assert.isTrue(using.length <= permits && waiting.length <= places)
      // nobody waits beside a free permit
      assert.isTrue(waiting.length === 0 || using.length === permits)
    }
  })
})

it.prop("there are no more gates than keys in use", [
  FastCheck.array(FastCheck.tuple(FastCheck.boolean(), FastCheck.constantFrom("a", "b", "c", "__proto__")))
], ([commands]) => {
  const gates = new Gates<number>(2, 0)
  const using: Array<string> = []
  for (const [takes, key] of commands) {
    if (takes) {
      if (gates.at(key).take()) using.push(key)
    } else if (using.includes(key)) {
      using.splice(using.indexOf(key), 1)
      gates.at(key).release()
    }
    assert.strictEqual(gates.size, new Set(using).size)
  }
})

describe("permits", () => {
  for (const mount of mounts) {
    it.scoped(`are as many as there are, and come back, in ${mount.name}`, () =>
      Effect.gen(function*() {
        const { limit, name } = limited({ permits: 2, retryAfter: "2500 millis" })
        const { app, came, open } = yield* gated()
        const send = yield* mount.mount(app as App, limit)
        for (let round = 0; round < 2; round++) {
          const [a, b] = [`/a${round}`, `/b${round}`]
          const first = yield* Effect.fork(send({ path: a }))
          const second = yield* Effect.fork(send({ path: b }))
          yield* came
          yield* came
          const { body, headers, status } = yield* answered(send())
          assert.deepStrictEqual([status, headers["retry-after"], headers["content-type"]], [
            503,
            "3",
            "application/problem+json"
          ])
          assert.deepStrictEqual(JSON.parse(body), {
            title: "Service Unavailable",
            status: 503,
            detail: "The server has too much to do"
          })
          assert.strictEqual(yield* reading(name), 2)
          yield* open(a)
          yield* open(b)
          assert.deepStrictEqual([yield* statusOf(first), yield* statusOf(second)], [200, 200])
          yield* becomes(name, 0)
        }
        if (mount.router === "inside") {
          yield* answered(send(unknownRoute))
          yield* becomes(name, 0)
        }
      }).pipe(Effect.provide(serverOf(mount))))

    it.scoped(`come back however the handler ends, in ${mount.name}`, () =>
      Effect.gen(function*() {
        const { limit, name } = limited({ permits: 1 })
        const apps: ReadonlyArray<App> = [
          Effect.fail("no"),
          Effect.die("defect"),
          Effect.interrupt,
          HttpServerResponse.empty({ status: 404 }),
          HttpServerResponse.stream(Stream.make(new Uint8Array(3)))
        ]
        for (const app of apps) {
          yield* Effect.scoped(Effect.flatMap(mount.mount(app, limit), (send) =>
            Effect.forEach(["GET", "HEAD"], (method) =>
              Effect.zipRight(answered(send({ method })), becomes(name, 0)))))
        }
      }).pipe(Effect.provide(serverOf(mount))))
  }

  it.scoped("are held until the end of a stream, and come back when its client leaves, or when it fails", () =>
    Effect.gen(function*() {
      const { limit, name } = limited({ permits: 1 })
      const [began, gate] = [yield* Queue.unbounded<void>(), yield* Queue.unbounded<boolean>()]
      const body = Stream.concat(
        Stream.make(new Uint8Array(3)),
        Stream.fromEffect(Effect.zipRight(
          began.offer(undefined),
          Effect.flatMap(gate.take, (whole) => whole ? Effect.succeed(new Uint8Array(3)) : Effect.fail("broken"))
        ))
      )
      const port = yield* listenTo(limit(HttpServerResponse.stream(body)))
      const whole = yield* Effect.fork(request(port))
      yield* answered(began.take)
      assert.strictEqual((yield* request(port)).status, 503)
      yield* gate.offer(true)
      assert.strictEqual(yield* statusOf(whole), 200)
      yield* becomes(name, 0)

      const left = yield* Effect.fork(request(port))
      yield* answered(began.take)
      assert.strictEqual(yield* reading(name), 1)
      yield* Fiber.interrupt(left)
      yield* becomes(name, 0)

      const broken = yield* Effect.fork(Effect.exit(request(port)))
      yield* answered(began.take)
      yield* gate.offer(false)
      yield* answered(Fiber.join(broken))
      yield* becomes(name, 0)
    }))

  it.scoped("are held for a client that does not read, until it leaves", () =>
    Effect.gen(function*() {
      const { limit, name } = limited({ permits: 1 })
      const responses = [
        HttpServerResponse.uint8Array(new Uint8Array(50_000_000)),
        HttpServerResponse.stream(Stream.repeatValue(new Uint8Array(1_000_000)))
      ]
      // what wraps runs what is inside it in a fiber of its own, which ends before the body does
      const elsewhere = Middleware.dispatch("Elsewhere", (_, next) => Effect.flatMap(Effect.fork(next), Fiber.join))
      for (
        const [response, stack] of responses.flatMap((r) => [[r, limit], [r, Stack.make(elsewhere, limit)]] as const)
      ) {
        const port = yield* listenTo((stack as Middleware.Middleware)(response))
        const socket = yield* connected(port)
        yield* answered(Effect.async<void>((resume) => {
          socket.once("readable", () => resume(Effect.void))
          get(socket)
        }))
        assert.strictEqual((yield* answered(request(port))).status, 503)
        socket.destroy()
        yield* becomes(name, 0)
      }
    }))

  it.scoped("are not free while a handler goes on for a client that has left", () =>
    Effect.gen(function*() {
      const { limit, name } = limited({ permits: 1 })
      const { app, came, open } = yield* gated()
      // platform's server does not interrupt it
      const port = yield* listenTo(limit(app))
      const socket = yield* connected(port)
      get(socket, "/a")
      yield* came
      socket.destroy()
      const { status } = yield* answered(request(port))
      assert.strictEqual(status, 503)
      yield* open("/a")
      yield* becomes(name, 0)
      yield* open("/b")
      assert.strictEqual((yield* answered(request(port, { path: "/b" }))).status, 200)
    }))

  it.scoped("are not free while a handler goes on behind the answer of a timeout", () =>
    Effect.gen(function*() {
      const { limit, name } = limited({ permits: 1 })
      const { app, came, open } = yield* gated()
      const stack = Stack.make(Timeout.middleware({ limit: "10 seconds", disconnect: true }), limit)
      const port = yield* listenTo(stack(Effect.uninterruptible(app)))
      const slow = yield* Effect.fork(request(port, { path: "/a" }))
      yield* came
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* statusOf(slow), 503)
      assert.strictEqual(yield* reading(name), 1)
      yield* open("/a")
      yield* becomes(name, 0)
    }))

  it.scoped("come back from a timeout that interrupts", () =>
    Effect.gen(function*() {
      const { limit, name } = limited({ permits: 1 })
      for (const order of [0, 1]) {
        const { app, came } = yield* gated()
        const timeout = Timeout.middleware({ limit: "10 seconds" })
        const stack = order === 0 ? Stack.make(timeout, limit) : Stack.make(limit, timeout)
        const reply = yield* Effect.fork(Effect.flatMap(listenTo((stack as Middleware.Middleware)(app)), request))
        yield* came
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* statusOf(reply), 503)
        yield* becomes(name, 0)
      }
    }))

  it.scoped("are held for as long as a WebSocket is open, and come back from one that is refused", () =>
    Effect.gen(function*() {
      const { limit, name } = limited({ permits: 1 })
      const stack = Stack.make(Forwarded.middleware({ trust: "none" }), limit, WebSocket.middleware())
      const echo = WebSocket.handle((socket) => Stream.runForEach(socket.messages, socket.send))
      const port = yield* listenTo(stack(echo))
      for (let round = 0; round < 2; round++) {
        const client = yield* Effect.orDie(connect(port))
        assert.strictEqual(yield* reading(name), 1)
        const { socket, status } = yield* raw(port)
        assert.strictEqual(status, 503)
        socket.destroy()
        if (round === 0) client.close(1000)
        yield* round === 0 ? answered(client.closed) : Effect.void
        if (round === 0) yield* becomes(name, 0)
      }
      // the second is still open: when its client is gone without a word
    }).pipe(
      Effect.scoped,
      Effect.zipRight(Effect.suspend(() => becomes(`Limit${names}`, 0))),
      Effect.zipRight(Effect.gen(function*() {
        const { limit, name } = limited({ permits: 1 })
        const stack = Stack.make(Forwarded.middleware({ trust: "none" }), limit, WebSocket.middleware())
        const port = yield* listenTo(stack(Effect.die("no socket here")))
        for (let round = 0; round < 3; round++) {
          assert.strictEqual((yield* answered(request(port, { headers: handshake }))).status, 500)
          yield* becomes(name, 0)
        }
      }))
    ))

  it.effect("are one for a request that is tried again, and none for an alternative that is given up", () =>
    Effect.gen(function*() {
      const { limit, name } = limited({ permits: 1 })
      let runs = 0
      const flaky = Effect.suspend(() => ++runs < 3 ? Effect.fail("not yet") : ok)
      const retry = Middleware.dispatch("Retry", (_, next) => Effect.retry(next, { times: 5 }))
      assert.strictEqual((yield* send(stackOf(retry, limit)(flaky as never) as App)).status, 200)
      yield* becomes(name, 0)
      const alternatives = Middleware.firstOf(
        "Alternatives",
        Stack.make(limit, Middleware.make({ name: "No", request: () => Middleware.Refuse(new Error("no")) })),
        Middleware.make({ name: "Yes" })
      )
      for (let round = 0; round < 3; round++) {
        assert.strictEqual((yield* send(alternatives(ok) as App)).status, 200)
        yield* becomes(name, 0)
      }
      const port = yield* listenTo(alternatives(ok) as HttpApp.Default)
      for (let round = 0; round < 3; round++) {
        assert.strictEqual((yield* request(port)).status, 200)
        yield* becomes(name, 0)
      }
      const fallback = Middleware.dispatch(
        "Fallback",
        (_, next) => Effect.flatMap(next, () => Middleware.make({ name: "Other", response: () => {} })(ok))
      )
      const replaced = yield* listenTo(Stack.make(fallback, limit)(ok))
      for (let round = 0; round < 3; round++) {
        assert.strictEqual((yield* request(replaced)).status, 200)
        yield* becomes(name, 0)
      }
    }).pipe(Effect.scoped))

  it.scoped("of two limits in one stack are two", () =>
    Effect.gen(function*() {
      const [outer, inner] = [limited({ permits: 2 }), limited({ permits: 1 })]
      const { app, came, open } = yield* gated()
      const port = yield* listenTo(Stack.make(outer.limit, inner.limit)(app))
      const first = yield* Effect.fork(request(port, { path: "/a" }))
      yield* came
      assert.strictEqual((yield* answered(request(port, { path: "/b" }))).status, 503)
      yield* becomes(outer.name, 1)
      yield* open("/a")
      assert.strictEqual(yield* statusOf(first), 200)
      yield* becomes(outer.name, 0)
      yield* becomes(inner.name, 0)
    }))

  it.scoped("are never leaked, nor given back twice, whatever the traffic", () =>
    Effect.gen(function*() {
      const { limit, name } = limited({ permits: 3, queue: { size: 4, maxWait: "1 hour" } })
      const tick = (n: number) =>
        Effect.promise(async () => {
          for (let i = 0; i < n; i++) await new Promise((resume) => setImmediate(resume))
        })
      let [running, most] = [0, 0]
      const work = Effect.acquireUseRelease(
        Effect.sync(() => most = Math.max(most, ++running)),
        () => tick(10),
        () => Effect.sync(() => running--)
      )
      const app = Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }): HttpApp.Default<string> => {
        const after = (response: HttpApp.Default<string>) => Effect.zipRight(work, response)
        if (url === "/fails") return after(Effect.fail("no"))
        if (url === "/dies") return after(Effect.die("no"))
        if (url === "/stream") {
          return after(HttpServerResponse.stream(Stream.make(new Uint8Array(9), new Uint8Array(9))))
        }
        if (url === "/large") return after(HttpServerResponse.uint8Array(new Uint8Array(3_000_000)))
        return after(ok)
      })
      const router = HttpRouter.empty.pipe(HttpRouter.all("*", app))
      const port = yield* listenTo(limit(router))
      const paths = ["/", "/fails", "/dies", "/stream", "/large"]
      const client = Effect.gen(function*() {
        const path = paths[yield* Random.nextIntBetween(0, paths.length)]!
        const asking = yield* Effect.fork(Effect.exit(request(port, { path })))
        if (yield* Random.nextBoolean) {
          yield* tick(yield* Random.nextIntBetween(0, 12))
          yield* Fiber.interrupt(asking)
        } else yield* answered(Fiber.join(asking))
      })
      yield* Effect.all(Array.from({ length: 20 }, () => Effect.repeatN(client, 15)), { concurrency: "unbounded" })
      yield* becomes(name, 0)
      yield* becomes(name, 0, "queued")
      assert.isTrue(most > 1 && most <= 3, `${most} at once`)
      // all of them are there
      const { app: slow, came, open } = yield* gated()
      const again = yield* listenTo(limit(slow))
      const all = yield* Effect.forEach(["/a", "/b", "/c"], (path) => Effect.fork(request(again, { path })))
      for (const path of ["/a", "/b", "/c"]) {
        yield* came
        yield* open(path)
      }
      for (const one of all) assert.strictEqual(yield* statusOf(one), 200)
    }).pipe(Effect.withRandom(Random.make("traffic"))), 60_000)
})

it.effect("a permit that is free costs no operation more than a field, and a refusal enters no handler", () =>
  Effect.gen(function*() {
    let operations = 0
    const native = yield* Effect.tracer
    const counting = Tracer.make({
      span: native.span.bind(native),
      context: (f) => {
        operations++
        return f()
      }
    })
    const cost = (middleware: Middleware.Any) =>
      Effect.gen(function*() {
        const app = (middleware as Middleware.Middleware)(ok)
        yield* send(app)
        operations = 0
        yield* send(app)
        return operations
      }).pipe(Effect.withTracer(counting))
    const field = Middleware.make({ name: "Field", response: (draft) => draft.set("x-a", "b") })
    const queue = { size: 1, maxWait: "1 second" } as const
    assert.strictEqual(yield* cost(limited({ permits: 1, queue }).limit), yield* cost(field))
    const { limit } = limited({ permits: 1, shed: { rss: 2 } })
    assert.strictEqual((yield* send(limit(Effect.dieMessage("the handler was entered")))).status, 503)
  }))

describe("the queue", () => {
  const queue = { size: 2, maxWait: "10 seconds" } as const

  it.scoped("is first in, first out, and bounded", () =>
    Effect.gen(function*() {
      const { limit, name } = limited({ permits: 1, queue })
      const { app, came, cameYet, open } = yield* gated()
      const port = yield* listenTo(limit(app))
      const ask = (path: string) => Effect.fork(request(port, { path }))
      const first = yield* ask("/1")
      assert.strictEqual(yield* came, "/1")
      const second = yield* ask("/2")
      yield* becomes(name, 1, "queued")
      const third = yield* ask("/3")
      yield* becomes(name, 2, "queued")
      assert.strictEqual((yield* answered(request(port))).status, 503)
      assert.strictEqual(yield* cameYet, 0)
      yield* open("/1")
      assert.strictEqual(yield* came, "/2")
      // whoever comes now comes after those who wait
      const fourth = yield* ask("/4")
      yield* becomes(name, 2, "queued")
      yield* open("/2")
      assert.strictEqual(yield* came, "/3")
      yield* open("/3")
      assert.strictEqual(yield* came, "/4")
      assert.strictEqual(yield* reading(name), 1)
      yield* open("/4")
      for (const one of [first, second, third, fourth]) assert.strictEqual(yield* statusOf(one), 200)
      yield* becomes(name, 0)
      assert.strictEqual(yield* reading(name, "queued"), 0)
    }))

  it.scoped("is timed", () =>
    Effect.gen(function*() {
      const { limit, name } = limited({ permits: 1, queue })
      const seen: Array<unknown> = []
      const stack = Stack.make(
        ExceptionHandlers.byTag({
          Overloaded: (error: ConcurrencyLimit.Overloaded) => {
            seen.push(error.reason)
            return HttpServerResponse.text(error.message, { status: 503 })
          }
        }),
        limit
      )
      const { app, came, open } = yield* gated()
      const port = yield* listenTo(stack(app))
      const first = yield* Effect.fork(request(port, { path: "/1" }))
      yield* came
      const early = yield* Effect.fork(request(port, { path: "/2" }))
      yield* becomes(name, 1, "queued")
      yield* TestClock.adjust("5 seconds")
      const late = yield* Effect.fork(request(port, { path: "/3" }))
      yield* becomes(name, 2, "queued")
      yield* TestClock.adjust(4_999)
      assert.isNull(early.unsafePoll())
      yield* TestClock.adjust(1)
      const { body, status } = yield* answered(Fiber.join(early))
      assert.deepStrictEqual([status, body], [503, "No permit has become free in time"])
      yield* becomes(name, 1, "queued")
      yield* open("/1")
      assert.strictEqual(yield* statusOf(first), 200)
      assert.strictEqual(yield* came, "/3")
      yield* TestClock.adjust("1 hour")
      yield* open("/3")
      assert.strictEqual(yield* statusOf(late), 200)
      assert.deepStrictEqual(seen, ["waited"])
      yield* becomes(name, 0)
    }))

  it.scoped("is left by a client that leaves, which gives up its place", () =>
    Effect.gen(function*() {
      const { limit, name } = limited({ permits: 1, queue })
      const { app, came, open } = yield* gated()
      const port = yield* listenTo(limit(app))
      yield* Effect.fork(request(port, { path: "/1" }))
      yield* came
      const leaves = yield* Effect.fork(request(port, { path: "/2" }))
      yield* becomes(name, 1, "queued")
      const stays = yield* Effect.fork(request(port, { path: "/3" }))
      yield* becomes(name, 2, "queued")
      yield* Fiber.interrupt(leaves)
      yield* becomes(name, 1, "queued")
      yield* open("/1")
      assert.strictEqual(yield* came, "/3")
      yield* open("/3")
      assert.strictEqual(yield* statusOf(stays), 200)
      yield* becomes(name, 0)
    }))

  it.scoped("is left by all, when all leave at once, and the permit with it", () =>
    Effect.gen(function*() {
      const { limit, name } = limited({ permits: 1, queue: { size: 10, maxWait: "10 seconds" } })
      const { app, came, open } = yield* gated()
      const port = yield* listenTo(limit(app))
      const first = yield* Effect.fork(request(port, { path: "/1" }))
      yield* came
      const others = yield* Effect.forEach(Array.from({ length: 10 }), () => Effect.fork(request(port, { path: "/2" })))
      yield* becomes(name, 10, "queued")
      yield* open("/1")
      yield* Effect.all([Fiber.interruptAll(others), Fiber.join(first)], { concurrency: "unbounded" })
      yield* open("/2")
      yield* becomes(name, 0)
      yield* becomes(name, 0, "queued")
      assert.strictEqual((yield* answered(request(port, { path: "/2" }))).status, 200)
    }))

  it.scoped("is within the limit of a timeout around it", () =>
    Effect.gen(function*() {
      const { limit, name } = limited({ permits: 1, queue: { size: 1, maxWait: "1 hour" } })
      const { app, came, open } = yield* gated()
      const stack = Stack.make(Timeout.middleware({ limit: "10 seconds" }), limit)
      const port = yield* listenTo(stack(Effect.uninterruptible(app)))
      yield* Effect.addFinalizer(() => open("/1"))
      yield* Effect.fork(request(port, { path: "/1" }))
      yield* came
      const waits = yield* Effect.fork(request(port, { path: "/2" }))
      yield* becomes(name, 1, "queued")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* statusOf(waits), 503)
      yield* becomes(name, 0, "queued")
      yield* open("/1")
      yield* becomes(name, 0)
    }))
})

describe("keys", () => {
  it.scoped("have their permits and their queue each, and are forgotten", () =>
    Effect.gen(function*() {
      const { limit, name } = limited({
        permits: 1,
        queue: { size: 1, maxWait: "1 hour" },
        key: ({ headers }) => headers["x-key"] ?? "none"
      })
      const { app, came, open } = yield* gated()
      const port = yield* listenTo(limit(app))
      const ask = (key: string, path: string) => Effect.fork(request(port, { path, headers: { "x-key": key } }))
      const all = [yield* ask("a", "/1")]
      yield* came
      all.push(yield* ask("a", "/2"))
      yield* becomes(name, 1, "queued")
      assert.strictEqual(yield* statusOf(yield* ask("a", "/3")), 503)
      all.push(yield* ask("b", "/4"))
      assert.strictEqual(yield* came, "/4")
      assert.strictEqual(yield* reading(name), 2)
      for (const path of ["/1", "/2", "/4"]) yield* open(path)
      for (const one of all) assert.strictEqual(yield* statusOf(one), 200)
      yield* becomes(name, 0)
    }))

  it.scoped("by client are an IPv4 address, the /64 of an IPv6 one, or one for all without an address", () =>
    Effect.gen(function*() {
      const { app, came, open } = yield* gated()
      const name = "PerClient"
      const stack = Stack.make(
        Forwarded.middleware({ trust: { hops: 1 } }),
        ConcurrencyLimit.middleware({ permits: 1, key: "client", name })
      )
      const port = yield* listenTo(stack(app))
      const from = (client: string, path: string) =>
        Effect.fork(request(port, { path, headers: { "x-forwarded-for": client } }))
      const clients = ["192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1", "64:ff9b::c000:203", "unknown"]
      const first = []
      for (const [i, client] of clients.entries()) {
        first.push(yield* from(client, `/${i}`))
        yield* came
      }
      const same = [
        "192.0.2.1",
        "::ffff:192.0.2.2",
        "2001:DB8::1:ffff:0:0:1",
        "2001:db8:0:2:f::",
        "192.0.2.3",
        "_hidden"
      ]
      for (const client of same) {
        assert.deepStrictEqual([client, yield* statusOf(yield* from(client, "/x"))], [client, 503])
      }
      for (const i of clients.keys()) yield* open(`/${i}`)
      for (const one of first) assert.strictEqual(yield* statusOf(one), 200)
      yield* becomes(name, 0)
    }))
})

describe("shedding", () => {
  const idle: ConcurrencyLimit.Measured = {
    eventLoopDelay: () => 100,
    heap: () => ({ used: 500, limit: 1000 }),
    rss: () => ({ used: 500, limit: 1000 })
  }
  it.effect.each<
    [what: string, shed: ConcurrencyLimit.ShedOptions, load: Partial<ConcurrencyLimit.Measured>, status: number]
  >([
    ["a delay", { eventLoopDelay: "100 millis" }, {}, 200],
    ["a longer one", { eventLoopDelay: "100 millis" }, { eventLoopDelay: () => 100.1 }, 503],
    ["a fraction of the heap", { heapUsed: 0.5 }, {}, 200],
    ["more of it", { heapUsed: 0.5 }, { heap: () => ({ used: 501, limit: 1000 }) }, 503],
    ["bytes of the heap", { heapUsed: 500 }, {}, 200],
    ["more bytes of it", { heapUsed: 499 }, {}, 503],
    ["all of the heap", { heapUsed: 1 }, { heap: () => ({ used: 1000, limit: 1000 }) }, 200],
    ["a fraction of the memory", { rss: 0.5 }, {}, 200],
    ["more of the memory", { rss: 0.5 }, { rss: () => ({ used: 501, limit: 1000 }) }, 503],
    ["bytes of the memory", { rss: 499 }, {}, 503],
    ["one of all", { rss: 0.9, heapUsed: 0.9, eventLoopDelay: 1 }, {}, 503]
  ])("of %s", ([, shed, load, status]) =>
    Effect.gen(function*() {
      const { limit, name } = limited({ permits: 1, shed, exceptRoutes: ["GET /health"] })
      const app = Effect.provideService(limit(ok), ConcurrencyLimit.Load, { ...idle, ...load })
      assert.strictEqual((yield* send(app)).status, status)
      assert.strictEqual((yield* send(app, { path: "/health" })).status, 200)
      yield* becomes(name, 0)
    }))

  it.effect("by what Node says, refuses nothing in an idle process", () =>
    Effect.gen(function*() {
      const { limit } = limited({ permits: 1, shed: { eventLoopDelay: "1 minute", heapUsed: 1, rss: 1 } })
      assert.strictEqual((yield* send(limit(ok))).status, 200)
      for (const { limit, used } of [heap(), rss()]) assert.isTrue(used > 1_000_000 && limit > used)
      const { limit: tiny } = limited({ permits: 1, shed: { rss: 2 } })
      assert.strictEqual((yield* send(tiny(ok))).status, 503)
    }))
})

describe("routes that are exempt", () => {
  it.scoped("need no permit, and take none", () =>
    Effect.gen(function*() {
      const { limit, name } = limited({ permits: 1, exceptRoutes: ["GET /health"] })
      const { app, came, open } = yield* gated()
      const port = yield* listenTo(limit(app))
      yield* open("/health")
      yield* open("/1")
      const health = request(port, { path: "/health" })
      yield* Effect.fork(request(port, { path: "/0" }))
      yield* came
      assert.strictEqual((yield* answered(health)).status, 200)
      for (const path of ["/1", "//health", "/HEALTH", "/health/", "/%68ealth"]) {
        assert.strictEqual((yield* answered(request(port, { path }))).status, 503)
      }
      assert.strictEqual((yield* answered(request(port, { path: "/health", method: "POST" }))).status, 503)
      assert.strictEqual(yield* reading(name), 1)
      yield* open("/0")
      yield* becomes(name, 0)
    }))
})

describe("mistakes", () => {
  it.each<[options: ConcurrencyLimit.Options, message: RegExp]>([
    [{ permits: 0 }, /permits is 0: write a whole number, at least 1/],
    [{ permits: -1 }, /permits is -1/],
    [{ permits: 1.5 }, /permits is 1\.5/],
    [{ permits: Number.NaN }, /permits is NaN/],
    [{ permits: Infinity }, /permits is Infinity/],
    [{ permits: 1, queue: { size: 0, maxWait: 1 } }, /queue\.size is 0: .*for no queue, leave it out/],
    [{ permits: 1, queue: { size: Infinity, maxWait: 1 } }, /queue\.size is Infinity/],
    [{ permits: 1, queue: { size: 1, maxWait: 0 } }, /queue\.maxWait is 0: write a time above 0/],
    [{ permits: 1, queue: { size: 1, maxWait: Infinity } }, /queue\.maxWait is Infinity/],
    [{ permits: 1, retryAfter: Number.NaN }, /retryAfter is NaN/],
    [{ permits: 1, shed: {} }, /shed is empty/],
    [{ permits: 1, shed: { eventLoopDelay: 0 } }, /shed\.eventLoopDelay is 0/],
    [{ permits: 1, shed: { heapUsed: 0 } }, /shed\.heapUsed is 0: write bytes, or up to 1 a fraction/],
    [{ permits: 1, shed: { rss: Number.NaN } }, /shed\.rss is NaN/],
    [{ permits: 1, exceptRoutes: ["health"] }, /does not begin with/]
  ])("throws on %j", (options, message) => {
    assert.throws(() => ConcurrencyLimit.middleware(options), TypeError, message)
  })
})

it("a refusal has a schema, and names", () => {
  const error = new ConcurrencyLimit.Overloaded({ reason: "queue-full", retryAfter: 1 })
  assert.deepStrictEqual(Schema.encodeSync(ConcurrencyLimit.Overloaded)(error), {
    _tag: "Overloaded",
    reason: "queue-full",
    retryAfter: 1
  })
  assert.strictEqual(HttpApiSchema.getStatusError(ConcurrencyLimit.Overloaded), 503)
  assert.strictEqual(ConcurrencyLimit.middleware({ permits: 1 }).name, "ConcurrencyLimit")
})
