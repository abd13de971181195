/**
 * What a stack costs, in operations of the interpreter and in sets of fiber
 * references: numbers of the code, the same on every machine.
 */
import { HttpServerResponse } from "@effect/platform"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Tracer } from "effect"
import { Middleware } from "effect-middleware"
import { answered, stackOf, Teapot } from "./utils/laws.js"
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
      const counts = (method: (...args: ReadonlyArray<unknown>) => unknown) =>
        function(this: unknown, ...args: ReadonlyArray<unknown>) {
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
      request: ({ request }) => request.headers["x-refuse"] === `${i}` ? Middleware.Refuse(new Teapot()) : undefined,
      response: (draft) => draft.set(`x-${i}`, "1")
    }))
const providing = Middleware.make({ name: "Providing", provides: Service, request: () => Middleware.Provide(1) })
const deriving = Middleware.make({ name: "Deriving", request: (exchange) => exchange.deriveRequest({ url: "/" }) })
const annotating = Middleware.make({ name: "Annotating", request: (exchange) => exchange.annotateLogs("a", 1) })
const refusing = Middleware.make({ name: "Refusing", request: () => Middleware.Refuse(new Teapot()) })
const responding = Middleware.make({
  name: "Responding",
  request: () => Middleware.Respond(HttpServerResponse.empty())
})
const failing = Middleware.make({
  name: "Failing",
  requestEffect: () => Effect.void,
  responseEffect: () => Effect.void
})

const stacks = {
  bare: identity,
  "1 plain": stackOf(...plain(1)),
  "20 plain": stackOf(...plain(20)),
  "20 plain, each under a condition": stackOf(...plain(20).map((layer) => Middleware.when(() => true, layer))),
  "20 plain, under conditions not met": stackOf(...plain(20).map((layer) => Middleware.when(() => false, layer))),
  "20 plain, providing": stackOf(...plain(20), providing),
  "20 plain, of another request, annotated": stackOf(...plain(20), deriving, annotating),
  "refused first": stackOf(refusing, ...plain(20)),
  "refused last": stackOf(...plain(20), refusing),
  "answered last": stackOf(...plain(20), responding),
  "2 of Effects": stackOf(...plain(18), failing)
} satisfies Record<string, Middleware.Any>

type Name = keyof typeof stacks
const names = Object.keys(stacks) as ReadonlyArray<Name>

const piped = mounts.filter(({ handles, name }) => handles && !name.startsWith("Stack."))
const served = mounts.filter(({ handles }) => !handles)
const table: Array<ReadonlyArray<string>> = [["operations / sets", ...names]]

const measure = (mount: Mount) =>
  Effect.gen(function*() {
    const costs = {} as Record<Name, Cost>
    for (const name of names) costs[name] = yield* costOf(mount, stacks[name], HttpServerResponse.text("ok"))
    table.push([mount.name, ...names.map((name) => `${costs[name].operations} / ${costs[name].sets}`)])
    return {
      ...costs,
      over: (name: Name) => ({
        operations: costs[name].operations - costs.bare.operations,
        sets: costs[name].sets - costs.bare.sets
      })
    }
  })

const atMost = (cost: Cost, operations: number, sets: number) => {
  assert.isAtMost(cost.operations, operations)
  assert.isAtMost(cost.sets, sets)
}

describe.each([...piped, ...served])("$name", (mount) => {
  it.effect("has its budget", () =>
    Effect.gen(function*() {
      const { over, ...costs } = yield* measure(mount)
      assert.isAbove(costs.bare.operations, 20)
      assert.isAbove(costs.bare.sets, 1)

      atMost(over("20 plain"), 5, 1)
      assert.deepStrictEqual(costs["20 plain"], costs["1 plain"])
      assert.deepStrictEqual(costs["20 plain, each under a condition"], costs["20 plain"])
      atMost(over("20 plain, under conditions not met"), 5, 1)
      // where the context is copied, it is put back too
      atMost(over("20 plain, providing"), 5, 2)
      atMost(over("20 plain, of another request, annotated"), 5, 2)
      // an Effect costs one: it is entered, it ends, and the frame goes on
      assert.isAtMost(over("2 of Effects").operations, 20)
    }))
})

describe("a refusal", () => {
  it.effect.each(mounts.filter(({ name }) => name === "router.pipe" || name === "HttpServer.serve(mw), Node"))(
    "costs less than the app that it keeps out, in $name",
    (mount) =>
      Effect.gen(function*() {
        const { over } = yield* measure(mount)
        for (const name of ["refused first", "refused last", "answered last"] as const) {
          assert.isBelow(over(name).operations, 0, name)
          assert.isAtMost(over(name).sets, 0, name)
        }
      })
  )

  it.effect("enters neither router nor handler", () =>
    Effect.gen(function*() {
      const refused = stacks["refused last"]
      let entered = 0
      const app = Effect.sync(() => {
        entered++
        return HttpServerResponse.empty()
      })
      for (const mount of mounts.filter(({ router }) => router !== "outside")) yield* costOf(mount, refused, app)
      assert.strictEqual(entered, 0)
    }))
})

afterAll(() => {
  if (process.env.LAWS_TABLE !== "1") return
  const rows = table.map((row) => `| ${row.join(" | ")} |`)
  console.log([rows[0], `|${" --- |".repeat(names.length + 1)}`, ...rows.slice(1)].join("\n"))
})
