/** What was spent in Redis: a server, Sentinel and a Cluster, by both clients. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Layer, Logger, Schedule, TestClock } from "effect"
import { RateLimit, RateLimitStore, Redis } from "effect-middleware"
import * as Ioredis from "effect-middleware/Redis/Ioredis"
import * as Contract from "./contracts/RateLimitStoreContract.js"
import { describeRedis } from "./utils/describeRedis.js"
import { makeServer } from "./utils/redis.js"
import { inRedis, patient, started } from "./utils/redisStores.js"

inRedis("RateLimitStore in Redis", {
  keys: 50,
  suite: (name, redis, isFirst) =>
    Contract.suite(name, RateLimitStore.layerRedis({ timeout: "30 seconds" }).pipe(Layer.provide(redis)), {
      timeout: 120_000,
      traces: isFirst ? 20 : 4
    })
})

// ---------------------------------------------------------------------------------------------------------------------
// by itself
// ---------------------------------------------------------------------------------------------------------------------

const hourly = (limit: number) => RateLimit.limits(RateLimit.gcra({ limit, window: "1 hour" }))
const bucketOf = (key: string, limits = hourly(1)): RateLimitStore.Bucket => ({ limiter: "test", key, limits })

const storeOf = (redis: Redis.Service, options?: RateLimitStore.RedisOptions) =>
  Effect.provide(
    RateLimitStore.RateLimitStore,
    RateLimitStore.layerRedis(options).pipe(Layer.provide(Layer.succeed(Redis.Redis, redis)))
  )

/** A client that counts, and answers what it is told to. */
const scripted = (answer: () => Effect.Effect<unknown, Redis.RedisError>) => {
  let asked = 0
  const service: Redis.Service = {
    send: () => Effect.suspend(() => (asked++, answer())),
    eval: () => Effect.suspend(() => (asked++, answer())),
    within: () => service
  }
  return { service, asked: () => asked }
}
const broken = Effect.fail(new Redis.RedisError({ reason: "connection", command: "EVAL" }))
/** One that has room, or none for an hour, as the script says it. */
const reply = (allowed: boolean, now: number) => Effect.succeed([allowed ? 1 : 0, now, (now + 3_600_000) * 1000, 0, 0])

describe("a store that is dead", () => {
  it.effect("is not asked after five failures, for a second, then for two; one request finds out", () =>
    Effect.gen(function*() {
      let answer: Effect.Effect<unknown, Redis.RedisError> = broken
      const { asked, service } = scripted(() => answer)
      const store = yield* storeOf(service)
      const ask = Effect.exit(store.consume(bucketOf("a"), { cost: 1 }))
      for (let i = 0; i < 20; i++) {
        const exit = yield* ask
        assert.isTrue(Exit.isFailure(exit))
      }
      assert.strictEqual(asked(), 5)
      yield* TestClock.adjust("999 millis")
      yield* ask
      assert.strictEqual(asked(), 5)
      yield* TestClock.adjust("1 millis")
      yield* Effect.all([ask, ask, ask])
      assert.strictEqual(asked(), 6)
      yield* TestClock.adjust("1999 millis")
      yield* ask
      assert.strictEqual(asked(), 6)
      yield* TestClock.adjust("1 millis")
      answer = Effect.suspend(() => reply(true, 0))
      assert.isTrue(Exit.isSuccess(yield* ask))
      // and from then on as before
      assert.isTrue(Exit.isSuccess(yield* ask))
      assert.strictEqual(asked(), 8)
    }))

  it.effect("a question that is interrupted is no answer, and another may ask", () =>
    Effect.gen(function*() {
      let answer: Effect.Effect<unknown, Redis.RedisError> = broken
      const { asked, service } = scripted(() => answer)
      const store = yield* storeOf(service)
      const ask = Effect.exit(store.peek(bucketOf("a"), { cost: 1 }))
      for (let i = 0; i < 5; i++) yield* ask
      yield* TestClock.adjust("1 seconds")
      answer = Effect.never
      const fiber = yield* Effect.fork(ask)
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(fiber)
      answer = Effect.suspend(() => reply(true, 0))
      assert.isTrue(Exit.isSuccess(yield* ask))
      assert.strictEqual(asked(), 7)
    }))
})

describe("a reply that is none", () => {
  it.effect.each([null, "no", [], [1], [1, 0, "x", 0, 0], [1, 0, 1, 2], [1, Number.NaN, 0, 0, 0]])(
    "%j",
    (reply) =>
      Effect.gen(function*() {
        const store = yield* storeOf(scripted(() => Effect.succeed(reply)).service)
        const error = yield* Effect.flip(store.consume(bucketOf("a"), { cost: 1 }))
        assert.deepStrictEqual([error._tag, error.operation], ["RateLimitUnavailable", "consume"])
      })
  )
})

