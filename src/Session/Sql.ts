/**
 * Sessions in PostgreSQL or SQLite, by the `SqlClient` of `@effect/sql`.
 *
 * 1. Every operation is made of statements that are atomic each for itself, and begins no transaction. On PostgreSQL that
 *    is one round trip; a save or a rotation that fails takes a second, to tell why, and `destroy` of a session that has
 *    been superseded some more.
 * 2. It is no part of a transaction that the caller has begun: what is saved stays saved if that is rolled back.
 * 3. What takes longer than `queryTimeout` fails with `SessionUnavailable`. The statement is not cancelled, since a cancel
 *    request may hit the next one on its connection; no more than `maxPending` of them are under way at a time.
 * 4. What has expired is deleted in the background, in batches.
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
import { createHash } from "node:crypto"
import { bounded, checksOf, cleanUp, integer, orUnavailable } from "../internal/sqlStore.js"
import {
  type Entry,
  type Outcome,
  type Service,
  SessionStore,
  SessionUnavailable,
  type Stored
} from "../SessionStore.js"

// ---------------------------------------------------------------------------------------------------------------------
// options
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @since 0.1.0
 * @category models
 */
export interface TableOptions {
  /**
   * The table of the sessions: a letter or `_`, then letters, digits and `_`, at most 40 characters, case kept. That of the
   * epochs has `_epochs` after it. Default: `"http_sessions"`.
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
   * One more fails with `SessionUnavailable` at once. Default: 1,000.
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

const checks = checksOf("Session/Sql")

const tables = ({ table = "http_sessions" }: TableOptions) => {
  const sessions = checks.table(table, "http_sessions")
  return { sessions, epochs: `${sessions}_epochs` }
}

// ---------------------------------------------------------------------------------------------------------------------
// tables
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Creates the tables and their indexes, where they are not there yet. It may be run more than once, and by several
 * processes at the same time.
 *
 * @example
 * ```ts
 * import * as Migrator from "@effect/sql/Migrator"
 * import * as Sql from "effect-middleware/Session/Sql"
 *
 * export const migrate = Migrator.make({})({
 *   loader: Migrator.fromRecord({ "0001_sessions": Sql.migration() })
 * })
 * ```
 *
 * @since 0.1.0
 * @category migrations
 */
export const migration = (options: TableOptions = {}): Effect.Effect<void, SqlError, SqlClient.SqlClient> => {
  const { epochs, sessions } = tables(options)
  return Effect.flatMap(SqlClient.SqlClient, (sql) => {
    const pg = checks.dialect(sql) === "pg"
    // an identifier has no language, and an index in the order of a language breaks when that order changes
    const identifier = pg ? `TEXT COLLATE "C"` : "TEXT"
    const statements = [
      `CREATE TABLE IF NOT EXISTS "${sessions}" (
  id ${identifier} NOT NULL PRIMARY KEY,
  version BIGINT NOT NULL,
  superseded_by ${identifier},
  payload TEXT NOT NULL,
  owner TEXT,
  created_at BIGINT NOT NULL,
  touched_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  ends_at BIGINT NOT NULL
)`,
      `CREATE INDEX IF NOT EXISTS "${sessions}_expires_at" ON "${sessions}" (expires_at)`,
      // an owner may be longer than what PostgreSQL takes into a tree
      `CREATE INDEX IF NOT EXISTS "${sessions}_owner" ON "${sessions}" ${pg ? "USING hash " : ""}(owner)`,
      `CREATE TABLE IF NOT EXISTS "${epochs}" (
  id ${identifier} NOT NULL PRIMARY KEY,
  number BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
)`,
      `CREATE INDEX IF NOT EXISTS "${epochs}_expires_at" ON "${epochs}" (expires_at)`
    ]
    // two that create one table at the same time would both find that it is not there
    const alone = pg ? [`SELECT pg_advisory_xact_lock(hashtext('effect-middleware/Session/Sql'))`] : []
    return sql.withTransaction(
      Effect.forEach([...alone, ...statements], (statement) => sql.unsafe(statement), { discard: true })
    )
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// the store
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A `SessionStore` in the tables that `migration` creates.
 *
 * @example
 * ```ts
 * import * as PgClient from "@effect/sql-pg/PgClient"
 * import * as Sql from "effect-middleware/Session/Sql"
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
export const layerStore = (options: Options = {}): Layer.Layer<SessionStore, never, SqlClient.SqlClient> => {
  const names = tables(options)
  const queryTimeout = checks.positive("queryTimeout", options.queryTimeout ?? Duration.millis(250))
  const maxPending = checks.natural("maxPending", options.maxPending ?? 1000)
  const cleanup = checks.cleanup(options.cleanup)

  return Layer.scoped(
    SessionStore,
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
          failed: "Session/Sql: expired sessions were not deleted"
        })
      }

      const call = <Args extends ReadonlyArray<unknown>, A>(
        operation: keyof Service,
        f: (...args: Args) => Effect.Effect<A, SqlError>
      ) =>
      (...args: Args): Effect.Effect<A, SessionUnavailable> =>
        Effect.suspend(() => f(...args)).pipe(
          attempt(queryTimeout),
          orUnavailable((cause) => new SessionUnavailable({ operation, cause }))
        )
      return {
        load: call("load", statements.load),
        create: call("create", statements.create),
        save: call("save", statements.save),
        rotate: call("rotate", statements.rotate),
        destroy: call("destroy", statements.destroy),
        list: call("list", statements.list),
        destroyAll: call("destroyAll", statements.destroyAll),
        epoch: call("epoch", statements.epoch),
        advanceEpoch: call("advanceEpoch", statements.advanceEpoch)
      }
    })
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// the statements
// ---------------------------------------------------------------------------------------------------------------------

interface Row {
  readonly [column: string]: unknown
}

const makeStatements = (
  sql: SqlClient.SqlClient,
  dialect: "pg" | "sqlite",
  names: { readonly sessions: string; readonly epochs: string }
) => {
  const pg = dialect === "pg"
  const sessions = sql.literal(`"${names.sessions}"`)
  const epochs = sql.literal(`"${names.epochs}"`)
  const columns = sql.literal(
    "id, version, superseded_by, payload, owner, created_at, touched_at, expires_at, ends_at"
  )
  const least = sql.literal(pg ? "LEAST" : "MIN")
  const greatest = sql.literal(pg ? "GREATEST" : "MAX")

  const values = (id: string, { createdAt, endsAt, expiresAt, owner, payload, touchedAt }: Entry): Fragment => {
    const ownerText = owner === undefined ? null : encodeText(owner)
    return sql`${id}, 1, NULL, ${
      encodeText(payload)
    }, ${ownerText}, ${createdAt}, ${touchedAt}, ${expiresAt}, ${endsAt}`
  }
  const isThere = (id: string, now: number): Fragment => sql`id = ${id} AND expires_at > ${now}`
  const isSeen = (id: string, version: number, now: number): Fragment =>
    sql`${isThere(id, now)} AND version = ${version} AND superseded_by IS NULL`

  /** A write that has met nothing that it may write says so by no row. */
  const outcome = (rows: ReadonlyArray<Row>, id: string, now: number): Effect.Effect<Outcome, SqlError> =>
    rows.length > 0
      ? Effect.succeed("saved")
      : Effect.map(
        sql<Row>`SELECT 1 FROM ${sessions} WHERE ${isThere(id, now)}`,
        (rows) => rows.length > 0 ? "conflict" : "missing"
      )

  const load: (...args: Parameters<Service["load"]>) => Effect.Effect<Stored | undefined, SqlError> = (
    id,
    { now, touch }
  ) => {
    const read = sql<Row>`SELECT ${columns} FROM ${sessions} WHERE ${isThere(id, now)}`
    const first = Effect.map(([row]: ReadonlyArray<Row>) => row === undefined ? undefined : decodeRow(row))
    if (touch === undefined) return first(read)
    // what is not due is asked of the database, so that nothing is written, and nothing locked, in vain
    const note = sql<Row>`UPDATE ${sessions} SET touched_at = ${now}, expires_at = ${least}(${
      now + touch.idle
    }, ends_at)
      WHERE ${isThere(id, now)} AND superseded_by IS NULL AND touched_at <= ${now - touch.every} RETURNING ${columns}`
    if (pg) {
      return first(sql<Row>`WITH touched AS (${note}) SELECT ${columns} FROM touched
        UNION ALL ${read} AND NOT EXISTS (SELECT 1 FROM touched)`)
    }
    return Effect.flatMap(
      first(read),
      (stored) =>
        stored === undefined || stored.superseded || now - stored.touchedAt < touch.every
          ? Effect.succeed(stored)
          : Effect.map(first(note), (touched) => touched ?? stored)
    )
  }

  const create = (id: string, entry: Entry, now: number) =>
    Effect.map(
      sql<Row>`INSERT INTO ${sessions} (${columns}) VALUES (${values(id, entry)})
        ON CONFLICT (id) DO UPDATE SET version = 1, superseded_by = NULL, payload = excluded.payload,
          owner = excluded.owner, created_at = excluded.created_at, touched_at = excluded.touched_at,
          expires_at = excluded.expires_at, ends_at = excluded.ends_at
        WHERE ${sessions}.expires_at <= ${now} RETURNING id`,
      (rows) => rows.length > 0
    )

  const save = (
    id: string,
    version: number,
    { expiresAt, payload, touchedAt }: Pick<Entry, "payload" | "touchedAt" | "expiresAt">,
    now: number
  ) =>
    Effect.flatMap(
      sql<Row>`UPDATE ${sessions} SET version = version + 1, payload = ${encodeText(payload)},
        touched_at = ${touchedAt}, expires_at = ${expiresAt} WHERE ${isSeen(id, version, now)} RETURNING id`,
      (rows) => outcome(rows, id, now)
    )

  const rotate = (
    from: { readonly id: string; readonly version: number },
    to: { readonly id: string; readonly entry: Entry },
    { now, until }: { readonly now: number; readonly until: number }
  ) => {
    // no identifier is used twice, so one that has expired need not make room
    const mayGo = sql`${isSeen(from.id, from.version, now)}
      AND NOT EXISTS (SELECT 1 FROM ${sessions} WHERE id = ${to.id})`
    const next = values(to.id, to.entry)
    const statement = until <= now
      // the same row under another identifier: whoever waits for it meets it there
      ? sql<Row>`UPDATE ${sessions} SET (${columns}) = (${next}) WHERE ${mayGo} RETURNING id`
      : pg
      ? sql<Row>`WITH old AS (UPDATE ${sessions} SET superseded_by = ${to.id}, expires_at = LEAST(expires_at, ${until})
          WHERE ${mayGo} RETURNING id)
        INSERT INTO ${sessions} (${columns}) SELECT ${next} FROM old RETURNING id`
      // SQLite writes one table once in a statement, and a transaction whose commit fails would leave it open
      : sql<Row>`INSERT INTO ${sessions} (${columns})
        SELECT id, version, ${to.id}, payload, owner, created_at, touched_at, MIN(expires_at, ${until}), ends_at
          FROM ${sessions} WHERE ${mayGo}
        UNION ALL SELECT ${next} FROM ${sessions} WHERE ${mayGo}
        ON CONFLICT (id) DO UPDATE SET superseded_by = excluded.superseded_by, expires_at = excluded.expires_at
        RETURNING id`
    return Effect.flatMap(statement, (rows) => outcome(rows, from.id, now))
  }

  /** From the last, which is the one in use, to the first: who begins again after a failure finds the rest. */
  const destroy = (id: string, now: number) =>
    Effect.gen(function*() {
      let links: ReadonlyArray<Row> = [{ id, next: "" }]
      for (;;) {
        let left = false
        for (const link of links) {
          const rows = yield* sql<Row>`DELETE FROM ${sessions}
            WHERE id = ${text(link["id"])} AND COALESCE(superseded_by, '') = ${text(link["next"])} RETURNING id`
          // it is not there, or another has taken its place by now
          left = rows.length === 0
          if (left) break
        }
        if (!left) return
        links = yield* sql<Row>`WITH RECURSIVE links (id, next, depth) AS (
            SELECT id, COALESCE(superseded_by, ''), 0 FROM ${sessions} WHERE ${isThere(id, now)}
            UNION ALL SELECT it.id, COALESCE(it.superseded_by, ''), links.depth + 1
              FROM links JOIN ${sessions} AS it ON it.id = links.next WHERE it.expires_at > ${now}
          ) SELECT id, next FROM links ORDER BY depth DESC`
      }
    })

  const list = (owner: string, now: number) =>
    Effect.map(
      sql<Row>`SELECT ${columns} FROM ${sessions}
        WHERE owner = ${encodeText(owner)} AND expires_at > ${now} AND superseded_by IS NULL ORDER BY touched_at DESC`,
      (rows) => rows.map((row) => ({ ...decodeRow(row), id: text(row["id"]) }))
    )

  const destroyAll = (
    owner: string,
    { except = "", now }: { readonly now: number; readonly except?: string | undefined }
  ) =>
    Effect.gen(function*() {
      let count = 0
      for (;;) {
        const rows = yield* sql<Row>`DELETE FROM ${sessions} WHERE owner = ${encodeText(owner)}
          AND expires_at > ${now} AND id <> ${except} RETURNING superseded_by`
        const listed = rows.filter((row) => row["superseded_by"] === null)
        count += listed.length
        // what took the place of one while this waited for it has not been seen
        if (listed.length === rows.length) return count
      }
    })

  const epoch = (owner: string, now: number) =>
    Effect.map(
      sql<Row>`SELECT number FROM ${epochs} WHERE id = ${hashOf(owner)} AND expires_at > ${now}`,
      ([row]) => row === undefined ? 0 : integer(row["number"])
    )

  const advanceEpoch = (
    owner: string,
    { expiresAt, now }: { readonly now: number; readonly expiresAt: number }
  ) =>
    Effect.map(
      sql<Row>`INSERT INTO ${epochs} (id, number, expires_at) VALUES (${hashOf(owner)}, 1, ${expiresAt})
        ON CONFLICT (id) DO UPDATE SET
          number = CASE WHEN ${epochs}.expires_at > ${now} THEN ${epochs}.number + 1 ELSE 1 END,
          expires_at = ${greatest}(${epochs}.expires_at, excluded.expires_at)
        RETURNING number`,
      ([row]) => integer(row?.["number"])
    )

  /** A batch of both tables; what another process is at is left to it. Gives the larger of the two counts. */
  const deleteExpired = (batch: number) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.map(
        Effect.forEach([sessions, epochs], (table) =>
          sql<Row>`WITH expired AS MATERIALIZED (
              SELECT id FROM ${table} WHERE expires_at <= ${now} ORDER BY expires_at LIMIT ${batch}
              ${sql.literal(pg ? "FOR UPDATE SKIP LOCKED" : "")}
            ) DELETE FROM ${table} WHERE id IN (SELECT id FROM expired) RETURNING id`),
        (deleted) => Math.max(...deleted.map((rows) => rows.length))
      ))

  return { load, create, save, rotate, destroy, list, destroyAll, epoch, advanceEpoch, deleteExpired }
}

// ---------------------------------------------------------------------------------------------------------------------
// rows
// ---------------------------------------------------------------------------------------------------------------------

/** PostgreSQL has no NUL in a text, and UTF-8 no half of a surrogate pair: a text with one is kept as JSON, after a mark. */
const encodeText = (text: string): string =>
  /[\0\p{Surrogate}]|^\x01/u.test(text) ? `\x01${JSON.stringify(text)}` : text
const decodeText = (text: string): string => text.startsWith("\x01") ? String(JSON.parse(text.slice(1))) : text

/** An owner of any length, as a key. */
const hashOf = (owner: string): string => createHash("sha256").update(encodeText(owner)).digest("base64url")

const decodeRow = (row: Row): Stored => ({
  payload: decodeText(text(row["payload"])),
  owner: row["owner"] === null ? undefined : decodeText(text(row["owner"])),
  createdAt: integer(row["created_at"]),
  touchedAt: integer(row["touched_at"]),
  expiresAt: integer(row["expires_at"]),
  endsAt: integer(row["ends_at"]),
  version: integer(row["version"]),
  superseded: row["superseded_by"] !== null
})

const text = (value: unknown): string => {
  if (typeof value !== "string") throw new TypeError("a column is no text")
  return value
}
