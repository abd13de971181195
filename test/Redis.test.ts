/** The port by itself, over clients that are made up; and what its adapters keep, on real engines. */
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigError, ConfigProvider, Duration, Effect, Either, Fiber, Layer, Logger, TestClock } from "effect"
import { Redis } from "effect-middleware"
import * as Ioredis from "effect-middleware/Redis/Ioredis"
import * as NodeRedis from "effect-middleware/Redis/NodeRedis"
import * as Client from "ioredis"
import * as Util from "node:util"
import { createClient } from "redis"
import { ioredis, redisSuite } from "./contracts/RedisContract.js"
import { describeRedis } from "./utils/describeRedis.js"
import { eventually, makeServer } from "./utils/redis.js"

const pingScript = Redis.script("return 1")

/** Collects what is sent, and answers when it is told to. */
const manual = () => {
  const sent: Array<
    {
      readonly key: string
      readonly command: Redis.Command
      readonly resolve: (reply: unknown) => void
      readonly reject: (error: unknown) => void
    }
  > = []
  const send = (key: string, command: Redis.Command) =>
    new Promise((resolve, reject) => void sent.push({ key, command, resolve, reject }))
  return { sent, send }
}

const failing = (error: unknown, options?: Parameters<typeof Redis.make>[1]) =>
  Redis.make(() => Promise.reject(error), options).send("key", ["GET", "key"]).pipe(Effect.flip)

describe("the time limit", () => {
  it.effect("is 250 milliseconds, by the Clock", () =>
    Effect.gen(function*() {
      const { send } = manual()
      const fiber = yield* Effect.fork(Effect.flip(Redis.make(send).send("key", ["GET", "key"])))
      yield* TestClock.adjust("249 millis")
      assert.isNull(fiber.unsafePoll())
      yield* TestClock.adjust("1 millis")
      const error = yield* Fiber.join(fiber)
      assert.deepEqual([error.reason, error.command], ["timeout", "GET"])
      assert.strictEqual(error.message, "Redis GET: no reply in time")
    }))

  it.effect("counts for each command from its own beginning", () =>
    Effect.gen(function*() {
      const { send, sent } = manual()
      const redis = Redis.make(send, { commandTimeout: "1 second" })
      const ask = (key: string) => Effect.fork(Effect.either(redis.send(key, ["GET", key])))
      const first = yield* ask("1")
      yield* TestClock.adjust("400 millis")
      const second = yield* ask("2")
      const third = yield* ask("3")
      yield* TestClock.adjust("500 millis")
      sent[0]?.resolve("one")
      assert.deepEqual(yield* Fiber.join(first), Either.right("one"))
      yield* TestClock.adjust("499 millis")
      assert.deepEqual([second.unsafePoll(), third.unsafePoll()], [null, null])
      sent[2]?.resolve("three")
      yield* TestClock.adjust("1 millis")
      assert.isTrue(Either.isLeft(yield* Fiber.join(second)))
      assert.deepEqual(yield* Fiber.join(third), Either.right("three"))
      // and after a pause, in which nobody waited
      yield* TestClock.adjust("1 hour")
      const late = yield* ask("4")
      yield* TestClock.adjust("1 second")
      assert.isTrue(Either.isLeft(yield* Fiber.join(late)))
    }))

  it.effect("holds where nothing can be interrupted, as in an app of platform's servers", () =>
    Effect.gen(function*() {
      const redis = Redis.make(manual().send)
      const fiber = yield* Effect.fork(Effect.uninterruptible(Effect.flip(redis.send("key", ["GET", "key"]))))
      yield* TestClock.adjust("250 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).reason, "timeout")
    }))

  it.effect("is another for whom it is asked for, and the bound is one for all", () =>
    Effect.gen(function*() {
      const { send, sent } = manual()
      const redis = Redis.make(send, { maxPending: 3 })
      const short = redis.within("100 millis")
      const ask = (redis: Redis.Service) => Effect.fork(Effect.either(redis.send("key", ["GET", "key"])))
      // the one that began first ends last
      const long = yield* ask(redis)
      const first = yield* ask(short)
      const longest = yield* ask(short.within("1 second"))
      yield* TestClock.adjust("99 millis")
      assert.deepEqual([long, first, longest].map((fiber) => fiber.unsafePoll()), [null, null, null])
      yield* TestClock.adjust("1 millis")
      assert.isTrue(Either.isLeft(yield* Fiber.join(first)))
      assert.strictEqual((yield* Effect.flip(short.send("key", ["GET", "key"]))).reason, "overloaded")
      yield* TestClock.adjust("150 millis")
      assert.isTrue(Either.isLeft(yield* Fiber.join(long)))
      assert.isNull(longest.unsafePoll())
      sent[2]?.resolve("late")
      yield* TestClock.adjust("1 millis")
      assert.deepEqual(yield* Fiber.join(longest), Either.right("late"))
      assert.throws(() => redis.within(0), /commandTimeout is 0 ms/)
    }))

  it.effect("is one for both attempts of a script", () =>
    Effect.gen(function*() {
      const { send, sent } = manual()
      const fiber = yield* Effect.fork(Effect.flip(Redis.make(send).eval(pingScript, ["key"], [])))
      yield* TestClock.adjust("200 millis")
      sent[0]?.reject(new Error("NOSCRIPT No matching script."))
      yield* TestClock.adjust("50 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).reason, "timeout")
      assert.strictEqual(sent[1]?.command[0], "EVAL")
    }))

  it.effect("is over with an interruption", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(Redis.make(manual().send).send("key", ["GET", "key"]))
      yield* TestClock.adjust("1 millis")
      yield* Fiber.interrupt(fiber)
    }))
})

