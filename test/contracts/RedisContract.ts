/** What every adapter of `Redis` keeps, on a server, on Sentinel and on a Cluster. */
import { assert, layer, type Vitest } from "@effect/vitest"
import { Duration, Effect, Either, Fiber, Layer } from "effect"
import { Redis } from "effect-middleware"
import * as Ioredis from "effect-middleware/Redis/Ioredis"
import * as Util from "node:util"
import { describeRedis } from "../utils/describeRedis.js"
import {
  type Cluster,
  eventually,
  type Node,
  RedisCluster,
  RedisSentinel,
  RedisServer,
  type Sentinel
} from "../utils/redis.js"

type Connect<Engine> = (engine: Engine, options?: Redis.Options) => Layer.Layer<Redis.Redis>

export interface Client {
  readonly name: string
  /** The connections to Redis are called "contract". */
  readonly single: Connect<Node>
  readonly sentinel: Connect<Sentinel>
  readonly cluster: Connect<Cluster>
}

/** Whichever version of `ioredis` the test has. */
export const ioredis: Client = {
  name: "ioredis",
  single: ({ port }, options) => Ioredis.layer({ port, connectionName: "contract" }, options),
  sentinel: ({ name, sentinels }, options) =>
    Ioredis.layerSentinel({
      name,
      sentinels: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })),
      connectionName: "contract"
    }, options),
  cluster: ({ nodes }, options) =>
    Ioredis.layerCluster({
      nodes: nodes.map(({ port }) => ({ host: "127.0.0.1", port })),
      redisOptions: { connectionName: "contract" }
    }, options)
}

const attempt = (...command: Redis.Command) =>
  Effect.flatMap(Redis.Redis, (redis) => Effect.either(redis.send(command[1] ?? "", command)))

const succeed = (...command: Redis.Command) =>
  Effect.flatMap(Redis.Redis, (redis) => redis.send(command[1] ?? "", command))

const reason = <A, R>(effect: Effect.Effect<Either.Either<A, Redis.RedisError>, never, R>) =>
  Effect.map(effect, (either) => Either.isLeft(either) ? either.left.reason : either.right)

/** Fails if the effect takes longer: what is to be at once, or within a limit. */
const within = (duration: Duration.DurationInput) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.timed(effect), ([took, value]) => {
    assert.isTrue(Duration.lessThan(took, duration), `took ${Duration.format(took)}`)
    return Effect.succeed(value)
  })

/** Long before the five seconds that a command has. */
const atOnce = within("1500 millis")

/** Fibers that were forked have sent their commands. */
const sent = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

const connected = eventually(succeed("SET", "contract", "1"))

const connections = (nodes: ReadonlyArray<Node>) =>
  Effect.map(
    Effect.forEach(nodes, ({ command }) => command("CLIENT", "LIST")),
    (lists) => lists.join("\n").split("\n").filter((line) => line.includes("name=contract")).length
  )

const echo = Redis.script("return {KEYS[1], ARGV[1], #ARGV, redis.call('INCR', KEYS[2]), false}")

