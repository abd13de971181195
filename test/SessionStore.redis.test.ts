/** Sessions in Redis: a server, Sentinel and a Cluster, by both clients. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import { Redis, SessionStore } from "effect-middleware"
import * as Ioredis from "effect-middleware/Redis/Ioredis"
import * as Contract from "./contracts/SessionStoreContract.js"
import { describeRedis } from "./utils/describeRedis.js"
import { makeServer } from "./utils/redis.js"
import { inRedis, patient, started } from "./utils/redisStores.js"

inRedis("SessionStore in Redis", {
  keys: 100,
  suite: (name, redis, isFirst) =>
    Contract.suite(name, SessionStore.layerRedis().pipe(Layer.provide(redis)), {
      timeout: 120_000,
      writers: isFirst ? 200 : 50
    })
})

// ---------------------------------------------------------------------------------------------------------------------
// by itself
// ---------------------------------------------------------------------------------------------------------------------

const minute = 60_000

const entryOf = (entry: Partial<SessionStore.Entry> = {}): SessionStore.Entry => ({
  payload: "{}",
  owner: "owner",
  createdAt: 0,
  touchedAt: 0,
  expiresAt: 20 * minute,
  endsAt: 60 * minute,
  ...entry
})

type Run = (store: SessionStore.Service) => Effect.Effect<unknown, SessionStore.SessionUnavailable>
const rotation = (from: string, to: string): Run => (store) =>
  store.rotate({ id: from, version: 1 }, { id: to, entry: entryOf() }, { now: 0, until: minute })

const operations: ReadonlyArray<readonly [keyof SessionStore.Service, Run]> = [
  ["load", (store) => store.load("a", { now: 0, touch: { every: 0, idle: minute } })],
  ["create", (store) => store.create("a", entryOf(), 0)],
  ["save", (store) => store.save("a", 1, entryOf(), 0)],
  ["rotate", rotation("a", "b")],
  ["destroy", (store) => store.destroy("a", 0)],
  ["list", (store) => store.list("owner", 0)],
  ["destroyAll", (store) => store.destroyAll("owner", { now: 0 })],
  ["epoch", (store) => store.epoch("owner", 0)],
  ["advanceEpoch", (store) => store.advanceEpoch("owner", { now: 0, expiresAt: minute })]
]

const storeOf = (redis: Redis.Service, options?: SessionStore.RedisOptions) =>
  Effect.provide(
    SessionStore.SessionStore,
    SessionStore.layerRedis(options).pipe(Layer.provide(Layer.succeed(Redis.Redis, redis)))
  )

const answering = (answer: Effect.Effect<unknown, Redis.RedisError>): Redis.Service => ({
  send: () => answer,
  eval: () => answer,
  within: () => answering(answer)
})

describeRedis("SessionStore.layerRedis", () => {
  const server = started(makeServer())

  /** A store of its own on an empty server, what it has sent, and the server itself. */
  const make = (options?: SessionStore.RedisOptions) =>
    Effect.gen(function*() {
      const node = yield* server
      yield* Effect.orDie(node.command("FLUSHALL"))
      const redis = Effect.provide(Redis.Redis, yield* Layer.build(Ioredis.layer(node.url, patient)))
      const service = yield* redis
      let trips = 0
      const counted: Redis.Service = {
        send: (...args) => Effect.suspend(() => (trips++, service.send(...args))),
        eval: (...args) => Effect.suspend(() => (trips++, service.eval(...args))),
        within: () => counted
      }
      const store = yield* storeOf(counted, options)
      const command = (...args: ReadonlyArray<string>) => Effect.orDie(node.command(...args))
      const keys = Effect.map(command("KEYS", "*"), (keys) => String(keys).split("\n").filter(Boolean).sort())
      return {
        store,
        service,
        command,
        keys,
        tripsOf: <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.suspend(() => {
            trips = 0
            return Effect.map(effect, () => trips)
          }),
        ttl: (key: string) => Effect.map(command("PTTL", key), Number)
      }
    })

  it.scopedLive("takes as few round trips as its page says", () =>
    Effect.gen(function*() {
      const { store, tripsOf } = yield* make()
      const trips = (run: Run) => tripsOf(run(store))
      assert.strictEqual(yield* trips((store) => store.create("a", entryOf(), 0)), 2)
      assert.strictEqual(yield* trips((store) => store.create("n", entryOf({ owner: undefined }), 0)), 1)
      assert.strictEqual(yield* trips((store) => store.load("a", { now: 0 })), 1)
      assert.strictEqual(
        yield* trips((store) => store.load("a", { now: minute, touch: { every: minute, idle: 20 * minute } })),
        1
      )
      assert.strictEqual(yield* trips((store) => store.load("missing", { now: 0 })), 1)
      assert.strictEqual(yield* trips((store) => store.save("a", 1, entryOf(), 0)), 1)
      assert.strictEqual(yield* trips((store) => store.save("a", 1, entryOf(), 0)), 1)
      assert.strictEqual(yield* trips((store) => store.epoch("owner", 0)), 1)
      assert.strictEqual(yield* trips((store) => store.advanceEpoch("owner", { now: 0, expiresAt: minute })), 1)
      assert.strictEqual(yield* trips(rotation("n", "o")), 3)
      assert.strictEqual(yield* trips(rotation("n", "p")), 4)
      assert.strictEqual(yield* trips((store) => store.list("owner", 0)), 4)
      assert.strictEqual(yield* trips((store) => store.destroy("a", 0)), 1)
      assert.strictEqual(yield* trips((store) => store.destroy("a", 0)), 1)
      assert.strictEqual(yield* trips((store) => store.destroy("n", 0)), 3)
      assert.strictEqual(yield* trips((store) => store.list("nobody", 0)), 1)
    }))

  it.scopedLive("has few keys, which say nothing of owners and go by themselves", () =>
    Effect.gen(function*() {
      const { command, keys, store, ttl } = yield* make({ prefix: "app:" })
      yield* store.create("a", entryOf({ owner: "someone@example.com" }), minute)
      yield* store.advanceEpoch("someone@example.com", { now: minute, expiresAt: 5 * minute })
      const [record = "", epoch = "", index = "", ...rest] = yield* keys
      assert.deepStrictEqual(rest, [])
      assert.strictEqual(record, "app:a")
      assert.match(epoch, /^app:epoch:[\w-]{43}$/)
      assert.match(index, /^app:owner:[\w-]{43}$/)
      for (const [key, left] of [[record, 19], [index, 59], [epoch, 4]] as const) {
        const milliseconds = yield* ttl(key)
        assert.isAtMost(milliseconds, left * minute)
        assert.isAbove(milliseconds, left * minute - 30_000)
      }
      // it is as long as the longest asks for
      yield* store.create("b", entryOf({ owner: "someone@example.com", endsAt: 30 * minute }), minute)
      assert.isAbove(yield* ttl(index), 58 * minute)
      // what has ended is taken out as others come
      assert.strictEqual(yield* command("ZCARD", index), "2")
      yield* store.create("c", entryOf({ owner: "someone@example.com" }), 30 * minute)
      assert.strictEqual(yield* command("ZCARD", index), "2")
    }))

  it.scopedLive("an index has none that are gone, a minute after they came", () =>
    Effect.gen(function*() {
      const { command, keys, store } = yield* make()
      yield* store.create("first", entryOf(), 0)
      yield* store.create("second", entryOf(), minute)
      const index = (yield* keys).find((key) => key.startsWith("session:owner:")) ?? ""
      const members = Effect.map(command("ZRANGE", index, "0", "-1"), (members) => String(members).split("\n"))
      yield* store.destroy("first", minute)
      yield* store.destroy("second", minute)
      yield* store.list("owner", minute)
      assert.deepStrictEqual(yield* members, ["first:0", "second:60000"])
      // whoever creates it may have written the index, and not yet the session
      yield* store.list("owner", minute + 1)
      assert.deepStrictEqual(yield* members, ["second:60000"])
      yield* store.destroyAll("owner", { now: 2 * minute + 1 })
      assert.deepStrictEqual(yield* keys, [])
    }))

  it.scopedLive("two prefixes are two stores", () =>
    Effect.gen(function*() {
      const { service, store } = yield* make({ prefix: "one:" })
      const other = yield* storeOf(service, { prefix: "two:" })
      yield* store.create("a", entryOf(), 0)
      yield* store.advanceEpoch("owner", { now: 0, expiresAt: minute })
      assert.isUndefined(yield* other.load("a", { now: 0 }))
      assert.deepStrictEqual(yield* other.list("owner", 0), [])
      assert.strictEqual(yield* other.epoch("owner", 0), 0)
    }))

  it.scopedLive("what others have put at its keys is no session, and no defect", () =>
    Effect.gen(function*() {
      const { keys, service, store } = yield* make()
      const command = (...[name, key = "", ...rest]: [string, ...ReadonlyArray<string>]) =>
        service.send(key, key === "" ? [name] : [name, key, ...rest])
      yield* store.create("a", entryOf(), 0)
      yield* store.advanceEpoch("owner", { now: 0, expiresAt: minute })
      const ours = yield* keys
      const garbage: ReadonlyArray<
        readonly [what: string, put: (key: string) => [string, ...ReadonlyArray<string>]]
      > = [
        ["a text", (key) => ["SET", key, "garbage"]],
        ["a list", (key) => ["RPUSH", key, "garbage"]],
        ["a hash", (key) => ["HSET", key, "garbage", "1"]],
        ["a hash with a time that is none", (key) => ["HSET", key, "e", "soon", "n", "1", "v", "1"]],
        ["a session without a payload", (key) => ["HSET", key, "e", "99999999", "v", "1", "t", "0", "l", "99999999"]]
      ]
      for (const [what, put] of garbage) {
        for (const [operation, run] of operations) {
          yield* command("FLUSHALL")
          for (const key of ours) yield* command(...put(key))
          // what is written over, or not looked at, does no harm
          const exit = yield* Effect.exit(run(store))
          if (Exit.isSuccess(exit)) {
            assert.strictEqual(what, "a session without a payload", operation)
            assert.notInclude(["load", "rotate", "list", "destroyAll", "epoch", "advanceEpoch"], operation)
          } else {
            assert.strictEqual(exit.cause._tag, "Fail", `${operation}: ${what}`)
            if (exit.cause._tag === "Fail") assert.strictEqual(exit.cause.error.operation, operation)
          }
        }
      }
      yield* command("FLUSHALL")
      for (const member of ["garbage", "a:b", "a:1:2", ":"]) {
        yield* store.create("a", entryOf(), 0)
        const index = (yield* keys).find((key) => key.startsWith("session:owner:")) ?? ""
        yield* command("ZADD", index, "99999999", member)
        assert.strictEqual((yield* Effect.flip(store.list("owner", 0))).operation, "list")
        yield* command("FLUSHALL")
      }
    }))
})

