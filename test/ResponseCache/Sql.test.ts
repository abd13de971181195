import * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it, layer, type Vitest } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import { ResponseCacheStore } from "effect-middleware"
import * as Sql from "effect-middleware/ResponseCache/Sql"
import { encode } from "../../src/internal/cacheEntry.js"
import { entryOf, suite } from "../contracts/ResponseCacheStoreContract.js"
import { describePostgres, describeSqlite } from "../utils/describeSql.js"
import { Postgres, postgresClient, sqliteClient } from "../utils/sql.js"
import { statementsOf, until } from "../utils/sqlStores.js"

const storeOf = (options?: Sql.Options) =>
  Layer.provideMerge(
    Sql.layerStore(options),
    Layer.effectDiscard(Effect.zipRight(Sql.migration(options), Sql.migration(options)))
  )

// a machine that is busy is no reason to give up where time is not what is tested
const patient = { queryTimeout: "30 seconds", cleanup: false } as const

const put = (store: ResponseCacheStore.Service, key: string, ttl = 60_000, vary: ReadonlyArray<string> = []) =>
  Effect.flatMap(
    store.get(key, () => ""),
    ({ asOf }) => store.put(key, { vary, variant: "", entry: entryOf(), tags: ["a", "b"], ttl, asOf })
  )

/** What either engine is asked, and what it does by itself. */
const common = (it: Vitest.MethodsNonLive<SqlClient.SqlClient, true>) => {
  it.effect("a hit is one statement, of a variant two", () =>
    Effect.gen(function*() {
      const store = yield* ResponseCacheStore.ResponseCacheStore
      yield* put(store, "one")
      yield* put(store, "two", 60_000, ["accept"])
      for (const [key, expected] of [["none", 1], ["one", 1], ["two", 2]] as const) {
        const { statements, value } = yield* statementsOf(store.get(key, () => ""))
        assert.strictEqual(statements.length, expected)
        assert.strictEqual(value.entry !== undefined, key !== "none")
      }
    }).pipe(Effect.provide(storeOf({ ...patient, table: "statements" }))))

  it.effect("what has expired is deleted, in batches", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const store = yield* ResponseCacheStore.ResponseCacheStore
      for (let i = 0; i < 5; i++) yield* put(store, `${i}`, 1)
      yield* put(store, "long")
      const count = (table: string) =>
        Effect.map(sql`SELECT COUNT(*) AS count FROM ${sql(table)}`, ([row]) => Number(row!["count"]))
      yield* until(Effect.all([count("cleaned"), count("cleaned_tags")]), [1, 2])
    }).pipe(Effect.provide(storeOf({ ...patient, table: "cleaned", cleanup: { every: "5 millis", batch: 2 } }))))

  it.effect("is no part of the caller's transaction", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const store = yield* ResponseCacheStore.ResponseCacheStore
      if (sql.onDialectOrElse({ sqlite: () => true, orElse: () => false })) return
      const exit = yield* Effect.exit(sql.withTransaction(Effect.zipRight(put(store, "kept"), Effect.fail("no"))))
      assert.isTrue(Exit.isFailure(exit))
      assert.isDefined((yield* store.get("kept", () => "")).entry)
    }).pipe(Effect.provide(storeOf({ ...patient, table: "outside" }))))

  it.effect("what others have written is nothing, and is replaced", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const store = yield* ResponseCacheStore.ResponseCacheStore
      const found = Effect.map(store.get("one", () => ""), ({ entry }) => entry !== undefined)
      const cut = Buffer.from(encode(entryOf())).subarray(0, -1)
      for (
        const wrong of [{ vary: "no json" }, { vary: "{}" }, { vary: "[1]" }, { value: cut }, {
          value: Buffer.alloc(0)
        }]
      ) {
        assert.isTrue(yield* put(store, "one"))
        assert.isTrue(yield* found)
        yield* sql`UPDATE ${sql("foreign")} SET ${sql.update(wrong)}`
        if ("value" in wrong) assert.isFalse(yield* found)
        else assert.deepStrictEqual((yield* store.get("one", () => "")).vary, [])
      }
    }).pipe(Effect.provide(storeOf({ ...patient, table: "foreign" }))))

  it.effect("tables that are not there are a failure that says what was asked", () =>
    Effect.gen(function*() {
      const store = yield* ResponseCacheStore.ResponseCacheStore
      const error = yield* Effect.flip(store.get("a", () => ""))
      assert.strictEqual(error._tag, "ResponseCacheUnavailable")
      assert.strictEqual(error.message, "The response cache store could not get")
    }).pipe(Effect.provide(Sql.layerStore({ ...patient, table: "absent" }))))
}

describePostgres("PostgreSQL", () => {
  const client = Layer.provideMerge(postgresClient(), Postgres.layer())
  suite("keeps the contract", storeOf(patient).pipe(Layer.provide(client)), { traces: 10 })
  layer(client, { excludeTestServices: true, timeout: 30_000 })(common)
})

describeSqlite("SQLite", () => {
  suite("keeps the contract", storeOf(patient).pipe(Layer.provide(sqliteClient())), { traces: 10 })
  layer(sqliteClient(), { excludeTestServices: true })(common)
})

describe("mistakes throw", () => {
  it.each<[options: Sql.Options, message: string]>([
    [{ table: "a b" }, "ResponseCache/Sql: table is \"a b\""],
    [{ queryTimeout: 0 }, "ResponseCache/Sql: queryTimeout is 0"],
    [{ maxPending: 0 }, "ResponseCache/Sql: maxPending is 0"],
    [{ cleanup: { batch: 0 } }, "ResponseCache/Sql: cleanup.batch is 0"]
  ])("%j", (options, message) => {
    assert.throws(() => Sql.layerStore(options), message)
  })
})
