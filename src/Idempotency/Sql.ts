/**
 * Idempotency keys and their answers in PostgreSQL or SQLite, by the `SqlClient` of `@effect/sql`; and answers that are committed with
 * what a handler has written.
 *
 * 1. A claim is one statement, and where it is not one's own a second one says why. No transaction is begun, and it is no part of
 *    one that the caller has begun.
 * 2. `transaction` is the exception: a handler's writes and its answer are committed together, and only if the claim is still its
 *    own. Whatever crashes, and whenever, they are there once, or not at all.
 * 3. The time is that of PostgreSQL, or of this process with SQLite.
 * 4. What takes longer than `queryTimeout` fails with `IdempotencyUnavailable`. The statement is not cancelled, and no more than
 *    `maxPending` of them are under way at a time. After five failures in a row a store is not asked for a second, then for
 *    two, ... up to thirty, and then by one request, until that is answered.
 * 5. What has expired is deleted in the background, in batches. Nothing else bounds the size.
 *
 * @since 0.1.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { Fragment } from "@effect/sql/Statement"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Idempotency from "../Idempotency.js"
import {
  type Answer,
  type Claim,
  IdempotencyStore,
  IdempotencyUnavailable,
  type Outcome,
  type Service,
  type Terms
} from "../IdempotencyStore.js"
import { makeAsk } from "../internal/askStore.js"
import { decodeAnswer, encodeAnswer } from "../internal/cacheEntry.js"
import { digest } from "../internal/digest.js"
import { bounded, checksOf, cleanUp, integer, orUnavailable } from "../internal/sqlStore.js"

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
   * `"http_idempotency"`.
   */
  readonly table?: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends TableOptions {
  /** How long an operation may take, with what it waits for a connection. Default: 250 milliseconds. */
  readonly queryTimeout?: Duration.DurationInput | undefined
  /**
   * How many operations may be under way at once, with those that have been given up on and have not come to an end.
   * One more fails with `IdempotencyUnavailable` at once. Default: 1,000.
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

const checks = checksOf("Idempotency/Sql")

const tableOf = ({ table = "http_idempotency" }: TableOptions): string => checks.table(table, "http_idempotency")

// ---------------------------------------------------------------------------------------------------------------------
// the table
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Creates the table and its index, where they are not there yet. It may be run more than once, and by several processes at the
 * same time. The table is logged: what was answered before a crash is there after it.
 *
 * @example
 * ```ts
 * import * as Migrator from "@effect/sql/Migrator"
 * import * as Sql from "effect-middleware/Idempotency/Sql"
 *
 * export const migrate = Migrator.make({})({
 *   loader: Migrator.fromRecord({ "0001_idempotency": Sql.migration() })
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
    const [text, bytes] = pg ? [`TEXT COLLATE "C"`, "BYTEA"] : ["TEXT", "BLOB"]
    const statements = [
      // two that create one table at the same time would both find that it is not there
      ...(pg ? [`SELECT pg_advisory_xact_lock(hashtext('effect-middleware/Idempotency/Sql'))`] : []),
      `CREATE TABLE IF NOT EXISTS "${table}" (
  key ${text} NOT NULL PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  token BIGINT NOT NULL,
  answer ${bytes},
  leased_until BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
)`,
      `CREATE INDEX IF NOT EXISTS "${table}_expires_at" ON "${table}" (expires_at)`
    ]
    return sql.withTransaction(Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true }))
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// the store
// ---------------------------------------------------------------------------------------------------------------------

/**
 * An `IdempotencyStore` in the table that `migration` creates.
 *
 * @example
 * ```ts
 * import * as PgClient from "@effect/sql-pg/PgClient"
 * import * as Sql from "effect-middleware/Idempotency/Sql"
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
export const layerStore = (options: Options = {}): Layer.Layer<IdempotencyStore, never, SqlClient.SqlClient> => {
  const table = tableOf(options)
  const queryTimeout = checks.positive("queryTimeout", options.queryTimeout ?? Duration.millis(250))
  const maxPending = checks.natural("maxPending", options.maxPending ?? 1000)
  const cleanup = checks.cleanup(options.cleanup)

  return Layer.scoped(
    IdempotencyStore,
    Effect.gen(function*() {
      const sql = (yield* SqlClient.SqlClient).withoutTransforms()
      // it is waited for synchronously, so nothing else would end that
      if (checks.dialect(sql) === "sqlite") {
        yield* Effect.orDie(sql.unsafe(`PRAGMA busy_timeout = ${Math.ceil(Duration.toMillis(queryTimeout))}`))
      }
      const attempt = bounded(maxPending, SqlClient.TransactionConnection)
      const statements = makeStatements(sql, table)
      if (cleanup !== undefined) {
        yield* cleanUp({
          ...cleanup,
          attempt,
          deleteExpired: statements.deleteExpired(cleanup.batch),
          failed: "Idempotency/Sql: expired keys were not deleted"
        })
      }

      const ask = makeAsk(unavailableTo)
      const call = <Args extends ReadonlyArray<unknown>, A>(
        operation: keyof Service,
        f: (...args: Args) => Effect.Effect<A, SqlError>
      ) =>
      (...args: Args): Effect.Effect<A, IdempotencyUnavailable> =>
        Effect.clockWith((clock) =>
          ask(
            operation,
            clock,
            Effect.suspend(() => f(...args)).pipe(attempt(queryTimeout), orUnavailable(unavailableTo(operation)))
          )
        )
      return {
        claim: call("claim", statements.claim),
        renew: call("renew", statements.renew),
        complete: call("complete", statements.complete),
        release: call("release", statements.release)
      }
    })
  )
}

const unavailableTo = (operation: string) => (cause: unknown) => new IdempotencyUnavailable({ operation, cause })

// ---------------------------------------------------------------------------------------------------------------------
// one transaction with a handler
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Runs a handler in a transaction, and commits its answer with what it has written. The store is the one in the same database,
 * and `table` is its.
 *
 * - If somebody else has claimed the key by then, all of it is rolled back, and the request is refused with `IdempotencyInProgress`.
 * - If the process crashes before the commit, nothing was written; if it crashes after it, the answer is given again.
 * - An answer that is not to be kept, by its status, is committed without being kept: fail, and it is rolled back.
 * - A stream is read, up to what the middleware keeps, before the commit.
 * - Without a claim it is a transaction like any other.
 *
 * @example
 * ```ts
 * import { HttpServerResponse } from "@effect/platform"
 * import * as SqlClient from "@effect/sql/SqlClient"
 * import * as Sql from "effect-middleware/Idempotency/Sql"
 * import { Effect } from "effect"
 *
 * export const pay = Effect.gen(function*() {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`UPDATE accounts SET balance = balance - 10 WHERE id = 1`
 *   return HttpServerResponse.text("paid", { status: 201 })
 * }).pipe(Sql.transaction())
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const transaction = (
  options: TableOptions = {}
): <E, R>(
  handler: HttpApp.Default<E, R>
) => HttpApp.Default<
  E | SqlError | Idempotency.IdempotencyInProgress,
  R | SqlClient.SqlClient | Idempotency.Claim
> => {
  const table = tableOf(options)
  return (handler) =>
    Effect.flatMap(SqlClient.SqlClient, (sql) =>
      sql.withTransaction(Effect.gen(function*() {
        const response = yield* handler
        const claim = yield* Idempotency.Claim
        if (claim._tag === "None") return response
        const { answer, response: kept } = yield* claim.value.answerOf(response)
        if (answer === undefined) return kept
        const { complete } = makeStatements(sql.withoutTransforms(), table)
        // the row is locked from here to the commit: until then nobody else can claim it
        if (!(yield* complete(claim.value, answer, claim.value.ttl))) return yield* claim.value.lost
        return kept
      })))
}

// ---------------------------------------------------------------------------------------------------------------------
// the statements
// ---------------------------------------------------------------------------------------------------------------------

interface Row {
  readonly [column: string]: unknown
}

/** Between the claim that found the key taken and the look at who has it, it may have become free. */
const attempts = 5

const makeStatements = (sql: SqlClient.SqlClient, name: string) => {
  const pg = checks.dialect(sql) === "pg"
  const table = sql.literal(`"${name}"`)
  const greatest = sql.literal(pg ? "GREATEST" : "MAX")
  const micros = (millis: number) => Math.ceil(millis * 1000)

  /** With the time as the database has it, in microseconds. */
  const withNow = <A>(f: (now: Fragment) => Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
    pg
      ? f(sql`(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`)
      : Effect.flatMap(Clock.currentTimeNanos, (nanos) => f(sql`${Number(nanos / 1000n)}`))

  const take = (key: string, { fingerprint, lease, ttl }: Terms) =>
    withNow((now) =>
      sql<Row>`INSERT INTO ${table} AS t (key, fingerprint, token, answer, leased_until, expires_at)
        VALUES (${key}, ${fingerprint}, ${now}, NULL, ${now} + ${micros(lease)}, ${now} + ${
        micros(Math.max(lease, ttl))
      })
        ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, token = ${greatest}(t.token + 1, excluded.token),
          answer = NULL, leased_until = excluded.leased_until, expires_at = excluded.expires_at
        WHERE t.expires_at <= excluded.token
          OR (t.fingerprint = excluded.fingerprint AND t.answer IS NULL AND t.leased_until <= excluded.token)
        RETURNING token`
    )
  const look = (key: string, fingerprint: string) =>
    withNow((now) =>
      sql<Row>`SELECT CASE WHEN fingerprint <> ${fingerprint} THEN 'reused' WHEN answer IS NOT NULL THEN 'answered'
          WHEN leased_until > ${now} THEN 'inProgress' END AS state,
          CASE WHEN fingerprint = ${fingerprint} THEN answer END AS answer
        FROM ${table} WHERE key = ${key} AND expires_at > ${now}`
    )

  const claim = (key: string, terms: Terms, left = attempts): Effect.Effect<Outcome, SqlError> => {
    const id = digest(key)
    return Effect.flatMap(take(id, terms), ([taken]) =>
      taken !== undefined
        ? Effect.succeed<Outcome>({ _tag: "Claimed", token: integer(taken["token"]) })
        : Effect.flatMap(look(id, terms.fingerprint), ([row = {}]) => {
          const outcome = toOutcome(row)
          if (outcome !== undefined) return Effect.succeed(outcome)
          // those that come together all find it free, and one of them has it
          return left > 1 ? claim(key, terms, left - 1) : Effect.succeed<Outcome>({ _tag: "InProgress" })
        }))
  }

  const isOne = Effect.map((rows: ReadonlyArray<Row>) => rows.length === 1)

  return {
    claim: (key: string, terms: Terms) => claim(key, terms),
    renew: ({ key, token }: Claim, lease: number) =>
      withNow((now) =>
        sql<Row>`UPDATE ${table} SET leased_until = ${now} + ${micros(lease)},
            expires_at = ${greatest}(expires_at, ${now} + ${micros(lease)})
          WHERE key = ${digest(key)} AND token = ${token} AND answer IS NULL RETURNING 1 AS done`
      ).pipe(isOne),
    complete: ({ fingerprint, key, token }: Claim, answer: Answer, ttl: number) =>
      withNow((now) =>
        sql<Row>`INSERT INTO ${table} AS t (key, fingerprint, token, answer, leased_until, expires_at)
          VALUES (${digest(key)}, ${fingerprint}, ${token}, ${Buffer.from(encodeAnswer(answer))}, 0, ${now} + ${
          micros(ttl)
        })
          ON CONFLICT (key) DO UPDATE SET answer = excluded.answer, leased_until = 0, expires_at = excluded.expires_at
          WHERE t.token = excluded.token RETURNING 1 AS done`
      ).pipe(isOne),
    release: ({ key, token }: Claim) =>
      sql<Row>`UPDATE ${table} SET leased_until = 0
        WHERE key = ${digest(key)} AND token = ${token} AND answer IS NULL RETURNING 1 AS done`.pipe(isOne),
    deleteExpired: (batch: number) =>
      withNow((now) =>
        sql`DELETE FROM ${table} WHERE key IN
          (SELECT key FROM ${table} WHERE expires_at <= ${now} LIMIT ${batch}) RETURNING 1 AS deleted`
      ).pipe(Effect.map(({ length }) => length))
  }
}

/** `undefined` where the key is free. */
const toOutcome = ({ answer, state }: Row): Outcome | undefined => {
  if (state === "reused") return { _tag: "Reused" }
  if (state === "inProgress") return { _tag: "InProgress" }
  if (state !== "answered") return undefined
  const decoded = answer instanceof Uint8Array ? decodeAnswer(answer) : undefined
  if (decoded === undefined) throw new TypeError("a row has an answer that no idempotency store has written")
  return { _tag: "Answered", answer: decoded }
}
