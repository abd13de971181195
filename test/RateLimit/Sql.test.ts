import * as Reactivity from "@effect/experimental/Reactivity"
import * as Migrator from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Statement from "@effect/sql/Statement"
import { assert, describe, it, layer, type Vitest } from "@effect/vitest"
import { Array as Arr, Cause, Duration, Effect, Exit, Fiber, Layer, Logger, Scope, TestClock } from "effect"
import { RateLimit, RateLimitStore } from "effect-middleware"
import * as Sql from "effect-middleware/RateLimit/Sql"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { type At, readState, statementsOf as textsOf } from "../../src/internal/rateLimitSql.js"
import { start, suite } from "../contracts/RateLimitStoreContract.js"
import { describePostgres, describeSqlite } from "../utils/describeSql.js"
import { Postgres, postgresClient, sqliteClient } from "../utils/sql.js"
import { insist, statementsOf, timed, until, withTestClock } from "../utils/sqlStores.js"

/** A store in a table of its own. */
const storeOf = (options?: Sql.Options) =>
  Layer.provideMerge(Sql.layerStore(options), Layer.effectDiscard(Sql.migration(options)))

const withStore = <A, E, R>(
  options: Sql.Options,
  use: (store: RateLimitStore.Service) => Effect.Effect<A, E, R>
) => Effect.provide(Effect.flatMap(RateLimitStore.RateLimitStore, use), storeOf(options))

const minute = 60_000
const hourly = RateLimit.limits(RateLimit.fixedWindow({ limit: 2, window: "1 hour" }))
const many = RateLimit.limits([
  RateLimit.gcra({ limit: 30, window: "1 hour", name: "a" }),
  RateLimit.quota({ limit: 40, per: "month" }),
  RateLimit.slidingWindowLog({ limit: 50, window: "1 hour", name: "c" })
], { ban: { after: 10_000, duration: "1 hour" } })
const bucketOf = (key: string, limits = hourly): RateLimitStore.Bucket => ({ limiter: "test", key, limits })
const now = { cost: 1, now: start }

const refused = (exit: Exit.Exit<unknown, RateLimitStore.RateLimitUnavailable>): string => {
  assert.isTrue(Exit.isFailure(exit))
  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  assert.instanceOf(error, RateLimitStore.RateLimitUnavailable)
  return `${error.operation}: ${error.cause instanceof Error ? error.cause.message : error.cause}`
}

/** How many of those that come at once are admitted, where each of some stores has as many of them. */
const admitted = (
  stores: ReadonlyArray<RateLimitStore.Service>,
  bucket: RateLimitStore.Bucket,
  count: number,
  options: RateLimitStore.Cost = { cost: 1 }
) =>
  Effect.map(
    Effect.forEach(Arr.range(1, count), () => Effect.forEach(stores, (store) => store.consume(bucket, options)), {
      concurrency: "unbounded"
    }),
    (decisions) => decisions.flat().filter(({ allowed }) => allowed).length
  )

// a machine that is busy is no reason to give up where time is not what is tested
const patient = { queryTimeout: "30 seconds", cleanup: false } as const

