/**
 * Who is told of what went wrong: an error tracker, a metric, a trace.
 *
 * `ServerErrors` reports what nobody has answered; a stack, with it or without, what fails after the app has answered:
 * response phases, listeners of `onSent`, bodies, handlers of WebSockets. All of it is in the log already.
 *
 * @since 0.1.0
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/**
 * What went wrong with one request.
 *
 * @since 0.1.0
 * @category models
 */
export interface Report {
  readonly cause: Cause.Cause<unknown>
  /**
   * What failed:
   *
   * - `request`: the app, or a middleware on the way to it.
   * - `response`: what the stack does with the response, or after it.
   * - `body`: the content, after the header was sent. The connection has been cut off.
   * - `socket`: the handler of a WebSocket, which has been closed with 1011.
   * - `handler`: the `handler` of `ServerErrors`, or its debug page, with what another report says.
   */
  readonly part: "request" | "response" | "body" | "socket" | "handler"
  readonly request: HttpServerRequest.HttpServerRequest
  /** The pattern of the route, where it is known. */
  readonly route: string | undefined
  /** The services where it failed: `Context.getOption(report.services, RequestId.RequestId)`. */
  readonly services: Context.Context<never>
}

/**
 * @since 0.1.0
 * @category services
 */
export interface Service {
  /**
   * Runs in a fiber of its own, with the log annotations of the request: no response waits for it, and what it fails with
   * is logged.
   */
  readonly report: (report: Report) => Effect.Effect<void, unknown>
}

/** Compared by identity: nobody is told. */
export const silent: Service = { report: () => Effect.void }

/**
 * The reporter; the default tells nobody.
 *
 * @since 0.1.0
 * @category services
 */
export class ErrorReporter extends Context.Reference<ErrorReporter>()("effect-middleware/ErrorReporter", {
  defaultValue: (): Service => silent
}) {}

/**
 * Has all that goes wrong reported, by an effect that may use services. Provide it to the server.
 *
 * Where errors come in thousands, so do reports: an effect that talks to another machine should put them into a queue that
 * drops what it cannot hold.
 *
 * @example
 * ```ts
 * import { ErrorReporter } from "effect-middleware"
 * import { Effect, Metric } from "effect"
 *
 * const failures = Metric.frequency("http.server.failures")
 *
 * const reporter = ErrorReporter.layer(({ part, route = "none" }) =>
 *   Effect.succeed(`${part} ${route}`).pipe(failures, Effect.asVoid)
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <E, R>(report: (report: Report) => Effect.Effect<void, E, R>): Layer.Layer<never, never, R> =>
  Layer.effect(
    ErrorReporter,
    Effect.map(Effect.context<R>(), (context): Service => ({
      report: (failed) => Effect.provide(Effect.suspend(() => report(failed)), context)
    }))
  )