describe("a key that is exhausted", () => {
  const start = (options?: RateLimitStore.RedisOptions) =>
    Effect.gen(function*() {
      let allowed = false
      const { asked, service } = scripted(() => Effect.flatMap(Clock.currentTimeMillis, (now) => reply(allowed, now)))
      const store = yield* storeOf(service, options)
      return { store, asked, allow: (value: boolean) => Effect.sync(() => void (allowed = value)) }
    })

  it.effect("is refused without asking, with the time that is left, and asked about again after 5 seconds", () =>
    Effect.gen(function*() {
      const { allow, asked, store } = yield* start()
      const bucket = bucketOf("a")
      const first = yield* store.consume(bucket, { cost: 1 })
      yield* TestClock.adjust("2 seconds")
      const second = yield* store.consume(bucket, { cost: 1 })
      assert.strictEqual(asked(), 1)
      assert.isFalse(second.allowed)
      assert.strictEqual(first.retryAfter - second.retryAfter, 2000)
      assert.strictEqual(second.now - first.now, 2000)
      assert.strictEqual(first.limits[0]!.resetAfter - second.limits[0]!.resetAfter, 2000)
      yield* allow(true)
      yield* TestClock.adjust("2999 millis")
      assert.isFalse((yield* store.consume(bucket, { cost: 1 })).allowed)
      yield* TestClock.adjust("1 millis")
      assert.isTrue((yield* store.consume(bucket, { cost: 1 })).allowed)
      assert.strictEqual(asked(), 2)
    }))

  it.effect("others are asked about: a smaller cost, another plan, another key; and it is after a refund or a reset", () =>
    Effect.gen(function*() {
      const { asked, store } = yield* start()
      const limits = hourly(10)
      const ask = (cost: number, key = "a", of = limits) =>
        Effect.as(store.consume(bucketOf(key, of), { cost }), undefined)
      yield* ask(2)
      yield* ask(3)
      assert.strictEqual(asked(), 1)
      yield* ask(1)
      yield* ask(1)
      assert.strictEqual(asked(), 2)
      yield* ask(1, "b")
      yield* ask(1, "a", hourly(2))
      assert.strictEqual(asked(), 4)
      yield* ask(1)
      yield* store.refund(bucketOf("a", limits), { cost: 1, since: 0 })
      yield* ask(1)
      yield* store.reset(bucketOf("a", limits))
      yield* ask(1)
      assert.strictEqual(asked(), 9)
    }))

  it.effect("only so many are remembered, and none if that is not wanted", () =>
    Effect.gen(function*() {
      const limits = hourly(1)
      const few = yield* start({ refuseLocally: 2 })
      for (const key of ["a", "b", "c", "c", "b", "a"]) yield* few.store.consume(bucketOf(key, limits), { cost: 1 })
      assert.strictEqual(few.asked(), 4)
      const none = yield* start({ refuseLocally: false })
      for (const key of ["a", "a"]) yield* none.store.consume(bucketOf(key, limits), { cost: 1 })
      assert.strictEqual(none.asked(), 2)
    }))

  it("the capacity is a whole number from 1", () =>
    assert.throws(() => RateLimitStore.layerRedis({ refuseLocally: 0 }), "refuseLocally is 0"))
})

describe("layerStoreFallback", () => {
  it.effect("decides in the other's place, says so once in ten seconds, and goes back by itself", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.make<unknown, void>(({ message }) => void lines.push(String([message].flat()[0])))
      let answer: Effect.Effect<unknown, Redis.RedisError> = broken
      const { asked, service } = scripted(() => answer)
      const layer = RateLimitStore.layerStoreFallback(
        RateLimitStore.layerRedis().pipe(Layer.provide(Layer.succeed(Redis.Redis, service))),
        RateLimitStore.layerMemory()
      )
      yield* Effect.gen(function*() {
        const store = yield* RateLimitStore.RateLimitStore
        const bucket = bucketOf("a")
        const decisions = yield* Effect.replicateEffect(store.consume(bucket, { cost: 1 }), 10)
        assert.deepStrictEqual(decisions.map(({ allowed }) => allowed), [true, ...Array(9).fill(false)])
        assert.isFalse((yield* store.peek(bucket, { cost: 1 })).allowed)
        assert.strictEqual(asked(), 5)
        assert.deepStrictEqual(lines, ["A rate limit store is unavailable, and another decides in its place"])
        yield* TestClock.adjust("10 seconds")
        yield* store.consume(bucket, { cost: 1 })
        assert.strictEqual(lines.length, 2)
        yield* TestClock.adjust("30 seconds")
        answer = Effect.flatMap(Clock.currentTimeMillis, (now) => reply(true, now))
        assert.isTrue((yield* store.consume(bucket, { cost: 1 })).allowed)
        yield* store.reset(bucket)
        // it was reset in both
        answer = broken
        assert.isTrue((yield* store.consume(bucket, { cost: 1 })).allowed)
      }).pipe(Effect.provide(layer), Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
    }))
})

