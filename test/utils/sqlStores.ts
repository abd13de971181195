/** What the tests of stores in SQL look at. */
import * as Statement from "@effect/sql/Statement"
import { assert } from "@effect/vitest"
import { Duration, Effect, Schedule, TestContext } from "effect"

/** The statements of an effect, as they are sent, beside what it gives. */
export const statementsOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const statements: Array<readonly [text: string, values: ReadonlyArray<unknown>]> = []
    return effect.pipe(
      Statement.withTransformer((statement) =>
        Effect.sync(() => {
          const [text, values] = statement.compile(true)
          statements.push([text, values])
          return statement
        })
      ),
      Effect.map((value) => ({ value, statements }))
    )
  })

/** How long it took in real milliseconds, whatever clock the test has. */
export const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(effect), ([duration, value]) => [Duration.toMillis(duration), value] as const)

/** In real time, until a server is there again. */
export const insist = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.retry(effect, { schedule: Schedule.spaced("50 millis"), times: 200 })

/** By a clock that the test sets, with the services that are there. */
export const withTestClock = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(
    Effect.context<R>(),
    (context) => effect.pipe(Effect.provide(context), Effect.provide(TestContext.TestContext))
  )

/** Until something is so, by looking again and again, and letting a database do its part in between. */
export const until = <A, E>(effect: Effect.Effect<A, E>, expected: A) =>
  Effect.zipRight(turn, effect).pipe(
    Effect.repeat({ until: (value) => JSON.stringify(value) === JSON.stringify(expected), times: 10_000 }),
    Effect.map((value) => assert.deepStrictEqual(value, expected))
  )
const turn = Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 1)))
