/** The stores that need nothing: in memory, and in a KeyValueStore. */
import { FileSystem, HttpApiSchema, HttpServerRespondable, HttpServerResponse, KeyValueStore } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { SystemError } from "@effect/platform/Error"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option, Schema, TestClock } from "effect"
import { SessionStore } from "effect-middleware"
import * as Contract from "./contracts/SessionStoreContract.js"
import { alternating, unshared } from "./utils/sessions.js"

// ---------------------------------------------------------------------------------------------------------------------
// the contract
// ---------------------------------------------------------------------------------------------------------------------

Contract.suite("in memory", SessionStore.layerMemory())

const keyValue = SessionStore.layerKeyValue({ timeout: "1 minute" })

Contract.suite("in a KeyValueStore in memory", keyValue.pipe(Layer.provide(KeyValueStore.layerMemory)), { writers: 50 })

const files = Layer.unwrapScoped(
  Effect.map(
    Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped({ prefix: "effect-middleware-" })),
    KeyValueStore.layerFileSystem
  )
).pipe(Layer.provide(NodeContext.layer))

Contract.suite("in a KeyValueStore of files", keyValue.pipe(Layer.provide(files)), { writers: 20 })

/** Gives way before each step, as one that waits for a disk or a network does. */
const yielding = Layer.effect(
  KeyValueStore.KeyValueStore,
  Effect.map(KeyValueStore.KeyValueStore, (store) =>
    KeyValueStore.make({
      ...store,
      get: (key) => Effect.zipRight(Effect.yieldNow(), store.get(key)),
      set: (key, value) => Effect.zipRight(Effect.yieldNow(), store.set(key, value)),
      remove: (key) => Effect.zipRight(Effect.yieldNow(), store.remove(key))
    }))
).pipe(Layer.provide(KeyValueStore.layerMemory))

Contract.suite("in a KeyValueStore of two processes", alternating(keyValue).pipe(Layer.provide(yielding)), {
  writers: 50,
  only: unshared,
  except: unshared
})

// ---------------------------------------------------------------------------------------------------------------------
// in memory
// ---------------------------------------------------------------------------------------------------------------------

const minute = 60_000

const entryOf = (entry: Partial<SessionStore.Entry> = {}): SessionStore.Entry => ({
  payload: "{}",
  owner: undefined,
  createdAt: 0,
  touchedAt: 0,
  expiresAt: 20 * minute,
  endsAt: 60 * minute,
  ...entry
})

