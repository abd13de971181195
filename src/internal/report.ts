import * as Effect from "effect/Effect"
import { ErrorReporter, type Report, silent } from "../ErrorReporter.js"

/** Writes to the log what went wrong, once, and tells the reporter. Total, and waits for nobody. */
export const report = (message: string, report: Report): Effect.Effect<void> =>
  Effect.zipRight(
    Effect.logError(message, report.cause),
    Effect.flatMap(ErrorReporter, (reporter) => reporter === silent ? Effect.void : hand(reporter, report))
  )

const hand = (reporter: ErrorReporter["Type"], report: Report): Effect.Effect<void> =>
  Effect.suspend(() => reporter.report(report)).pipe(
    Effect.catchAllCause((cause) => Effect.logError("The error reporter failed", cause)),
    // a response is sent where nothing can be interrupted, and there no timeout of a reporter would end
    Effect.interruptible,
    Effect.forkDaemon,
    Effect.asVoid
  )