const contract = <R, Engine extends { readonly nodes: ReadonlyArray<Node> }>(
  it: Vitest.MethodsNonLive<R, true>,
  name: string,
  engine: Effect.Effect<Engine, never, R>,
  connect: Connect<Engine>
) => {
  const test = (title: string, body: (engine: Engine) => Effect.Effect<void, unknown, Redis.Redis>) =>
    it.effect(`${name} ${title}`, () =>
      Effect.flatMap(
        engine,
        (engine) => Effect.provide(body(engine), connect(engine, { commandTimeout: "2 seconds" }))
      ))

  test("sends commands, and gives their replies", () =>
    Effect.gen(function*() {
      const key = `${name}:{kinds}`
      yield* succeed("DEL", key, `${key}:list`)
      assert.strictEqual(yield* succeed("GET", key), null)
      assert.strictEqual(yield* succeed("SET", key, "1"), "OK")
      assert.strictEqual(yield* succeed("INCR", key), 2)
      assert.strictEqual(yield* succeed("get", key), "2")
      yield* succeed("RPUSH", `${key}:list`, "a", "b")
      assert.deepEqual(yield* succeed("LRANGE", `${key}:list`, "0", "-1"), ["a", "b"])
      yield* succeed("DEL", key)
      yield* succeed("HSET", key, "field", "value")
      assert.deepEqual(yield* succeed("HGETALL", key), ["field", "value"])
    }))

  test("keeps every character of a key and a value", () =>
    Effect.gen(function*() {
      const text = ["\0\r\n$5\r\n*3\u007f", "żółć 漢字 🦊", "\"'\\{}[]", "", " ", "a".repeat(100_000)]
      for (const [i, value] of text.entries()) {
        const key = `${name}:${value.slice(0, 20)}:${i}`
        yield* succeed("SET", key, value)
        assert.strictEqual(yield* succeed("GET", key), value)
      }
    }))

  test("runs a script, and once more when the server has forgotten it", ({ nodes }) =>
    Effect.gen(function*() {
      const redis = yield* Redis.Redis
      const [key, counter] = [`{${name}:script}`, `{${name}:script}:counter`]
      yield* succeed("DEL", counter)
      assert.deepEqual(yield* redis.eval(echo, [key, counter], ["ü", ""]), [key, "ü", 2, 1, null])
      yield* Effect.forEach(nodes, (node) => node.command("SCRIPT", "FLUSH", "SYNC"))
      assert.deepEqual(yield* redis.eval(echo, [key, counter], ["2"]), [key, "2", 1, 2, null])
    }))

  test("tells what Redis answers, and no argument", () =>
    Effect.gen(function*() {
      const redis = yield* Redis.Redis
      const key = `${name}:list`
      yield* succeed("DEL", key)
      yield* succeed("RPUSH", key, "a")
      const errors = yield* Effect.all([
        Effect.flip(succeed("APPEND", key, "secret")),
        Effect.flip(redis.send(key, ["NOSUCH", "secret", "secret"])),
        Effect.flip(redis.eval(Redis.script("return redis.call('APPEND', KEYS[1], ARGV[1])"), [key], ["secret"]))
      ])
      assert.deepEqual(errors.map(({ command, reason }) => [command, reason]), [
        ["APPEND", "reply"],
        ["NOSUCH", "reply"],
        ["EVAL", "reply"]
      ])
      assert.match(String(errors[0]?.cause), /WRONGTYPE/)
      assert.notInclude(errors.map((error) => Util.inspect(error, { depth: null, showHidden: true })).join(), "secret")
    }))

  test("has a thousand commands under way", () =>
    Effect.gen(function*() {
      const keys = Array.from({ length: 1000 }, (_, i) => `${name}:many:${i}`)
      yield* Effect.forEach(keys, (key) => succeed("SET", key, key), { concurrency: "unbounded" })
      const values = yield* Effect.forEach(keys, (key) => succeed("GET", key), { concurrency: "unbounded" })
      assert.deepEqual(values, keys)
    }))

  it.effect(`${name} closes its connections with its scope`, () =>
    Effect.gen(function*() {
      const own = yield* engine
      yield* Effect.provide(
        Effect.gen(function*() {
          yield* connected
          assert.isAbove(yield* connections(own.nodes), 0)
        }),
        connect(own)
      )
      yield* eventually(Effect.filterOrFail(connections(own.nodes), (count) => count === 0))
    }), 30_000)
}

