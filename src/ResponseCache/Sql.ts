/**
 * Stored responses in PostgreSQL or SQLite, by the `SqlClient` of `@effect/sql`.
 *
 * 1. What is read is one statement, or two of them where the responses vary. No transaction is begun, and it is no part of one
 *    that the caller has begun.
 * 2. A purge is marked before it deletes, and what is put looks for such a mark after it is there: however the two come
 *    together, nothing stays that was made before. Marks are kept for a minute, and what has taken longer to make is not stored.
 * 3. The time is that of PostgreSQL, or of this process with SQLite.
 * 4. What takes longer than `queryTimeout` fails with `ResponseCacheUnavailable`. The statement is not cancelled, and no more than
 *    `maxPending` of them are under way at a time. After five failures in a row a store is not asked for a second, then for
 *    two, ... up to thirty, and then by one request, until that is answered.
 * 5. What has expired is deleted in the background, in batches. Nothing else bounds the size.
 *
 * @since 0.1.0
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { Fragment } from "@effect/sql/Statement"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { makeAsk } from "../internal/askStore.js"
import { decode, encode, toVary } from "../internal/cacheEntry.js"
import { digest } from "../internal/digest.js"
import { bounded, checksOf, cleanUp, integer, orUnavailable } from "../internal/sqlStore.js"
import {
  type Found,
  type Put,
  ResponseCacheStore,
  ResponseCacheUnavailable,
  type Service,
  type VariantOf
} from "../ResponseCacheStore.js"

// ---------------------------------------------------------------------------------------------------------------------
// options
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface TableOptions {
  /**
   * The table of the responses: a letter or `_`, then letters, digits and `_`, at most 40 characters, case kept. Those of the
   * tags and of the purges have `_tags` and `_purges` after it. Default: `"http_responses"`.
   */
  readonly table?: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends TableOptions {
  /** How long an operation may take, with what it waits for a connection. Default: 100 milliseconds. */
  readonly queryTimeout?: Duration.DurationInput | undefined
  /**
   * How many operations may be under way at once, with those that have been given up on and have not come to an end.
   * One more fails with `ResponseCacheUnavailable` at once. Default: 1,000.
   */
  readonly maxPending?: number | undefined
  /** How what has expired is deleted; `false` if something else does. */
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

const checks = checksOf("ResponseCache/Sql")

const tables = ({ table = "http_responses" }: TableOptions) => {
  const responses = checks.table(table, "http_responses")
  return { responses, tags: `${responses}_tags`, purges: `${responses}_purges` }
}

// ---------------------------------------------------------------------------------------------------------------------
// the tables
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Creates the tables and their indexes, where they are not there yet. It may be run more than once, and by several processes at
 * the same time. In PostgreSQL the tables are not logged: a crash takes what is stored, and costs nothing before.
 *
 * @example
 * ```ts
 * import * as Migrator from "@effect/sql/Migrator"
 * import * as Sql from "effect-middleware/ResponseCache/Sql"
 *
 * export const migrate = Migrator.make({})({
 *   loader: Migrator.fromRecord({ "0001_responses": Sql.migration() })
 * })
 * ```
 *
 * @since 0.1.0
 * @category migrations
 */
export const migration = (options: TableOptions = {}): Effect.Effect<void, SqlError, SqlClient.SqlClient> => {
  const { purges, responses, tags } = tables(options)
  return Effect.flatMap(SqlClient.SqlClient, (sql) => {
    const pg = checks.dialect(sql) === "pg"
    const [create, text, bytes] = pg
      ? ["CREATE UNLOGGED TABLE", `TEXT COLLATE "C"`, "BYTEA"]
      : ["CREATE TABLE", "TEXT", "BLOB"]
    const statements = [
      // two that create one table at the same time would both find that it is not there
      ...(pg ? [`SELECT pg_advisory_xact_lock(hashtext('effect-middleware/ResponseCache/Sql'))`] : []),
      `${create} IF NOT EXISTS "${responses}" (
  key ${text} NOT NULL,
  variant ${text} NOT NULL,
  vary TEXT NOT NULL,
  value ${bytes} NOT NULL,
  stored_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (key, variant)
)`,
      `${create} IF NOT EXISTS "${tags}" (
  tag ${text} NOT NULL,
  key ${text} NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (tag, key)
)`,
      `${create} IF NOT EXISTS "${purges}" (name ${text} NOT NULL PRIMARY KEY, expires_at BIGINT NOT NULL)`,
      ...[responses, tags, purges].map((table) =>
        `CREATE INDEX IF NOT EXISTS "${table}_expires_at" ON "${table}" (expires_at)`
      )
    ]
    return sql.withTransaction(Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true }))
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// the store
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A `ResponseCacheStore` in the tables that `migration` creates.
 *
 * @example
 * ```ts
 * import * as PgClient from "@effect/sql-pg/PgClient"
 * import * as Sql from "effect-middleware/ResponseCache/Sql"
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
export const layerStore = (options: Options = {}): Layer.Layer<ResponseCacheStore, never, SqlClient.SqlClient> => {
  const names = tables(options)
  const queryTimeout = checks.positive("queryTimeout", options.queryTimeout ?? Duration.millis(100))
  const maxPending = checks.natural("maxPending", options.maxPending ?? 1000)
  const cleanup = checks.cleanup(options.cleanup)

  return Layer.scoped(
    ResponseCacheStore,
    Effect.gen(function*() {
      const sql = (yield* SqlClient.SqlClient).withoutTransforms()
      const dialect = checks.dialect(sql)
      // it is waited for synchronously, so nothing else would end that
      if (dialect === "sqlite") {
        yield* Effect.orDie(sql.unsafe(`PRAGMA busy_timeout = ${Math.ceil(Duration.toMillis(queryTimeout))}`))
      }
      const attempt = bounded(maxPending, SqlClient.TransactionConnection)
      const statements = makeStatements(sql, dialect, names)
      if (cleanup !== undefined) {
        yield* cleanUp({
          ...cleanup,
          attempt,
          deleteExpired: statements.deleteExpired(cleanup.batch),
          failed: "ResponseCache/Sql: expired responses were not deleted"
        })
      }

      const ask = makeAsk(unavailableTo)
      const call = <Args extends ReadonlyArray<unknown>, A>(
        operation: keyof Service,
        f: (...args: Args) => Effect.Effect<A, SqlError>
      ) =>
      (...args: Args): Effect.Effect<A, ResponseCacheUnavailable> =>
        Effect.clockWith((clock) =>
          ask(
            operation,
            clock,
            Effect.suspend(() => f(...args)).pipe(attempt(queryTimeout), orUnavailable(unavailableTo(operation)))
          )
        )
      return {
        get: call("get", statements.get),
        put: call("put", statements.put),
        delete: call("delete", statements.delete),
        purge: call("purge", statements.purge)
      }
    })
  )
}

const unavailableTo = (operation: string) => (cause: unknown) => new ResponseCacheUnavailable({ operation, cause })

// ---------------------------------------------------------------------------------------------------------------------
// the statements
// ---------------------------------------------------------------------------------------------------------------------

/** For how long a purge is remembered, in microseconds, as all times are. */
const memory = 60_000_000

interface Row {
  readonly [column: string]: unknown
}

const makeStatements = (
  sql: SqlClient.SqlClient,
  dialect: "pg" | "sqlite",
  names: { readonly responses: string; readonly tags: string; readonly purges: string }
) => {
  const pg = dialect === "pg"
  const [responses, tags, purges] = [names.responses, names.tags, names.purges].map((name) => sql.literal(`"${name}"`))
  const greatest = sql.literal(pg ? "GREATEST" : "MAX")

  const micros = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos / 1000n))
  /** With the time as the database has it. */
  const withNow = <A>(f: (now: Fragment) => Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
    pg
      ? f(sql`(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`)
      : Effect.flatMap(micros, (now) => f(sql`${now}`))

  const toFound = ({ now, value, vary }: Row): Found => ({
    vary: typeof vary === "string" ? toVary(vary) : [],
    entry: value instanceof Uint8Array ? decode(value) : undefined,
    asOf: integer(now)
  })

  /** The latest one says by what all vary. */
  const latest = (key: string, variant: string) =>
    withNow((now) =>
      sql<Row>`SELECT n.now, r.vary, CASE WHEN r.variant = ${variant} THEN r.value END AS value
        FROM (SELECT ${now} AS now) n LEFT JOIN ${responses!} r ON r.key = ${key} AND r.expires_at > n.now
        ORDER BY r.stored_at DESC LIMIT 1`
    )
  const exact = (key: string, variant: string, vary: string) =>
    withNow((now) =>
      sql<Row>`SELECT value FROM ${responses!}
        WHERE key = ${key} AND variant = ${variant} AND vary = ${vary} AND expires_at > ${now}`
    )

  const get = (url: string, variantOf: VariantOf): Effect.Effect<Found, SqlError> => {
    const key = digest(url)
    return Effect.flatMap(latest(key, digest(variantOf([]))), ([row = {}]) => {
      const found = toFound(row)
      if (typeof row["vary"] !== "string" || (found.vary.length === 0 && found.entry !== undefined)) {
        return Effect.succeed(found)
      }
      return Effect.map(
        exact(key, digest(variantOf(found.vary)), row["vary"]),
        ([row = {}]) => ({ ...found, entry: toFound({ now: found.asOf, value: row["value"] }).entry })
      )
    })
  }

  const put = (url: string, { asOf, entry, tags: given, ttl, variant: of, vary: fields }: Put) => {
    const [key, variant, vary] = [digest(url), digest(of), JSON.stringify(fields)]
    const named = given.map(digest)
    const time = Math.ceil(ttl * 1000)
    const marks = [`k${key}`, ...named.map((tag) => `t${tag}`)]
    return withNow((now) =>
      Effect.gen(function*() {
        for (const tag of named) {
          yield* sql`INSERT INTO ${tags!} AS t (tag, key, expires_at) VALUES (${tag}, ${key}, ${now} + ${time})
            ON CONFLICT (tag, key) DO UPDATE SET expires_at = ${greatest}(t.expires_at, excluded.expires_at)`
        }
        yield* sql`DELETE FROM ${responses!} WHERE key = ${key} AND vary <> ${vary}`
        yield* sql`INSERT INTO ${responses!} (key, variant, vary, value, stored_at, expires_at)
          VALUES (${key}, ${variant}, ${vary}, ${Buffer.from(encode(entry))}, ${now}, ${now} + ${time})
          ON CONFLICT (key, variant) DO UPDATE SET vary = excluded.vary, value = excluded.value,
            stored_at = excluded.stored_at, expires_at = excluded.expires_at`
        // a purge that has not seen it has been marked by now
        const purged = yield* sql`SELECT 1 AS found FROM (SELECT ${now} AS now) n WHERE n.now > ${asOf + memory}
          OR EXISTS (SELECT 1 FROM ${purges!} WHERE ${sql.in("name", marks)} AND expires_at >= ${asOf + memory})`
        if (purged.length > 0) yield* sql`DELETE FROM ${responses!} WHERE key = ${key} AND variant = ${variant}`
        return purged.length === 0
      })
    )
  }

  const mark = (name: string) =>
    withNow((now) =>
      sql`INSERT INTO ${purges!} AS p (name, expires_at) VALUES (${name}, ${now} + ${memory})
        ON CONFLICT (name) DO UPDATE SET expires_at = ${greatest}(p.expires_at, excluded.expires_at)`
    )

  const expired = (table: Fragment, columns: string, batch: number) =>
    withNow((now) => {
      const key = sql.literal(columns)
      return sql`DELETE FROM ${table} WHERE (${key}) IN
        (SELECT ${key} FROM ${table} WHERE expires_at <= ${now} LIMIT ${batch}) RETURNING 1 AS deleted`
    })

  return {
    get,
    put,
    delete: (url: string) => {
      const key = digest(url)
      return Effect.asVoid(Effect.zipRight(mark(`k${key}`), sql`DELETE FROM ${responses!} WHERE key = ${key}`))
    },
    purge: (name: string) => {
      const tag = digest(name)
      // what is in the index and gone from the table lapses by itself
      return Effect.asVoid(Effect.zipRight(
        mark(`t${tag}`),
        sql`DELETE FROM ${responses!} WHERE key IN (SELECT key FROM ${tags!} WHERE tag = ${tag})`
      ))
    },
    deleteExpired: (batch: number) =>
      Effect.map(
        Effect.all([
          expired(responses!, "key, variant", batch),
          expired(tags!, "tag, key", batch),
          expired(purges!, "name", batch)
        ]),
        (deleted) => Math.max(...deleted.map(({ length }) => length))
      )
  }
}