describe("SessionStore.layerRedis, of a Redis that is not as it should be", () => {
  it.effect.each(operations)("%s fails as unavailable if Redis does", ([operation, run]) =>
    Effect.gen(function*() {
      const broken = Effect.fail(new Redis.RedisError({ reason: "connection", command: "EVALSHA" }))
      const store = yield* storeOf(answering(broken))
      const error = yield* Effect.flip(run(store))
      assert.strictEqual(error._tag, "SessionUnavailable")
      assert.strictEqual(error.operation, operation)
      assert.instanceOf(error.cause, Redis.RedisError)
    }))

  const replies: ReadonlyArray<unknown> = [
    undefined,
    {},
    -1,
    3,
    1.5,
    NaN,
    true,
    "",
    [],
    [null],
    [1],
    Array.from({ length: 8 }, () => "x"),
    ["p", 1, "0", "0", "0", "0", "1", null],
    ["\0{", null, "0", "0", "0", "0", "1", null],
    ["\0{}", null, "0", "0", "0", "0", "1", null],
    ["p", null, "0", "0", "1e3", "0", "1", null],
    ["p", null, "0", "0", "99999999999999999", "0", "1", null]
  ]
  it.effect.each(replies.map((reply) => ({ reply })))("a load is given %j", ({ reply }) =>
    Effect.gen(function*() {
      const store = yield* storeOf(answering(Effect.succeed(reply)))
      const error = yield* Effect.flip(store.load("a", { now: 0 }))
      assert.deepStrictEqual([error._tag, error.operation], ["SessionUnavailable", "load"])
    }))

  it.effect.each(operations)("%s is given replies that it does not know", ([operation, run]) =>
    Effect.gen(function*() {
      for (const reply of [{}, true, 1.5, -1, [{}], undefined]) {
        const store = yield* storeOf(answering(Effect.succeed(reply)))
        const error = yield* Effect.flip(run(store))
        assert.deepStrictEqual([error._tag, error.operation], ["SessionUnavailable", operation])
      }
    }))
})
