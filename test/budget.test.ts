/**
 * What a stack costs, in operations of the interpreter and in sets of fiber
 * references: numbers of the code, the same on every machine.
 */
import { HttpApiError, HttpRouter, HttpServerResponse } from "@effect/platform"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Data, Effect, type Layer, Tracer } from "effect"
import {
  AccessLog,
  Authentication,
  Cors,
  ExceptionHandlers,
  Forwarded,
  Hsts,
  HttpException,
  Metrics,
  Middleware,
  ProblemDetails,
  RateLimit,
  RateLimitStore,
  RequestId,
  ServerErrors,
  ServerTiming,
  Telemetry,
  TrustedHost
} from "effect-middleware"
import { answered, stackOf, Teapot, wrap } from "./utils/laws.js"
import { type App, type Init, type Mount, mounts } from "./utils/TestApp.js"

interface Cost {
  readonly operations: number
  readonly sets: number
}

let counted = { operations: 0, sets: 0 }

const native = Effect.runSync(Effect.tracer)
const counting = Tracer.make({
  span: native.span.bind(native),
  context: (f) => {
    counted.operations++
    return f()
  }
})

/** Counts the sets of every fiber while `effect` runs. */
const countingSets = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.withFiberRuntime<() => void>((fiber) => {
      const prototype = Object.getPrototypeOf(fiber)
      const { setFiberRef, setFiberRefs } = prototype
      const counts = (method: (...args: Array<unknown>) => unknown) =>
        function(this: unknown, ...args: Array<unknown>) {
          counted.sets++
          return method.apply(this, args)
        }
      Object.assign(prototype, { setFiberRef: counts(setFiberRef), setFiberRefs: counts(setFiberRefs) })
      return Effect.succeed(() => void Object.assign(prototype, { setFiberRef, setFiberRefs }))
    }),
    () => effect,
    (restore) => Effect.sync(restore)
  )

const identity = ((app: App) => app) as unknown as Middleware.Any

/** What one request costs the server, once the first has warmed what is built lazily. */
const costOf = (mount: Mount, middleware: Middleware.Any, app: App, init?: Init): Effect.Effect<Cost> =>
  Effect.scoped(Effect.gen(function*() {
    const send = yield* Effect.withTracer(mount.mount(app, middleware), counting)
    yield* answered(send(init))
    // the client, too, is an Effect, and its sets are counted: once without a request
    const client = yield* countingSets(Effect.suspend(() => {
      counted = { operations: 0, sets: 0 }
      return Effect.map(Effect.promise((_signal) => Promise.resolve()), () => counted.sets)
    }))
    yield* countingSets(Effect.suspend(() => {
      counted = { operations: 0, sets: 0 }
      return send(init)
    }))
    return { operations: counted.operations, sets: counted.sets - client }
  }))

class Service extends Middleware.Service("test/Service")<Service, number>() {}

const plain = (n: number) =>
  Array.from({ length: n }, (_, i) =>
    Middleware.make({
      name: `Plain${i}`,
      request: ({ request }) => request.headers["x-refuse"] === undefined ? undefined : Middleware.Refuse(new Teapot()),
      response: (draft) => draft.set(`x-${i}`, "1")
    }))
const wrapping = (n: number) => Array.from({ length: n }, (_, i) => wrap(`Wraps${i}`, (app) => app))
const providing = Middleware.make({ name: "Providing", provides: Service, request: () => Middleware.Provide(1) })
const deriving = Middleware.make({ name: "Deriving", request: (exchange) => exchange.deriveRequest({ url: "/" }) })
const annotating = Middleware.make({ name: "Annotating", request: (exchange) => exchange.annotateLogs("a", 1) })
const refusing = Middleware.make({ name: "Refusing", request: () => Middleware.Refuse(new Teapot()) })
const responding = Middleware.make({
  name: "Responding",
  request: () => Middleware.Respond(HttpServerResponse.empty())
})

const stacks = {
  bare: identity,
  "1 plain": stackOf(...plain(1)),
  "20 plain": stackOf(...plain(20)),
  "20 plain, each under a condition": stackOf(...plain(20).map((layer) => Middleware.when(() => true, layer))),
  "20 plain, under conditions not met": stackOf(...plain(20).map((layer) => Middleware.when(() => false, layer))),
  "20 plain, observed": Telemetry.observe(stackOf(...plain(20))),
  "20 plain, providing": stackOf(...plain(20), providing),
  "20 plain, of another request, annotated": stackOf(...plain(20), deriving, annotating),
  "refused first": stackOf(refusing, ...plain(20)),
  "refused last": stackOf(...plain(20), refusing),
  "answered last": stackOf(...plain(20), responding),
  "20 plain, 5 that wrap": stackOf(...plain(20), ...wrapping(5)),
  "20 plain, in ServerErrors": stackOf(ServerErrors.middleware(), ...plain(20)),
  "20 plain, a requestEffect": stackOf(
    ...plain(20),
    Middleware.make({ name: "RequestEffect", requestEffect: () => Effect.void })
  ),
  "20 plain, a responseEffect": stackOf(
    ...plain(20),
    Middleware.make({ name: "ResponseEffect", responseEffect: () => Effect.void })
  )
} satisfies Record<string, Middleware.Any>