describe("the bound", () => {
  it.effect("counts what the client has not settled, timed out or not", () =>
    Effect.gen(function*() {
      const { send, sent } = manual()
      const redis = Redis.make(send, { maxPending: 2 })
      const get = Effect.flip(redis.send("key", ["GET", "key"]))
      const fibers = yield* Effect.all([Effect.fork(get), Effect.fork(get)])
      yield* TestClock.adjust("250 millis")
      for (const fiber of fibers) assert.strictEqual((yield* Fiber.join(fiber)).reason, "timeout")
      assert.strictEqual((yield* get).reason, "overloaded")
      assert.strictEqual((yield* Effect.flip(redis.eval(pingScript, ["key"], []))).reason, "overloaded")
      assert.strictEqual(sent.length, 2)
      sent[0]?.resolve(null)
      sent[1]?.reject(new Error("gone"))
      yield* Effect.promise(() => Promise.resolve())
      yield* Effect.fork(get)
      yield* Effect.fork(get)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* get).reason, "overloaded")
      assert.strictEqual(sent.length, 4)
    }))
})

describe("a script", () => {
  it("has the SHA-1 of its text", () =>
    assert.deepEqual(Redis.script("return 1"), { lua: "return 1", sha1: "e0e1f9fabfc9d4800c877a703b823ac0578ff8db" }))

  it.effect("is sent by its SHA-1, and by its text to a server that does not know it", () =>
    Effect.gen(function*() {
      const commands: Array<readonly [string, Redis.Command]> = []
      const redis = Redis.make(async (key, command) => {
        commands.push([key, command])
        if (command[0] === "EVALSHA") throw new Error("NOSCRIPT No matching script. Please use EVAL.")
        return 1
      })
      assert.strictEqual(yield* redis.eval(pingScript, ["{a}1", "{a}2"], ["x"]), 1)
      assert.deepEqual(commands, [
        ["{a}1", ["EVALSHA", pingScript.sha1, "2", "{a}1", "{a}2", "x"]],
        ["{a}1", ["EVAL", "return 1", "2", "{a}1", "{a}2", "x"]]
      ])
    }))

  it.effect("that fails is not sent again", () =>
    Effect.gen(function*() {
      let count = 0
      const redis = (error: Error) => Redis.make(() => (count++, Promise.reject(error)))
      for (const message of ["ERR wrong", "socket closed", "ERR NOSCRIPT"]) {
        yield* Effect.flip(redis(new Error(message)).eval(pingScript, ["key"], []))
      }
      assert.strictEqual(count, 3)
    }))

  it.effect("has keys of one slot, on a single server too", () =>
    Effect.gen(function*() {
      const redis = Redis.make(async () => 1)
      const run = (keys: readonly [string, ...Array<string>]) => Effect.sandbox(redis.eval(pingScript, keys, []))
      for (
        const keys of [["a"], ["a", "a"], ["{a}b", "{a}c"], ["a", "b{a}"], ["x{a}{b}", "{a}{c}"], [
          "{}a",
          "{}a"
        ]] as const
      ) {
        assert.strictEqual(yield* run(keys), 1, keys.join())
      }
      for (const keys of [["a", "b"], ["{a}", "{b}"], ["{}a", "{}b"], ["{a", "{b"], ["{a}x", "{{a}}x"]] as const) {
        const cause = yield* Effect.flip(run(keys))
        assert.include(String(cause), "give them one hash tag", keys.join())
      }
    }))
})