describe("layerStoreFallback, as a layer", () => {
  it.scoped("shares what others share", () =>
    Effect.gen(function*() {
      let built = 0
      const redis = Layer.sync(Redis.Redis, () => (built++, scripted(() => broken).service))
      const store = RateLimitStore.layerStoreFallback(
        RateLimitStore.layerRedis().pipe(Layer.provide(redis)),
        RateLimitStore.layerMemory()
      )
      yield* Layer.build(Layer.merge(store, redis))
      assert.strictEqual(built, 1)
    }))
})

describe("the prefix", () => {
  it("has no braces", () => assert.throws(() => RateLimitStore.layerRedis({ prefix: "{}limit:" }), "write one without"))
})

describe("what the script is told of a calendar", () => {
  it.effect("is looked up once in a period, with those beside it", () =>
    Effect.gen(function*() {
      let lookedUp = 0
      const quota = RateLimit.quota({ limit: 1, per: "hour" })
      const counted = {
        ...quota,
        periodOf: (now: number) => (lookedUp++, quota.periodOf(now))
      }
      const told: Array<ReadonlyArray<string>> = []
      const service: Redis.Service = {
        send: () => Effect.succeed(0),
        eval: (_, __, args) => Effect.suspend(() => (told.push(args.slice(4)), Effect.succeed([1, 0, 0, 0, 0]))),
        within: () => service
      }
      const store = yield* storeOf(service)
      const bucket = bucketOf("a", RateLimit.limits(counted))
      const hours = (...all: ReadonlyArray<number>) => ["1", ...all.map((hour) => `${hour * 3_600_000}`)]
      yield* TestClock.adjust("90 minutes")
      yield* store.consume(bucket, { cost: 1 })
      yield* TestClock.adjust("29 minutes")
      const before = lookedUp
      yield* store.consume(bucket, { cost: 1 })
      // what the decision itself has to know is remembered as well
      assert.strictEqual(lookedUp, before)
      yield* TestClock.adjust("1 minutes")
      yield* store.consume(bucket, { cost: 1 })
      assert.deepStrictEqual(told, [hours(0, 1, 2, 3), hours(0, 1, 2, 3), hours(1, 2, 3, 4)])
      // a clock that is set back is in another period, too
      yield* TestClock.setTime(90 * 60_000)
      yield* store.consume(bucket, { cost: 1 })
      assert.deepStrictEqual(told[3], hours(0, 1, 2, 3))
    }))
})