/** What a server of today would have, all of it plain. */
const whole = stackOf(
  Forwarded.middleware({ trust: "none" }),
  RequestId.middleware(),
  AccessLog.middleware(),
  Metrics.middleware(),
  ServerTiming.middleware(),
  Cors.middleware({ origins: ["https://app.example.com"], methods: ["PUT"], credentials: true }),
  Hsts.middleware(),
  TrustedHost.middleware({ hosts: ["localhost"] })
)
const crossOrigin: Init = { headers: { host: "localhost", origin: "https://app.example.com" } }
const preflight: Init = {
  method: "OPTIONS",
  headers: { ...crossOrigin.headers, "access-control-request-method": "PUT" }
}

class Caller extends Authentication.Tag("test/Caller")<Caller, string>() {}
const plainBearer = Authentication.bearerOf<string>(
  "plain",
  {},
  (exchange, token, { challenge, invalid }) =>
    token === "good"
      ? Authentication.Authenticated(exchange, {
        method: "plain",
        subject: "ada",
        identity: { user: "ada" },
        challenge
      })
      : invalid("no")
)
const bearer = (token: string): Init => ({ headers: { ...crossOrigin.headers, authorization: `Bearer ${token}` } })

/** As many as are sent to find out what an answer costs. */
const limitOf2 = RateLimit.middleware({
  limits: RateLimit.fixedWindow({ limit: 2, window: "1 hour" }),
  key: RateLimit.client()
})

class Tagged extends Data.TaggedError("Tagged")<{}> {}
const handling = stackOf(
  ServerErrors.middleware(),
  RequestId.middleware(),
  ProblemDetails.middleware(),
  ExceptionHandlers.concat(
    ExceptionHandlers.standard(),
    ExceptionHandlers.byTag({ Tagged: () => ProblemDetails.toResponse({ status: 409 }) }),
    ExceptionHandlers.byClass(RangeError, () => ProblemDetails.toResponse({ status: 416 }))
  )
)

type Name = keyof typeof stacks
const names = Object.keys(stacks) as ReadonlyArray<Name>

// bridges stand in the place of platform's own and have no bare form to be compared with
const measured = mounts.filter(({ name }) => !name.startsWith("Stack."))
const table: Array<ReadonlyArray<string>> = [["operations / sets", ...names]]

/** An app that is routed, if not by the mount then by itself. */
const appOf = ({ router }: Mount, handler: App): App =>
  router === "none" ? HttpRouter.empty.pipe(HttpRouter.get("/", handler)) as App : handler

