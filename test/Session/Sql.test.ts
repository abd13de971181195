import * as Reactivity from "@effect/experimental/Reactivity"
import * as Migrator from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import { assert, describe, it, layer, type Vitest } from "@effect/vitest"
import { Array as Arr, Cause, Duration, Effect, Exit, Fiber, Layer, Logger, Queue, Scope, TestClock } from "effect"
import { SessionStore } from "effect-middleware"
import * as Sql from "effect-middleware/Session/Sql"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { suite } from "../contracts/SessionStoreContract.js"
import { describePostgres, describeSqlite } from "../utils/describeSql.js"
import { Postgres, postgresClient, sqliteClient } from "../utils/sql.js"
import { insist, statementsOf, timed, until, withTestClock } from "../utils/sqlStores.js"

/** A store in tables of its own. */
const storeOf = (options?: Sql.Options) =>
  Layer.provideMerge(Sql.layerStore(options), Layer.effectDiscard(Sql.migration(options)))

const withStore = <A, E, R>(
  options: Sql.Options,
  use: (store: SessionStore.Service) => Effect.Effect<A, E, R>
) => Effect.provide(Effect.flatMap(SessionStore.SessionStore, use), storeOf(options))

const start = 4_000_000_000_000
const minute = 60_000
const touch = { every: 5 * minute, idle: 20 * minute }
const entryOf = (entry: Partial<SessionStore.Entry> = {}): SessionStore.Entry => ({
  payload: "{}",
  owner: "alice",
  createdAt: start,
  touchedAt: start,
  expiresAt: start + 20 * minute,
  endsAt: start + 60 * minute,
  ...entry
})
const changes = { payload: "saved", touchedAt: start, expiresAt: start + minute }
const grace = { now: start, until: start + minute }

const refused = (exit: Exit.Exit<unknown, SessionStore.SessionUnavailable>): string => {
  assert.isTrue(Exit.isFailure(exit))
  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  assert.instanceOf(error, SessionStore.SessionUnavailable)
  return `${error.operation}: ${error.cause instanceof Error ? error.cause.message : error.cause}`
}

// a machine that is busy is no reason to give up where time is not what is tested
const patient = { queryTimeout: "30 seconds", cleanup: false } as const
// who loses tries again, and so the work grows by the square of the writers
const unhurried = { timeout: 240_000, writers: 30 }