describePostgres("PostgreSQL", () => {
  suite(
    "keeps the contract",
    storeOf(patient).pipe(Layer.provide(postgresClient()), Layer.provide(Postgres.layer()))
  )

  layer(Layer.provideMerge(postgresClient(), Postgres.layer()), { excludeTestServices: true, timeout: 30_000 })(
    (it) => {
      common(it, "pg")

      it.effect("is exact between processes, by the time of the server", () =>
        Effect.gen(function*() {
          // a clock that is far behind is the caller's
          const stores = yield* Effect.forEach(Arr.range(1, 3), () =>
            Effect.map(
              Layer.build(
                Layer.provide(Layer.fresh(storeOf({ ...patient, table: "exact" })), Layer.fresh(postgresClient()))
              ),
              (context) => Effect.provide(RateLimitStore.RateLimitStore, context)
            ))
          const services = yield* Effect.all(stores)
          for (const key of ["a", "b", "c"]) {
            assert.strictEqual(yield* admitted(services, bucketOf(key, many), 34), 30)
          }
          const { now } = yield* services[0]!.peek(bucketOf("a", many), { cost: 1 })
          assert.isAbove(now, 1_700_000_000_000)
        }).pipe(Effect.scoped, withTestClock))

      it.effect("decides at the time at which it has the row", () =>
        withStore({ ...patient, table: "waiting" }, (store) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            const time = Effect.map(
              sql<{ now: string }>`SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) AS now`,
              ([row]) => Number(row?.now)
            )
            yield* store.consume(bucketOf("a"), { cost: 1 })
            const [fiber, before] = yield* sql.withTransaction(Effect.gen(function*() {
              yield* sql`SELECT 1 FROM waiting FOR UPDATE`
              const fiber = yield* Effect.forkDaemon(store.consume(bucketOf("a"), { cost: 1 }))
              yield* sql`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'`.pipe(
                Effect.repeat({ until: (rows) => rows.length > 0, times: 10_000 })
              )
              yield* sql`SELECT pg_sleep(0.05)`
              return [fiber, yield* time] as const
            }))
            assert.isAtLeast((yield* Fiber.join(fiber)).now, before)
          })))

      it.effect("writes a row where it is, and does not wait for a disk", () =>
        withStore({ ...patient, table: "written" }, (store) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            const { psql } = yield* Postgres
            for (let i = 0; i < 50; i++) yield* store.consume(bucketOf("a", many), { cost: 1 })
            const counts = psql("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'written'")
            // what a connection has counted it tells now and then
            yield* until(
              Effect.zipRight(sql`SELECT pg_stat_force_next_flush()`, Effect.orDie(counts)),
              "49|49"
            )
            // the connection is as it was
            assert.deepStrictEqual(yield* sql`SHOW synchronous_commit`, [{ synchronous_commit: "on" }])
          })))

      it.effect("finds its rows by indexes", () =>
        withStore({ ...patient, table: "many" }, (store) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            yield* sql`INSERT INTO many SELECT 'key' || n, '[]', n FROM generate_series(1, 5000) AS n`
            yield* sql`ANALYZE many`
            const { deleteExpired } = textsOf("pg", `"many"`)
            const cleanup = deleteExpired(10, { now: 100, clock: 100 })
            const operations: ReadonlyArray<readonly [Effect.Effect<unknown, unknown>, string]> = [
              [store.consume(bucketOf("a"), now), "Conflict Arbiter Indexes: many_pkey"],
              [store.peek(bucketOf("a"), now), "Index Scan using many_pkey"],
              [store.refund(bucketOf("a"), { ...now, since: start }), "Index Scan using many_pkey"],
              [store.reset(bucketOf("a")), "Index Scan using many_pkey"],
              [sql.unsafe(cleanup.text, cleanup.values), "Index Scan using many_expires_at"]
            ]
            for (const [operation, index] of operations) {
              const { statements: [sent] } = yield* statementsOf(operation)
              const plan = yield* sql.unsafe<{ "QUERY PLAN": string }>(`EXPLAIN ${sent?.[0]}`, sent?.[1])
              const lines = plan.map((row) => row["QUERY PLAN"]).join("\n")
              assert.include(lines, index)
              assert.notMatch(lines, /Seq Scan/)
            }
          })))

      it.effect("cancels nothing that it has given up on", () =>
        withStore({ table: "locked", queryTimeout: "200 millis", cleanup: false }, (store) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            yield* insist(store.consume(bucketOf("a"), { cost: 0, now: start }))
            yield* sql.withTransaction(Effect.gen(function*() {
              yield* sql`SELECT 1 FROM locked FOR UPDATE`
              assert.match(refused(yield* Effect.exit(store.consume(bucketOf("a"), now))), /^consume: .*timed out/)
              // the answer to this comes after a cancellation would have been sent
              yield* sql`SELECT pg_sleep(0.2)`
            }))
            const spent = Effect.map(
              sql<{ spent: string }>`SELECT state -> 2 ->> 1 AS spent FROM locked`,
              ([row]) => row?.spent
            )
            yield* until(spent, "1")
          })))

      it.effect("has the answer in time when no connection is free, and waits no longer than that", () =>
        withStore({ table: "busy", queryTimeout: "100 millis" }, (store) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            const held = yield* Scope.make()
            yield* Effect.replicateEffect(sql.reserve, 10).pipe(Scope.extend(held))
            const [ms, exit] = yield* timed(Effect.exit(store.consume(bucketOf("a"), now)))
            assert.match(refused(exit), /^consume: .*timed out/)
            assert.isBelow(ms, 5_000)
            yield* Scope.close(held, Exit.void)
            yield* insist(store.consume(bucketOf("a"), now))
          })))
    }
  )

  it.live(
    "ends in time while the server does not answer, is left alone then, and is there again when it does",
    () =>
      Effect.gen(function*() {
        const server = yield* Postgres
        yield* withStore({}, (store) =>
          Effect.gen(function*() {
            yield* insist(store.consume(bucketOf("a"), now))
            yield* server.pause
            const operations: Readonly<Record<string, Operation>> = {
              consume: store.consume(bucketOf("a"), now),
              peek: store.peek(bucketOf("a"), now),
              refund: store.refund(bucketOf("a"), { ...now, since: start }),
              reset: store.reset(bucketOf("b"))
            }
            const [ms, exits] = yield* timed(
              Effect.forEach(Object.values(operations), (operation) => Effect.exit(operation), {
                concurrency: "unbounded"
              })
            )
            assert.isBelow(ms, 5_000)
            assert.deepStrictEqual(
              exits.map(refused),
              Object.keys(operations).map((operation) => `${operation}: Operation timed out after '100ms'`)
            )

            // who is interrupted does not wait for the server either
            const fiber = yield* Effect.fork(store.consume(bucketOf("a"), now))
            yield* Effect.yieldNow()
            const [interrupting] = yield* timed(Fiber.interrupt(fiber))
            assert.isBelow(interrupting, 5_000)

            // after five it is left alone
            const late = yield* Effect.exit(store.consume(bucketOf("a"), now))
            assert.strictEqual(refused(late), "consume: Operation timed out after '100ms'")
            const [waiting, alone] = yield* timed(Effect.exit(store.consume(bucketOf("a"), now)))
            assert.strictEqual(refused(alone), "consume: It has failed too often, and is left alone for a while")
            assert.isBelow(waiting, 100)

            yield* server.resume
            assert.isFalse((yield* insist(store.consume(bucketOf("a"), now))).allowed)
          }))
      }).pipe(Effect.provide(Layer.provideMerge(postgresClient(), Postgres.layer()))),
    60_000
  )

  it.live(
    "has no more under way than it may, with what was given up on",
    () =>
      Effect.gen(function*() {
        const server = yield* Postgres
        yield* withStore({ ...patient, maxPending: 20 }, (store) =>
          Effect.gen(function*() {
            yield* server.pause
            const consume = store.consume(bucketOf("a"), now)
            const first = yield* Effect.forEach(Arr.range(1, 20), () => Effect.fork(consume))
            yield* Effect.yieldNow()
            yield* Fiber.interruptAll(first)
            assert.strictEqual(refused(yield* Effect.exit(consume)), "consume: 20 operations are under way")
            yield* server.resume
            assert.isFalse((yield* insist(consume)).allowed)
          }))
      }).pipe(Effect.provide(Layer.provideMerge(postgresClient(), Postgres.layer()))),
    60_000
  )

  it.live(
    "fails while the server is gone, and works when it is back",
    () =>
      Effect.gen(function*() {
        const server = yield* Postgres
        yield* withStore(patient, (store) =>
          Effect.gen(function*() {
            const once = (key: string) => store.consume(bucketOf(key), now)
            // as many connections as there may be, all of which then break
            yield* Effect.forEach(Arr.range(1, 50), (i) => once(`${i}`), { concurrency: "unbounded" })
            yield* server.stop
            const [ms, exits] = yield* timed(
              Effect.forEach(Arr.range(1, 50), () => Effect.exit(once("7")), { concurrency: "unbounded" })
            )
            for (const exit of exits) assert.match(refused(exit), /^consume: /)
            assert.isBelow(ms, 5_000)
            yield* server.start
            yield* insist(once("51"))
            assert.strictEqual(yield* admitted([store], bucketOf("52"), 50), 2)
          }))
      }).pipe(Effect.provide(Layer.provideMerge(postgresClient(), Postgres.layer()))),
    60_000
  )

  for (const isolation of ["repeatable read", "serializable"]) {
    it.live(
      `is exact where every transaction is ${isolation}`,
      () =>
        withStore(patient, (store) =>
          Effect.gen(function*() {
            const exits = yield* Effect.forEach(
              Arr.range(1, 100),
              () => Effect.exit(store.consume(bucketOf("a", many), now)),
              { concurrency: "unbounded" }
            )
            const decisions = exits.flatMap((exit) => Exit.isSuccess(exit) ? [exit.value] : [])
            // who has lost again and again is told so, and has spent nothing
            assert.isAtLeast(decisions.length, 90)
            const { limits: [left] } = yield* store.peek(bucketOf("a", many), now)
            assert.strictEqual(decisions.filter(({ allowed }) => allowed).length, 30 - (left?.remaining ?? 0))
          })).pipe(
            Effect.provide(postgresClient()),
            Effect.provide(Postgres.layer({ settings: { default_transaction_isolation: isolation } }))
          ),
      60_000
    )
  }
})

