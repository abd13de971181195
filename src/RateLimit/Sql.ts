/**
 * Rate limits in PostgreSQL or SQLite, by the `SqlClient` of `@effect/sql`.
 *
 * 1. A decision is one statement, and so one round trip to PostgreSQL, whatever the limits: it takes out what has lapsed, asks
 *    every limit, and spends on all or on none. Those that come at once for one key are decided one after the other.
 * 2. The time is that of PostgreSQL, or of this process with SQLite.
 * 3. It is no part of a transaction that the caller has begun: what is spent stays spent if that is rolled back.
 * 4. What takes longer than `queryTimeout` fails with `RateLimitUnavailable`. The statement is not cancelled, and no more than
 *    `maxPending` of them are under way at a time. After five failures in a row a store is not asked for a second, then for
 *    two, ... up to thirty, and then by one request, until that is answered.
 * 5. Keys that have lapsed are deleted in the background, in batches.
 *
 * @since 0.1.0
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as limits from "../internal/limits.js"
import { remote } from "../internal/rateLimitRemoteStore.js"
import { type At, emptySlots, readState, type Statement, statementsOf } from "../internal/rateLimitSql.js"
import { bounded, checksOf, cleanUp, integer, orUnavailable } from "../internal/sqlStore.js"
import { RateLimitStore, RateLimitUnavailable, type RemoteOptions, type Service } from "../RateLimitStore.js"

// ---------------------------------------------------------------------------------------------------------------------
// options
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface TableOptions {
  /**
   * The table of the keys: a letter or `_`, then letters, digits and `_`, at most 40 characters, case kept. Default:
   * `"http_rate_limits"`.
   */
  readonly table?: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends TableOptions, RemoteOptions {
  /** How long an operation may take, with what it waits for a connection. Default: 100 milliseconds. */
  readonly queryTimeout?: Duration.DurationInput | undefined
  /**
   * How many operations may be under way at once, with those that have been given up on and have not come to an end.
   * One more fails with `RateLimitUnavailable` at once. Default: 1,000.
   */
  readonly maxPending?: number | undefined
  /** How keys that have lapsed are deleted; `false` if something else does. */
  readonly cleanup?: Cleanup | false | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Cleanup {
  /** How often, the first time after as long. Default: 5 minutes. */
  readonly every?: Duration.DurationInput | undefined
  /** How many rows a statement deletes at most; as many follow as are needed. Default: 1,000. */
  readonly batch?: number | undefined
}

const checks = checksOf("RateLimit/Sql")

const tableOf = ({ table = "http_rate_limits" }: TableOptions) => checks.table(table, "http_rate_limits")

// ---------------------------------------------------------------------------------------------------------------------
// the table
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Creates the table and its index, where they are not there yet. It may be run more than once, and by several processes at the
 * same time.
 *
 * @example
 * ```ts
 * import * as Migrator from "@effect/sql/Migrator"
 * import * as Sql from "effect-middleware/RateLimit/Sql"
 *
 * export const migrate = Migrator.make({})({
 *   loader: Migrator.fromRecord({ "0001_rate_limits": Sql.migration() })
 * })
 * ```
 *
 * @since 0.1.0
 * @category migrations
 */
export const migration = (options: TableOptions = {}): Effect.Effect<void, SqlError, SqlClient.SqlClient> => {
  const table = tableOf(options)
  return Effect.flatMap(SqlClient.SqlClient, (sql) => {
    const pg = checks.dialect(sql) === "pg"
    const statements = [
      // two that create one table at the same time would both find that it is not there
      ...(pg ? [`SELECT pg_advisory_xact_lock(hashtext('effect-middleware/RateLimit/Sql'))`] : []),
      // a page with room keeps a row that is written again and again
      `CREATE TABLE IF NOT EXISTS "${table}" (
  key ${pg ? `TEXT COLLATE "C"` : "TEXT"} NOT NULL PRIMARY KEY,
  state ${pg ? "JSONB" : "TEXT"} NOT NULL,
  expires_at BIGINT NOT NULL
)${pg ? " WITH (fillfactor = 70)" : ""}`,
      `CREATE INDEX IF NOT EXISTS "${table}_expires_at" ON "${table}" (expires_at)`
    ]
    return sql.withTransaction(Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true }))
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// the store
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A `RateLimitStore` in the table that `migration` creates.
 *
 * @example
 * ```ts
 * import * as PgClient from "@effect/sql-pg/PgClient"
 * import * as Sql from "effect-middleware/RateLimit/Sql"
 * import { Config, Layer } from "effect"
 *
 * export const store = Sql.layerStore().pipe(
 *   Layer.provide(PgClient.layerConfig({
 *     url: Config.redacted("DATABASE_URL"),
 *     connectTimeout: Config.succeed("1 second")
 *   }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStore = (options: Options = {}): Layer.Layer<RateLimitStore, never, SqlClient.SqlClient> => {
  const table = tableOf(options)
  const queryTimeout = checks.positive("queryTimeout", options.queryTimeout ?? Duration.millis(100))
  const maxPending = checks.natural("maxPending", options.maxPending ?? 1000)
  const guard = remote(options.refuseLocally)
  const cleanup = options.cleanup === false ? {} : options.cleanup ?? {}
  const every = checks.positive("cleanup.every", cleanup.every ?? Duration.minutes(5))
  const batch = checks.natural("cleanup.batch", cleanup.batch ?? 1000)

  return Layer.scoped(
    RateLimitStore,
    Effect.gen(function*() {
      const sql = (yield* SqlClient.SqlClient).withoutTransforms()
      const dialect = checks.dialect(sql)
      // it is waited for synchronously, so nothing else would end that
      if (dialect === "sqlite") {
        yield* Effect.orDie(sql.unsafe(`PRAGMA busy_timeout = ${Math.ceil(Duration.toMillis(queryTimeout))}`))
      }
      const attempt = bounded(maxPending, SqlClient.TransactionConnection)
      const statements = statementsOf(dialect, `"${table}"`)
      const run = (
        now: number | undefined,
        statement: (at: At) => Statement
      ): Effect.Effect<ReadonlyArray<Row>, SqlError> =>
        Effect.flatMap(now === undefined ? Clock.currentTimeMillis : Effect.succeed(now), (clock) => {
          const { text, values } = statement({ now: dialect === "pg" && now === undefined ? null : clock, clock })
          return sql.unsafe<Row>(text, values)
        })

      if (options.cleanup !== false) {
        yield* cleanUp({
          attempt,
          deleteExpired: Effect.map(
            run(undefined, (at) => statements.deleteExpired(batch, at)),
            ({ length }) => length
          ),
          batch,
          every,
          failed: "RateLimit/Sql: keys that have lapsed were not deleted"
        })
      }

      const call = <A>(
        operation: keyof Service,
        now: number | undefined,
        statement: (at: At) => Statement,
        answer: (row: Row) => A
      ): Effect.Effect<A, RateLimitUnavailable> =>
        run(now, statement).pipe(
          Effect.map(([row = {}]) => answer(row)),
          attempt(queryTimeout),
          orUnavailable(unavailableTo(operation))
        )

      return guard({
        consume: (bucket, { cost, now }) =>
          call("consume", now, (at) => statements.consume(bucket, cost, at), ({ state }) => {
            const { admitted, now, slots } = readState(state, bucket.limits)
            return limits.decided(limits.compile(bucket.limits), slots, 0, now, cost, admitted)
          }),
        peek: (bucket, { cost, now }) =>
          call("peek", now, (at) => statements.peek(bucket, at), ({ now, state }) => {
            const compiled = limits.compile(bucket.limits)
            const slots = state === null ? emptySlots(compiled.stride) : readState(state, bucket.limits).slots
            return limits.decide(compiled, slots, 0, integer(now), cost, false)
          }),
        refund: (bucket, { cost, now, since }) =>
          call("refund", now, (at) => statements.refund(bucket, cost, since, at), () => undefined),
        reset: (bucket) => call("reset", undefined, () => statements.reset(bucket), () => undefined)
      }, unavailableTo)
    })
  )
}

const unavailableTo = (operation: string) => (cause: unknown) => new RateLimitUnavailable({ operation, cause })

interface Row {
  readonly [column: string]: unknown
}