for (const mount of measured) {
  describe(mount.name, () => {
    it.effect("keeps its budget", () =>
      Effect.gen(function*() {
        const app = appOf(mount, HttpServerResponse.text("ok"))
        const costs = {} as Record<Name, Cost>
        for (const name of names) costs[name] = yield* costOf(mount, stacks[name], app)
        table.push([mount.name, ...names.map((name) => `${costs[name].operations} / ${costs[name].sets}`)])
        const { bare } = costs
        const atMost = (name: Name, operations: number, sets: number) => {
          assert.isAtMost(costs[name].operations - bare.operations, operations, name)
          assert.isAtMost(costs[name].sets - bare.sets, sets, name)
        }
        assert.isTrue(bare.operations > 20 && bare.sets > 1, "the counting counts")

        atMost("20 plain", 5, 1)
        assert.deepStrictEqual(costs["20 plain"], costs["1 plain"])
        assert.deepStrictEqual(costs["20 plain, each under a condition"], costs["20 plain"])
        atMost("20 plain, under conditions not met", 5, 1)
        // off, there is nothing to count; on, it is still plain code
        assert.deepStrictEqual(costs["20 plain, observed"], costs["20 plain"])
        // a context that is copied is put back, too
        atMost("20 plain, providing", 5, 2)
        atMost("20 plain, of another request, annotated", 5, 2)
        // what wraps stands between two frames, and each is an Effect of its own that the fiber has to know
        atMost("20 plain, 5 that wrap", 5 + 5 * 3, 1 + 5)
        // one that wraps, and catches
        atMost("20 plain, in ServerErrors", 5 + 3 + 2, 2)
        // an Effect is entered with a continuation, and one on the way out gets the context of its place
        atMost("20 plain, a requestEffect", 5 + 3, 1)
        atMost("20 plain, a responseEffect", 5 + 36, 3)

        if (mount.router === "outside") return
        for (const name of ["refused first", "refused last", "answered last"] as const) {
          assert.isBelow(costs[name].operations, bare.operations, name)
          assert.isAtMost(costs[name].sets, bare.sets, name)
        }
      }))

    it.effect("a preflight costs no more than an answer, and enters neither router nor handler", () =>
      Effect.gen(function*() {
        let entered = 0
        const handler = Effect.sync(() => {
          entered++
          return HttpServerResponse.text("ok")
        })
        const app = appOf(mount, handler)
        const bare = yield* costOf(mount, identity, app, crossOrigin)
        const answer = yield* costOf(mount, whole, app, crossOrigin)
        assert.strictEqual(entered, 4)
        const preflighted = yield* costOf(mount, whole, app, preflight)
        assert.strictEqual(entered, 4)
        assert.isAtMost(answer.operations - bare.operations, 5)
        assert.isAtMost(answer.sets - bare.sets, 2)
        assert.isAtMost(preflighted.operations - bare.operations, answer.operations - bare.operations)
        assert.isAtMost(preflighted.sets - bare.sets, answer.sets - bare.sets)
        table.push([
          `${mount.name}, whole`,
          ...[bare, answer, preflighted].map(({ operations, sets }) => `${operations} / ${sets}`)
        ])
      }))

    const refusal = <R>(
      status: number,
      member: Middleware.Any,
      layer: Layer.Layer<R>,
      admitted: Init,
      refusals: ReadonlyArray<Init>
    ) =>
      it.effect(`a ${status} costs no more than an answer, and enters neither router nor handler`, () =>
        Effect.gen(function*() {
          let entered = 0
          const handler = Effect.sync(() => {
            entered++
            return HttpServerResponse.text("ok")
          })
          const app = appOf(mount, handler)
          const stack = stackOf(whole, member)
          const bare = yield* costOf(mount, identity, app, admitted)
          const answer = yield* costOf(mount, stack, app, admitted)
          assert.strictEqual(entered, 4)
          const refused = yield* Effect.forEach(refusals, (init) => costOf(mount, stack, app, init))
          assert.strictEqual(entered, 4)
          // inside of platform's router, that one carries the failure: within what a failure may cost
          const most = mount.router === "outside"
            ? { operations: bare.operations * 1.3, sets: Math.ceil(bare.sets * 1.3) }
            : answer
          for (const { operations, sets } of refused) {
            assert.isAtMost(operations, most.operations)
            assert.isAtMost(sets, most.sets)
          }
          assert.isAtMost(answer.operations - bare.operations, 5)
          table.push([
            `${mount.name}, ${status}`,
            ...[bare, answer, ...refused].map(({ operations, sets }) => `${operations} / ${sets}`)
          ])
        }).pipe(Effect.provide(layer)))

    refusal(401, Caller.required(), Caller.layer(plainBearer), bearer("good"), [crossOrigin, bearer("bad")])
    refusal(429, limitOf2, RateLimitStore.layerMemory(), crossOrigin, [crossOrigin, crossOrigin])

    if (mount.handles) {
      it.effect("a failure that is handled costs at most 1.3 times an answer", () =>
        Effect.gen(function*() {
          const costs: Array<readonly [name: string, cost: Cost]> = []
          const measure = (name: string, app: App, init?: Init) =>
            Effect.map(costOf(mount, handling, appOf(mount, app), init), (cost) => void costs.push([name, cost]))
          yield* measure("an answer", HttpServerResponse.text("ok"))
          yield* measure("by tag", Effect.fail(new Tagged()))
          yield* measure("by class", Effect.fail(new RangeError()))
          yield* measure("an HttpException", Effect.fail(HttpException.notFound()))
          yield* measure("with a status", Effect.fail(new HttpApiError.NotFound()))
          if (mount.router !== "outside") {
            yield* measure("404", HttpServerResponse.empty(), { path: "/nowhere" })
            yield* measure("405", HttpServerResponse.empty(), { method: "PATCH" })
          }
          const [[, answer]] = costs as [(typeof costs)[number]]
          for (const [name, { operations, sets }] of costs) {
            assert.isAtMost(operations, answer.operations * 1.3, name)
            assert.isAtMost(sets, Math.ceil(answer.sets * 1.3), name)
          }
          table.push([
            `${mount.name}, failures`,
            ...costs.map(([name, cost]) => `${name} ${cost.operations} / ${cost.sets}`)
          ])
        }))
    }

    it.effect("enters neither router nor handler when it refuses", () =>
      Effect.gen(function*() {
        let entered = 0
        const handler = Effect.sync(() => {
          entered++
          return HttpServerResponse.empty()
        })
        yield* costOf(mount, stacks["refused last"], appOf(mount, handler))
        assert.strictEqual(entered, 0)
      }))
  })
}

afterAll(() => {
  if (process.env.LAWS_TABLE !== "1") return
  const [head, ...rows] = table.map((row) => `| ${row.join(" | ")} |`)
  console.log([head, `|${" --- |".repeat(names.length + 1)}`, ...rows].join("\n"))
})