describePostgres("PostgreSQL", () => {
  suite(
    "keeps the contract",
    storeOf(patient).pipe(Layer.provide(postgresClient()), Layer.provide(Postgres.layer())),
    unhurried
  )

  layer(Layer.provideMerge(postgresClient(), Postgres.layer()), { excludeTestServices: true, timeout: 30_000 })(
    (it) => {
      common(it, "pg")

      it.effect("notes no use that is not due by a write", () =>
        withStore({ ...patient, table: "reads" }, (store) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            const place = Effect.map(sql`SELECT ctid::text, xmin::text, xmax::text FROM reads`, ([row]) => row)
            yield* store.create("a", entryOf(), start)
            const before = yield* place
            for (const now of [start, start + touch.every - 1]) yield* store.load("a", { now, touch })
            assert.deepStrictEqual(yield* place, before)
            yield* store.load("a", { now: start + touch.every, touch })
            assert.notDeepEqual(yield* place, before)
          })))

      it.effect("finds its rows by indexes", () =>
        withStore({ ...patient, table: "many" }, (store) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            yield* sql`INSERT INTO many SELECT 'id' || n, 1, NULL, '{}', 'owner' || n % 1000, 0, 0,
            ${minute - 5} + n, ${minute - 5} + n FROM generate_series(1, 5000) AS n`
            yield* sql`INSERT INTO many_epochs SELECT 'id' || n, 1, ${
              minute - 5
            } + n FROM generate_series(1, 5000) AS n`
            yield* sql`ANALYZE many, many_epochs`
            const indexesOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
              Effect.gen(function*() {
                const { statements } = yield* statementsOf(effect)
                const plans = yield* Effect.forEach(
                  statements,
                  ([text, values]) => sql.unsafe<{ readonly "QUERY PLAN": string }>(`EXPLAIN ${text}`, values)
                )
                return plans.map((plan) => {
                  const lines = plan.map((row) => row["QUERY PLAN"]).join("\n")
                  assert.notMatch(lines, /Seq Scan on many/)
                  return Arr.dedupe(
                    [...lines.matchAll(/(?:Index Scan using|on) (many_(?:epochs_)?(?:expires_at|owner|pkey))/g)]
                      .map(([, index = ""]) => index)
                  ).sort()
                })
              })
            const now = minute - 4
            assert.deepStrictEqual(yield* indexesOf(store.load("id7", { now, touch })), [["many_pkey"]])
            assert.deepStrictEqual(yield* indexesOf(store.save("id7", 1, changes, now)), [["many_pkey"]])
            assert.deepStrictEqual(yield* indexesOf(store.list("owner7", now)), [["many_owner"]])
            assert.deepStrictEqual(yield* indexesOf(store.destroyAll("owner8", { now })), [["many_owner"]])
            assert.deepStrictEqual(yield* indexesOf(store.epoch("owner7", now)), [["many_epochs_pkey"]])

            const sent = yield* Queue.unbounded<Effect.Effect<ReadonlyArray<ReadonlyArray<string>>, SqlError>>()
            yield* withStore(
              { ...patient, table: "many", cleanup: { every: "1 minute", batch: 100 } },
              () => TestClock.adjust("1 minute")
            ).pipe(
              Statement.withTransformer((statement) => {
                const [text, values] = statement.compile(true)
                const explain = Queue.offer(sent, indexesOf(sql.unsafe(text, values)))
                return Effect.as(text.startsWith("WITH expired") ? explain : Effect.void, statement)
              }),
              withTestClock
            )
            const plans = yield* Effect.flatMap(Queue.takeAll(sent), Effect.forEach((explain) => explain))
            assert.includeDeepMembers(Arr.flatten(Arr.fromIterable(plans)), [
              ["many_expires_at", "many_pkey"],
              ["many_epochs_expires_at", "many_epochs_pkey"]
            ])
          })))

      it.effect("cancels nothing that it has given up on", () =>
        withStore({ table: "locked", queryTimeout: "200 millis", cleanup: false }, (store) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            yield* insist(store.create("a", entryOf(), start))
            yield* sql.withTransaction(Effect.gen(function*() {
              yield* sql`SELECT 1 FROM locked FOR UPDATE`
              assert.match(refused(yield* Effect.exit(store.save("a", 1, changes, start))), /^save: .*timed out/)
              // the answer to this comes after a cancellation would have been sent
              yield* sql`SELECT pg_sleep(0.2)`
            }))
            const [row] = yield* sql<{ payload: string }>`SELECT payload FROM locked`.pipe(
              Effect.repeat({ until: ([row]) => row?.payload === "saved", times: 1_000 })
            )
            assert.strictEqual(row?.payload, "saved")
          })))

      it.effect("has the answer in time when no connection is free, and waits no longer than that", () =>
        Effect.scoped(Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* withStore({ table: "busy", queryTimeout: "100 millis" }, (store) =>
            Effect.gen(function*() {
              const held = yield* Scope.make()
              yield* Effect.replicateEffect(sql.reserve, 10).pipe(Scope.extend(held))
              const [ms, exit] = yield* timed(Effect.exit(store.load("a", { now: start })))
              assert.match(refused(exit), /^load: .*timed out/)
              assert.isBelow(ms, 5_000)
              yield* Scope.close(held, Exit.void)
              assert.isTrue(yield* store.create("a", entryOf(), start))
            }))
        })))
    }
  )

  it.live(
    "ends in time while the server does not answer, is bounded then, and is there again when it does",
    () =>
      Effect.gen(function*() {
        const server = yield* Postgres
        yield* withStore({ queryTimeout: "250 millis", maxPending: 20 }, (store) =>
          Effect.gen(function*() {
            yield* insist(store.create("a", entryOf(), start))
            yield* server.pause
            const operations: Readonly<Record<string, Operation>> = {
              load: store.load("a", { now: start, touch }),
              create: store.create("b", entryOf(), start),
              save: store.save("a", 1, changes, start),
              rotate: store.rotate({ id: "a", version: 1 }, { id: "c", entry: entryOf() }, grace),
              destroy: store.destroy("d", start),
              list: store.list("alice", start),
              destroyAll: store.destroyAll("bob", { now: start }),
              epoch: store.epoch("alice", start),
              advanceEpoch: store.advanceEpoch("alice", { now: start, expiresAt: start + minute })
            }
            const [ms, exits] = yield* timed(
              Effect.forEach(Object.values(operations), (operation) => Effect.exit(operation), {
                concurrency: "unbounded"
              })
            )
            assert.isBelow(ms, 5_000)
            assert.deepStrictEqual(
              exits.map(refused),
              Object.keys(operations).map((operation) => `${operation}: Operation timed out after '250ms'`)
            )

            // who is interrupted does not wait for the server either
            const fiber = yield* Effect.fork(store.load("a", { now: start }))
            yield* Effect.yieldNow()
            const [interrupting] = yield* timed(Fiber.interrupt(fiber))
            assert.isBelow(interrupting, 5_000)

            const many = yield* Effect.forEach(
              Arr.range(1, 50),
              () => Effect.exit(store.load("a", { now: start })),
              { concurrency: "unbounded" }
            )
            const counts = Arr.groupBy(many, refused)
            assert.isAtLeast(counts["load: 20 operations are under way"]?.length ?? 0, 30)

            yield* server.resume
            assert.isDefined(yield* insist(store.load("a", { now: start })))
          }))
      }).pipe(Effect.provide(Layer.provideMerge(postgresClient(), Postgres.layer()))),
    60_000
  )

  it.live(
    "fails while the server is gone, and works when it is back, with what had been saved",
    () =>
      Effect.gen(function*() {
        const server = yield* Postgres
        yield* withStore(patient, (store) =>
          Effect.gen(function*() {
            // as many connections as there may be, all of which then break
            yield* Effect.forEach(Arr.range(1, 50), (i) => store.create(`${i}`, entryOf(), start), {
              concurrency: "unbounded"
            })
            assert.strictEqual(yield* store.save("7", 1, changes, start), "saved")
            yield* server.stop
            const [ms, exits] = yield* timed(
              Effect.forEach(Arr.range(1, 50), () => Effect.exit(store.load("7", { now: start })), {
                concurrency: "unbounded"
              })
            )
            for (const exit of exits) assert.match(refused(exit), /^load: /)
            assert.isBelow(ms, 5_000)
            yield* server.start
            const loaded = yield* insist(store.load("7", { now: start }))
            assert.deepInclude(loaded, { payload: "saved", version: 2 })
            assert.lengthOf(yield* store.list("alice", start), 50)
          }))
      }).pipe(Effect.provide(Layer.provideMerge(postgresClient(), Postgres.layer()))),
    60_000
  )

  it.live(
    "keeps its promises where every transaction is serializable",
    () =>
      withStore(patient, (store) =>
        Effect.gen(function*() {
          yield* store.create("n", entryOf({ payload: "0" }), start)
          const increment: Effect.Effect<void, SessionStore.SessionUnavailable> = Effect.gen(function*() {
            const loaded = yield* store.load("n", { now: start, touch })
            if (loaded === undefined) return assert.fail("it is gone")
            const payload = `${Number(loaded.payload) + 1}`
            if ((yield* store.save("n", loaded.version, { ...changes, payload }, start)) !== "saved") yield* increment
          })
          yield* Effect.forEach(Arr.range(1, 20), () => increment, { concurrency: "unbounded" })
          assert.deepInclude(yield* store.load("n", { now: start }), { payload: "20", version: 21 })
          yield* races(store)
        })).pipe(
          Effect.provide(postgresClient()),
          Effect.provide(Postgres.layer({ settings: { default_transaction_isolation: "serializable" } }))
        ),
    60_000
  )
})