describeSqlite("SQLite", () => {
  const file = (name: string) =>
    Layer.unwrapScoped(Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-middleware-sqlite-"))),
        (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
      ),
      (folder) => sqliteClient(Path.join(folder, name))
    ))

  suite("keeps the contract", storeOf(patient).pipe(Layer.provide(file("limits.db"))))

  layer(sqliteClient(), { excludeTestServices: true })((it) => {
    common(it, "sqlite")

    it.effect("takes the time of the caller's clock", () =>
      withStore({ ...patient, table: "clocked" }, (store) =>
        Effect.gen(function*() {
          yield* TestClock.adjust("1 day")
          assert.strictEqual((yield* store.consume(bucketOf("a"), { cost: 2 })).now, 86_400_000)
          yield* TestClock.adjust("30 minutes")
          assert.deepInclude(yield* store.consume(bucketOf("a"), { cost: 1 }), {
            allowed: false,
            retryAfter: 30 * minute
          })
          assert.strictEqual((yield* store.peek(bucketOf("b"), { cost: 1 })).now, 86_400_000 + 30 * minute)
          yield* TestClock.adjust("30 minutes")
          assert.isTrue((yield* store.consume(bucketOf("a"), { cost: 1 })).allowed)
        })).pipe(withTestClock))
  })

  describe("of two clients of one file", () => {
    const folder = Effect.acquireRelease(
      Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-middleware-sqlite-"))),
      (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
    )
    const open = (filename: string, options: Sql.Options) =>
      Effect.flatMap(
        Layer.build(Layer.provideMerge(storeOf(options), Layer.fresh(sqliteClient(filename)))),
        (context) => Effect.provide(Effect.all([RateLimitStore.RateLimitStore, SqlClient.SqlClient]), context)
      )

    it.scopedLive("they spend the same", () =>
      Effect.gen(function*() {
        const filename = Path.join(yield* folder, "limits.db")
        const [one] = yield* open(filename, patient)
        const [two] = yield* open(filename, patient)
        assert.strictEqual(yield* admitted([one, two], bucketOf("a", many), 50, now), 30)
      }))

    it.scopedLive("one fails in time while the other holds the lock, and works after", () =>
      Effect.gen(function*() {
        const filename = Path.join(yield* folder, "limits.db")
        const [one] = yield* open(filename, { queryTimeout: "50 millis" })
        const [, two] = yield* open(filename, patient)
        yield* one.consume(bucketOf("a"), now)
        yield* two`BEGIN IMMEDIATE`
        const [ms, exit] = yield* timed(Effect.exit(one.consume(bucketOf("a"), now)))
        assert.match(refused(exit), /^consume: /)
        assert.isBelow(ms, 5_000)
        // a read is not kept waiting
        assert.isTrue((yield* one.peek(bucketOf("a"), now)).allowed)
        yield* two`COMMIT`
        assert.isTrue((yield* one.consume(bucketOf("a"), now)).allowed)
      }))
  })
})

