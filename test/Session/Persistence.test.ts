import { Persistence as Backing } from "@effect/experimental"
import * as BackingRedis from "@effect/experimental/Persistence/Redis"
import { KeyValueStore } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Option } from "effect"
import { SessionStore } from "effect-middleware"
import * as Persistence from "effect-middleware/Session/Persistence"
import * as Contract from "../contracts/SessionStoreContract.js"
import { describeRedis, RedisServer } from "../utils/redis.js"
import { alternating } from "../utils/sessions.js"

const store = Persistence.layerStore({ timeout: "1 minute" })

Contract.suite("in memory", store.pipe(Layer.provide(Backing.layerMemory)), { writers: 50 })

const keyValue = Backing.layerKeyValueStore.pipe(Layer.provide(KeyValueStore.layerMemory))

Contract.suite("in a KeyValueStore", store.pipe(Layer.provide(keyValue)), { writers: 50 })

/** Those in which both are asked at the same moment, so that both read before either writes. */
const certain: ReadonlyArray<Contract.Case> = [
  "a touch is no version, and takes no save back",
  "of many writers of one version one saves",
  "as many as load, save and try again are counted",
  "fifty advances at the same time are fifty"
]

describeRedis("with Redis", () => {
  const redis = Layer.unwrapEffect(Effect.map(RedisServer, ({ port }) => BackingRedis.layer({ port }))).pipe(
    Layer.provide(RedisServer.layer())
  )
  Contract.suite("in Redis", store.pipe(Layer.provide(redis)), { writers: 20 })
  Contract.suite("in Redis, of two processes", alternating(store).pipe(Layer.provide(redis)), {
    writers: 20,
    only: certain,
    except: certain
  })
})

describe("of a backing", () => {
  const make = (options?: Persistence.Options) => {
    const texts = new Map<string, unknown>()
    const ttls = new Map<string, number>()
    const stores: Array<string> = []
    const backing = Backing.BackingPersistence.of({
      [Backing.BackingPersistenceTypeId]: Backing.BackingPersistenceTypeId,
      make: (storeId) =>
        Effect.sync(() => {
          stores.push(storeId)
          return {
            get: (key) => Effect.sync(() => Option.fromNullable(texts.get(key))),
            getMany: () => Effect.dieMessage("not used"),
            set: (key, value, ttl) =>
              Effect.sync(() => {
                texts.set(key, value)
                ttls.set(key, Option.match(ttl, { onNone: () => Infinity, onSome: Duration.toMillis }))
              }),
            setMany: () => Effect.dieMessage("not used"),
            remove: (key) => Effect.sync(() => void texts.delete(key)),
            clear: Effect.void
          }
        })
    })
    return Effect.map(
      Layer.build(Layer.provide(Persistence.layerStore(options), Layer.succeed(Backing.BackingPersistence, backing))),
      (context) => ({
        store: Effect.provide(SessionStore.SessionStore, context),
        stores,
        texts,
        ttls
      })
    )
  }
  const minute = 60_000
  const entry: SessionStore.Entry = {
    payload: "{}",
    owner: "owner",
    createdAt: 0,
    touchedAt: 0,
    expiresAt: 20 * minute,
    endsAt: 60 * minute
  }

  it.scoped("all that is set has a time to live: its own, or that of what it leads to", () =>
    Effect.gen(function*() {
      const { store, stores, ttls } = yield* make()
      const sessions = yield* store
      yield* sessions.create("a", entry, minute)
      yield* sessions.advanceEpoch("owner", { now: minute, expiresAt: 5 * minute })
      assert.deepStrictEqual(stores, ["session"])
      const found = [...ttls].map(([key, ttl]) => [key.split(":")[0], ttl / minute])
      assert.deepStrictEqual(found, [["owner", 59], ["id", 19], ["epoch", 4]])
      yield* sessions.load("a", { now: 10 * minute, touch: { every: minute, idle: 30 * minute } })
      assert.strictEqual(ttls.get("id:a"), 30 * minute)
      yield* sessions.rotate({ id: "a", version: 1 }, { id: "b", entry }, { now: 10 * minute, until: 11 * minute })
      assert.strictEqual(ttls.get("id:a"), minute)
    }))

  it.scoped("uses the store that it is told to, and fails as unavailable on what none has written", () =>
    Effect.gen(function*() {
      const { store, stores, texts } = yield* make({ storeId: "app" })
      const sessions = yield* store
      assert.deepStrictEqual(stores, ["app"])
      for (const garbage of [7, {}, [], "", "{}", false]) {
        texts.set("id:a", garbage)
        const error = yield* Effect.flip(sessions.load("a", { now: 0 }))
        assert.deepStrictEqual([error._tag, error.operation], ["SessionUnavailable", "load"])
      }
    }))
})