describeSqlite("SQLite", () => {
  suite("keeps the contract", storeOf(patient).pipe(Layer.provide(sqliteClient())), unhurried)

  layer(sqliteClient(), { excludeTestServices: true })((it) => {
    common(it, "sqlite")

    it.effect("finds its rows by indexes", () =>
      withStore({ ...patient, table: "many" }, (store) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const operations: ReadonlyArray<readonly [Operation, RegExp]> = [
            [store.load("a", { now: start, touch }), /sqlite_autoindex_many_1 \(id=/],
            [store.list("alice", start), /many_owner \(owner=/],
            [store.destroyAll("alice", { now: start }), /many_owner \(owner=/],
            [store.epoch("alice", start), /sqlite_autoindex_many_epochs_1 \(id=/]
          ]
          for (const [operation, index] of operations) {
            const { statements: [sent] } = yield* statementsOf(operation)
            const plan = yield* sql.unsafe(`EXPLAIN QUERY PLAN ${sent?.[0]}`, sent?.[1])
            assert.match(JSON.stringify(plan), index)
          }
        })))
  })

  describe("of two clients of one file", () => {
    const file = Effect.acquireRelease(
      Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-middleware-sqlite-"))),
      (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
    ).pipe(Effect.map((folder) => Path.join(folder, "sessions.db")))
    const open = (filename: string, options: Sql.Options) =>
      Effect.map(
        Layer.build(Layer.provideMerge(storeOf(options), Layer.fresh(sqliteClient(filename)))),
        (context) => ({
          store: Effect.provide(SessionStore.SessionStore, context),
          sql: Effect.provide(SqlClient.SqlClient, context)
        })
      )

    it.scopedLive("each sees what the other has written", () =>
      Effect.gen(function*() {
        const filename = yield* file
        const one = yield* Effect.flatMap(open(filename, patient), ({ store }) => store)
        const two = yield* Effect.flatMap(open(filename, patient), ({ store }) => store)
        yield* one.create("a", entryOf(), start)
        assert.strictEqual(yield* two.save("a", 1, changes, start), "saved")
        assert.strictEqual(yield* one.save("a", 1, changes, start), "conflict")
        assert.deepInclude(yield* one.load("a", { now: start }), { payload: "saved", version: 2 })
        yield* two.rotate({ id: "a", version: 2 }, { id: "b", entry: entryOf() }, grace)
        yield* one.destroy("a", start)
        assert.isUndefined(yield* two.load("b", { now: start }))
      }))

    it.scopedLive("one fails in time while the other holds the lock, and works after", () =>
      Effect.gen(function*() {
        const filename = yield* file
        const one = yield* Effect.flatMap(open(filename, { queryTimeout: "50 millis" }), ({ store }) => store)
        const two = yield* Effect.flatMap(open(filename, patient), ({ sql }) => sql)
        yield* one.create("a", entryOf(), start)
        yield* two`BEGIN IMMEDIATE`
        const [ms, exit] = yield* timed(Effect.exit(one.save("a", 1, changes, start)))
        assert.match(refused(exit), /^save: /)
        assert.isBelow(ms, 5_000)
        // a read is not kept waiting
        assert.isDefined(yield* one.load("a", { now: start, touch }))
        yield* two`COMMIT`
        assert.strictEqual(yield* one.save("a", 1, changes, start), "saved")
      }))
  })
})

type Operation = Effect.Effect<unknown, SessionStore.SessionUnavailable>

/** What a rotation must not slip through, whichever of the two is first. */
function races(store: SessionStore.Service) {
  return Effect.gen(function*() {
    for (const until of [start + minute, start]) {
      for (let i = 0; i < 20; i++) {
        const owner = `races ${until} ${i}`
        const ids = Arr.makeBy(4, (n) => `${owner} ${n}`)
        yield* Effect.forEach(ids, (id) => store.create(id, entryOf({ owner }), start))
        const rotations = ids.map((id) =>
          store.rotate({ id, version: 1 }, { id: `${id} next`, entry: entryOf({ owner }) }, { now: start, until })
        )
        const all = store.destroyAll(owner, { now: start })
        yield* Effect.all(i % 2 === 0 ? [all, ...rotations] : [...rotations, all], { concurrency: "unbounded" })
        assert.deepStrictEqual(yield* store.list(owner, start), [])

        // two that want one identifier
        yield* store.create(`${owner} one`, entryOf(), start)
        yield* store.create(`${owner} two`, entryOf(), start)
        const outcomes = yield* Effect.forEach(["one", "two"], (name) =>
          store.rotate(
            { id: `${owner} ${name}`, version: 1 },
            { id: `${owner} wanted`, entry: entryOf() },
            { now: start, until }
          ), { concurrency: "unbounded" })
        assert.deepStrictEqual([...outcomes].sort(), ["conflict", "saved"])
        const loser = yield* store.load(`${owner} ${outcomes[0] === "saved" ? "two" : "one"}`, { now: start })
        assert.deepInclude(loser, { superseded: false, version: 1 })
      }
    }
  })
}

/** What both have to show. */
function common(it: Vitest.MethodsNonLive<SqlClient.SqlClient, true>, dialect: "pg" | "sqlite") {
  it.effect("sends as few statements as its page says", () =>
    withStore({ ...patient, table: "counted" }, (store) =>
      Effect.gen(function*() {
        const count = <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.map(statementsOf(effect), ({ statements }) => statements.length)
        const rotate = (from: string, to: string, until: number) =>
          store.rotate({ id: from, version: 1 }, { id: to, entry: entryOf() }, { now: start, until })
        const later = start + touch.every
        assert.deepStrictEqual({
          create: yield* count(store.create("a", entryOf(), start)),
          "create what is there": yield* count(store.create("a", entryOf(), start)),
          load: yield* count(store.load("a", { now: start })),
          "load, not due": yield* count(store.load("a", { now: start, touch })),
          "load, due": yield* count(store.load("a", { now: later, touch })),
          "load what is not there": yield* count(store.load("z", { now: start, touch })),
          list: yield* count(store.list("alice", start)),
          "rotate, no version": yield* count(rotate("z", "b", start + minute)),
          rotate: yield* count(rotate("a", "b", start + minute)),
          "rotate, gone at once": yield* count(rotate("b", "c", start)),
          save: yield* count(store.save("c", 1, changes, start)),
          "save, conflict": yield* count(store.save("c", 1, changes, start)),
          destroy: yield* count(store.destroy("c", start)),
          "destroy what is not there": yield* count(store.destroy("c", start)),
          "destroy what is superseded": yield* Effect.zipRight(
            Effect.all([store.create("d", entryOf(), start), rotate("d", "e", start + minute)]),
            count(store.destroy("d", start))
          ),
          destroyAll: yield* Effect.zipRight(
            Effect.all([store.destroyAll("alice", { now: start }), store.create("f", entryOf(), start)]),
            count(store.destroyAll("alice", { now: start }))
          ),
          epoch: yield* count(store.epoch("alice", start)),
          advanceEpoch: yield* count(store.advanceEpoch("alice", { now: start, expiresAt: start + minute }))
        }, {
          create: 1,
          "create what is there": 1,
          load: 1,
          "load, not due": 1,
          "load, due": dialect === "pg" ? 1 : 2,
          "load what is not there": 1,
          list: 1,
          "rotate, no version": 2,
          rotate: 1,
          "rotate, gone at once": 1,
          save: 1,
          "save, conflict": 2,
          destroy: 1,
          "destroy what is not there": 2,
          "destroy what is superseded": 4,
          destroyAll: 1,
          epoch: 1,
          advanceEpoch: 1
        })
      })))

  it.effect("lets no rotation slip through, and gives one identifier to one", () =>
    withStore({ ...patient, table: "raced" }, races))

  it.effect("migrates more than once, and at the same time", () =>
    Effect.gen(function*() {
      const options = { table: "Migrated_1" }
      yield* Effect.forEach(Arr.range(1, 8), () => Sql.migration(options), { concurrency: "unbounded", discard: true })
      yield* withStore({ ...patient, ...options }, (store) =>
        Effect.gen(function*() {
          yield* store.create("a", entryOf(), start)
          yield* Sql.migration(options)
          assert.isDefined(yield* store.load("a", { now: start }))
          const sql = yield* SqlClient.SqlClient
          assert.lengthOf(yield* sql`SELECT * FROM "Migrated_1"`, 1)
          assert.lengthOf(yield* sql`SELECT * FROM "Migrated_1_epochs"`, 0)
        }))
    }))

  it.effect("is a migration of Migrator's", () =>
    Effect.gen(function*() {
      const options = { table: "by_migrator" }
      const migrate = Migrator.make({})({
        loader: Migrator.fromRecord({ "0001_sessions": Sql.migration(options) })
      })
      assert.deepStrictEqual(yield* migrate, [[1, "sessions"]])
      assert.deepStrictEqual(yield* migrate, [])
      const store = Layer.build(Sql.layerStore({ ...patient, ...options }))
      const created = Effect.flatMap(store, (context) =>
        Effect.flatMap(
          Effect.provide(SessionStore.SessionStore, context),
          (store) => store.create("a", entryOf(), start)
        ))
      assert.isTrue(yield* Effect.scoped(created))
    }))

  it.effect("is no part of a transaction of the caller's", () =>
    withStore(
      { table: "outside", queryTimeout: dialect === "pg" ? "10 seconds" : "50 millis" },
      (store) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          let created: Exit.Exit<boolean, SessionStore.SessionUnavailable> = Exit.succeed(false)
          const rolledBack = Effect.gen(function*() {
            created = yield* Effect.exit(store.create("a", entryOf(), start))
            return yield* Effect.fail("rolled back")
          })
          assert.strictEqual(yield* Effect.flip(sql.withTransaction(rolledBack)), "rolled back")
          // the one connection of a SQLite client is the transaction's
          if (dialect === "pg") assert.deepStrictEqual(created, Exit.succeed(true))
          else assert.match(refused(created), /^create: .*timed out/)
          assert.strictEqual((yield* store.load("a", { now: start })) !== undefined, dialect === "pg")
        })
    ))

  it.effect("takes a row that is no session for a store that fails", () =>
    withStore({ ...patient, table: "damaged" }, (store) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        for (
          const damage of [
            sql`UPDATE damaged SET payload = ${"\x01{"}`,
            sql`UPDATE damaged SET payload = '{}', version = 9007199254740993`,
            sql`UPDATE damaged SET version = 1, owner = ${"\x01"}`
          ]
        ) {
          yield* store.create("a", entryOf({ owner: "carol" }), start)
          yield* damage
          assert.match(refused(yield* Effect.exit(store.load("a", { now: start }))), /^load: /)
        }
        yield* sql`DROP TABLE damaged`
        const list = yield* Effect.exit(store.list("alice", start))
        assert.match(refused(list), /^list: /)
      })))

  interface Cleaning {
    readonly sql: SqlClient.SqlClient
    /** How many there were: each has a statement for sessions, and one for epochs. */
    readonly batches: Effect.Effect<number>
    readonly left: Effect.Effect<readonly [sessions: number, epochs: number], SqlError>
    readonly logs: ReadonlyArray<string>
  }

  /** With ten sessions that have expired by then, and one that has not; and so with epochs. */
  const cleaning = <A, E, R>(
    table: string,
    cleanup: Sql.Options["cleanup"],
    use: (cleaning: Cleaning) => Effect.Effect<A, E, R>
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
      const sent = yield* Queue.unbounded<void>()
      yield* withStore({ ...patient, table, cleanup }, (store) =>
        Effect.gen(function*() {
          for (let i = 0; i < 11; i++) {
            const expiresAt = i === 10 ? 5 * minute + 1 : i + 1
            yield* store.create(`${i}`, entryOf({ expiresAt }), 0)
            yield* store.advanceEpoch(`${i}`, { now: 0, expiresAt })
          }
          const count = (name: string) =>
            Effect.map(
              sql<{ count: number }>`SELECT COUNT(*) AS count FROM ${sql(name)}`,
              ([row]) => Number(row?.count)
            )
          yield* use({
            sql,
            batches: Effect.map(Queue.size(sent), (size) => size / 2),
            left: Effect.all([count(table), count(`${table}_epochs`)]),
            logs
          })
        })).pipe(
          Statement.withTransformer((statement) => {
            const [text] = statement.compile(true)
            return Effect.as(text.startsWith("WITH expired") ? Queue.offer(sent, undefined) : Effect.void, statement)
          })
        )
    }).pipe(Effect.provide(logger), withTestClock)
  }

  it.effect("cleanup deletes what has expired, in batches, every five minutes", () =>
    cleaning("cleaned", { batch: 4 }, ({ batches, left }) =>
      Effect.gen(function*() {
        yield* TestClock.adjust("299 seconds")
        assert.strictEqual(yield* batches, 0)
        assert.deepStrictEqual(yield* left, [11, 11])
        yield* TestClock.adjust("1 second")
        yield* until(left, [1, 1])
        yield* until(batches, 3)
        yield* TestClock.adjust("299 seconds")
        assert.strictEqual(yield* batches, 3)
        yield* TestClock.adjust("1 second")
        yield* until(left, [0, 0])
        yield* until(batches, 4)
      })))

  it.effect("cleanup goes on after an error, and says so", () =>
    cleaning("mended", { every: "1 minute" }, ({ left, logs, sql }) =>
      Effect.gen(function*() {
        yield* dialect === "pg"
          ? sql`ALTER TABLE mended RENAME TO away`
          : sql`CREATE TRIGGER kept BEFORE DELETE ON mended BEGIN SELECT RAISE(ABORT, 'kept'); END`
        yield* TestClock.adjust("1 minute")
        yield* until(Effect.sync(() => logs), ["Session/Sql: expired sessions were not deleted"])
        yield* dialect === "pg" ? sql`ALTER TABLE away RENAME TO mended` : sql`DROP TRIGGER kept`
        assert.deepStrictEqual(yield* left, [11, 11])
        yield* TestClock.adjust("1 minute")
        yield* until(left, [1, 1])
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
            yield* until(left, [1, 1])
            assert.isAtLeast(yield* batches, 10)
            assert.deepStrictEqual(logs, [])
          }))
    ))

  if (dialect === "pg") {
    it.effect("cleanup leaves to another what that is at", () =>
      cleaning("held", { every: "1 minute" }, ({ left, sql }) =>
        sql.withTransaction(Effect.gen(function*() {
          yield* sql`SELECT 1 FROM held WHERE id = '3' FOR UPDATE`
          yield* TestClock.adjust("1 minute")
          yield* until(left, [2, 1])
        }))))
  }

  it.effect("cleanup ends with the layer", () =>
    Effect.gen(function*() {
      const sent: Array<string> = []
      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(storeOf({ ...patient, table: "ended", cleanup: { every: "1 minute" } }), scope)
        .pipe(
          Statement.withTransformer((statement) =>
            Effect.sync(() => {
              sent.push(statement.compile(true)[0])
              return statement
            })
          )
        )
      yield* Scope.close(scope, Exit.void)
      const before = sent.length
      yield* TestClock.adjust("1 hour")
      assert.lengthOf(sent, before)
    }).pipe(withTestClock))

  it.effect("cleanup is left to others if that is said", () =>
    cleaning("kept", false, ({ batches, left }) =>
      Effect.gen(function*() {
        yield* TestClock.adjust("1 day")
        assert.deepStrictEqual([yield* batches, yield* left], [0, [11, 11]])
      })))
}