describe("an error", () => {
  it.effect("is a reply if its message begins with a code, unless that says that nothing was done", () =>
    Effect.gen(function*() {
      for (
        const [message, reason] of [
          ["ERR syntax error", "reply"],
          ["WRONGTYPE Operation against a key", "reply"],
          ["OOM command not allowed", "reply"],
          ["LOADING Redis is loading the dataset in memory", "connection"],
          ["READONLY You can't write against a read only replica.", "connection"],
          ["CLUSTERDOWN The cluster is down", "connection"],
          ["MASTERDOWN Link with MASTER is down", "connection"],
          ["TRYAGAIN Multiple keys request during rehashing of slot", "connection"],
          ["connect ECONNREFUSED 127.0.0.1:6379", "connection"],
          ["Connection is closed.", "connection"],
          ["The client is offline", "connection"]
        ] as const
      ) assert.strictEqual((yield* failing(new Error(message))).reason, reason, message)
      assert.strictEqual((yield* failing("down")).reason, "connection")
    }))

  it.effect("is what the client says it is", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* failing(new Error("no code"), { isReply: () => true })).reason, "reply")
      assert.strictEqual((yield* failing(new Error("ERR x"), { isReply: () => false })).reason, "connection")
    }))

  it.effect("is one where the client throws", () =>
    Effect.gen(function*() {
      const redis = Redis.make(() => {
        throw new Error("closed")
      })
      assert.strictEqual((yield* Effect.flip(redis.send("key", ["GET", "key"]))).reason, "connection")
    }))

  it.effect("has the client's message and name, and nothing that the client added", () =>
    Effect.gen(function*() {
      const original = Object.assign(
        new Error("ERR unknown command 'X', with args beginning with: 'secret' \n'secret'", { cause: "secret" }),
        { name: "ReplyError", command: { name: "X", args: ["secret"] } }
      )
      const error = yield* failing(original)
      assert.strictEqual(String(error.cause), "ReplyError: ERR unknown command 'X'")
      assert.notInclude(Util.inspect(error, { depth: null, showHidden: true }), "secret")
      assert.notInclude(JSON.stringify(error), "secret")
    }))
})

describe("options", () => {
  it("that cannot be are refused", () => {
    for (const commandTimeout of [0, Duration.infinity, -1]) {
      assert.throws(() => Redis.make(manual().send, { commandTimeout }), /commandTimeout is .*"250 millis"/)
    }
    for (const maxPending of [0, NaN]) {
      assert.throws(() => Redis.make(manual().send, { maxPending }), /maxPending is .*4096/)
    }
  })
})