describeRedis("RateLimitStore.layerRedis", () => {
  const server = started(makeServer())

  const make = (options: RateLimitStore.RedisOptions = { timeout: "30 seconds" }) =>
    Effect.gen(function*() {
      const node = yield* server
      yield* Effect.orDie(node.command("FLUSHALL"))
      const redis = yield* Effect.provide(Redis.Redis, yield* Layer.build(Ioredis.layer(node.url, patient)))
      const store = yield* storeOf(redis, options)
      return { store, node, command: (...args: ReadonlyArray<string>) => Effect.orDie(node.command(...args)) }
    })

  it.scopedLive("a decision is one command, and what is refused or looked at writes nothing", () =>
    Effect.gen(function*() {
      const { command, store } = yield* make({ timeout: "30 seconds", refuseLocally: false })
      const bucket = bucketOf(
        "a",
        RateLimit.limits([
          RateLimit.gcra({ limit: 2, window: "1 hour", name: "a" }),
          RateLimit.slidingWindowLog({ limit: 5, window: "1 hour", name: "b" })
        ])
      )
      yield* store.consume(bucket, { cost: 1 })
      yield* store.consume(bucket, { cost: 1 })
      yield* command("CONFIG", "RESETSTAT")
      for (let i = 0; i < 3; i++) yield* store.consume(bucket, { cost: 1 })
      for (let i = 0; i < 3; i++) yield* store.peek(bucket, { cost: 1 })
      const stats = String(yield* command("INFO", "commandstats"))
      const calls = (name: string) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
      assert.deepStrictEqual([calls("evalsha"), calls("eval"), calls("set"), calls("rpush"), calls("pexpire")], [
        6,
        0,
        0,
        0,
        0
      ])
      // it is sent again to a server that has forgotten it
      yield* command("SCRIPT", "FLUSH")
      assert.isFalse((yield* store.consume(bucket, { cost: 1 })).allowed)
    }))

  it.scopedLive("where the clock is set back, nobody waits for long, and nobody is given more", () =>
    Effect.gen(function*() {
      const { store } = yield* make({ timeout: "30 seconds", refuseLocally: false })
      const { kinds, start } = Contract
      for (const [title, limits] of Object.entries(kinds)) {
        if (title.includes("quota") || title === "all at once") continue
        const bucket = { limiter: "back", key: title, limits }
        let now = start
        while ((yield* store.consume(bucket, { cost: 1, now })).allowed) now++
        // an hour is more than any of them knows of
        now -= 3_600_000
        const { allowed, retryAfter } = yield* store.consume(bucket, { cost: 1, now })
        assert.isFalse(allowed, title)
        assert.isAtMost(retryAfter, 3000, title)
        assert.isTrue((yield* store.consume(bucket, { cost: 1, now: now + retryAfter })).allowed, title)
      }
    }))

  it.scopedLive("keeps a key for as long as it says something", () =>
    Effect.gen(function*() {
      const { command, store } = yield* make()
      yield* store.consume(bucketOf("a", RateLimit.limits(RateLimit.gcra({ limit: 60, window: "1 minute" }))), {
        cost: 2
      })
      const key = String(yield* command("KEYS", "*")).trim()
      assert.strictEqual(key, "limit:{test:g-60s:a}")
      assert.closeTo(Number(yield* command("PTTL", key)), 2000, 500)
    }))

  it.scopedLive("mends what somebody else has written there, and fails where it cannot", () =>
    Effect.gen(function*() {
      const { command, store } = yield* make()
      const key = "limit:{test:g-3600s:a}"
      for (const text of ["", "x", "1", "1 2 3 4", "-1 0 0"]) {
        yield* command("SET", key, text)
        assert.isTrue((yield* store.consume(bucketOf("a"), { cost: 1 })).allowed, text)
        yield* store.reset(bucketOf("a"))
      }
      yield* command("SADD", key, "a")
      const error = yield* Effect.flip(store.consume(bucketOf("a"), { cost: 1 }))
      assert.strictEqual(error.operation, "consume")
    }))

  it.scopedLive("is answered in time while it is stopped, and decides again when it goes on", () =>
    Effect.gen(function*() {
      const { command, node, store } = yield* make({ timeout: "200 millis" })
      const bucket = bucketOf("a", hourly(1000))
      assert.isTrue((yield* store.consume(bucket, { cost: 1 })).allowed)
      yield* node.pause
      for (let i = 0; i < 10; i++) {
        const [took, exit] = yield* Effect.timed(Effect.exit(store.consume(bucket, { cost: 1 })))
        assert.isTrue(Exit.isFailure(exit))
        assert.isBelow(Duration.toMillis(took), 5000)
      }
      yield* node.resume
      const decision = yield* store.consume(bucket, { cost: 1 }).pipe(
        Effect.retry({ schedule: Schedule.spaced("100 millis"), times: 300 })
      )
      assert.isTrue(decision.allowed)
      yield* command("PING")
    }))

  it.scopedLive(
    "is answered in time while it is killed, and decides again when it is there again",
    () =>
      Effect.gen(function*() {
        const { node, store } = yield* make({ timeout: "200 millis" })
        const bucket = bucketOf("killed", hourly(1000))
        assert.isTrue((yield* store.consume(bucket, { cost: 1 })).allowed)
        const ask = Effect.timed(Effect.exit(store.consume(bucket, { cost: 1 })))
        const asking = yield* Effect.fork(Effect.replicateEffect(ask, 500, { concurrency: 10 }))
        yield* node.stop
        for (const [took] of yield* Fiber.join(asking)) assert.isBelow(Duration.toMillis(took), 5000)
        const [, exit] = yield* ask
        assert.isTrue(Exit.isFailure(exit))
        yield* node.start
        const decision = yield* store.consume(bucket, { cost: 1 }).pipe(
          Effect.retry({ schedule: Schedule.spaced("100 millis"), times: 300 })
        )
        // nothing of it was on disk
        assert.deepStrictEqual([decision.allowed, decision.limits[0]?.remaining], [true, 999])
      }),
    60_000
  )
})