/** They are to recover without a new layer: all of them wait for the same failover. */
const recovery = <R, Engine>(
  it: Vitest.MethodsNonLive<R, true>,
  engine: Effect.Effect<Engine, never, R>,
  clients: ReadonlyArray<readonly [name: string, connect: Connect<Engine>]>,
  primary: (engine: Engine) => Effect.Effect<Node>,
  healthy: (engine: Engine) => Effect.Effect<void>
) =>
  it.effect(
    "a failover: no command takes longer than it may, and the next primary is found",
    () =>
      Effect.gen(function*() {
        const own = yield* engine
        yield* healthy(own)
        const node = yield* primary(own)
        const writes = (connect: Connect<Engine>, meanwhile: Effect.Effect<void>) =>
          meanwhile.pipe(
            Effect.zipRight(eventually(within("2 seconds")(succeed("SET", "failover", "1")))),
            Effect.zipRight(succeed("GET", "failover")),
            Effect.provide(connect(own, { commandTimeout: "500 millis" }))
          )
        const stopped = yield* Effect.makeLatch(false)
        const early = yield* Effect.forEach(clients, ([, connect]) => Effect.fork(writes(connect, stopped.await)))
        // who begins when the primary has gone already never had a connection to it
        const late = yield* Effect.forEach(
          clients,
          ([, connect]) => Effect.fork(Effect.zipRight(stopped.await, writes(connect, Effect.void)))
        )
        yield* Effect.forEach(clients, ([, connect]) => Effect.provide(connected, connect(own)))
        yield* node.stop
        yield* stopped.open
        for (const fiber of [...early, ...late]) assert.strictEqual(yield* Fiber.join(fiber), "1")
        assert.notStrictEqual((yield* primary(own)).port, node.port)
        yield* node.start
      }),
    40_000
  )

