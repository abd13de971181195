import { HttpServerResponse } from "@effect/platform"
import * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it, layer, type Vitest } from "@effect/vitest"
import { Effect, Exit, Layer, Option } from "effect"
import { Idempotency, IdempotencyStore } from "effect-middleware"
import * as Sql from "effect-middleware/Idempotency/Sql"
import { encodeAnswer } from "../../src/internal/cacheEntry.js"
import { answerOf, claimed, suite } from "../contracts/IdempotencyStoreContract.js"
import { describePostgres, describeSqlite } from "../utils/describeSql.js"
import { once } from "../utils/idempotency.js"
import { Postgres, postgresClient, sqliteClient } from "../utils/sql.js"
import { insist, statementsOf, until } from "../utils/sqlStores.js"

const storeOf = (options?: Sql.Options) =>
  Layer.provideMerge(
    Sql.layerStore(options),
    Layer.effectDiscard(Effect.zipRight(Sql.migration(options), Sql.migration(options)))
  )

// a machine that is busy is no reason to give up where time is not what is tested
const patient = { queryTimeout: "30 seconds", cleanup: false } as const
const terms = { fingerprint: "a", lease: 60_000, ttl: 600_000 }
const minute = 60_000

/** What either engine is asked, and what it does by itself. */
const common = (it: Vitest.MethodsNonLive<SqlClient.SqlClient, true>) => {
  it.effect("a claim, an answer and a release are one statement, a replay is two", () =>
    Effect.gen(function*() {
      const store = yield* IdempotencyStore.IdempotencyStore
      const count = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.map(statementsOf(effect), ({ statements, value }) => [statements.length, value] as const)
      const [claims, claim] = yield* count(claimed(store, "one"))
      assert.strictEqual(claims, 1)
      assert.strictEqual((yield* count(store.renew(claim, minute)))[0], 1)
      assert.strictEqual((yield* count(store.release(claim)))[0], 1)
      const again = yield* claimed(store, "one")
      assert.strictEqual((yield* count(store.claim("one", terms)))[0], 2)
      assert.strictEqual((yield* count(store.complete(again, answerOf(), minute)))[0], 1)
      assert.strictEqual((yield* count(store.claim("one", terms)))[0], 2)
    }).pipe(Effect.provide(storeOf({ ...patient, table: "statements" }))))

  it.effect("what has expired is deleted, in batches", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const store = yield* IdempotencyStore.IdempotencyStore
      for (let i = 0; i < 5; i++) yield* claimed(store, `${i}`, { lease: 1, ttl: 1 })
      yield* claimed(store, "long")
      const count = Effect.map(sql`SELECT COUNT(*) AS count FROM cleaned`, ([row]) => Number(row!["count"]))
      yield* until(count, 1)
    }).pipe(Effect.provide(storeOf({ ...patient, table: "cleaned", cleanup: { every: "5 millis", batch: 2 } }))))

  it.effect("what others have written is a failure, and not an answer", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const store = yield* IdempotencyStore.IdempotencyStore
      const cut = Buffer.from(encodeAnswer(answerOf())).subarray(0, -1)
      yield* store.complete(yield* claimed(store, "one"), answerOf(), minute)
      for (const answer of [cut, Buffer.alloc(0), Buffer.from("{}\n")]) {
        yield* sql`UPDATE foreigners SET answer = ${answer}`
        assert.strictEqual((yield* Effect.flip(store.claim("one", terms)))._tag, "IdempotencyUnavailable")
      }
    }).pipe(Effect.provide(storeOf({ ...patient, table: "foreigners" }))))

  it.effect("a table that is not there is a failure that says what was asked", () =>
    Effect.gen(function*() {
      const store = yield* IdempotencyStore.IdempotencyStore
      const error = yield* Effect.flip(store.claim("a", terms))
      assert.strictEqual(error._tag, "IdempotencyUnavailable")
      assert.strictEqual(error.message, "The idempotency store could not claim")
    }).pipe(Effect.provide(Sql.layerStore({ ...patient, table: "absent" }))))

  it.scoped("a handler's writes and its answer are there once, or not at all", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const store = yield* IdempotencyStore.IdempotencyStore
      const table = { table: "together" }
      yield* sql`CREATE TABLE IF NOT EXISTS payments (amount INTEGER NOT NULL)`
      yield* sql`DELETE FROM payments`
      const paid = Effect.map(sql`SELECT amount FROM payments ORDER BY amount`, (rows) =>
        rows.map((row) => Number(row["amount"])))
      const pay = (amount: number, then: Effect.Effect<unknown, unknown> = Effect.void, status = 201) =>
        sql`INSERT INTO payments (amount) VALUES (${amount})`.pipe(
          Effect.zipRight(then),
          Effect.as(HttpServerResponse.text(`paid ${amount}`, { status })),
          Sql.transaction(table)
        )
      let handler: Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, unknown> = pay(1)
      let claim: IdempotencyStore.Claim | undefined
      const noted = Effect.tap(Idempotency.Claim, (found) =>
        Effect.sync(() => claim = Option.getOrUndefined(found)))
      const { post, runs } = yield* once(() => Effect.zipRight(noted, Effect.suspend(() => handler)))

      // once
      assert.strictEqual((yield* post("\"a\"")).body, "paid 1")
      assert.strictEqual((yield* post("\"a\"")).body, "paid 1")
      assert.deepStrictEqual(yield* paid, [1])
      assert.strictEqual(runs(), 1)

      // a failure is rolled back, and free
      handler = pay(2, Effect.fail("no"))
      assert.strictEqual((yield* post("\"b\"")).status, 500)
      assert.deepStrictEqual(yield* paid, [1])
      handler = pay(2)
      assert.strictEqual((yield* post("\"b\"")).body, "paid 2")

      // without a key it is a transaction
      handler = pay(3)
      assert.strictEqual((yield* post(undefined)).body, "paid 3")
      assert.deepStrictEqual(yield* paid, [1, 2, 3])

      // who has lost the claim has written nothing
      const [taken] = [{ token: 1 }]
      handler = Effect.suspend(() =>
        pay(4, sql`UPDATE together SET token = token + ${taken!.token}, leased_until = 0 WHERE answer IS NULL`)
      )
      assert.strictEqual((yield* post("\"c\"")).status, 409)
      assert.deepStrictEqual(yield* paid, [1, 2, 3])

      // what is committed is answered, though the process hears nothing more of it
      const key = "\"d\""
      handler = Effect.zipRight(pay(5), Effect.dieMessage("crash after the commit"))
      assert.strictEqual((yield* post(key)).status, 500)
      assert.deepStrictEqual(yield* paid, [1, 2, 3, 5])
      assert.strictEqual((yield* post(key)).body, "paid 5")
      assert.strictEqual(
        (yield* store.claim(claim!.key, { ...terms, fingerprint: claim!.fingerprint }))._tag,
        "Answered"
      )
    }).pipe(Effect.provide(storeOf({ ...patient, table: "together" }))))
}

