/** No update is lost, over real sockets and on real engines; what a single process can hide, two servers show. */
import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import type * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { type Array as Arr, Effect, Layer, Schema, type Scope } from "effect"
import { type Redis, Session, SessionStore, Stack } from "effect-middleware"
import * as Ioredis from "effect-middleware/Redis/Ioredis"
import * as NodeRedis from "effect-middleware/Redis/NodeRedis"
import * as Sql from "effect-middleware/Session/Sql"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { describeRedis } from "./utils/describeRedis.js"
import { describePostgres, describeSqlite } from "./utils/describeSql.js"
import { makeCluster, makeServer } from "./utils/redis.js"
import { makePostgres, Postgres, postgresClient, sqliteClient } from "./utils/sql.js"
import { listen, request } from "./utils/TestApp.js"

class Counter extends Session.Tag("test/Counter")<Counter>()(Schema.Struct({
  n: Schema.optionalWith(Schema.Number, { default: () => 0 })
})) {}

const app = Effect.gen(function*() {
  const { url } = yield* HttpServerRequest.HttpServerRequest
  const counter = yield* Counter
  if (url === "/login") yield* counter.rotate({ principal: "ada" })
  if (url === "/count") yield* counter.update(({ n }) => ({ n: n + 1 }))
  return HttpServerResponse.text(`${(yield* counter.get).n}`)
})

type Store = Layer.Layer<SessionStore.SessionStore>

/** Each server has a store and a client of its own, and waits for none of the other's requests. */
const serve = (store: Store) =>
  listen(Layer.provide(Stack.serve(app, Stack.make(Counter.middleware({ kind: "stored" }))), Layer.fresh(store)))

const countsTo200 = (stores: Arr.NonEmptyReadonlyArray<Store>) =>
  Effect.gen(function*() {
    const ports = yield* Effect.forEach(stores, serve)
    const login = yield* request(ports[0], { path: "/login" })
    const headers = { cookie: login.cookies[0]?.split(";")[0] ?? "" }
    const replies = yield* Effect.forEach(
      Array.from({ length: 200 }, (_, i) => ports[i % ports.length] ?? ports[0]),
      (port) => request(port, { path: "/count", headers }),
      { concurrency: "unbounded" }
    )
    assert.deepStrictEqual(replies.filter(({ status }) => status !== 200), [])
    for (const port of ports) {
      assert.strictEqual((yield* request(port, { headers })).body, "200")
    }
  })

/** `engine` gives the stores of two servers, by different clients where there are two. */
const suite = (engine: Effect.Effect<readonly [one: Store, other: Store], never, Scope.Scope>) =>
  it.scoped(
    "200 requests of one session at once count to 200, to one server and to two",
    () =>
      Effect.gen(function*() {
        const [one, other] = yield* engine
        yield* countsTo200([one])
        yield* countsTo200([one, other])
      }),
    60_000
  )

const inMemory = Effect.provide(SessionStore.SessionStore, SessionStore.layerMemory())

/** Takes a round of the event loop for each step: of two that write in step, the same one loses until the other is done. */
const steadily = (store: SessionStore.Service): SessionStore.Service => {
  const round = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
  return {
    ...store,
    load: (...args) => Effect.zipRight(round, store.load(...args)),
    save: (...args) => Effect.zipRight(round, store.save(...args))
  }
}

for (const [name, store] of [["memory", inMemory], ["memory, in step", Effect.map(inMemory, steadily)]] as const) {
  describe(name, () => {
    suite(Effect.map(store, (store) => {
      const layer = Layer.succeed(SessionStore.SessionStore, store)
      return [layer, layer]
    }))
  })
}

const inRedis = (redis: Layer.Layer<Redis.Redis>): Store => Layer.provide(SessionStore.layerRedis(), redis)

describeRedis("Redis", () => {
  suite(Effect.map(makeServer(), ({ url }) => [inRedis(Ioredis.layer(url)), inRedis(NodeRedis.layer(url))]))
})

describeRedis("Redis Cluster", () => {
  suite(Effect.map(makeCluster(), ({ nodes }) => [
    inRedis(Ioredis.layerCluster({ nodes: nodes.map(({ port }) => ({ host: "127.0.0.1", port })) })),
    inRedis(NodeRedis.layerCluster({ rootNodes: nodes.map(({ url }) => ({ url })) }))
  ]))
})

const inSql = (client: Layer.Layer<SqlClient.SqlClient>): Store =>
  Layer.orDie(Layer.provide(Sql.layerStore(), Layer.provideMerge(Layer.effectDiscard(Sql.migration()), client)))

describePostgres("PostgreSQL", () => {
  suite(Effect.map(makePostgres(), (server) => {
    const store = inSql(Layer.provide(postgresClient(), Layer.succeed(Postgres, server)))
    return [store, store]
  }))
})

const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-middleware-sqlite-"))),
  (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true, force: true }))
)

describeSqlite("SQLite", () => {
  suite(Effect.map(temporaryFolder, (folder) => {
    const store = inSql(sqliteClient(Path.join(folder, "sessions.db")))
    return [store, store]
  }))
})