describe("options", () => {
  it("that are mistakes throw", () => {
    for (
      const table of ["", "a b", "a\"; DROP TABLE users; --", "1a", "a.b", "é", "a\n", "x".repeat(41), "\u0000", "a-b"]
    ) {
      assert.throws(() => Sql.layerStore({ table }), TypeError, `Session/Sql: table is ${JSON.stringify(table)}: write`)
      assert.throws(() => Sql.migration({ table }), TypeError, `Session/Sql: table is ${JSON.stringify(table)}: write`)
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
      assert.throws(() => Sql.layerStore(options), RangeError, `Session/Sql: ${option} is `)
    }
  })

  it.effect("and so does a database of another kind, when the layer is built", () =>
    Effect.gen(function*() {
      for (
        const [dialect, name] of [["mysql", "MySQL"], ["mssql", "Microsoft SQL Server"], [
          "clickhouse",
          "ClickHouse"
        ]] as const
      ) {
        const client = SqlClient.make({
          acquirer: Effect.die("not asked"),
          compiler: Statement.makeCompiler({
            dialect,
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
        assert.isTrue(Exit.isFailure(exit))
        if (Exit.isFailure(exit)) {
          assert.strictEqual(
            String(Cause.squash(exit.cause)),
            `TypeError: Session/Sql: the SqlClient is one for ${name}: provide one for PostgreSQL or SQLite`
          )
        }
      }
    }))
})