type Operation = Effect.Effect<unknown, RateLimitStore.RateLimitUnavailable>

/** What both have to show. */
function common(it: Vitest.MethodsNonLive<SqlClient.SqlClient, true>, dialect: "pg" | "sqlite") {
  it.effect("sends one statement, whose text is the same for limits of the same kinds", () =>
    withStore({ ...patient, table: "counted" }, (store) =>
      Effect.gen(function*() {
        const sent = <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.map(statementsOf(effect), ({ statements }) => {
            assert.lengthOf(statements, 1)
            return statements[0]![0]
          })
        const other = RateLimit.limits(RateLimit.fixedWindow({ limit: 700, window: "1 day" }))
        const texts = [
          yield* sent(store.consume(bucketOf("a"), now)),
          yield* sent(store.consume(bucketOf("a"), now)),
          yield* sent(store.consume(bucketOf("a"), now)),
          yield* sent(store.consume(bucketOf("a"), { cost: 1 })),
          yield* sent(store.consume(bucketOf("b", other), { cost: 5 }))
        ]
        assert.lengthOf(new Set(texts), 1)
        yield* sent(store.consume(bucketOf("a", many), now))
        yield* sent(store.peek(bucketOf("a"), now))
        yield* sent(store.peek(bucketOf("z"), now))
        yield* sent(store.refund(bucketOf("a"), { ...now, since: start }))
        yield* sent(store.reset(bucketOf("a")))
      })))

  it.effect("grows by what is admitted only, and by no look at it", () =>
    withStore({ ...patient, table: "grown" }, (store) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const rows = sql<{ key: string; size: number }>`SELECT key, LENGTH(CAST(state AS TEXT)) AS size FROM grown`
        const bucket = bucketOf(
          "a",
          RateLimit.limits([
            RateLimit.slidingWindowLog({ limit: 3, window: "1 hour", name: "a" }),
            RateLimit.slidingWindowLog({ limit: 100, window: "1 hour", name: "b" })
          ])
        )
        yield* store.peek(bucket, now)
        yield* store.refund(bucket, { ...now, since: start })
        yield* store.reset(bucket)
        assert.deepStrictEqual(yield* rows, [])
        for (let i = 0; i < 3; i++) assert.isTrue((yield* store.consume(bucket, { cost: 1, now: start + i })).allowed)
        const full = yield* rows
        for (let i = 0; i < 20; i++) {
          assert.isFalse((yield* store.consume(bucket, { cost: 1, now: start + 3 + i })).allowed)
          yield* store.peek(bucket, { cost: 1, now: start + 100 })
        }
        assert.deepStrictEqual(yield* rows, full)
      })))

  it.effect("keeps what is short and plain to be read, and a digest of all else", () =>
    withStore({ ...patient, table: "named" }, (store) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        for (const key of ["192.0.2.1", "\0\ud800\"", "x".repeat(1_000_000)]) yield* store.consume(bucketOf(key), now)
        const keys = yield* sql<{ key: string }>`SELECT key FROM named`
        assert.sameMembers(keys.map(({ key }) => /^#[\w-]{43}$/.test(key) ? "a digest" : key), [
          "test:f3600000-3600s:192.0.2.1",
          "a digest",
          "a digest"
        ])
      })))

  it.effect("takes the period of a quota that its own time is in, though the caller is in one beside it", () =>
    withStore({ ...patient, table: "calendar" }, () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const limits = RateLimit.limits(RateLimit.quota({ limit: 5, per: "day" }))
        const { consume } = textsOf(dialect, "calendar")
        const spent = (at: At) => {
          const { text, values } = consume(bucketOf("a", limits), 1, at)
          return Effect.map(sql.unsafe<{ state: string }>(text, values), ([row]) => {
            const { slots: { cells } } = readState(row?.state, limits)
            return [new Date(cells[0]!).toISOString().slice(0, 10), cells[1]]
          })
        }
        const [before, after] = [Date.UTC(2030, 0, 1) - 1, Date.UTC(2030, 0, 1)]
        assert.deepStrictEqual(yield* spent({ now: before, clock: before }), ["2029-12-31", 1])
        assert.deepStrictEqual(yield* spent({ now: before, clock: after }), ["2029-12-31", 2])
        assert.deepStrictEqual(yield* spent({ now: after, clock: before }), ["2030-01-01", 1])
        assert.deepStrictEqual(yield* spent({ now: after, clock: after }), ["2030-01-01", 2])
        // who is behind does not bring the last one back
        assert.deepStrictEqual(yield* spent({ now: before, clock: before }), ["2030-01-01", 3])
        // unless its clock was wrong for longer
        const longBefore = before - 2 * 86_400_000
        assert.deepStrictEqual(yield* spent({ now: longBefore, clock: longBefore }), ["2029-12-29", 4])
      })))

  it.effect("takes numbers that no limit admits", () =>
    withStore({ ...patient, table: "huge" }, (store) =>
      Effect.gen(function*() {
        const limits = RateLimit.limits([
          RateLimit.slidingWindowCounter({ limit: 1000, window: "3650 days", name: "a" }),
          RateLimit.tokenBucket({ capacity: 1000, refill: 1_000_000, every: "3650 days", name: "b" }),
          RateLimit.gcra({ limit: 1000, window: "3650 days", name: "c" }),
          RateLimit.slidingWindowLog({ limit: 1000, window: "3650 days", name: "d" })
        ])
        for (const cost of [1001, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
          assert.deepInclude(yield* store.consume(bucketOf("a", limits), { cost, now: start }), {
            allowed: false,
            retryAfter: Infinity
          })
          yield* store.refund(bucketOf("a", limits), { cost, now: start, since: start })
        }
        assert.isTrue((yield* store.consume(bucketOf("a", limits), { cost: 1000, now: start })).allowed)
      })))

  it.effect("migrates more than once, and at the same time", () =>
    Effect.gen(function*() {
      const options = { table: "Migrated_1" }
      yield* Effect.forEach(Arr.range(1, 8), () => Sql.migration(options), { concurrency: "unbounded", discard: true })
      yield* withStore({ ...patient, ...options }, (store) =>
        Effect.gen(function*() {
          yield* store.consume(bucketOf("a"), now)
          yield* Sql.migration(options)
          const sql = yield* SqlClient.SqlClient
          assert.lengthOf(yield* sql`SELECT * FROM "Migrated_1"`, 1)
        }))
    }))

  it.effect("is a migration of Migrator's", () =>
    Effect.gen(function*() {
      const options = { table: "by_migrator" }
      const migrate = Migrator.make({})({
        loader: Migrator.fromRecord({ "0001_rate_limits": Sql.migration(options) })
      })
      assert.deepStrictEqual(yield* migrate, [[1, "rate_limits"]])
      assert.deepStrictEqual(yield* migrate, [])
      const decision = Effect.flatMap(RateLimitStore.RateLimitStore, (store) => store.consume(bucketOf("a"), now))
      assert.isTrue((yield* Effect.provide(decision, Sql.layerStore({ ...patient, ...options }))).allowed)
    }))

  it.effect("is no part of a transaction of the caller's", () =>
    withStore(
      { table: "outside", queryTimeout: dialect === "pg" ? "10 seconds" : "50 millis" },
      (store) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          let spent: Exit.Exit<unknown, RateLimitStore.RateLimitUnavailable> = Exit.void
          const rolledBack = Effect.gen(function*() {
            spent = yield* Effect.exit(store.consume(bucketOf("a"), { cost: 2, now: start }))
            return yield* Effect.fail("rolled back")
          })
          assert.strictEqual(yield* Effect.flip(sql.withTransaction(rolledBack)), "rolled back")
          // the one connection of a SQLite client is the transaction's
          if (dialect === "pg") assert.isTrue(Exit.isSuccess(spent))
          else assert.match(refused(spent), /^consume: .*timed out/)
          assert.strictEqual((yield* store.peek(bucketOf("a"), now)).allowed, dialect === "sqlite")
        })
    ))

  it.effect("takes a row that it would not write for a store that fails, until it is reset", () =>
    withStore({ ...patient, table: "damaged" }, (store) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        for (const damage of ["[]", "{}", `[1,1,["x",1]]`, `[1,1,[1,9007199254740993]]`]) {
          yield* store.consume(bucketOf("a"), now)
          yield* sql.unsafe(`UPDATE damaged SET state = '${damage}'`)
          assert.match(refused(yield* Effect.exit(store.peek(bucketOf("a"), now))), /^peek: /, damage)
          yield* store.reset(bucketOf("a"))
        }
        assert.isTrue((yield* store.consume(bucketOf("a"), now)).allowed)
        yield* sql`DROP TABLE damaged`
        for (
          const [operation, effect] of Object.entries<Operation>({
            consume: store.consume(bucketOf("a"), now),
            refund: store.refund(bucketOf("a"), { ...now, since: start }),
            reset: store.reset(bucketOf("a"))
          })
        ) {
          assert.match(refused(yield* Effect.exit(effect)), new RegExp(`^${operation}: `))
        }
      })))

  /** With ten keys that have lapsed by then, and one that has not. */
  const cleaning = <A, E, R>(
    table: string,
    cleanup: Sql.Options["cleanup"],
    use: (cleaning: {
      readonly sql: SqlClient.SqlClient
      /** How many there were. */
      readonly batches: Effect.Effect<number>
      readonly left: Effect.Effect<number>
      readonly logs: ReadonlyArray<string>
    }) => Effect.Effect<A, E, R>
  ) => {
    const logs: Array<string> = []
    const logger = Logger.replace(
      Logger.defaultLogger,
      Logger.make(({ message }) => {
        logs.push(String(message))
      })
    )
    return Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      let sent = 0
      const limits = RateLimit.limits(RateLimit.fixedWindow({ limit: 1, window: "1 second" }))
      yield* withStore({ ...patient, table, cleanup }, (store) =>
        Effect.gen(function*() {
          for (let i = 0; i < 11; i++) {
            yield* store.consume(bucketOf(`${i}`, limits), { cost: 1, now: i === 10 ? start : i })
          }
          yield* use({
            sql,
            batches: Effect.sync(() => sent),
            left: Effect.orDie(Effect.map(
              sql<{ count: number }>`SELECT COUNT(*) AS count FROM ${sql(table)}`,
              ([row]) => Number(row?.count)
            )),
            logs
          })
        })).pipe(
          Statement.withTransformer((statement) => {
            if (statement.compile(true)[0].startsWith("WITH expired")) sent++
            return Effect.succeed(statement)
          })
        )
    }).pipe(Effect.provide(logger), withTestClock)
  }

  it.effect("cleanup deletes what has lapsed, in batches, every five minutes", () =>
    cleaning("cleaned", { batch: 4 }, ({ batches, left }) =>
      Effect.gen(function*() {
        yield* TestClock.adjust("299 seconds")
        assert.deepStrictEqual([yield* batches, yield* left], [0, 11])
        yield* TestClock.adjust("1 second")
        yield* until(left, 1)
        yield* until(batches, 3)
        yield* TestClock.adjust("299 seconds")
        assert.strictEqual(yield* batches, 3)
        yield* TestClock.adjust("1 second")
        yield* until(batches, 4)
        assert.strictEqual(yield* left, 1)
      })))

  it.effect("cleanup goes on after an error, and says so", () =>
    cleaning("mended", { every: "1 minute" }, ({ left, logs, sql }) =>
      Effect.gen(function*() {
        yield* dialect === "pg"
          ? sql`ALTER TABLE mended RENAME TO away`
          : sql`CREATE TRIGGER kept BEFORE DELETE ON mended BEGIN SELECT RAISE(ABORT, 'kept'); END`
        yield* TestClock.adjust("1 minute")
        yield* until(Effect.sync(() => logs), ["RateLimit/Sql: keys that have lapsed were not deleted"])
        yield* dialect === "pg" ? sql`ALTER TABLE away RENAME TO mended` : sql`DROP TRIGGER kept`
        assert.strictEqual(yield* left, 11)
        yield* TestClock.adjust("1 minute")
        yield* until(left, 1)
        assert.lengthOf(logs, 1)
      })))

  it.effect("cleanup is that of several processes at once", () =>
    cleaning(
      "shared",
      { every: "1 minute", batch: 1 },
      ({ batches, left, logs }) =>
        withStore({ ...patient, table: "shared", cleanup: { every: "1 minute", batch: 1 } }, () =>
          Effect.gen(function*() {
            yield* TestClock.adjust("1 minute")
            yield* until(left, 1)
            assert.isAtLeast(yield* batches, 10)
            assert.deepStrictEqual(logs, [])
          }))
    ))

  if (dialect === "pg") {
    it.effect("cleanup leaves to another what that is at", () =>
      cleaning("held", { every: "1 minute" }, ({ left, sql }) =>
        sql.withTransaction(Effect.gen(function*() {
          yield* sql`SELECT 1 FROM held WHERE key LIKE ${"%:3"} FOR UPDATE`
          yield* TestClock.adjust("1 minute")
          yield* until(left, 2)
        }))))
  }

  it.effect("cleanup is left to others if that is said", () =>
    cleaning("kept", false, ({ batches, left }) =>
      Effect.gen(function*() {
        yield* TestClock.adjust("1 day")
        assert.deepStrictEqual([yield* batches, yield* left], [0, 11])
      })))
}