describe("in memory, bounded", () => {
  const make = (capacity: number) =>
    Effect.flatMap(
      Layer.build(SessionStore.layerMemory({ capacity })),
      (context) =>
        Effect.map(Effect.provide(SessionStore.SessionStore, context), (store) => ({
          store,
          /** Which of them are there; to look is a use, so it is done once, at the end. */
          left: (ids: ReadonlyArray<string>, now = 0) =>
            Effect.filter(ids, (id) => Effect.map(store.load(id, { now }), (stored) => stored !== undefined))
        }))
    )
  const ids = ["a", "b", "c", "d"]

  it.scoped.each<
    [what: string, use: (store: SessionStore.Service) => Effect.Effect<unknown, unknown>, left: Array<string>]
  >([
    ["nothing", () => Effect.void, ["b", "c", "d"]],
    ["a load", (store) => store.load("a", { now: 0 }), ["a", "c", "d"]],
    ["a load with a touch", (store) => store.load("a", { now: 9, touch: { every: 1, idle: 9 } }), ["a", "c", "d"]],
    ["a save", (store) => store.save("a", 1, entryOf(), 0), ["a", "c", "d"]],
    ["a save that is refused", (store) => store.save("a", 2, entryOf(), 0), ["b", "c", "d"]],
    ["a create that is refused", (store) => store.create("a", entryOf(), 0), ["b", "c", "d"]],
    ["a list", (store) => store.list("owner", 0), ["b", "c", "d"]],
    ["a load of the second", (store) => store.load("b", { now: 0 }), ["b", "c", "d"]],
    ["a destroy of the second", (store) => store.destroy("b", 0), ["a", "c", "d"]],
    ["a destroy of the first", (store) => store.destroy("a", 0), ["b", "c", "d"]]
  ])("the one goes that was not used for longest: after %s", ([_, use, expected]) =>
    Effect.gen(function*() {
      const { left, store } = yield* make(3)
      for (const id of ["a", "b", "c"]) yield* store.create(id, entryOf({ owner: "owner" }), 0)
      yield* use(store)
      yield* store.create("d", entryOf(), 0)
      assert.deepStrictEqual(yield* left(ids), expected)
    }))

  it.scoped("is in order however often sessions are used, taken out and put in again", () =>
    Effect.gen(function*() {
      const capacity = 7
      const { left, store } = yield* make(capacity)
      let model: Array<string> = []
      let seed = 1
      const random = (n: number) => (seed = seed * 48_271 % 2_147_483_647) % n
      for (let i = 0; i < 20_000; i++) {
        const id = `${random(12)}`
        const others = model.filter((other) => other !== id)
        switch (random(4)) {
          case 0:
            yield* store.destroy(id, 0)
            model = others
            break
          case 1:
            if ((yield* store.load(id, { now: 0 })) !== undefined) model = [...others, id]
            break
          default:
            if (yield* store.create(id, entryOf({ owner: `${random(3)}` }), 0)) model = [...others, id].slice(-capacity)
        }
        if (i % 500 === 0) {
          assert.sameMembers(
            (yield* Effect.forEach(["0", "1", "2"], (owner) => store.list(owner, 0))).flat().map(({ id }) => id),
            model
          )
        }
      }
      assert.deepStrictEqual(yield* left([...model]), model)
    }))

  it.scoped("what has expired goes first, and two for each that comes", () =>
    Effect.gen(function*() {
      const { left, store } = yield* make(100)
      const old = Array.from({ length: 10 }, (_, i) => `old-${i}`)
      for (const id of old) yield* store.create(id, entryOf({ expiresAt: 5 }), 0)
      for (const id of ["a", "b", "c"]) yield* store.create(id, entryOf(), 5)
      // asked for an earlier time, to see what is kept
      assert.deepStrictEqual(yield* left(old), old.slice(6))
    }))

  it.scoped("an owner has none that went, and one that went can be created again", () =>
    Effect.gen(function*() {
      const { store } = yield* make(2)
      for (const id of ids) yield* store.create(id, entryOf({ owner: "owner" }), 0)
      assert.sameMembers((yield* store.list("owner", 0)).map(({ id }) => id), ["c", "d"])
      assert.isTrue(yield* store.create("a", entryOf({ owner: "other" }), 0))
      assert.deepStrictEqual((yield* store.list("owner", 0)).map(({ id }) => id), ["d"])
      assert.strictEqual(yield* store.destroyAll("owner", { now: 0 }), 1)
      assert.strictEqual(yield* store.destroyAll("other", { now: 0 }), 1)
    }))

  it.scoped("rotates where there is room for one", () =>
    Effect.gen(function*() {
      const { left, store } = yield* make(1)
      yield* store.create("a", entryOf(), 0)
      const options = { now: 0, until: minute }
      assert.strictEqual(
        yield* store.rotate({ id: "a", version: 1 }, { id: "b", entry: entryOf() }, options),
        "saved"
      )
      assert.deepStrictEqual(yield* left(["a", "b"]), ["b"])
      // the one that led to it is forgotten, whoever has its identifier now
      yield* store.create("a", entryOf(), 0)
      yield* store.create("b", entryOf(), 0)
      yield* store.destroy("a", 0)
      assert.deepStrictEqual(yield* left(["a", "b"]), ["b"])
    }))

  it.scoped("keeps as many epochs, the last used", () =>
    Effect.gen(function*() {
      const { store } = yield* make(2)
      const advance = (owner: string) => store.advanceEpoch(owner, { now: 0, expiresAt: minute })
      yield* advance("a")
      yield* advance("b")
      yield* store.epoch("a", 0)
      yield* advance("c")
      assert.deepStrictEqual(yield* Effect.forEach(["a", "b", "c"], (owner) => store.epoch(owner, 0)), [1, 0, 1])
    }))

  it.scoped("two layers are two stores", () =>
    Effect.gen(function*() {
      const [one, two] = [yield* make(2), yield* make(2)]
      yield* one.store.create("a", entryOf(), 0)
      assert.deepStrictEqual(yield* two.left(["a"]), [])
    }))

  it.each([0, -1, 1.5, NaN, Infinity])("throws on a capacity of %d, and says what to write", (capacity) => {
    assert.throws(() => SessionStore.layerMemory({ capacity }), RangeError, /capacity is .*: write how many .* from 1/)
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// in a KeyValueStore
// ---------------------------------------------------------------------------------------------------------------------

describe("in a KeyValueStore", () => {
  const storeOf = (
    keyValueStore: KeyValueStore.KeyValueStore,
    options?: SessionStore.KeyValueOptions
  ) =>
    Effect.provide(
      SessionStore.SessionStore,
      SessionStore.layerKeyValue(options).pipe(Layer.provide(Layer.succeed(KeyValueStore.KeyValueStore, keyValueStore)))
    )

  const make = (options?: SessionStore.KeyValueOptions) => {
    const texts = new Map<string, string>()
    const keyValueStore = KeyValueStore.makeStringOnly({
      get: (key) => Effect.sync(() => Option.fromNullable(texts.get(key))),
      set: (key, text) => Effect.sync(() => void texts.set(key, text)),
      remove: (key) => Effect.sync(() => void texts.delete(key)),
      clear: Effect.void,
      size: Effect.sync(() => texts.size)
    })
    return Effect.map(storeOf(keyValueStore, options), (store) => ({ store, texts, keyValueStore }))
  }

  it.effect("removes what has expired when somebody asks for it", () =>
    Effect.gen(function*() {
      const { store, texts } = yield* make()
      yield* store.create("a", entryOf({ owner: "owner" }), 0)
      yield* store.advanceEpoch("owner", { now: 0, expiresAt: 20 * minute })
      assert.strictEqual(texts.size, 3)
      yield* store.load("a", { now: 20 * minute })
      yield* store.epoch("owner", 20 * minute)
      assert.strictEqual(texts.size, 1)
      yield* store.list("owner", 20 * minute)
      yield* store.list("owner", 60 * minute)
      assert.strictEqual(texts.size, 0)
    }))

  it.effect("an index has none that are gone, a minute after they came", () =>
    Effect.gen(function*() {
      const { store, texts } = yield* make()
      const index = () => JSON.stringify([...texts].filter(([key]) => key.startsWith("session:owner:")))
      yield* store.create("first", entryOf({ owner: "owner" }), 0)
      yield* store.create("second", entryOf({ owner: "owner" }), minute)
      yield* store.destroy("first", minute)
      yield* store.destroy("second", minute)
      yield* store.list("owner", minute)
      assert.include(index(), "first")
      yield* store.list("owner", minute + 1)
      assert.notInclude(index(), "first")
      // whoever creates it may have written the index, and not yet the session
      assert.include(index(), "second")
      yield* store.destroyAll("owner", { now: 2 * minute + 1 })
      assert.notInclude(index(), "second")
    }))

  it.effect("keys begin with the prefix, and say nothing of owners", () =>
    Effect.gen(function*() {
      const { store, texts } = yield* make({ prefix: "app:" })
      yield* store.create("a", entryOf({ owner: "someone@example.com" }), 0)
      yield* store.advanceEpoch("someone@example.com", { now: 0, expiresAt: minute })
      for (const key of texts.keys()) assert.match(key, /^app:(?:id:a|owner:[\w-]{43}|epoch:[\w-]{43})$/)
    }))

  const operations: ReadonlyArray<
    [
      keyof SessionStore.Service,
      (store: SessionStore.Service) => Effect.Effect<unknown, SessionStore.SessionUnavailable>
    ]
  > = [
    ["load", (store) => store.load("a", { now: 0 })],
    ["create", (store) => store.create("a", entryOf({ owner: "owner" }), 0)],
    ["save", (store) => store.save("a", 1, entryOf(), 0)],
    [
      "rotate",
      (store) => store.rotate({ id: "a", version: 1 }, { id: "b", entry: entryOf() }, { now: 0, until: minute })
    ],
    ["destroy", (store) => store.destroy("a", 0)],
    ["list", (store) => store.list("owner", 0)],
    ["destroyAll", (store) => store.destroyAll("owner", { now: 0 })],
    ["epoch", (store) => store.epoch("owner", 0)],
    ["advanceEpoch", (store) => store.advanceEpoch("owner", { now: 0, expiresAt: minute })]
  ]

  it.effect.each(operations)("%s fails as unavailable if the store does", ([operation, run]) =>
    Effect.gen(function*() {
      const { keyValueStore } = yield* make()
      const broken = new SystemError({ module: "KeyValueStore", method: "get", reason: "Busy" })
      const store = yield* storeOf({ ...keyValueStore, get: () => Effect.fail(broken) })
      const error = yield* Effect.flip(run(store))
      assert.strictEqual(error._tag, "SessionUnavailable")
      assert.deepStrictEqual([error.operation, error.cause], [operation, broken])
    }))

  it.effect.each(operations)(
    "%s fails as unavailable if there is what no store has written",
    ([operation, run]) =>
      Effect.gen(function*() {
        const { store, texts } = yield* make()
        yield* store.create("a", entryOf({ owner: "owner" }), 0)
        yield* store.advanceEpoch("owner", { now: 0, expiresAt: minute })
        for (const garbage of ["", "null", "[]", "{", "{\"expiresAt\":1e9}"]) {
          for (const key of texts.keys()) texts.set(key, garbage)
          texts.delete("session:id:b")
          const error = yield* Effect.flip(run(store))
          assert.strictEqual(error.operation, operation)
        }
      })
  )

  it.effect.each(operations)(
    "%s fails as unavailable if the store does not answer in time",
    ([operation, run]) =>
      Effect.gen(function*() {
        const { keyValueStore } = yield* make()
        const store = yield* storeOf({ ...keyValueStore, get: () => Effect.never }, { timeout: "1 second" })
        const fibers = yield* Effect.all([
          Effect.fork(Effect.flip(run(store))),
          // who waits for the first, and who cannot be interrupted
          Effect.fork(Effect.uninterruptible(Effect.flip(run(store))))
        ])
        yield* TestClock.adjust("999 millis")
        for (const fiber of fibers) assert.isNull(fiber.unsafePoll())
        yield* TestClock.adjust("1 millis")
        for (const fiber of fibers) assert.strictEqual((yield* Fiber.join(fiber)).operation, operation)
      })
  )

  it.effect("what has begun is brought to its end, though nobody waits for it, and the next one sees it", () =>
    Effect.gen(function*() {
      const { keyValueStore } = yield* make()
      const [began, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const store = yield* storeOf({
        ...keyValueStore,
        set: (key, text) =>
          Deferred.succeed(began, undefined).pipe(
            Effect.zipRight(Deferred.await(go)),
            Effect.zipRight(keyValueStore.set(key, text))
          )
      })
      const fiber = yield* Effect.fork(store.create("a", entryOf(), 0))
      yield* Deferred.await(began)
      yield* Fiber.interrupt(fiber)
      const loading = yield* Effect.fork(store.load("a", { now: 0 }))
      yield* Deferred.succeed(go, undefined)
      assert.isDefined(yield* Fiber.join(loading))
    }))

  it.effect("a rotation that fails half way leaves nothing of the new one", () =>
    Effect.gen(function*() {
      const { keyValueStore, texts } = yield* make()
      let failing = false
      const broken = new SystemError({ module: "KeyValueStore", method: "set", reason: "Busy" })
      const store = yield* storeOf({
        ...keyValueStore,
        set: (key, text) => failing && key === "session:id:a" ? Effect.fail(broken) : keyValueStore.set(key, text)
      })
      yield* store.create("a", entryOf(), 0)
      failing = true
      const rotate = store.rotate({ id: "a", version: 1 }, { id: "b", entry: entryOf() }, { now: 0, until: minute })
      assert.strictEqual((yield* Effect.flip(rotate)).operation, "rotate")
      assert.deepStrictEqual([...texts.keys()], ["session:id:a"])
      assert.deepInclude(yield* store.load("a", { now: 0 }), { version: 1, superseded: false })
    }))
})

// ---------------------------------------------------------------------------------------------------------------------
// failures
// ---------------------------------------------------------------------------------------------------------------------

describe("SessionUnavailable", () => {
  const error = new SessionStore.SessionUnavailable({ operation: "load", cause: new Error("secret") })

  it.effect("is answered with 503 and when to come again, and tells nothing", () =>
    Effect.gen(function*() {
      const response = yield* HttpServerRespondable.toResponse(error)
      assert.deepStrictEqual([response.status, response.headers["retry-after"]], [503, "5"])
      const body = yield* Effect.promise(() => HttpServerResponse.toWeb(response).text())
      assert.deepStrictEqual(JSON.parse(body), {
        title: "Service Unavailable",
        status: 503,
        detail: "Sessions cannot be reached at the moment"
      })
    }))

  it("has a schema, a status and a message", () => {
    assert.strictEqual(error.message, "The session store could not load")
    assert.strictEqual(HttpApiSchema.getStatusError(SessionStore.SessionUnavailable), 503)
    assert.strictEqual(
      SessionStore.SessionUnavailable.identifier,
      "effect-middleware/SessionStore/SessionUnavailable"
    )
    assert.deepInclude(Schema.encodeSync(SessionStore.SessionUnavailable)(error), {
      _tag: "SessionUnavailable",
      operation: "load"
    })
  })
})
