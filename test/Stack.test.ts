import { HttpLayerRouter, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { Middleware, Stack } from "effect-middleware"
import { nodeServer, send } from "./utils/TestApp.js"

const mark = <const Name extends string>(name: Name) =>
  Middleware.make({ name, response: (draft) => draft.set("x-order", (draft.get("x-order") ?? "") + name) })
const pass = <const Name extends string>(name: Name) => Middleware.dispatch(name, (_, next) => next)

const ok = HttpServerResponse.text("ok")
const orderOf = (middleware: Middleware.Middleware) =>
  Effect.map(send(middleware(ok)), ({ headers }) => headers["x-order"])

describe("Stack", () => {
  const abc = Stack.make(mark("a"), mark("b"), mark("c"))

  it.effect("the first is outermost: it edits last", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* orderOf(abc), "cba")
    }))

  it.effect("a stack inside a stack stands in its place", () =>
    Effect.gen(function*() {
      const nested = Stack.make(mark("x"), abc, mark("y"))
      assert.strictEqual(yield* orderOf(nested), "ycbax")
      assert.deepStrictEqual(Stack.names(nested), ["x", "a", "b", "c", "y"])
    }))

  describe("names are unique", () => {
    it("among the members", () => {
      assert.throws(
        () => Stack.make(mark("a"), mark("a")),
        /two middlewares are named "a"; give one of them another name/
      )
    })
    it("and those of a stack inside", () => {
      assert.throws(() => Stack.make(mark("b"), abc), /two middlewares are named "b"/)
    })
    it("a condition is no name", () => {
      assert.doesNotThrow(() =>
        Stack.make(Middleware.when(() => true, mark("a")), Middleware.when(() => true, mark("b")))
      )
    })
  })

  it("refuses a plain function, with the remedy", () => {
    assert.throws(
      () => Stack.make(((app: unknown) => app) as never),
      /Middleware\.fromHttpMiddleware\(name, middleware\)/
    )
  })

  describe("editing gives a new stack", () => {
    it.each(
      [
        ["append", Stack.append(abc, mark("x")), ["a", "b", "c", "x"]],
        ["prepend", Stack.prepend(abc, mark("x")), ["x", "a", "b", "c"]],
        ["before", Stack.before(abc, "b", mark("x")), ["a", "x", "b", "c"]],
        ["after", Stack.after(abc, "b", mark("x")), ["a", "b", "x", "c"]],
        ["replace", Stack.replace(abc, "b", mark("x")), ["a", "x", "c"]],
        ["replace by one of its own name", Stack.replace(abc, "b", pass("b")), ["a", "b", "c"]],
        ["without", Stack.without(abc, "b"), ["a", "c"]]
      ] as const
    )("%s", (_, edited, expected) => {
      assert.deepStrictEqual(Stack.names(edited), expected)
      assert.deepStrictEqual(Stack.names(abc), ["a", "b", "c"])
    })

    it.effect("and it runs as it is written", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* orderOf(Stack.after(abc, "a", mark("x"))), "cbxa")
        assert.strictEqual(yield* orderOf(Stack.without(abc, "c")), "ba")
      }))

    it("a name that is not there throws, with those that are", () => {
      assert.throws(() => Stack.without(abc, "z" as "a"), /no member is named "z"; the members are "a", "b", "c"/)
    })
    it("a name that is there already throws", () => {
      assert.throws(() => Stack.append(abc, mark("a")), /two middlewares are named "a"/)
    })
    it("a group is edited as one", () => {
      const group = Middleware.every("Group")(mark("x"), mark("y"))
      assert.deepStrictEqual(Stack.names(Stack.without(Stack.make(mark("a"), group), "Group")), ["a"])
    })
  })

  describe("describe", () => {
    class Tenant extends Middleware.Service("app/Tenant")<Tenant, string>() {}
    it("draws the phases of each member, inward", () => {
      const stack = Stack.make(
        Middleware.provide(Tenant, Effect.succeed("t")),
        pass("Wrap"),
        Middleware.when(() => true, Stack.make(mark("a"), Middleware.unless(() => true, mark("b")))),
        Middleware.forRoutes(["/admin/*"], pass("Guard")),
        mark("c")
      )
      assert.strictEqual(
        Stack.describe(stack),
        `
app/Tenant     → request  provides app/Tenant
│ Wrap         ↔ wraps
│ │ a          ← response  (when)
│ │ │ b        ← response  (when, unless)
│ │ │ │ Guard  ↔ wraps  (forRoutes)
│ │ │ │ │ c    ← response
│ │ │ │ │ │ app`.slice(1)
      )
    })
    it("draws a single middleware too", () => {
      assert.strictEqual(Stack.describe(mark("a")), "a  ← response\n│ app")
    })
  })

  describe("requirements of a layer are met once", () => {
    class Store extends Context.Tag("Store")<Store, { readonly id: number }>() {}
    class Seen extends Middleware.Service("app/Seen")<Seen, number>() {}
    const seen = Middleware.provide(Seen, Effect.map(Store, ({ id }) => id))
    const counted = () => {
      let built = 0
      return { built: () => built, layer: Layer.sync(Store, () => ({ id: ++built })) }
    }
    const routes = HttpLayerRouter.add(
      "GET",
      "/",
      Effect.map(Seen, (id) => HttpServerResponse.text(String(id)))
    )

    it.scoped("by Stack.layerRouter", () =>
      Effect.gen(function*() {
        const { built, layer } = counted()
        const { dispose, handler } = HttpLayerRouter.toWebHandler(
          routes.pipe(Layer.provide(Stack.layerRouter(seen).layer), Layer.provide(layer)),
          { disableLogger: true }
        )
        const ask = Effect.promise(() => handler(new Request("http://localhost/")).then((response) => response.text()))
        assert.deepStrictEqual([yield* ask, yield* ask, built()], ["1", "1", 1])
        yield* Effect.promise(dispose)
      }))

    it.scoped("by Stack.layerRouterGlobal", () =>
      Effect.gen(function*() {
        const { built, layer } = counted()
        const { dispose, handler } = HttpLayerRouter.toWebHandler(
          routes.pipe(Layer.provideMerge(Stack.layerRouterGlobal(seen)), Layer.provide(layer)),
          { disableLogger: true }
        )
        const ask = Effect.promise(() => handler(new Request("http://localhost/")).then((response) => response.text()))
        assert.deepStrictEqual([yield* ask, yield* ask, built()], ["1", "1", 1])
        yield* Effect.promise(dispose)
      }))

    it.scoped("by Stack.serveRouter", () =>
      Effect.gen(function*() {
        const { built, layer } = counted()
        yield* Layer.build(Stack.serveRouter(routes, seen).pipe(Layer.provide(layer), Layer.provide(nodeServer)))
        assert.strictEqual(built(), 1)
      }))
  })
})