describe("options", () => {
  it("that are mistakes throw", () => {
    for (const table of ["", "a b", "a\"; DROP TABLE users; --", "1a", "a.b", "é", "a\n", "x".repeat(41), "\u0000"]) {
      const message = `RateLimit/Sql: table is ${JSON.stringify(table)}: write`
      assert.throws(() => Sql.layerStore({ table }), TypeError, message)
      assert.throws(() => Sql.migration({ table }), TypeError, message)
    }
    for (const table of ["s", "_s", "S1", "x".repeat(40)]) Sql.layerStore({ table })

    for (
      const [option, options] of [
        ["queryTimeout", { queryTimeout: 0 }],
        ["queryTimeout", { queryTimeout: Duration.infinity }],
        ["maxPending", { maxPending: 0 }],
        ["maxPending", { maxPending: 1.5 }],
        ["cleanup.every", { cleanup: { every: 0 } }],
        ["cleanup.batch", { cleanup: { batch: 0 } }]
      ] as const
    ) {
      assert.throws(() => Sql.layerStore(options), RangeError, `RateLimit/Sql: ${option} is `)
    }
  })

  it.effect("and so does a database of another kind, when the layer is built", () =>
    Effect.gen(function*() {
      const client = SqlClient.make({
        acquirer: Effect.die("not asked"),
        compiler: Statement.makeCompiler({
          dialect: "mysql",
          placeholder: () => "?",
          onIdentifier: (name) => name,
          onRecordUpdate: () => ["", []],
          onCustom: () => ["", []]
        }),
        spanAttributes: []
      })
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(Sql.layerStore()))).pipe(
        Effect.provideServiceEffect(SqlClient.SqlClient, client),
        Effect.provide(Reactivity.layer)
      )
      assert.strictEqual(
        Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "",
        "TypeError: RateLimit/Sql: the SqlClient is one for MySQL: provide one for PostgreSQL or SQLite"
      )
    }))
})