export const redisSuite = (clients: ReadonlyArray<Client>) => {
  describeRedis("on a server", () => {
    layer(RedisServer.layer({ durable: true }), { excludeTestServices: true, timeout: "30 seconds" })((it) => {
      const engine = Effect.map(RedisServer, (node) => ({ nodes: [node], node }))

      for (const { name, single } of clients) {
        contract(it, name, engine, ({ node }, options) => single(node, options))

        const test = (
          title: string,
          options: Redis.Options,
          body: (node: Node) => Effect.Effect<void, unknown, Redis.Redis>
        ) =>
          it.effect(
            `${name} ${title}`,
            () =>
              Effect.flatMap(RedisServer, (node) =>
                Effect.zipRight(connected, body(node)).pipe(
                  Effect.provide(single(node, options)),
                  Effect.ensuring(Effect.zipRight(node.resume, node.start))
                )),
            30_000
          )

        test(
          "gives up on a command that takes too long, and not on the next",
          { commandTimeout: "100 millis" },
          (node) =>
            Effect.gen(function*() {
              yield* succeed("SET", "key", "1")
              yield* node.pause
              assert.strictEqual(yield* reason(within("1 second")(attempt("INCR", "key"))), "timeout")
              yield* node.resume
              // its late reply is nobody else's
              assert.strictEqual(yield* eventually(succeed("GET", "key")), "2")
            })
        )

        test("fails at once while there is no server, and is back when that is", {}, (node) =>
          Effect.gen(function*() {
            yield* succeed("SET", "key", "1")
            yield* node.stop
            yield* eventually(Effect.filterOrFail(reason(attempt("GET", "key")), (reason) => reason === "connection"))
            for (let i = 0; i < 3; i++) assert.strictEqual(yield* reason(atOnce(attempt("GET", "key"))), "connection")
            yield* node.start
            assert.strictEqual(yield* within("5 seconds")(eventually(succeed("GET", "key"))), "1")
          }))

        test(
          "does not send again what was under way when the connection was lost",
          { commandTimeout: "10 seconds" },
          (node) =>
            Effect.gen(function*() {
              yield* succeed("SET", "key", "1")
              yield* node.pause
              const commands = yield* Effect.fork(Effect.replicateEffect(reason(attempt("INCR", "key")), 3))
              yield* sent
              yield* node.stop
              assert.deepEqual(yield* within("2 seconds")(Fiber.join(commands)), [
                "connection",
                "connection",
                "connection"
              ])
              yield* node.start
              assert.strictEqual(yield* eventually(succeed("GET", "key")), "1")
            })
        )

        test(
          "refuses what is too much, until some of it is settled",
          { commandTimeout: "5 seconds", maxPending: 10 },
          (node) =>
            Effect.gen(function*() {
              yield* succeed("SET", "key", "0")
              yield* node.pause
              const commands = yield* Effect.fork(
                Effect.all(Array.from({ length: 10 }, () => succeed("INCR", "key")), { concurrency: "unbounded" })
              )
              yield* sent
              assert.strictEqual(yield* reason(atOnce(attempt("GET", "key"))), "overloaded")
              yield* node.resume
              assert.deepEqual(yield* Fiber.join(commands), Array.from({ length: 10 }, (_, i) => i + 1))
              assert.strictEqual(yield* succeed("GET", "key"), "10")
            })
        )

        it.effect(`${name} starts without a server`, () =>
          Effect.gen(function*() {
            const node = yield* RedisServer
            yield* node.stop
            const context = yield* within("3 seconds")(Layer.build(single(node, { commandTimeout: "5 seconds" })))
            yield* Effect.provide(
              Effect.gen(function*() {
                assert.strictEqual(yield* reason(atOnce(attempt("GET", "key"))), "connection")
                yield* node.start
                yield* within("5 seconds")(eventually(succeed("GET", "key")))
              }),
              context
            )
          }).pipe(Effect.scoped))
      }

      it.effect("a server that does not answer any more is given up, by every client", () =>
        Effect.gen(function*() {
          const node = yield* RedisServer
          const services = yield* Effect.forEach(clients, ({ single }) =>
            Layer.build(single(node, { commandTimeout: "20 seconds" })))
          yield* Effect.forEach(services, (service) =>
            Effect.provide(connected, service))
          yield* node.pause
          const reasons = yield* Effect.forEach(
            services,
            (service) => Effect.provide(reason(attempt("GET", "key")), service),
            { concurrency: "unbounded" }
          )
          assert.deepEqual(reasons, clients.map(() => "connection"))
        }).pipe(Effect.scoped, Effect.ensuring(Effect.flatMap(RedisServer, ({ resume }) => resume))), 30_000)
    })
  })

  describeRedis("on Sentinel", () => {
    layer(RedisSentinel.layer(), { excludeTestServices: true, timeout: "30 seconds" })((it) => {
      for (const { name, sentinel } of clients) contract(it, name, RedisSentinel, sentinel)
      recovery(
        it,
        RedisSentinel,
        clients.map(({ name, sentinel }) => [name, sentinel]),
        ({ primary }) => primary,
        ({ healthy }) => healthy
      )
    })
  })

  describeRedis("on a Cluster", () => {
    layer(RedisCluster.layer(), { excludeTestServices: true, timeout: "30 seconds" })((it) => {
      for (const { cluster, name } of clients) {
        contract(it, name, RedisCluster, cluster)

        it.effect(`${name} follows a slot that moves`, () =>
          Effect.gen(function*() {
            const own = yield* RedisCluster
            const tag = `{${name}:moves}`
            const source = yield* own.primaryOf(tag)
            const target = yield* Effect.flatMap(
              Effect.forEach(["a", "b", "c", "d", "e", "f"], own.primaryOf),
              (nodes) => Effect.fromNullable(nodes.find((node) => node !== source))
            )
            const [slot, from, to] = yield* Effect.all([
              source.command("CLUSTER", "KEYSLOT", tag),
              source.command("CLUSTER", "MYID"),
              target.command("CLUSTER", "MYID")
            ])
            yield* Effect.provide(
              Effect.gen(function*() {
                yield* succeed("SET", `${tag}:stays`, "1")
                yield* target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", from)
                yield* source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", to)
                // what the source does not have is asked for at the target
                yield* succeed("SET", `${tag}:comes`, "2")
                assert.strictEqual(yield* succeed("GET", `${tag}:comes`), "2")
                assert.strictEqual(yield* succeed("GET", `${tag}:stays`), "1")
                yield* succeed("DEL", `${tag}:stays`)
                for (const node of [target, source]) yield* node.command("CLUSTER", "SETSLOT", slot, "NODE", to)
                assert.strictEqual(yield* succeed("GET", `${tag}:comes`), "2")
              }),
              cluster(own, { commandTimeout: "2 seconds" })
            )
          }))
      }
      recovery(
        it,
        RedisCluster,
        clients.map(({ cluster, name }) => [name, cluster]),
        ({ primaryOf }) => primaryOf("failover"),
        ({ healthy }) => healthy
      )
    })
  })
}
