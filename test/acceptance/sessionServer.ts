/** The server that `sessions.ts` starts: a counter in a stored session. It goes with the process that has started it. */
import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Logger, LogLevel, Option, Redacted, Schema } from "effect"
import { type Redis, Session, SessionStore, Stack } from "effect-middleware"
import * as Ioredis from "effect-middleware/Redis/Ioredis"
import * as NodeRedis from "effect-middleware/Redis/NodeRedis"
import * as Sql from "effect-middleware/Session/Sql"
import * as Http from "node:http"

export type Engine =
  | { readonly name: "redis"; readonly url: string }
  | { readonly name: "cluster"; readonly ports: ReadonlyArray<number> }
  | { readonly name: "sentinel"; readonly primary: string; readonly ports: ReadonlyArray<number> }
  | { readonly name: "postgres"; readonly url: string }

export type Client = "ioredis" | "node-redis" | "pg"

export interface Config {
  readonly engine: Engine
  readonly client: Client
  readonly onUnavailable: "refuse" | "allow"
  /** Milliseconds that an operation of the store may take. */
  readonly limit: number
  readonly logs: boolean
}

/** What it answers, but where its store is down. */
export interface Answer {
  readonly n: number
  readonly isNew: boolean
  readonly id: string | null
}

class Counter extends Session.Tag("acceptance/Counter")<Counter>()(Schema.Struct({
  n: Schema.optionalWith(Schema.Number, { default: () => 0 })
})) {}

const answer = Effect.gen(function*() {
  const counter = yield* Counter
  const { n } = yield* counter.get
  const answer: Answer = { n, isNew: yield* counter.isNew, id: Option.getOrNull(yield* counter.id) }
  return HttpServerResponse.unsafeJson(answer)
})

const add = Effect.gen(function*() {
  const counter = yield* Counter
  yield* counter.update(({ n }) => ({ n: n + 1 }))
  return yield* answer
})

const redisOf = (
  engine: Exclude<Engine, { readonly name: "postgres" }>,
  { client, limit }: Config
): Layer.Layer<Redis.Redis> => {
  const options = { commandTimeout: limit }
  switch (engine.name) {
    case "redis":
      return client === "ioredis" ? Ioredis.layer(engine.url, options) : NodeRedis.layer(engine.url, options)
    case "cluster": {
      const nodes = engine.ports.map((port) => ({ host: "127.0.0.1", port }))
      return client === "ioredis"
        ? Ioredis.layerCluster({ nodes }, options)
        : NodeRedis.layerCluster(
          { rootNodes: nodes.map(({ host, port }) => ({ url: `redis://${host}:${port}` })) },
          options
        )
    }
    case "sentinel": {
      const nodes = engine.ports.map((port) => ({ host: "127.0.0.1", port }))
      return client === "ioredis"
        ? Ioredis.layerSentinel({ name: engine.primary, sentinels: nodes }, options)
        : NodeRedis.layerSentinel({ name: engine.primary, sentinelRootNodes: nodes }, options)
    }
  }
}

const storeOf = (config: Config): Layer.Layer<SessionStore.SessionStore> => {
  const { engine, limit } = config
  return engine.name === "postgres"
    ? Sql.layerStore({ queryTimeout: limit }).pipe(
      Layer.provideMerge(Layer.effectDiscard(Sql.migration())),
      Layer.provide(PgClient.layer({ url: Redacted.make(engine.url), connectTimeout: "1 second" })),
      Layer.orDie
    )
    : Layer.provide(SessionStore.layerRedis(), redisOf(engine, config))
}

const main = (config: Config) =>
  HttpRouter.empty.pipe(
    HttpRouter.post("/add", add),
    HttpRouter.get("/", answer),
    Stack.serve(Stack.make(Counter.middleware({ kind: "stored", onUnavailable: config.onUnavailable }))),
    Layer.provide(storeOf(config)),
    Layer.merge(
      HttpServer.addressWith((address) => Effect.sync(() => process.send?.(address))).pipe(
        Layer.effectDiscard
      )
    ),
    Layer.provide(NodeHttpServer.layer(() => Http.createServer(), { port: 0, host: "127.0.0.1" })),
    Layer.launch,
    Logger.withMinimumLogLevel(config.logs ? LogLevel.Warning : LogLevel.None)
  )

const [, , config] = process.argv
if (process.send !== undefined && config !== undefined) {
  process.once("disconnect", () => process.exit())
  Effect.runFork(main(JSON.parse(config)))
}
