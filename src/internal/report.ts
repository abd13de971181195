import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { ErrorReporter, type Report, silent } from "../ErrorReporter.js"

/** Writes to the log what went wrong, once, and tells the reporter. Total, and waits for nobody. */
export const report = (message: string, report: Report): Effect.Effect<void> =>
  Effect.zipRight(
    logError(message, report.cause),
    Effect.flatMap(ErrorReporter, (reporter) => reporter === silent ? Effect.void : hand(reporter, report))
  )

/** A logger may throw, as those of Effect do at an error that is its own cause: no answer is lost by it. */
export const quietly = (log: Effect.Effect<void>): Effect.Effect<void> => Effect.catchAllCause(log, () => Effect.void)

const logError = (message: string, cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.catchAllCause(
    Effect.logError(message, cause),
    (failed) => quietly(Effect.logError(`${message}, and a logger failed at its cause`, failed))
  )

const hand = (reporter: ErrorReporter["Type"], report: Report): Effect.Effect<void> =>
  Effect.suspend(() => reporter.report(report)).pipe(
    Effect.catchAllCause((cause) => logError("The error reporter failed", cause)),
    // a response is sent where nothing can be interrupted, and there no timeout of a reporter would end
    Effect.interruptible,
    Effect.forkDaemon,
    Effect.asVoid
  )