describePostgres("PostgreSQL", () => {
  const client = Layer.provideMerge(postgresClient(), Postgres.layer())
  suite("keeps the contract", storeOf(patient).pipe(Layer.provide(client)), { traces: 10 })
  layer(client, { excludeTestServices: true, timeout: 30_000 })((it) => {
    common(it)

    it.scoped("is no part of the caller's transaction", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const store = yield* IdempotencyStore.IdempotencyStore
        const exit = yield* Effect.exit(sql.withTransaction(Effect.zipRight(claimed(store, "kept"), Effect.fail("no"))))
        assert.isTrue(Exit.isFailure(exit))
        assert.strictEqual((yield* store.claim("kept", terms))._tag, "InProgress")
      }).pipe(Effect.provide(storeOf({ ...patient, table: "outside" }))))

    it.scoped("a server that crashes keeps what is claimed and what is answered; meanwhile it is a 503", () =>
      Effect.gen(function*() {
        const { restart, start, stop } = yield* Postgres
        const store = yield* IdempotencyStore.IdempotencyStore
        const { post, runs } = yield* once((run) =>
          Effect.succeed(HttpServerResponse.text(`no. ${run}`, { status: 201 }))
        )
        assert.strictEqual((yield* post("\"a\"")).body, "no. 1")
        const claim = yield* claimed(store, "under way")
        yield* stop
        const refused = yield* post("\"a\"")
        assert.strictEqual(refused.status, 503)
        assert.strictEqual(refused.headers["retry-after"], "5")
        yield* start
        yield* insist(Effect.filterOrFail(post("\"a\""), ({ body }) => body === "no. 1"))
        assert.strictEqual(runs(), 1)
        yield* restart
        yield* insist(Effect.filterOrFail(store.claim("under way", terms), ({ _tag }) => _tag === "InProgress"))
        assert.isTrue(yield* store.complete(claim, answerOf(), minute))
      }).pipe(Effect.provide(storeOf({ queryTimeout: "5 seconds", cleanup: false, table: "crashes" }))))
  })
})

describeSqlite("SQLite", () => {
  suite("keeps the contract", storeOf(patient).pipe(Layer.provide(sqliteClient())), { traces: 10 })
  layer(sqliteClient(), { excludeTestServices: true })(common)
})

describe("mistakes throw", () => {
  it.each<[options: Sql.Options, message: string]>([
    [{ table: "a b" }, "Idempotency/Sql: table is \"a b\""],
    [{ queryTimeout: 0 }, "Idempotency/Sql: queryTimeout is 0"],
    [{ maxPending: 0 }, "Idempotency/Sql: maxPending is 0"],
    [{ cleanup: { batch: 0 } }, "Idempotency/Sql: cleanup.batch is 0"]
  ])("%j", (options, message) => {
    assert.throws(() => Sql.layerStore(options), message)
  })
})