const adapters = [
  { name: "ioredis", layerConfig: Ioredis.layerConfig },
  { name: "node-redis", layerConfig: NodeRedis.layerConfig }
]

describe("layerConfig", () => {
  for (const { layerConfig, name } of adapters) {
    it.effect(`of ${name} refuses what is no URL of Redis, and does not show it`, () =>
      Effect.gen(function*() {
        for (const url of ["secret", "http://secret", "redis://secret:6379:1"]) {
          const error = yield* Layer.build(layerConfig(Config.redacted("REDIS_URL"))).pipe(
            Effect.scoped,
            Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["REDIS_URL", url]]))),
            Effect.flip
          )
          assert.isTrue(ConfigError.isConfigError(error))
          assert.include(String(error), "rediss://")
          assert.notInclude(String(error), "secret")
        }
      }))
  }
})

describeRedis("by a URL", () => {
  for (const { layerConfig, name } of adapters) {
    const layer = (url: string) =>
      Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["REDIS_URL", url]]))).pipe(
        (provider) =>
          Layer.provide(layerConfig(Config.redacted("REDIS_URL"), { commandTimeout: "5 seconds" }), provider)
      )

    it.scopedLive(`${name} has its password and database`, () =>
      Effect.gen(function*() {
        const { port } = yield* makeServer({ args: ["--requirepass", "letmein"] })
        const info = Effect.flatMap(Redis.Redis, (redis) => redis.send("key", ["CLIENT", "INFO"]))
        assert.match(
          String(yield* Effect.provide(eventually(info), layer(`redis://:letmein@127.0.0.1:${port}/3`))),
          / db=3 .*user=default/
        )

        // and with another, the log says why, without it
        const lines: Array<string> = []
        const logger = Logger.replace(
          Logger.defaultLogger,
          Logger.make(({ message }) => void lines.push(Util.inspect(message)))
        )
        const wrong = Effect.provide(Effect.flip(info), layer(`redis://:secret@127.0.0.1:${port}`))
        assert.strictEqual((yield* Effect.provide(wrong, logger)).reason, "connection")
        assert.match(lines.join(), /WRONGPASS/)
        assert.strictEqual(lines.length, 1)
        assert.notInclude(lines.join(), "secret")
      }), 30_000)
  }
})

describeRedis("a client of one's own", () => {
  it.scopedLive("is used, and left open", () =>
    Effect.gen(function*() {
      const { port, url } = yield* makeServer()
      const own = yield* Effect.acquireRelease(
        Effect.promise(() => createClient({ url }).connect()),
        (client) => Effect.sync(() => client.destroy())
      )
      const other = yield* Effect.acquireRelease(
        Effect.sync(() => new Client.Redis(port)),
        (client) => Effect.sync(() => client.disconnect())
      )
      for (const layer of [NodeRedis.layerClient(own), Ioredis.layerClient(other)]) {
        const redis = yield* Effect.provide(Redis.Redis, Layer.fresh(layer))
        assert.strictEqual(yield* redis.eval(pingScript, ["key"], []), 1)
        assert.strictEqual((yield* Effect.flip(redis.send("key", ["NOSUCH"]))).reason, "reply")
      }
      assert.strictEqual(yield* Effect.promise(() => own.ping()), "PONG")
      assert.strictEqual(yield* Effect.promise(() => other.ping()), "PONG")
    }), 30_000)
})

redisSuite([
  ioredis,
  {
    name: "node-redis",
    single: ({ url }, options) => NodeRedis.layer({ url, name: "contract" }, options),
    sentinel: ({ name, sentinels }, options) =>
      NodeRedis.layerSentinel({
        name,
        sentinelRootNodes: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })),
        nodeClientOptions: { name: "contract" }
      }, options),
    cluster: ({ nodes }, options) =>
      NodeRedis.layerCluster({ rootNodes: nodes.map(({ url }) => ({ url })), defaults: { name: "contract" } }, options)
  }
])
