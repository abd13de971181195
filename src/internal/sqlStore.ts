/** What the stores in SQL have alike. They bring what they have of `@effect/sql`, which not everybody has. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

// --- options ---------------------------------------------------------------------------------------------------------

/** Of the module that is named in what they throw. */
export const checksOf = (module: string) => {
  const positive = (option: string, input: Duration.DurationInput): Duration.Duration => {
    const duration = Duration.decode(input)
    if (!Duration.isFinite(duration) || Duration.toMillis(duration) <= 0) {
      throw new RangeError(`${module}: ${option} is ${Duration.format(duration)}: write how long, such as "250 millis"`)
    }
    return duration
  }
  const natural = (option: string, value: number): number => {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new RangeError(`${module}: ${option} is ${value}: write a whole number from 1`)
    }
    return value
  }
  return {
    positive,
    natural,
    /** Nothing where something else cleans up. */
    cleanup: (options: Cleanup | false = {}) =>
      options === false ? undefined : {
        every: positive("cleanup.every", options.every ?? Duration.minutes(5)),
        batch: natural("cleanup.batch", options.batch ?? 1000)
      },
    table: (table: string, example: string): string => {
      // PostgreSQL cuts names at 63 bytes, and two that are then alike would be one
      if (!/^[a-z_][a-z0-9_]{0,39}$/i.test(table)) {
        throw new TypeError(
          `${module}: table is ${
            JSON.stringify(table)
          }: write letters, digits and "_", 40 at most, such as "${example}"`
        )
      }
      return table
    },
    /** The dialects that differ in a word here and there. */
    dialect: (client: Dialects): "pg" | "sqlite" => {
      const unsupported = (dialect: string) => (): never => {
        throw new TypeError(`${module}: the SqlClient is one for ${dialect}: provide one for PostgreSQL or SQLite`)
      }
      return client.onDialect({
        pg: () => "pg" as const,
        sqlite: () => "sqlite" as const,
        mysql: unsupported("MySQL"),
        mssql: unsupported("Microsoft SQL Server"),
        clickhouse: unsupported("ClickHouse")
      })
    }
  }
}

interface Cleanup {
  readonly every?: Duration.DurationInput | undefined
  readonly batch?: number | undefined
}

interface Dialects {
  readonly onDialect: <A, B, C, D, E>(options: {
    readonly pg: () => A
    readonly sqlite: () => B
    readonly mysql: () => C
    readonly mssql: () => D
    readonly clickhouse: () => E
  }) => A | B | C | D | E
}

// --- calls -----------------------------------------------------------------------------------------------------------

export type Attempt = (
  limit: Duration.Duration
) => <A>(effect: Effect.Effect<A, SqlFailure>) => Effect.Effect<A, unknown>

interface SqlFailure {
  readonly cause?: unknown
}

/**
 * Ends after a time, whatever the client does then: to interrupt it would have it wait for a connection on which to cancel
 * the statement. So the statement goes on, and counts for as long as it does. It is no part of the caller's transaction.
 */
export const bounded = <Id, Connection>(most: number, transaction: Context.Tag<Id, Connection>): Attempt => {
  let underWay = 0
  return (limit) => (effect) =>
    Effect.suspend(() => {
      if (underWay >= most) return Effect.fail(new Error(`${most} operations are under way`))
      underWay++
      return Effect.ensuring(
        outside(transaction, Effect.retry(effect, { times: 20, while: isRaceLost })),
        Effect.sync(() => underWay--)
      )
    }).pipe(
      Effect.uninterruptible,
      Effect.disconnect,
      Effect.timeout(limit)
    )
}

const outside = <Id, Connection, A, E>(transaction: Context.Tag<Id, Connection>, effect: Effect.Effect<A, E>) =>
  Effect.mapInputContext(effect, (context: Context.Context<never>) => Context.omit(transaction)(context))

/**
 * What PostgreSQL answers to the later of two statements where it cannot let it wait and look again, as the default
 * isolation does: could not serialize, deadlock; and that an identifier has been taken in the meantime.
 */
const isRaceLost = ({ cause }: SqlFailure): boolean =>
  typeof cause === "object" && cause !== null && "code" in cause &&
  (cause.code === "40001" || cause.code === "40P01" || cause.code === "23505")

/** Whatever else it was: a defect too, such as a row that does not decode. */
export const orUnavailable = <E>(unavailable: (cause: unknown) => E) => <A>(effect: Effect.Effect<A, unknown>) =>
  Effect.catchAllCause(
    effect,
    (cause): Effect.Effect<never, E> =>
      Cause.isInterruptedOnly(cause) ? Effect.interrupt : Effect.fail(unavailable(Cause.squash(cause)))
  )

// --- cleanup ---------------------------------------------------------------------------------------------------------

/** Deletes in batches what has expired, in the background, again and again. */
export const cleanUp = (
  { attempt, batch, deleteExpired, every, failed }: {
    readonly attempt: Attempt
    /** Gives how many it has deleted, at most `batch`. */
    readonly deleteExpired: Effect.Effect<number, SqlFailure>
    readonly batch: number
    readonly every: Duration.Duration
    /** What is logged then. */
    readonly failed: string
  }
): Effect.Effect<void, never, Scope.Scope> =>
  deleteExpired.pipe(
    attempt(batchTimeout),
    Effect.repeat({ while: (deleted) => deleted === batch }),
    Effect.catchAllCause((cause) => Effect.logWarning(failed, cause)),
    Effect.delay(every),
    Effect.forever,
    Effect.forkScoped
  )

/** A batch is no request that somebody waits for. */
const batchTimeout = Duration.seconds(30)

// --- rows ------------------------------------------------------------------------------------------------------------

/** PostgreSQL's driver gives a BIGINT as text. */
export const integer = (value: unknown): number => {
  const number = typeof value === "string" || typeof value === "bigint" ? Number(value) : value
  if (typeof number !== "number" || !Number.isSafeInteger(number)) throw new TypeError("a column is no whole number")
  return number
}
